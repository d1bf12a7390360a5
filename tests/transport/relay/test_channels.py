"""Channels: what comes goes to where it belongs, what comes late is passed over, the rest is refused."""

from typing import Any

import pytest

from crust.errors import PeerMisbehaved
from crust.transport.framing import Decoder
from crust.transport.relay.carried import CARRIED_OVERHEAD, LEAST_CREDIT, RELAY_WINDOW, carried_frame, credit_frame
from crust.transport.relay.channels import Channels, hear_relay_note, take_relayed
from crust.transport.relay.notes import Abort, Refusal


class Noted:
    """A sink that notes what it gets."""

    def __init__(self, outstanding: int = 0) -> None:
        self.outstanding = outstanding
        self.got: list[Any] = []

    def carried(self, data: bytes) -> None:
        self.got.append(data)

    def credited(self, amount: int) -> None:
        self.got.append(amount)

    def ended(self, reason: str) -> None:
        self.got.append(f"ended: {reason}")


def feed(channels: Channels | None, *frames: bytes) -> None:
    """As a reader does."""
    decoder = Decoder(1)
    decoder.feed(b"".join(frames))
    take_relayed(channels, decoder.take_relayed())


def test_everything_goes_where_it_belongs_in_order() -> None:
    channels, one, two = Channels(odd=True), Noted(), Noted()
    assert channels.add(1, one)
    assert channels.add(3, two)
    feed(channels, carried_frame(1, b"a"), carried_frame(3, b"b"), credit_frame(1, LEAST_CREDIT), carried_frame(1, b""))
    assert one.got == [b"a", LEAST_CREDIT, b""]
    assert two.got == [b"b"]


def test_numbers() -> None:
    odd, even = Channels(odd=True), Channels(odd=False)
    assert [odd.new_number(), odd.new_number(), even.new_number(), even.new_number()] == [1, 3, 2, 4]
    assert even.opened(1)
    assert even.opened(7), "some may be left out"
    assert not even.opened(7), "twice"
    assert not even.opened(5), "back"
    assert not even.opened(6), "those are ours"
    assert odd.opened(2)


def test_where_nothing_was_opened_nothing_may_come() -> None:
    for channels in (None, Channels(odd=True)):
        for frame in (carried_frame(2, b"x"), credit_frame(1, LEAST_CREDIT), carried_frame(0, b"")):
            with pytest.raises(PeerMisbehaved, match=r"none was opened|never opened"):
                feed(channels, frame)


def test_what_was_on_its_way_when_a_channel_ended_is_passed_over_and_no_more() -> None:
    channels, sink = Channels(odd=True), Noted(2 * (100 + CARRIED_OVERHEAD))
    number = channels.new_number()
    channels.add(number, sink)
    assert channels.remove(number) is sink
    assert channels.remove(number) is None
    for _ in range(2):
        feed(
            channels, carried_frame(number, bytes(100)), credit_frame(number, LEAST_CREDIT), carried_frame(number, b"")
        )
    with pytest.raises(PeerMisbehaved, match="that are over"):
        feed(channels, carried_frame(number, b"x"))
    assert sink.got == []


def test_with_the_connection_all_channels_end() -> None:
    channels, sinks = Channels(odd=False), [Noted(), Noted()]
    for sink in sinks:
        channels.add(channels.new_number(), sink)
    assert len(channels) == 2
    channels.end("gone")
    channels.end("again")
    assert [sink.got for sink in sinks] == [["ended: gone"]] * 2
    assert not channels.add(6, Noted())
    assert len(channels) == 0


def test_an_abort_is_heard_at_once_and_other_notes_go_on() -> None:
    channels, sink = Channels(odd=True), Noted(RELAY_WINDOW)
    channels.add(1, sink)
    assert hear_relay_note(channels, Abort(1, "why").content()) is None
    assert sink.got == ["ended: why"]
    assert hear_relay_note(channels, Abort(1, "why").content()) is None
    assert hear_relay_note(None, Abort(1, "").content()) is None
    assert hear_relay_note(channels, Refusal(1, "off").content()) == Refusal(1, "off")
    assert len(sink.got) == 1
