"""Programs of a few lines that the tests run as processes: ``scripts.py NAME ENDPOINT``. Their ends are tested."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import crust
from crust import Config, ConnectionManager, CrustError, Endpoint, Event

CONFIG = Config(listen_addresses=("127.0.0.1",), beacon_port=None, utp_port=None, upnp=False)
_kept: list[Any] = []  # what a script "forgets" must live to the end of the program, not to the end of a function


def say(line: str) -> None:
    """One line for the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def connected(endpoint: Endpoint) -> tuple[ConnectionManager, Any]:
    """A manager that is connected to ``endpoint``, and its events."""
    events = crust.channel()
    manager = ConnectionManager(events, CONFIG)
    manager.connect(endpoint)
    assert isinstance(events.get(), Event.NewConnection)
    return manager, events


def send_and_stop(endpoint: Endpoint) -> None:
    """The short script of the promise."""
    manager, _ = connected(endpoint)
    for number in range(1000):
        manager.send(endpoint, b"%d" % number)
    manager.stop()
    say(f"threads left: {[t.name for t in threading.enumerate() if t is not threading.main_thread()]}")


def send_and_forget(endpoint: Endpoint) -> None:
    """No stop(): the program just ends."""
    manager, _ = connected(endpoint)
    for number in range(1000):
        manager.send(endpoint, b"%d" % number)
    _kept.append(manager)


def send_and_lose_the_manager(endpoint: Endpoint) -> None:
    """No stop(), and the manager is collected before the program ends."""
    manager, _ = connected(endpoint)
    for number in range(1000):
        manager.send(endpoint, b"%d" % number)


def fail(endpoint: Endpoint) -> None:
    """The program dies of an exception inside the with statement."""
    events = crust.channel()
    with ConnectionManager(events, CONFIG) as manager:
        manager.connect(endpoint)
        events.get()
        for number in range(1000):
            manager.send(endpoint, b"%d" % number)
        raise ValueError("the program is wrong")


def wait_for_interrupt(endpoint: Endpoint) -> None:
    """Loops on its events until Ctrl-C."""
    events = crust.channel()
    try:
        with ConnectionManager(events, CONFIG) as manager:
            manager.connect(endpoint)
            try:
                for event in events:
                    if isinstance(event, Event.NewConnection):
                        for number in range(1000):
                            manager.send(endpoint, b"%d" % number)
                        say("ready")
            except KeyboardInterrupt:
                say("interrupted")
                raise
    except KeyboardInterrupt:
        pass
    say(f"last event: {list(events)[-1]!r}")


def run_out_of_files(endpoint: Endpoint) -> None:
    """Has a low limit of descriptors, reaches it when told to, and later frees them again."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    logging.basicConfig(stream=sys.stdout, level=logging.ERROR, format="%(name)s: %(message)s")
    events = crust.channel()
    with ConnectionManager(events, CONFIG) as manager:
        say(f"listening on {manager.start_listening()[0].port}")
        assert sys.stdin.readline() == "fill\n"
        failure = ""
        while "too many files" not in failure:  # one that was in use for a moment, and is free again, is enough to dial
            _kept.extend(fill_descriptors())
            manager.connect(endpoint)
            failure = repr(events.get())
        say(failure)
        assert sys.stdin.readline() == "free\n"
        for descriptor in _kept:
            os.close(descriptor)
        _kept.clear()
        for event in events:
            say(repr(event))
            if isinstance(event, Event.NewMessage):
                break


def start_without_files(endpoint: Endpoint) -> None:
    """Begins with no descriptors left, and with a few more at each try, until it can serve a UDP port."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    _kept.extend(fill_descriptors())
    events = crust.channel()
    with ConnectionManager(events, CONFIG.replace(tcp_port=None, utp_port=0)) as manager:
        while True:
            try:
                manager.start_listening()
                break
            except CrustError as error:
                say(f"{type(error).__name__}: {error}")
            os.close(_kept.pop())
        while _kept:
            os.close(_kept.pop())
        manager.connect(endpoint)
        say(repr(events.get()))


def fork(endpoint: Endpoint) -> None:
    """A child that keeps on with what it finds, and a parent that goes on meanwhile."""
    manager, _ = connected(endpoint)
    (port,) = manager.start_listening()
    manager.send(endpoint, b"before")
    until_ended, child_waits = os.pipe()
    child = os.fork()
    if child == 0:
        for name, call in {
            "start_listening": manager.start_listening,
            "connect": lambda: manager.connect(endpoint),
            "send": lambda: manager.send(endpoint, b"from the child"),
        }.items():
            try:
                call()
            except CrustError as error:
                say(f"{name}: {type(error).__name__}: {error}")
        say(f"connections: {manager.connections()}")
        manager.stop()
        say("stopped")
        second = os.fork()  # which lives on while the parent stops
        if second == 0:
            os.close(child_waits)
            os.read(until_ended, 1)
            os._exit(0)
        sys.exit(0)  # with all that is done when an interpreter ends
    say(f"the child has ended: {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
    manager.send(endpoint, b"after")
    manager.stop()
    with ConnectionManager(crust.channel(), CONFIG.replace(tcp_port=port.port)) as second_manager:
        say(f"the port is free: {second_manager.start_listening() == [port]}")


def fill_descriptors() -> list[int]:
    """Open files until there is no descriptor left."""
    opened = []
    while True:
        try:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return opened


SCRIPTS: dict[str, Callable[[Endpoint], None]] = {
    script.__name__: script
    for script in (
        send_and_stop,
        send_and_forget,
        send_and_lose_the_manager,
        fail,
        wait_for_interrupt,
        run_out_of_files,
        start_without_files,
        fork,
    )
}

if __name__ == "__main__":
    SCRIPTS[sys.argv[1]](Endpoint.parse(sys.argv[2]))
