"""The receiver for many peers, with a manager that only writes down what it is told."""

import queue
from collections import deque
from typing import Any

import pytest

from crust.cli import transfer_wire as wire
from crust.cli.transfer_inbox import Inbox
from crust.cli.transfer_view import View
from crust.cli.transfer_wire import Code
from crust.endpoint import Endpoint, Port
from crust.errors import NotConnected, SendQueueFull
from crust.event import AnyEvent, Event
from crust.identity import PeerId
from tests.cli.transfer_fakes import ID, MemoryFolder, hash_of

HERE = Endpoint.tcp("192.0.2.1:1")
THERE = Endpoint.tcp("192.0.2.2:2")
ADA = PeerId(b"a" * 32)
BEN = PeerId(b"b" * 32)
STOP = Event.Stopped()


class Recorder:
    """A manager and a channel in one; the channel is `queue.Empty` when nothing is left."""

    def __init__(self) -> None:
        self.sent: list[tuple[Endpoint, wire.Message]] = []
        self.dropped: list[Endpoint] = []
        self.error: Exception | None = None
        self.events: deque[Any] = deque()
        self.timeouts: list[float | None] = []

    def send(self, endpoint: Endpoint, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((endpoint, wire.parse_untrusted(data)))

    def drop_node(self, endpoint: Endpoint) -> None:
        self.dropped.append(endpoint)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.timeouts.append(timeout)
        if not self.events:
            raise queue.Empty
        return self.events.popleft()

    def run(self, folder: MemoryFolder, *events: Any, **options: Any) -> int:
        self.events.extend(events)
        inbox = Inbox(self, self, folder, View(), **options)
        try:
            return inbox.run()
        finally:
            inbox.close()


def says(message: wire.Message, endpoint: Endpoint = HERE) -> AnyEvent:
    return Event.NewMessage(endpoint, wire.encode(message))


def whole_file(name: str, data: bytes, endpoint: Endpoint = HERE, following: int = 0) -> list[AnyEvent]:
    transfer = name.encode().ljust(16)
    return [
        says(wire.Offer(transfer, len(data), following, name), endpoint),
        says(wire.Chunk(transfer, 0, memoryview(data)), endpoint),
        says(wire.Finish(transfer, len(data), hash_of(data)), endpoint),
    ]


NEW = Event.NewConnection(HERE, ADA)
LOST = Event.LostConnection(HERE, ADA, "gone")
END = says(wire.End())


def test_files_of_several_peers_come_at_the_same_time(capsys: pytest.CaptureFixture[str]) -> None:
    folder = MemoryFolder()
    ada, ben = whole_file("ada", b"one"), whole_file("ben", b"two", THERE)
    mixed = [event for pair in zip(ada, ben, strict=True) for event in pair]
    Recorder().run(folder, NEW, Event.NewConnection(THERE, BEN), *mixed, STOP)
    assert folder.files == {"ada": b"one", "ben": b"two"}
    assert "ada: received and checked" in capsys.readouterr().out


def test_once_ends_with_the_end_of_the_first_send() -> None:
    folder = MemoryFolder()
    code = Recorder().run(folder, NEW, *whole_file("a", b"1", following=1), *whole_file("b", b"2"), END, once=True)
    assert code == 0
    assert set(folder.files) == {"a", "b"}


def test_once_does_not_end_with_somebody_who_sends_nothing() -> None:
    folder = MemoryFolder()
    nobody = [Event.NewConnection(THERE, BEN), says(wire.End(), THERE), Event.LostConnection(THERE, BEN, "gone")]
    assert Recorder().run(folder, *nobody, NEW, *whole_file("a", b"1"), END, once=True) == 0
    assert folder.files == {"a": b"1"}


def test_once_waits_for_a_sender_that_was_cut_off() -> None:
    recorder = Recorder()
    half = whole_file("a", b"1")[:2]
    code = recorder.run(MemoryFolder(), NEW, *half, LOST, NEW, *whole_file("a", b"1"), END, once=True)
    assert code == 0
    assert recorder.timeouts == [None] * len(recorder.timeouts)


def test_once_waits_a_moment_for_a_sender_that_may_have_missed_the_last_word() -> None:
    recorder = Recorder()
    assert recorder.run(MemoryFolder(), NEW, *whole_file("a", b"1"), LOST, once=True) == 0
    assert recorder.timeouts[-1] is not None


def test_once_is_1_if_a_file_was_refused() -> None:
    assert (
        Recorder().run(
            MemoryFolder(), NEW, *whole_file("..", b"1", following=1), *whole_file("b", b"2"), END, once=True
        )
        == 1
    )


def test_a_lost_connection_lets_go_of_the_file() -> None:
    folder = MemoryFolder()
    Recorder().run(folder, NEW, *whole_file("a", b"1")[:2], LOST, STOP)
    assert not folder.in_use
    assert folder.parts == {("a", 1): b"1"}


def test_the_end_of_the_program_lets_go_of_every_file() -> None:
    folder = MemoryFolder()
    Recorder().run(folder, NEW, *whole_file("a", b"1")[:2], STOP)
    assert not folder.in_use


def test_who_may_not_send_is_told_and_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    folder, recorder = MemoryFolder(), Recorder()
    recorder.run(folder, NEW, *whole_file("a", b"1"), STOP, senders=[BEN])
    refused = wire.Refused(wire.NO_TRANSFER, Code.NOT_ALLOWED, "the receiver takes no files from this identity")
    assert recorder.sent == [(HERE, refused)]
    assert recorder.dropped == [HERE]
    assert not folder.files
    assert ADA.hex() in capsys.readouterr().err


def test_who_breaks_the_protocol_is_told_and_dropped_once(capsys: pytest.CaptureFixture[str]) -> None:
    folder, recorder = MemoryFolder(), Recorder()
    recorder.run(folder, NEW, Event.NewMessage(HERE, b"\x1b[2Jhello"), *whole_file("a", b"1"), STOP)
    assert [message for _, message in recorder.sent] == [
        wire.Refused(wire.NO_TRANSFER, Code.PROTOCOL, "not understood: not a message of a file transfer")
    ]
    assert recorder.dropped == [HERE]
    assert not folder.files
    assert "broke the protocol" in capsys.readouterr().err


def test_who_takes_no_answers_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    folder, recorder = MemoryFolder(), Recorder()
    recorder.error = SendQueueFull("full")
    recorder.run(folder, NEW, *whole_file("a", b"1"), STOP)
    assert recorder.dropped == [HERE]
    assert not folder.in_use
    assert "takes no answers" in capsys.readouterr().err


def test_an_answer_to_somebody_who_left_is_no_error() -> None:
    folder, recorder = MemoryFolder(), Recorder()
    recorder.error = NotConnected("gone")
    recorder.run(folder, NEW, *whole_file("a", b"1"), LOST, STOP)
    assert folder.files == {"a": b"1"}


def test_names_from_outside_do_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Recorder().run(MemoryFolder(), NEW, *whole_file("\x1b[2J", b"1"), says(wire.Offer(ID, 1, 0, "x")), STOP)
    output = capsys.readouterr()
    assert "\x1b" not in output.out + output.err
    assert "\\x1b[2J: not received" in output.err


def test_a_listener_that_fails_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Recorder().run(MemoryFolder(), Event.ListenerFailed(Port.tcp(1), "no more"), STOP)
    assert "the listener on tcp:1 failed: no more" in capsys.readouterr().err
