"""Whom a manager does not talk to, from the beginning or from now on: by id, address, network, function or file."""

import os
import queue
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crust import Config, ConfigError, ConnectionManager, Endpoint, Event, PeerId
from crust.connecting import notices
from crust.defence import blacklist_file
from crust.defence.blacklist import Blacklist, read
from crust.defence.blacklist_file import BlacklistFile
from crust.manager import gatekeeper
from crust.manager.gatekeeper import REASON
from crust.threads.timers import Timers
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, SCALE, Node, Nodes, in_parallel, join, two_identities, wait_until
from tests.manager.wire import raw_socket, read_to_end
from tests.together import PATIENCE, Running


def refusal(node: Node, other: Node | Endpoint) -> str:
    """What comes of connecting where one is not welcome, or does not want to."""
    failures = node.count["ConnectionFailed"]
    node.connect(other)
    failed = node.expect(Event.ConnectionFailed, failures + 1)
    (reason,) = failed.reason.values()
    return str(reason)


def knock_in_vain(outcast: Node, host: Node) -> None:
    """An outcast dials: it fails, or (where the outcast chooses) is over at once, and the host never tells of it."""
    came, went = len(host.news), outcast.count["ConnectionFailed"] + outcast.count["LostConnection"]
    outcast.connect(host)
    outcast.wait(lambda node: node.count["ConnectionFailed"] + node.count["LostConnection"] > went)
    assert len(host.news) == came


@pytest.mark.parametrize(
    ("transport", "by"),
    [("tcp", by) for by in ("id", "address", "network", "endpoint", "function")] + [("utp", "id"), ("utp", "address")],
    indirect=["transport"],
)
def test_a_connected_peer_goes_at_once_and_does_not_come_back(nodes: Nodes, by: str) -> None:
    host, outcast = nodes.pair(dial_timeout=4 * SCALE)
    entries: dict[str, Any] = {
        "id": outcast.id,
        "address": LOOPBACK,
        "network": "127.0.0.0/8",
        "endpoint": host.link(outcast),
        "function": lambda endpoint, peer_id: peer_id == outcast.id,
    }
    host.manager.blacklist(entries[by])
    lost = host.expect(Event.LostConnection)
    assert (lost.peer_id, lost.reason) == (outcast.id, REASON)
    outcast.expect(Event.LostConnection)
    assert "blacklist" in refusal(host, outcast)
    knock_in_vain(outcast, host)
    host.manager.unblacklist(entries[by])
    assert host.manager.blacklisted() == []
    host.connect(outcast)
    host.wait(lambda node: len(node.news) == 2)


