"""When the machine runs out of something, the error says of what, and what to do; and it passes when it is over."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import crust
from crust import Endpoint, Event, LocalError
from crust.threads.workers import start_thread
from tests.manager.helpers import LOOPBACK, Nodes, join, loopback_config, wait_until
from tests.manager.wire import raw_socket, read_to_end
from tests.processes import Process

SCRIPTS = str(Path(__file__).with_name("scripts.py"))
NOBODY = Endpoint.tcp((LOOPBACK, 1))  # refuses


def test_too_low_a_limit_of_descriptors(nodes: Nodes) -> None:
    """``ulimit -n``: what cannot be dialled fails with the reason, what cannot be accepted is logged and waits."""
    pytest.importorskip("resource")
    other = nodes.make()
    with Process(SCRIPTS, "run_out_of_files", str(NOBODY), env={"PYTHONWARNINGS": "default"}) as process:
        port = int(process.expect(r"listening on (\d+)").group(1))
        door = Endpoint.tcp((LOOPBACK, port))
        process.type("fill")
        process.expect(r"ConnectionFailed.*too many files open; raise its limit \(ulimit -n\)")
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(raw_socket(door))
            process.expect("cannot accept connections: .*ulimit -n.*lower max_connections")
            process.expect("cannot accept connections")  # it is still there, and tries again
            process.type("free")
            other.connect(door)
            link = other.expect(Event.NewConnection).endpoint
            other.send(link, b"there is room again")
            process.expect("there is room again")
        code, lines = process.end()
    assert code == 0, lines


def test_no_descriptors_to_start_with(nodes: Nodes) -> None:
    """Whoever tries again later succeeds, and nothing of the tries before is left open."""
    pytest.importorskip("resource")
    other = nodes.make()
    with Process(SCRIPTS, "start_without_files", str(other.endpoint)) as process:
        process.expect(r"^LocalError: this node cannot be started: Too many open files: .*\(ulimit -n\)")
        process.expect(r"^ListenFailed: .*\(ulimit -n\)")
        process.expect("NewConnection")
        code, lines = process.end()
    assert code == 0, lines
    assert not [line for line in lines if "ResourceWarning" in line], lines


def test_no_thread_for_the_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(name: str, target: Callable[..., None]) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("crust.manager.core.start_thread", none_left)
    events = crust.channel()
    with crust.ConnectionManager(events, loopback_config()) as manager:
        with pytest.raises(LocalError, match=r"cannot be started: can't start new thread; .* \(ulimit -u\)"):
            manager.start_listening()
        monkeypatch.undo()
        manager.start_listening()


@pytest.fixture
def no_threads_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the system have no more threads of some name."""

    def forbid(word: str) -> None:
        def start(name: str, target: Callable[..., None], *args: Any) -> threading.Thread:
            if word and name.startswith(word):
                raise RuntimeError("can't start new thread")
            return start_thread(name, target, *args)

        monkeypatch.setattr("crust.links.connection.start_thread", start)
        monkeypatch.setattr("crust.threads.workers.start_thread", start)

    return forbid


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_no_thread_for_a_connection(nodes: Nodes, no_threads_for: Callable[[str], None], kind: str) -> None:
    """It is announced and lost at once, with the reason, and the manager goes on."""
    node = nodes.make()
    no_threads_for(kind)
    peer = nodes.make(listen=False)
    peer.connect(node)
    for one in (node, peer):
        one.expect(Event.LostConnection)
    reasons = [event.reason for one in (node, peer) for event in one.log if isinstance(event, Event.LostConnection)]
    assert any("ulimit -u" in reason for reason in reasons)
    no_threads_for("")
    join(nodes.make(), node)


def test_no_thread_for_a_handshake(
    nodes: Nodes, no_threads_for: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    node = nodes.make()
    no_threads_for("handshake")
    try:
        with raw_socket(node.endpoint) as stranger:
            assert read_to_end(stranger) == b""
    except ConnectionError:
        pass  # it was thrown out before it knew that it was connected
    wait_until(lambda: "raise the limit of threads (ulimit -u) or lower max_half_open" in caplog.text)
    assert node.manager._core.half_open == 0
    no_threads_for("")
    join(nodes.make(), node)


def test_no_thread_for_a_dial(nodes: Nodes, no_threads_for: Callable[[str], None]) -> None:
    node, other = nodes.make(), nodes.make()
    no_threads_for("dialer")
    node.connect(other)
    assert "raise the limit of threads (ulimit -u) or lower max_dials" in str(
        node.expect(Event.ConnectionFailed).reason
    )
    no_threads_for("")
    join(node, other)
