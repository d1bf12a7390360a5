"""Promise 7 and the ends of everything: stop() at any moment, from any thread, and nothing is left (T-1 to T-10)."""

import gc
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import crust
from crust import ConnectionManager, Endpoint, Event, ManagerStopped, NotConnected
from crust.transport.framing import BYE
from tests.manager.conftest import both_transports, both_transports_slowly
from tests.manager.helpers import (
    LOOPBACK,
    PATIENCE,
    SCALE,
    Nodes,
    fill_send_queue,
    in_parallel,
    loopback_config,
    two_identities,
    wait_until,
)
from tests.manager.wire import WirePeer, raw_socket, read_to_end

A_SECOND = 1.0 * SCALE
"""What stop() may take beside its linger."""


def crust_threads() -> list[str]:
    """Names of the threads of any manager; those of peers that are the test's are not meant."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("crust-") and not name.startswith("crust-test-")]


def seconds_of(call: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


def soon(act: Callable[[], float], tries: int = 3, within: float = A_SECOND) -> None:
    """``act`` gives how many seconds something took; a machine that is busy for a moment does not count."""
    durations = []
    for _ in range(tries):
        durations.append(act())
        if durations[-1] <= within:
            return
    raise AssertionError(f"took {durations} s, and {within:g} s are promised")


@contextmanager
def black_hole() -> Iterator[Endpoint]:
    """A port that does not answer a SYN: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield Endpoint.tcp(listener.getsockname())


def dials_in_progress() -> int:
    """Threads of dialers."""
    return sum(name.startswith("crust-dialer") for name in crust_threads())


# --- once, twice, from anywhere -------------------------------------------------------------------


def test_a_manager_that_did_nothing_starts_no_thread_and_stops() -> None:
    before = crust_threads()
    events = crust.channel()
    manager = ConnectionManager(events, loopback_config())
    assert crust_threads() == before
    manager.stop()
    manager.stop()
    assert list(events) == [Event.Stopped()]


@both_transports
def test_stop_twice(nodes: Nodes) -> None:
    node, other = nodes.pair()
    node.stop()
    node.manager.stop()
    assert node.count["Stopped"] == 1
    other.expect(Event.LostConnection)


@both_transports_slowly
def test_stop_from_many_threads_at_once(nodes: Nodes) -> None:
    """Every call returns only when all is over."""
    node, _ = nodes.pair()

    def stop() -> None:
        node.manager.stop()
        assert node.manager._core.stopped.is_set()

    in_parallel([stop] * 8)
    node.stop()
    assert node.count["Stopped"] == 1


def test_stop_from_a_callback_of_the_users_own_queue() -> None:
    """The manager thread cannot wait for itself, and does not."""

    class Stopper:
        def __init__(self) -> None:
            self.seen: list[Any] = []
            self.over = threading.Event()

        def put(self, event: Any) -> None:
            self.seen.append(event)
            if isinstance(event, Event.ConnectionFailed):
                manager.stop()
            elif event == Event.Stopped():
                self.over.set()

    events = Stopper()
    manager = ConnectionManager(events, loopback_config())
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        manager.connect(Endpoint.tcp(unused.getsockname()))
        assert events.over.wait(PATIENCE)
    assert [type(event).__name__ for event in events.seen] == ["ConnectionFailed", "Stopped"]


@both_transports
def test_after_stop_nothing_works_and_errors_say_why(nodes: Nodes) -> None:
    node, other = nodes.pair()
    link = node.link(other)
    node.stop()
    for call in (
        node.manager.start_listening,
        node.manager.bootstrap,
        lambda: node.manager.connect(link),
    ):
        with pytest.raises(ManagerStopped, match="make a new one"):
            call()
    with pytest.raises(NotConnected, match="the manager was stopped"):
        node.manager.send(link, b"")
    node.manager.drop_node(link)
    assert node.manager.connections() == []


def test_iteration_over_a_channel_ends_after_stopped(nodes: Nodes) -> None:
    other = nodes.make()
    events = crust.channel()
    with ConnectionManager(events, loopback_config()) as manager:
        manager.connect(other.endpoint)
        seen = []
        for event in events:
            seen.append(type(event).__name__)
            if isinstance(event, Event.NewConnection):
                manager.stop()
    assert seen == ["NewConnection", "Stopped"]