def test_en_masse(nodes: Nodes) -> None:
    """Ten thousand networks and a hundred ids at once: the two peers meant are gone, the third is served all the
    same."""
    host = nodes.make()
    first, second, third = crowd = [nodes.make(listen=False) for _ in range(3)]
    in_parallel([lambda peer=peer: join(peer, host) for peer in crowd])  # type: ignore[misc]
    networks = [f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.0/24" for number in range(10_000)]
    ids = [PeerId(number.to_bytes(32)) for number in range(1, 100)]
    host.manager.blacklist(*networks, *ids, first.id, second.id)
    for outcast in (first, second):
        outcast.expect(Event.LostConnection)
    host.wait(lambda node: node.count["LostConnection"] == 2)
    third.send(third.link(host), b"still here")
    host.expect_messages(third, [b"still here"])
    assert len(host.manager.blacklisted()) == 10_101
    host.manager.unblacklist(*host.manager.blacklisted())
    assert host.manager.blacklisted() == []


def test_whoever_is_about_to_connect_meanwhile_is_turned_away(nodes: Nodes) -> None:
    """The list changes between the verdict and the first message: no connection, no event."""
    host, outcast = nodes.make(), nodes.make(listen=False)
    core = host.manager._started()
    decide = core._connections.decide

    def and_then_listed(candidate: Any) -> Any:
        verdict = decide(candidate)
        host.manager.blacklist(outcast.id)
        return verdict

    core._connections.decide = and_then_listed
    outcast.connect(host)
    wait_until(lambda: host.manager.blacklisted() and not core._connections._table)
    wait_until(lambda: outcast.count["ConnectionFailed"] or outcast.count["LostConnection"])
    assert not host.news


def test_handshakes_that_are_under_way_are_looked_at_as_well() -> None:
    done: list[str] = []
    connections: Any = SimpleNamespace(cast_out=lambda refuses, reason: done.append("connections"))
    gate = gatekeeper.Gatekeeper(
        Blacklist(), None, Timers(), connections, notices.Inbox(), lambda: done.append("handshakes")
    )
    gate.look()
    assert done == ["connections", "handshakes"]


def test_a_handshake_that_is_under_way_ends_at_once(nodes: Nodes) -> None:
    """Whoever has connected and says nothing has ten seconds; not if their address is listed meanwhile."""
    host = nodes.make(handshake_timeout=600.0)
    with raw_socket(host.endpoint) as sock:
        wait_until(lambda: host.manager._started().half_open == 1)
        host.manager.blacklist(LOOPBACK)
        assert read_to_end(sock) == b""
    wait_until(lambda: host.manager._started().half_open == 0)


def test_who_is_not_among_those_allowed_is_told_so(nodes: Nodes) -> None:
    node = nodes.make(only=["10.0.0.0/8"])
    assert "none of those that alone are allowed" in refusal(node, Endpoint.tcp((LOOPBACK, 9)))
    node.manager.blacklist("127.0.0.0/8")
    assert "on the blacklist" in refusal(node, Endpoint.tcp((LOOPBACK, 9)))


def test_a_function_is_asked_before_the_handshake(nodes: Nodes) -> None:
    """With no id; whoever it means gets no byte and costs no cryptography."""
    asked: list[tuple[Endpoint, PeerId | None]] = []

    def everybody(endpoint: Endpoint, peer_id: PeerId | None) -> bool:
        asked.append((endpoint, peer_id))
        return True

    host, outcast = nodes.make(blacklist=[everybody]), nodes.make(listen=False, dial_timeout=5.0)
    assert "the connection ended during the handshake" in refusal(outcast, host)
    assert {peer_id for _, peer_id in asked} == {None}
    assert "that address is on the blacklist" in refusal(host, Endpoint.tcp((LOOPBACK, 9)))


@both_transports
def test_nobody_but_these(nodes: Nodes) -> None:
    lesser, greater = two_identities()
    friend = nodes.make(identity=lesser)
    host = nodes.make(only=[friend.id], dial_timeout=4 * SCALE)
    stranger = nodes.make(identity=greater, dial_timeout=4 * SCALE)
    join(friend, host)
    knock_in_vain(stranger, host)
    assert "blacklist" in refusal(host, stranger)
    host.manager.allow_only(None)
    join(stranger, host)
    host.manager.allow_only([stranger.id])
    assert host.expect(Event.LostConnection).peer_id == friend.id
    host.manager.allow_only(["192.0.2.0/24"])
    host.expect(Event.LostConnection, 2)
    assert "alone are allowed" in refusal(host, friend)


def test_a_peer_that_is_listed_is_not_looked_for(nodes: Nodes) -> None:
    """Gossip tells of an outcast, and there are connections wanted: it is not dialled."""
    outcast, middle = nodes.make(), nodes.make()
    host = nodes.make(target_connections=2, blacklist=[outcast.id], bootstrap_cache=False)
    join(outcast, middle)
    join(host, middle)
    finder = host.manager._started().finder
    wait_until(lambda: finder._gossiping.known >= 2)
    assert outcast.id not in {contact.peer_id for contact in finder._gossiping.contacts()}
    assert [event.peer_id for event in host.news] == [middle.id]


# --- the file -------------------------------------------------------------------------------------------


def test_a_file_is_read_at_the_start_and_when_it_changes(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gatekeeper, "FILE_CHECK", 0.01)
    file = tmp_path / "blacklist.txt"
    file.write_text("192.0.2.0/24  # nobody\n", "utf-8")
    host, outcast = nodes.make(blacklist_file=str(file)), nodes.make(listen=False)
    assert host.manager.blacklisted() == ["192.0.2.0/24"]
    join(outcast, host)
    replace(file, "what is this?\n")
    wait_until(lambda: "line 1" in caplog.text)
    assert host.manager.blacklisted() == ["192.0.2.0/24"]
    replace(file, f"{outcast.id.hex()}\n")
    assert host.expect(Event.LostConnection).reason == REASON
    assert host.manager.blacklisted() == [outcast.id]
    with pytest.raises(ConfigError, match="stands in the blacklist_file"):
        host.manager.unblacklist(outcast.id)


def test_while_a_long_list_is_read_the_manager_goes_on_and_can_be_stopped(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatekeeper, "FILE_CHECK", 0.01)
    reading, may_end = threading.Event(), threading.Event()
    file = tmp_path / "blacklist.txt"
    file.write_text("192.0.2.1\n", "utf-8")
    first, second = nodes.make(blacklist_file=str(file)), nodes.make()

    def read_slowly(entry: object) -> Any:
        reading.set()
        assert may_end.wait(PATIENCE)
        return read(entry)

    join(second, first)
    monkeypatch.setattr(blacklist_file, "read", read_slowly)
    replace(file, "192.0.2.2\n192.0.2.3\n")
    assert reading.wait(PATIENCE)
    second.send(first, b"meanwhile")
    first.expect_messages(second, [b"meanwhile"])
    assert first.manager.blacklisted() == ["192.0.2.1"]
    stopping = Running(first.stop)
    wait_until(lambda: first.manager._blacklist_file._given_up)
    may_end.set()
    stopping.result()


def test_a_pipe_in_the_place_of_the_file_holds_nobody_up(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gatekeeper, "FILE_CHECK", 0.01)
    file = tmp_path / "blacklist.txt"
    file.write_text("192.0.2.1\n", "utf-8")
    host = nodes.make(blacklist_file=str(file))
    host.manager.start_listening()
    os.mkfifo(tmp_path / "pipe")
    os.replace(tmp_path / "pipe", file)
    wait_until(lambda: "is no regular file" in caplog.text)
    assert host.manager.blacklisted() == ["192.0.2.1"]
    replace(file, "192.0.2.2\n")
    wait_until(lambda: host.manager.blacklisted() == ["192.0.2.2"])


def test_where_no_thread_is_left_the_file_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "blacklist.txt"
    file.write_text("192.0.2.1\n", "utf-8")
    timers, unwelcome, inbox = Timers(), Blacklist(), notices.Inbox()
    connections: Any = SimpleNamespace(cast_out=lambda refuses, reason: None)
    gate = gatekeeper.Gatekeeper(unwelcome, BlacklistFile(str(file)), timers, connections, inbox)

    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(gatekeeper, "start_thread", none_left)
        gate._look_at_file()
    assert "ulimit -u" in caplog.text
    gate._look_at_file()
    inbox.get(timeout=PATIENCE).call()
    assert unwelcome.entries() == ["192.0.2.1"]
    gate.stop()


def replace(file: Path, text: str) -> None:
    """Write it as editors do: a new file in the place of the old one."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    os.replace(fresh, file)


def test_a_wrong_file_stops_a_manager_before_it_starts(tmp_path: Path) -> None:
    file = tmp_path / "blacklist.txt"
    file.write_text("\n192.0.2.0/40\n", "utf-8")
    with pytest.raises(ConfigError, match=r"blacklist\.txt, line 2: blacklist: '192\.0\.2\.0/40' is none of"):
        ConnectionManager(queue.SimpleQueue(), Config(blacklist_file=str(file)))


def test_wrong_entries_change_nothing(nodes: Nodes) -> None:
    node = nodes.make()
    for call in (node.manager.blacklist, node.manager.unblacklist, lambda *each: node.manager.allow_only(each)):
        with pytest.raises(ConfigError, match="none of"):
            call(node.id, "neither")
    assert node.manager.blacklisted() == []


def test_before_anything_is_started_and_after_the_end(nodes: Nodes) -> None:
    node = nodes.make(listen=False)
    node.manager.blacklist("192.0.2.1")
    node.stop()
    node.manager.blacklist("192.0.2.2")
    assert node.manager.blacklisted() == ["192.0.2.1", "192.0.2.2"]
