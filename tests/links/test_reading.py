"""`crust.links.reading`: what a reader thread makes of what it receives, with the test in place of the manager
and of the peer."""

import socket
from typing import Any

import pytest

from crust import Event
from crust.defence import metering
from crust.defence.metering import CONTROLS
from crust.limits import MESSAGE_OVERHEAD
from crust.links import reading
from crust.links.connection_news import Flooded, Gossiped, PeerSaid, ReaderEnded, Told, WriterEnded
from crust.links.reading import MAX_WAITING_CONTACTS, MAX_WAITING_TOLD
from crust.threads.clock import now
from crust.transport.framing import (
    ADDRESS,
    BYE,
    CHOOSE,
    CHOSEN,
    CONTACTS,
    HEADER,
    MESSAGE,
    PUNCH,
    control_frame,
    message_frame,
)
from tests.links.connection_bench import NAME, Make, idle_connection, live_connection
from tests.together import until

NEWS = 0x5A  # a kind of control frame that the connection has no answer for
idle = pytest.fixture(idle_connection)
live = pytest.fixture(live_connection)


def test_messages_come_as_batches_with_their_weight(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"one", b"", b"three")
    which, events, weight = bench.next()
    assert which is bench.connection
    assert events == [Event.NewMessage(NAME, data) for data in (b"one", b"", b"three")]
    assert weight == 8 + 3 * MESSAGE_OVERHEAD


def test_batches_and_notices_come_in_the_order_sent(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"first")
    assert bench.batch() == [b"first"]
    bench.peer.send_frame(control_frame(CHOSEN, {"serial": 1}))
    said = bench.next()
    assert isinstance(said, PeerSaid)
    assert (said.connection, said.kind, said.serial) == (bench.connection, CHOSEN, 1)
    bench.peer.send_messages(b"second")
    assert bench.batch() == [b"second"]


def test_a_kind_that_this_version_does_not_know_goes_no_further(live: Make) -> None:
    bench = live()
    for number in range(100):
        bench.peer.send_frame(control_frame(NEWS, {"n": number}))
    bench.peer.send_messages(b"after")
    assert bench.batch() == [b"after"]


def test_gossip_goes_to_the_manager_and_no_more_than_it_takes(live: Make) -> None:
    """A peer that sends more than the manager gets through does not fill its inbox."""
    bench = live()
    for number in range(MAX_WAITING_CONTACTS + 5):
        bench.peer.send_frame(control_frame(CONTACTS, {"x": number}))
    notices = [bench.next() for _ in range(MAX_WAITING_CONTACTS)]
    assert all(isinstance(notice, Gossiped) and notice.connection is bench.connection for notice in notices)
    assert [notice.content["x"] for notice in notices] == list(range(MAX_WAITING_CONTACTS))
    for _ in range(2):  # when the second comes, all that was read with the first has been dealt with
        bench.peer.send_messages(b"end")
        assert bench.batch() == [b"end"]
    bench.connection.contacts_taken += 1
    for number in (1, 2):
        bench.peer.send_frame(control_frame(CONTACTS, {"x": -number}))
    assert bench.next().content == {"x": -1}
    bench.peer.send_messages(b"end")
    assert bench.batch() == [b"end"]


def test_what_is_told_of_addresses_and_meetings_goes_to_the_manager_and_no_more_than_it_takes(live: Make) -> None:
    bench = live()
    for number in range(MAX_WAITING_TOLD + 5):
        bench.peer.send_frame(control_frame((ADDRESS, PUNCH)[number % 2], {"n": number}))
    notices = [bench.next() for _ in range(MAX_WAITING_TOLD)]
    assert all(isinstance(notice, Told) and notice.connection is bench.connection for notice in notices)
    assert [(notice.kind, notice.content["n"]) for notice in notices[:2]] == [(ADDRESS, 0), (PUNCH, 1)]
    for _ in range(2):  # when the second comes, all that was read with the first has been dealt with
        bench.peer.send_messages(b"end")
        assert bench.batch() == [b"end"]
    bench.connection.told_taken += 1
    for number in (1, 2):
        bench.peer.send_frame(control_frame(PUNCH, {"n": -number}))
    assert bench.next().content == {"n": -1}
    bench.peer.send_messages(b"end")
    assert bench.batch() == [b"end"]


def test_what_comes_at_once_is_one_batch_before_the_end(live: Make) -> None:
    bench = live()
    frames = (message_frame(b"1"), message_frame(b"2"), control_frame(BYE, {"text": "so long"}), message_frame(b"3"))
    bench.peer.send_frame(*frames)
    assert bench.batch()[:2] == [b"1", b"2"]
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert (ended.connection, ended.reason, ended.goodbye) == (bench.connection, "so long", True)
    assert bench.inbox.empty()


def test_what_the_handshake_read_already_is_not_forgotten(idle: Make) -> None:
    bench = idle()
    reader: Any = bench.link.reader
    reader._opener.feed(bench.peer.seal(message_frame(b"early")))
    bench.start()
    assert bench.batch() == [b"early"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"text": "a\x1b[31m red\nline\x00"}, "a?[31m red?line?"),
        ({"text": "\u202eltr"}, "?ltr"),
        ({"text": "x" * 3000}, "x" * 200),
        ({"text": ["not", "text"]}, "the peer closed the connection"),
        ({}, "the peer closed the connection"),
    ],
)
def test_what_a_goodbye_says_is_fit_for_a_log(live: Make, content: dict[str, Any], text: str) -> None:
    bench = live()
    bench.peer.send_frame(control_frame(BYE, content))
    ended = bench.next()
    assert (ended.reason, ended.goodbye) == (text, True)