@both_transports
def test_stop_frees_every_thread_and_the_port(nodes: Nodes) -> None:
    """Listening again on the same port works, again and again (T-4, the original's ``reaccept``)."""
    port = 0
    for _ in range(5):
        node = nodes.make(**{f"{nodes.transport}_port": port})
        endpoint = node.endpoint
        assert port in (0, endpoint.port)
        port = endpoint.port
        with WirePeer.dial(endpoint) as peer, raw_socket(endpoint):
            peer.settle()
            node.send(node.link(peer.id), b"hello")
            node.manager.connect(node.at("localhost"))
            node.stop(0.1)
            assert crust_threads() == []
            with pytest.raises(ConnectionError, match=r"refused|nothing listens"):
                raw_socket(endpoint)


# --- at any moment --------------------------------------------------------------------------------


@both_transports
def test_stop_right_after_each_call(nodes: Nodes) -> None:
    """Whatever was begun is abandoned, in every order (T-6, T-7)."""
    other = nodes.make()
    calls: list[Callable[[ConnectionManager], object]] = [
        lambda manager: manager.start_listening(),
        lambda manager: manager.connect(other.endpoint),
        lambda manager: manager.bootstrap(),
    ]
    for first in calls:
        for second in calls:
            node = nodes.make(listen=False, fallback=[other.endpoint])
            first(node.manager)
            second(node.manager)
            node.stop()
            assert node.log[-1] == Event.Stopped()


def test_stop_while_dialling_an_address_that_does_not_answer(nodes: Nodes) -> None:
    with black_hole() as nowhere:

        def stop_while_dialling() -> float:
            node = nodes.make(linger=0.0, listen=False)
            node.manager.connect([nowhere, Endpoint.tcp((nowhere.host, nowhere.port))])
            wait_until(lambda: dials_in_progress())
            took = seconds_of(node.stop)
            assert node.log == [Event.Stopped()]
            return took

        soon(stop_while_dialling)


def test_stop_during_bootstrap(nodes: Nodes) -> None:
    """In a round, and in the pause between rounds (T-6)."""
    with black_hole() as nowhere, socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        for contact in (nowhere, Endpoint.tcp(unused.getsockname())):

            def stop_while_looking(contact: Endpoint = contact) -> float:
                node = nodes.make(linger=0.0, listen=False, fallback=[contact])
                node.manager.bootstrap()
                wait_until(lambda: dials_in_progress())
                took = seconds_of(node.stop)
                assert node.log == [Event.Stopped()]
                return took

            soon(stop_while_looking)


@both_transports
def test_stop_with_half_open_handshakes(nodes: Nodes) -> None:
    """Silent strangers, and one who stopped in the middle: they are thrown out, with nothing said."""

    def stop_amid_strangers() -> float:
        node = nodes.make(linger=0.0)
        with ExitStack() as stack:
            strangers = [stack.enter_context(raw_socket(node.endpoint)) for _ in range(20)]
            strangers[0].sendall(bytes(7))
            wait_until(lambda: node.manager._core.half_open == 20)
            took = seconds_of(node.stop)
            assert {read_to_end(stranger) for stranger in strangers} == {b""}
            return took

    soon(stop_amid_strangers)


@both_transports_slowly
@pytest.mark.parametrize("dials", [True, False], ids=["it dialled us", "we dialled it"])
def test_stop_while_a_peer_owes_us_its_choice(nodes: Nodes, dials: bool) -> None:
    """It proved who it is and then said nothing; several attempts of one connect() wait for that."""
    lesser, greater = two_identities()  # who has the greater id owes the choice

    def stop_while_waiting() -> float:
        node = nodes.make(identity=lesser, linger=0.0)
        with ExitStack() as stack:
            if dials:
                peer = WirePeer.dial(node.endpoint, identity=greater)
                stack.enter_context(peer)
                wait_until(lambda: node.manager._core.half_open == 1)
            else:
                listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))
                listener.settimeout(PATIENCE)
                address = listener.getsockname()
                node.manager.connect([Endpoint.tcp(address), Endpoint.tcp(("localhost", address[1]))])
                for number in range(2):
                    peer = stack.enter_context(WirePeer(listener.accept()[0], dials=False, identity=greater))
                    if number == 0:
                        peer.prove()
                    else:
                        peer.sock.sendall(peer._handshake.receive(peer._receive()))
                # One was told to wait for the peer, the other one to wait for that.
                wait_until(lambda: any(job.race.waiting for job in node.manager._core._dialer._jobs))
            return seconds_of(node.stop)

    soon(stop_while_waiting)


