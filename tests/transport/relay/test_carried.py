"""`crust.transport.relay.carried`: the two frames, and that credit is neither lost nor made."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed, PeerMisbehaved
from crust.transport.framing import CARRIED, CREDIT, Decoder
from crust.transport.relay.carried import (
    CARRIED_OVERHEAD,
    CREDIT_STEP,
    LEAST_CREDIT,
    MAX_CARRIED,
    RELAY_WINDOW,
    Carried,
    Credit,
    Intake,
    Passage,
    Throttle,
    carried_frame,
    cost_of,
    credit_frame,
    parse_relayed,
)

CHANNELS = st.integers(0, 2**32 - 1)


def read(frame: bytes) -> Carried | Credit:
    decoder = Decoder(1)
    decoder.feed(frame)
    ((kind, body),) = decoder.take_relayed()
    return parse_relayed(kind, body)


@given(CHANNELS, st.binary(max_size=100))
def test_data_comes_out_as_it_went_in(channel: int, data: bytes) -> None:
    assert read(carried_frame(channel, data)) == Carried(channel, data)
    assert carried_frame(channel, memoryview(data)) == carried_frame(channel, data)


@given(CHANNELS, st.integers(LEAST_CREDIT, RELAY_WINDOW))
def test_credit_comes_out_as_it_went_in(channel: int, amount: int) -> None:
    assert read(credit_frame(channel, amount)) == Credit(channel, amount)


def test_the_bytes_of_both() -> None:
    assert carried_frame(7, b"ab").hex(" ") == "05 06 00 00 07 00 00 00 61 62"
    assert credit_frame(7, 65536).hex(" ") == "06 08 00 00 07 00 00 00 00 00 01 00"
    assert read(carried_frame(1, bytes(MAX_CARRIED))) == Carried(1, bytes(MAX_CARRIED))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CARRIED, b""),
        (CARRIED, b"\1\0\0"),
        (CARRIED, bytes(4 + MAX_CARRIED + 1)),
        (CREDIT, b""),
        (CREDIT, struct.pack("<I", 1)),
        (CREDIT, struct.pack("<II", 1, LEAST_CREDIT) + b"x"),
        (CREDIT, struct.pack("<II", 1, LEAST_CREDIT - 1)),
        (CREDIT, struct.pack("<II", 1, RELAY_WINDOW + 1)),
        (CREDIT, struct.pack("<II", 1, 0)),
    ],
)
def test_what_is_none_is_malformed(kind: int, body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_relayed(kind, body)


@given(st.sampled_from([CARRIED, CREDIT]), st.binary(max_size=40))
def test_only_malformed_escapes(kind: int, body: bytes) -> None:
    try:
        parse_relayed(kind, body)
    except Malformed:
        pass


# --- credit -----------------------------------------------------------------------------------------


def test_who_sends_more_than_its_credit_misbehaves() -> None:
    for end in (Intake(1000), Passage(1000)):
        end.came(bytes(1000 - CARRIED_OVERHEAD))
        assert end.outstanding == 0
        with pytest.raises(PeerMisbehaved, match="more on a relayed channel than it had credit for"):
            end.came(b"x")


def test_the_end_is_free_and_final() -> None:
    for end in (Intake(0), Passage(0)):
        end.came(b"")
        assert end.ended
        with pytest.raises(PeerMisbehaved, match="after the end"):
            end.came(b"")


def test_what_was_read_is_given_back_in_steps() -> None:
    intake, data = Intake(), bytes(MAX_CARRIED)
    given = 0
    for _ in range(100):
        intake.came(data)
        given += (step := intake.read(cost_of(data)))
        assert step == 0 or step >= CREDIT_STEP
    assert given + CREDIT_STEP > 100 * cost_of(data)
    assert intake.outstanding + 100 * cost_of(data) - given == RELAY_WINDOW
    intake.came(b"")
    assert intake.read(RELAY_WINDOW) == 0, "nobody needs credit any more"


def test_in_the_middle_credit_counts_when_it_is_passed_on() -> None:
    passage = Passage(RELAY_WINDOW)
    passage.came(bytes(MAX_CARRIED))
    cost = cost_of(bytes(MAX_CARRIED))
    passage.credited(cost)
    assert (passage.outstanding, passage.held) == (RELAY_WINDOW - cost, cost)
    assert passage.pass_on() == cost
    assert (passage.outstanding, passage.held) == (RELAY_WINDOW, 0)
    with pytest.raises(PeerMisbehaved, match="credit for more than"):
        passage.credited(LEAST_CREDIT)


def test_nothing_is_passed_on_to_who_has_ended() -> None:
    passage = Passage(1000)
    passage.credited(LEAST_CREDIT)
    passage.came(b"")
    assert (passage.outstanding, passage.held) == (0, 0)


@given(st.lists(st.integers(1, RELAY_WINDOW), min_size=1, max_size=60), st.floats(1000, 1e8))
def test_over_time_no_more_goes_through_than_may(amounts: list[int], rate: float) -> None:
    throttle, now, passed = Throttle(rate), 100.0, 0
    for amount in amounts:
        wait = throttle.take(amount, now)
        if wait:
            now += wait * 1.000001  # as if a timer had rounded
            assert throttle.take(amount, now) == 0
        passed += amount
        assert passed - amount <= rate * (now - 100.0) * 1.001 + 1
    assert throttle.take(0, now + 1000) == 0


def test_no_limit_never_waits() -> None:
    throttle = Throttle(0)
    assert [throttle.take(10**9, 1.0) for _ in range(3)] == [0, 0, 0]
