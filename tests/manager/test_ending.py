"""`crust.manager.ending`: stop() from signal handlers, amid whatever they interrupt; and forks. (See test_stop.py.)"""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

import crust
from crust import Config, ConnectionManager, Endpoint, Event, LocalError, ManagerStopped
from crust import connection_manager as module
from crust.connecting import notices
from crust.connecting.listening import Listeners, open_listeners
from crust.manager import ending
from crust.manager.core import ManagerCore
from crust.threads import interrupted
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, Nodes, loopback_config
from tests.manager.test_stop import crust_threads
from tests.processes import Process

SCRIPTS = str(Path(__file__).with_name("scripts.py"))

# Here a handler is a call from within what it interrupts: to the same thread that makes no difference, and it comes at
# the very moment that is meant.


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon."""
    monkeypatch.setattr(ending, "ABORT_GRACE", 0.3)
    monkeypatch.setattr(interrupted, "TRY", 0.05)


def test_a_handler_stops_what_is_opening_its_listeners(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events = crust.channel()
    manager = ConnectionManager(events, loopback_config())
    opened: list[socket.socket] = []

    def interrupted_call(config: Config, utp: Any) -> Listeners:
        made = open_listeners(config, utp)
        opened.extend(made.tcp)
        manager.stop()
        return made

    monkeypatch.setattr(module, "open_listeners", interrupted_call)
    with pytest.raises(ManagerStopped):
        manager.start_listening()
    assert [sock.fileno() for sock in opened] == [-1], "nobody would close it later"
    assert list(events) == [Event.Stopped()]
    assert crust_threads() == []
    assert caplog.messages == []


def test_listeners_that_come_when_the_loop_has_ended_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager thread still looks for them once more."""
    manager = ConnectionManager(crust.channel(), loopback_config())
    manager.start_listening()
    core = manager._core
    assert core is not None
    listener = socket.create_server((LOOPBACK, 0))

    def come(_: float | None) -> bool:
        core.inbox.put(notices.Listen(lambda: core.serve([listener], []), []))
        return True

    monkeypatch.setattr(core._acceptor, "join", come)
    manager.stop()
    assert listener.fileno() == -1


@pytest.mark.parametrize("runs", [False, True], ids=["before it runs", "when it runs"])
def test_a_handler_stops_a_manager_that_is_being_started(monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    events = crust.channel()
    manager = ConnectionManager(events, loopback_config())
    make_core = manager._make_core

    def make() -> ManagerCore:
        core = make_core() if runs else None
        manager.stop()
        with pytest.raises(ManagerStopped):
            manager.start_listening()
        return core or make_core()

    monkeypatch.setattr(manager, "_make_core", make)
    with pytest.raises(ManagerStopped):
        manager.start_listening()
    assert list(events) == [Event.Stopped()]
    assert crust_threads() == []


def test_a_handler_that_uses_a_manager_which_is_being_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = ConnectionManager(crust.channel(), loopback_config())
    make_core = manager._make_core

    def make() -> ManagerCore:
        with pytest.raises(LocalError, match="signal handler"):
            manager.connect(Endpoint.tcp("127.0.0.1:1"))
        return make_core()

    monkeypatch.setattr(manager, "_make_core", make)
    with manager:
        manager.start_listening()


def test_a_start_that_fails_while_a_handler_stops_it_ends_with_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    events = crust.channel()
    manager = ConnectionManager(events, loopback_config())

    def fail() -> ManagerCore:
        manager.stop()
        raise LocalError("no")

    monkeypatch.setattr(manager, "_make_core", fail)
    with pytest.raises(LocalError, match="no"):
        manager.start_listening()
    assert list(events) == [Event.Stopped()]


@both_transports
@pytest.mark.usefixtures("impatience")
def test_a_handler_amid_a_send_does_not_wait_for_what_waits_for_it(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    node, other = nodes.pair(linger=0.0)
    link = node.link(other)
    outbox = node.manager._outbox_of(link)

    class Interrupted(list[bytes]):
        def append(self, _: bytes) -> None:
            assert outbox._lock.locked()
            node.manager.stop()

    with outbox._lock:
        outbox._messages = Interrupted()
        outbox.express = False  # or the message goes past them
    outbox.put(b"message")
    node.stop()
    assert node.log[-1] == Event.Stopped()
    assert "did not stop in time" not in caplog.text
    assert "all ends when the handler is done" in caplog.text


@both_transports
def test_stop_may_be_called_amid_stop(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C twice."""
    node, _ = nodes.pair()
    end = ending.end
    calls: list[float] = []

    def twice(core: ManagerCore, linger: float) -> None:
        calls.append(linger)
        if len(calls) == 1:
            node.manager.stop(0.0)
        end(core, linger)

    monkeypatch.setattr(ending, "end", twice)
    node.stop()
    assert len(calls) == 2
    assert node.count["Stopped"] == 1


@both_transports
@pytest.mark.parametrize("ages", [float("inf"), 1e10])
def test_stop_waits_for_ages_if_told_to(nodes: Nodes, ages: float) -> None:
    node, other = nodes.pair()
    node.stop(ages)
    other.expect(Event.LostConnection)


# --- children ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_child_has_no_manager_and_the_parent_keeps_its_own(nodes: Nodes) -> None:
    """The child says so in every call, ends at once by itself, and keeps no port of the parent."""
    peer = nodes.make()
    with Process("-W", "ignore", SCRIPTS, "fork", str(peer.endpoint)) as process:
        code, lines = process.end()
    parents = "manager is that of the process that was forked"
    assert lines == [
        f"start_listening: ManagerStopped: this {parents}; make a new one in the child",
        f"connect: ManagerStopped: this {parents}; make a new one in the child",
        f"send: NotConnected: there is no connection to {peer.endpoint}: its {parents}",
        "connections: []",
        "stopped",
        "the child has ended: 0",
        "the port is free: True",
    ]
    assert code == 0
    (said,) = peer.heard.values()
    assert said == [b"before", b"after"]
