"""``crust send`` where it goes wrong; `test_transfer_receive` has both sides together where it goes well."""

import queue
import signal
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from crust.cli import transfer_wire as wire
from crust.cli.transfer_link import Link
from crust.cli.transfer_send import Delivery
from crust.cli.transfer_view import View
from crust.cli.transfer_wire import Code
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import ConnectionLost
from crust.event import Event
from crust.identity import PeerId
from tests.cli.transfer_fakes import hash_of
from tests.processes import PATIENCE, Process

HERE = Endpoint.tcp("192.0.2.1:1")
ADA = PeerId(b"a" * 32)


def send(*words: str | Path) -> tuple[int, str]:
    with Process("-m", "crust", "send", *map(str, words)) as process:
        code, lines = process.end()
        return code, "\n".join(lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


@pytest.fixture
def mute() -> Any:
    """A peer that connects, and reads, and says nothing; its events and its port."""
    events: queue.Queue[Any] = queue.Queue()
    config = Config(listen_addresses=("127.0.0.1",), beacon_port=None, upnp=False)
    with ConnectionManager(events, config) as manager:
        yield manager, events, manager.start_listening()[0].port


# --- as a process ---------------------------------------------------------------------------------


def test_what_cannot_be_sent_is_said_before_anything_is_dialled(tmp_path: Path) -> None:
    code, text = send(tmp_path, "127.0.0.1:1")
    assert (code, "tar -czf" in text, "Connecting" in text) == (1, True, False)
    code, text = send(tmp_path / "nothing", "127.0.0.1:1")
    assert (code, "there is no such file" in text, "Connecting" in text) == (1, True, False)


def test_a_wrong_command_line_is_2(path: Path) -> None:
    for words in ([path], [path, "nonsense"], [path, "127.0.0.1:1", "--peer-id", "abc"]):
        assert send(*words)[0] == 2


def test_a_peer_that_is_not_there_is_3(path: Path) -> None:
    code, text = send(path, "127.0.0.1:1")
    assert code == 3
    assert "error: tcp://127.0.0.1:1: " in text


def test_a_peer_that_is_somebody_else_is_3_and_gets_nothing(path: Path, mute: Any) -> None:
    manager, events, port = mute
    code, text = send(path, f"127.0.0.1:{port}", "--peer-id", ADA.hex())
    assert code == 3
    assert f"is {manager.identity.peer_id.hex()}, not the one asked for" in text
    kinds = [type(events.get(timeout=PATIENCE)) for _ in range(2)]
    assert kinds == [Event.NewConnection, Event.LostConnection]


def test_a_peer_that_talks_nonsense_is_1(path: Path, mute: Any) -> None:
    manager, events, port = mute
    with Process("-m", "crust", "send", str(path), f"127.0.0.1:{port}") as process:
        endpoint = events.get(timeout=PATIENCE).endpoint
        manager.send(endpoint, b"good morning")
        code, lines = process.end()
    assert code == 1
    assert "not a message of a file transfer" in lines[-1]


def test_a_peer_that_goes_for_good_is_5(path: Path, mute: Any) -> None:
    manager, events, port = mute
    with Process("-m", "crust", "send", str(path), f"127.0.0.1:{port}", "--retry", "0") as process:
        events.get(timeout=PATIENCE)
        manager.stop()
        code, lines = process.end()
    assert code == 5
    assert "give the same command again" in lines[-1]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_in_order(path: Path, mute: Any, number: signal.Signals, expected: int) -> None:
    _, events, port = mute
    with Process("-m", "crust", "send", str(path), f"127.0.0.1:{port}") as process:
        kinds = [type(events.get(timeout=PATIENCE)) for _ in range(2)]
        assert kinds == [Event.NewConnection, Event.NewMessage]
        process.signal(number)
        code, lines = process.end()
    assert code == expected
    assert not any("Traceback" in line for line in lines)
    assert isinstance(events.get(timeout=PATIENCE), Event.LostConnection)


# --- with a peer that does what the test says -----------------------------------------------------


class ScriptedPeer:
    """A manager whose peer answers each offer with the next of ``answers``; "lost" breaks the connection."""

    def __init__(self, *answers: wire.Code | str) -> None:
        self.events: deque[Any] = deque()
        self.answers = deque(answers)
        self.offers: list[wire.Offer] = []
        self.heard: list[wire.Message] = []

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self.events:
            raise queue.Empty
        return self.events.popleft()

    def connect(self, endpoints: Any) -> None:
        self.events.append(Event.NewConnection(HERE, ADA))

    def drop_node(self, endpoint: Endpoint) -> None:
        """Nothing to end."""

    def send(self, endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
        message = wire.parse_untrusted(data)
        self.heard.append(message)
        if isinstance(message, wire.Offer):
            self.offers.append(message)
            answer = self.answers.popleft()
            if answer == "lost":
                self.events.append(Event.LostConnection(HERE, ADA, "it rains"))
            elif answer == "start":
                self._say(wire.Start(message.transfer, 0))
            elif isinstance(answer, Code):
                self._say(wire.Refused(message.transfer, answer, "no"))
        if isinstance(message, wire.Finish):
            self._say(wire.Saved(message.transfer, False, message.digest, "name"))

    def _say(self, message: wire.Message) -> None:
        self.events.append(Event.NewMessage(HERE, wire.encode(message)))

    def deliver(self, *paths: Path, retry: float = 60.0, stalled_after: float = 60.0) -> int:
        link = Link(self, self, [HERE])
        link.open(0.0)
        return Delivery(link, View(quiet=True), retry, stalled_after=stalled_after).send_all([str(p) for p in paths])


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.cli.transfer_send.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("crust.cli.transfer_link.FIRST_PAUSE", 0.0)


def test_a_file_and_then_the_end(path: Path) -> None:
    peer = ScriptedPeer("start", "start")
    assert peer.deliver(path, path) == 0
    assert [offer.following for offer in peer.offers] == [1, 0]
    assert peer.heard[-2:] == [wire.Finish(peer.offers[1].transfer, 7, hash_of(b"content")), wire.End()]


def test_after_a_reconnect_it_is_the_same_transfer(path: Path) -> None:
    peer = ScriptedPeer("lost", "lost", "start")
    assert peer.deliver(path) == 0
    assert len({offer.transfer for offer in peer.offers}) == 1


def test_a_busy_receiver_is_asked_again(path: Path) -> None:
    peer = ScriptedPeer(Code.BUSY, Code.BUSY, "start")
    assert peer.deliver(path) == 0


def test_a_busy_receiver_is_not_asked_for_ever(path: Path) -> None:
    assert ScriptedPeer(Code.BUSY).deliver(path, retry=0.0) == 1


def test_a_silent_receiver_is_given_up(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peer = ScriptedPeer("silence", "start")
    assert peer.deliver(path, stalled_after=0.05) == 0
    assert len(peer.offers) == 2


def test_a_refusal_does_not_keep_the_others_from_being_sent(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peer = ScriptedPeer(Code.EXISTS, "start")
    assert peer.deliver(path, path) == 1
    assert f"{path}: not taken: no" in capsys.readouterr().err


def test_a_damaged_file_is_6(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ScriptedPeer(Code.CORRUPT).deliver(path) == 6
    assert capsys.readouterr().err


def test_a_file_that_vanishes_between_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peer = ScriptedPeer("start")
    assert peer.deliver(path.with_name("gone"), path) == 1
    assert "gone: there is no such file" in capsys.readouterr().err
    assert peer.heard[-1] == wire.End()


def test_a_link_that_does_not_come_back_ends_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = ScriptedPeer("lost")

    def deaf(endpoints: Any) -> None:
        peer.events.append(Event.ConnectionFailed((HERE,), {HERE: "nobody there"}))

    link = Link(peer, peer, [HERE])
    link.open(0.0)
    monkeypatch.setattr(peer, "connect", deaf)
    with pytest.raises(ConnectionLost, match=r"did not come back: .*nobody there; give the same command again"):
        Delivery(link, View(quiet=True), 0.0).send_all([str(path)])


def test_a_name_that_receivers_refuse_is_sent_as_one_that_they_take(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"x")
    peer = ScriptedPeer("start")
    assert peer.deliver(tmp_path / ".hidden") == 0
    assert peer.offers[0].name == "_.hidden"