@both_transports
def test_whoever_waits_for_room_is_woken(nodes: Nodes) -> None:
    """send(timeout=None) to a peer that never reads ends with the connection."""
    node = nodes.make(linger=0.0, send_queue_bytes=1)
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        link = node.link(peer.id)
        outcome: list[BaseException] = []

        def send_for_ever() -> None:
            try:
                while True:
                    node.manager.send(link, bytes(1_000_000), timeout=None)
            except NotConnected as error:
                outcome.append(error)

        sender = threading.Thread(target=send_for_ever, name="test-sender")
        sender.start()
        wait_until(lambda: node.info(peer.id).waiting_bytes)
        node.stop()
        sender.join(PATIENCE)
        assert [str(error) for error in outcome] in (
            [f"the connection to {link} has ended"],
            [f"there is no connection to {link}: the manager was stopped"],
        )


# --- with peers that do not help ------------------------------------------------------------------


@both_transports_slowly
def test_stop_with_a_hundred_peers_some_of_which_never_read_or_answer(nodes: Nodes) -> None:
    """Within the linger and a second."""
    linger = 0.5

    def stop_the_hub() -> float:
        hub = nodes.make(linger=linger, max_half_open_per_address=128)
        honest = [nodes.make(listen=False) for _ in range(40)]
        with ExitStack() as stack:
            for node in honest:
                node.connect(hub)
            deaf = [stack.enter_context(WirePeer.dial(hub.endpoint)) for _ in range(60)]
            for peer in deaf:
                peer.settle()
            hub.wait(lambda node: node.count["NewConnection"] == 100)
            for peer in deaf[:30]:  # these never read: their queues fill up to the socket
                fill_send_queue(hub, hub.link(peer.id))
            for node in honest:
                hub.send(node, b"goodbye")
            started = time.monotonic()
            hub.stop()
            took = time.monotonic() - started
            for node in honest:
                node.expect_messages(hub, [b"goodbye"])
                node.expect(Event.LostConnection)
        in_parallel([node.stop for node in honest])
        return took

    durations = []
    while not durations or (durations[-1] > linger + A_SECOND and len(durations) < 3):
        durations.append(stop_the_hub())
    assert durations[-1] <= linger + A_SECOND, durations


@both_transports_slowly
def test_a_less_patient_stop_shortens_a_patient_one(nodes: Nodes) -> None:
    node = nodes.make()
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        node.link(peer.id)
        patient = threading.Thread(target=node.manager.stop, args=(PATIENCE * 10,), name="test-stop")
        patient.start()
        assert peer.await_control(BYE)["reason"] == "bye"  # so the first stop() is at work
        assert patient.is_alive()
        soon(lambda: seconds_of(lambda: node.manager.stop(0.0)), tries=1, within=PATIENCE)
        patient.join(PATIENCE)
        assert not patient.is_alive()


# --- forgotten ------------------------------------------------------------------------------------


def forget_a_manager(nodes: Nodes) -> None:
    """Make a manager, connect it, and lose it."""
    other = nodes.make()
    events = crust.channel()
    manager = ConnectionManager(events, loopback_config())
    manager.connect(other.endpoint)
    assert isinstance(events.get(timeout=PATIENCE), Event.NewConnection)
    core = manager._core
    del manager
    gc.collect()
    assert other.expect(Event.LostConnection).reason == "the peer closed the connection"
    assert core.stopped.wait(PATIENCE)


def test_a_manager_that_is_forgotten_is_stopped_with_a_warning(nodes: Nodes) -> None:
    """T-8, the original's ``drop_disconnects``."""
    with pytest.warns(ResourceWarning, match="dropped without stop"):
        forget_a_manager(nodes)


def test_it_is_stopped_also_where_warnings_are_errors(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forget_a_manager(nodes)
    assert [args.exc_type for args in raised] == [ResourceWarning]
    raised.clear()  # what is in it refers to the manager