def test_an_end_without_goodbye(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"last words")
    bench.peer.sock.shutdown(socket.SHUT_WR)
    assert bench.batch() == [b"last words"]
    ended = bench.next()
    assert not ended.goodbye
    assert "without a goodbye" in ended.reason


def test_messages_before_a_forged_record_count(live: Make) -> None:
    bench = live()
    genuine, forged = bench.peer.seal(message_frame(b"genuine")), bytearray(bench.peer.seal(message_frame(b"forged")))
    forged[-1] ^= 1
    bench.peer.sock.sendall(genuine + forged)
    assert bench.batch() == [b"genuine"]
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert not ended.goodbye
    assert "does not authenticate" in ended.reason


def test_an_error_of_ours_ends_the_connection_and_is_logged(
    idle: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = idle()
    monkeypatch.setattr(bench.link.reader, "next", lambda: 1 / 0)
    bench.start()
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert ended.reason.startswith("an internal error: ZeroDivisionError")
    bench.connection.abort()
    bench.connection.release()
    assert "please report this" in caplog.text


@pytest.mark.parametrize("kind", [CHOOSE, CHOSEN])
@pytest.mark.parametrize("content", [{}, *({"serial": bad} for bad in (-1, 2**63, True, "1", 1.5))])
def test_the_choice_without_its_serial(live: Make, kind: int, content: dict[str, Any]) -> None:
    bench = live()
    bench.peer.send_frame(control_frame(kind, content))
    ended = bench.next()
    assert isinstance(ended, ReaderEnded)
    assert "without the number 'serial'" in ended.reason or "is not JSON" in ended.reason


# --- too much of something ------------------------------------------------------------------------------


def test_what_comes_is_counted(live: Make) -> None:
    bench = live()
    bench.peer.send_messages(b"one", b"two")
    bench.peer.send_frame(*[control_frame(NEWS, {"n": number}) for number in range(3)])
    bench.peer.send_messages(b"end")
    bench.messages(3)
    info = bench.connection.info()
    assert (info.messages_received, info.records_received, info.controls_received) == (3, 3, 3)


def test_too_many_control_frames_are_told_and_slowed(live: Make) -> None:
    """At once ten seconds' worth are fine; then it is told once, and reading pauses."""
    bench = live(max_controls_per_second=1000)
    bench.peer.send_frame(*[control_frame(NEWS, {})] * 10_000)
    bench.peer.send_messages(b"fine")
    assert bench.batch() == [b"fine"]
    bench.peer.send_frame(*[control_frame(NEWS, {})] * 1_500)
    notice = bench.next()
    assert isinstance(notice, Flooded)
    assert (notice.connection, notice.alert.kind, notice.alert.limit) == (bench.connection, CONTROLS, 1000)
    began = now()
    bench.peer.send_frame(*[control_frame(NEWS, {})] * 10)
    bench.peer.send_messages(b"late")
    assert bench.batch() == [b"late"]
    assert now() - began > 0.2


def test_who_does_not_slow_down_has_to_go(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "READ_PAUSE", 0.01)
    bench = live(max_controls_per_second=10)
    notices: list[Any] = []
    for _ in range(4):
        bench.peer.send_frame(*[control_frame(NEWS, {})] * 450)
    while not notices or not isinstance(notices[-1], ReaderEnded):
        bench.peer.send_frame(control_frame(NEWS, {}))
        while not bench.inbox.empty():
            notices.append(bench.next())
    assert [type(notice) for notice in notices] == [Flooded, ReaderEnded]
    assert "control frames a second, where 10 are allowed, and did not slow down" in notices[-1].reason
    assert not notices[-1].goodbye
    assert notices[-1].excess


@pytest.mark.parametrize("kind", ["bytes", "messages", "records"])
def test_other_limits_are_off_until_they_are_set(live: Make, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "BURST_SECONDS", dict.fromkeys(metering.BURST_SECONDS, 1.0))
    bench = live(**{f"max_{kind}_per_second": 20})
    for _ in range(21):
        bench.peer.send_messages(b"")
    notice = next(item for item in iter(bench.next, None) if isinstance(item, Flooded))
    assert notice.alert.kind == kind


def test_the_end_does_not_wait_for_a_pause(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "READ_PAUSE", 60.0)
    bench = live(max_controls_per_second=1)
    bench.peer.send_frame(*[control_frame(NEWS, {})] * 100)
    assert isinstance(bench.next(), Flooded)
    until(lambda: bench.connection.pace.paused)
    began = now()
    bench.connection.abort()
    assert isinstance(bench.next(), ReaderEnded | WriterEnded)
    assert isinstance(bench.next(), ReaderEnded | WriterEnded)
    assert now() - began < 30.0


def test_who_breaks_the_protocol_is_told_from_who_is_lost(live: Make) -> None:
    bench = live()
    bench.peer.sock.sendall(bytes(200))
    notices = [bench.next()]
    assert isinstance(notices[0], ReaderEnded)
    assert notices[0].misbehaved


def test_empty_messages_are_handed_over_in_time(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count nothing, and must not be gathered for as long as more come."""
    monkeypatch.setattr(reading, "HAND_OVER_BYTES", 1)
    bench = live()
    bench.peer.sock.sendall(b"".join(bench.peer.seal(HEADER.pack(MESSAGE)) for _ in range(5000)))
    assert len(bench.batch()) < 5000
