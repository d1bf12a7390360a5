"""`crust.transport.crossing`: it becomes clear who is the initiator, whatever comes, in whatever pieces."""

import copy
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import HandshakeFailed, Malformed
from crust.identity import Identity
from crust.transport.aead import AEGIS256, CHACHA20
from crust.transport.crossing import Crossing
from crust.transport.handshake import Initiator, Responder
from crust.transport.masking import MAX_HANDSHAKE_MESSAGE, Unmasker, envelope, network_keys
from tests.transport.test_handshake import ALICE, BOB, BOTH, NETWORK, Rude

RECORDS: Final = b"records"
HEADER: Final = 18  # bytes of an envelope before its message
WHOLE: Final = 3 * MAX_HANDSHAKE_MESSAGE
either_order = pytest.mark.parametrize("we_are_greater", [True, False], ids=["we are greater", "they are greater"])
in_pieces = pytest.mark.parametrize("size", [WHOLE, 17, 1], ids=["whole", "in pieces", "byte by byte"])

Fits = Callable[[int, int | None], bool]
"""Told the size of an envelope and the size that it has as the other message, if it can be one: is that the case?"""


def crossing(identity: Identity = ALICE, is_replay: Callable[[bytes], bool] | None = None, **changes: Any) -> Crossing:
    arguments: dict[str, Any] = {"network": NETWORK, "session": b"sessions", "ciphers": BOTH} | changes
    return Crossing(Initiator(identity, **arguments), Responder(identity, **arguments, is_replay=is_replay))


def listener(**changes: Any) -> Responder:
    return Responder(BOB, NETWORK, b"listener", **({"ciphers": BOTH} | changes))


@dataclass
class Ends:
    """Both ends of a stream, which have dialled: what they said first."""

    us: Crossing
    them: Crossing
    our_first: bytes
    their_first: bytes


def dialled(we_are_greater: bool, ours: dict[str, Any] | None = None, theirs: dict[str, Any] | None = None) -> Ends:
    while True:
        us, them = crossing(**(ours or {})), crossing(BOB, **(theirs or {}))
        ends = Ends(us, them, us.start(), them.start())
        if (us._own.replay_token > them._own.replay_token) is we_are_greater:
            return ends


def tell(end: Crossing, data: bytes, size: int = WHOLE) -> bytes:
    """What an end says to ``data``, which comes in pieces of that size and goes to whoever is in charge."""
    said = b""
    for at in range(0, len(data), size):
        piece = data[at : at + size]
        if end.initiator:
            end.initiator.receive(piece)
        else:
            said += (end.responder or end).receive(piece)
    return said


def finish(initiator: Initiator | None, responder: Responder | None, size: int = WHOLE) -> None:
    """The rest of a handshake, from message 2 on, and what both know then."""
    assert initiator
    assert responder
    assert initiator.receive(b""), "message 2 is there"
    third = initiator.finish(serial=3, alone=True) + RECORDS
    for at in range(0, len(third), size):
        responder.receive(third[at : at + size])
    assert responder.done
    assert responder.unused == RECORDS
    assert responder.peer_hello.serial == 3
    assert initiator.keys.handshake_hash == responder.keys.handshake_hash
    assert initiator.keys.send_key == responder.keys.receive_key
    assert initiator.keys.receive_key == responder.keys.send_key
    assert {initiator.peer_id, responder.peer_id} == {ALICE.peer_id, BOB.peer_id}


def size_as(number: int, data: bytes) -> int | None:
    unmasker = Unmasker(NETWORK.mask_key, number)
    try:
        unmasker.feed(data[:HEADER])
    except Malformed:
        return None
    return unmasker._size


def salted(number: int, data: bytes, fits: Fits, chance: Callable[[int], bytes] = os.urandom) -> bytes:
    """Message 1 or 2 of the same content in another envelope."""
    message = Unmasker(NETWORK.mask_key, number).feed(data)
    assert message is not None
    while True:
        again = envelope(NETWORK.mask_key, number, message, chance)
        if fits(len(again), size_as(3 - number, again)):
            return again


READINGS: Final[dict[str, Fits]] = {
    "it cannot be the other": lambda size, other: other is None,
    "as the other it is shorter": lambda size, other: other is not None and other < size,
    "as the other it is longer": lambda size, other: other is not None and other > size + len(RECORDS),
}
each_reading = pytest.mark.parametrize("fits", READINGS.values(), ids=READINGS)


# --- honest peers -----------------------------------------------------------------------------------------------------


@in_pieces
@either_order
@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
def test_both_have_dialled(we_are_greater: bool, size: int, mask: bool) -> None:
    ends = dialled(we_are_greater, {"mask": mask}, {"mask": mask})
    greater, lesser = (ends.us, ends.them) if we_are_greater else (ends.them, ends.us)
    firsts = (ends.their_first, ends.our_first) if we_are_greater else (ends.our_first, ends.their_first)
    assert tell(greater, firsts[0], size) == b""
    second = tell(lesser, firsts[1], size)
    assert second
    tell(greater, second, size)
    assert greater.responder is lesser.initiator is None
    finish(greater.initiator, lesser.responder, size)


@in_pieces
@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
def test_only_we_have_dialled(size: int, mask: bool) -> None:
    us, them = crossing(mask=mask), listener(mask=mask)
    assert tell(us, them.receive(us.start()), size) == b""
    assert us.responder is None
    finish(us.initiator, them, size)


@in_pieces
def test_message_2_may_follow_their_message_1_at_once(size: int) -> None:
    ends = dialled(we_are_greater=True)
    answer = tell(ends.them, ends.our_first)
    tell(ends.us, ends.their_first + answer, size)
    finish(ends.us.initiator, ends.them.responder, size)


@each_reading
@in_pieces
@either_order
def test_their_message_1_is_not_mistaken(we_are_greater: bool, size: int, fits: Fits) -> None:
    """And nothing of it is left in the initiator that we may be: the handshake comes to its end."""
    ends = dialled(we_are_greater)
    while len(ends.their_first) < 250:  # so that there is room for a shorter one
        ends = dialled(we_are_greater)
    theirs = salted(1, ends.their_first, fits)
    if we_are_greater:
        tell(ends.us, theirs + tell(ends.them, ends.our_first), size)
        finish(ends.us.initiator, ends.them.responder, size)
    else:
        assert tell(ends.them, ends.our_first) == b""
        tell(ends.them, tell(ends.us, theirs, size))
        finish(ends.them.initiator, ends.us.responder, size)


@each_reading
@in_pieces
def test_an_answer_is_not_mistaken(size: int, fits: Fits) -> None:
    """Nor does it wait for more than there is."""
    us, them = crossing(), listener()
    tell(us, salted(2, them.receive(us.start()), fits), size)
    finish(us.initiator, them, size)


def test_every_cut_gives_the_same() -> None:
    ends = dialled(we_are_greater=True)
    stream = ends.their_first + tell(ends.them, ends.our_first)
    for place in range(len(stream) + 1):
        us = copy.deepcopy(ends.us)
        tell(us, stream[:place])
        tell(us, stream[place:])
        assert us.initiator
        assert us.initiator.receive(b"")
        assert us.initiator.peer_id == BOB.peer_id


def seeded(seed: int, identity: Identity = ALICE) -> Crossing:
    """The same each time."""
    return crossing(identity, random=random.Random(seed).randbytes)


@pytest.mark.parametrize("turns", [200, pytest.param(4000, marks=pytest.mark.slow)])
def test_many_times(turns: int) -> None:
    """By chance alone, about one message in 68 could also be the other one."""
    chance = random.Random(11)
    ours, them = seeded(1).start(), seeded(2, BOB)
    streams = [(1, them.start(), tell(them, ours)), (2, listener(random=chance.randbytes).receive(ours), b"")]
    assert them.responder, "we are the greater one"
    possible = 0
    for turn in range(turns):
        number, message, more = streams[turn % 2]
        data = salted(number, message, lambda size, other: True, chance.randbytes)
        possible += size_as(3 - number, data) is not None
        data += more
        us = seeded(1)
        us.start()
        place = chance.randrange(len(data))
        tell(us, data[:place])
        tell(us, data[place:])
        assert us.initiator
        assert us.initiator.receive(b"")
    assert possible > turns / 100


# --- ourselves, and what was said before ------------------------------------------------------------------------------


@each_reading
@in_pieces
def test_our_own_message_comes_back(size: int, fits: Fits) -> None:
    """A mirror, which may know the key of the network: or a stream of which both ends are ours."""
    us = crossing()
    ours = us.start()
    while len(ours) < 250:
        us = crossing()
        ours = us.start()
    with pytest.raises(HandshakeFailed, match="our own first message came back"):
        tell(us, salted(1, ours, fits), size)
    for data in (ours, b""):
        with pytest.raises(HandshakeFailed, match="our own first message came back"):
            us.receive(data)
    assert us.initiator is us.responder is None


def test_our_own_message_comes_back_after_others_had_it() -> None:
    us = crossing(is_replay=lambda _: True)
    with pytest.raises(HandshakeFailed, match="copy of an earlier one"):
        us.receive(us.start())
    assert us.initiator is us.responder is None


@in_pieces
@either_order
def test_replays(we_are_greater: bool, size: int) -> None:
    seen: set[bytes] = set()

    def is_replay(token: bytes) -> bool:
        known = token in seen
        seen.add(token)
        return known

    ends = dialled(we_are_greater, {"is_replay": is_replay})
    tell(ends.us, ends.their_first, size)
    assert len(seen) == 1, "also of one that is passed over, or it could be used elsewhere"
    again = crossing(is_replay=is_replay)
    again.start()
    with pytest.raises(HandshakeFailed, match="copy of an earlier one"):
        tell(again, ends.their_first, size)
    assert again.initiator is again.responder is None


def test_an_answer_is_no_first_message_to_remember() -> None:
    us = crossing(is_replay=lambda _: pytest.fail("nothing was replayed"))
    tell(us, listener().receive(us.start()))
    assert us.initiator


# --- others -----------------------------------------------------------------------------------------------------------


@either_order
@pytest.mark.parametrize("versions", [(1, 2), (2, 1)])
def test_other_versions_are_told_on_both_sides(we_are_greater: bool, versions: tuple[int, int]) -> None:
    ends = dialled(we_are_greater, {"version": versions[0]}, {"version": versions[1]})
    greater, lesser = (ends.us, ends.them) if we_are_greater else (ends.them, ends.us)
    firsts = (ends.their_first, ends.our_first) if we_are_greater else (ends.our_first, ends.their_first)
    answer = tell(lesser, firsts[1])
    assert lesser.responder
    assert "speaks version" in str(lesser.responder.failure)
    with pytest.raises(HandshakeFailed, match="speaks version"):
        tell(greater, firsts[0] + answer)


@each_reading
@in_pieces
@pytest.mark.parametrize(
    ("changes", "why"), [({"version": 2}, "speaks version 1"), ({"ciphers": (CHACHA20,)}, "no cipher in common")]
)
def test_an_answer_that_is_of_no_use(changes: dict[str, Any], why: str, size: int, fits: Fits) -> None:
    """It is authentic, so it is known at once that this is the answer, and what is wrong with it."""
    us, them = crossing(ciphers=(AEGIS256,)), listener(**changes)
    answer = salted(2, them.receive(us.start()), fits)
    with pytest.raises(HandshakeFailed, match=why):
        tell(us, answer, size)


@either_order
def test_members_of_the_network_that_make_no_sense(we_are_greater: bool) -> None:
    rude: Any = Rude(b"garbage")
    while True:
        us, them = crossing(), Initiator(BOB, NETWORK, b"sessions", BOTH)
        us.start()
        first = them._write(1, rude)
        if (us._own.replay_token > them.replay_token) is we_are_greater:
            break
    if we_are_greater:
        assert us.receive(first) == b""  # it is passed over, whatever it says
        assert us.initiator
    else:
        with pytest.raises(HandshakeFailed, match="makes no sense"):
            us.receive(first)
        assert us.responder is None


@pytest.mark.parametrize("network", [("other", None), ("crust", b"secret")])
def test_another_network_gets_no_answer(network: tuple[str, bytes | None]) -> None:
    for _ in range(40):  # the masked length is a matter of chance
        us, stranger = crossing(), crossing(BOB, network=network_keys(*network))
        us.start()
        with pytest.raises(HandshakeFailed, match="not from our network"):
            tell(us, stranger.start() + os.urandom(MAX_HANDSHAKE_MESSAGE))
        assert us.responder is None


def fate(us: Crossing, data: bytes, size: int) -> str:
    """What comes of it; the only exception is one."""
    try:
        assert tell(us, data, size) == b""
    except HandshakeFailed:
        return "failed"
    return "undecided" if us.initiator is us.responder is None else "waits for the rest"


@given(garbage=st.binary(max_size=1200))
def test_garbage(garbage: bytes) -> None:
    ends = []
    for size in (WHOLE, 1):
        us = crossing()
        us.start()
        ends.append(fate(us, garbage, size))
        assert us.responder is None
        if len(garbage) >= MAX_HANDSHAKE_MESSAGE:
            assert ends[-1] == "failed"
    assert ends[0] == ends[1]


def test_garbage_with_every_pair_of_lengths() -> None:
    """By chance that would take thousands of tries: both readings possible, one longer, then none is right."""
    for fits in READINGS.values():
        for number in (1, 2):
            garbage = salted(number, envelope(NETWORK.mask_key, number, os.urandom(300)), fits)
            for size in (WHOLE, 1):
                us = crossing()
                us.start()
                assert fate(us, garbage + bytes(MAX_HANDSHAKE_MESSAGE), size) == "failed"


@either_order
def test_no_changed_byte_goes_unnoticed(we_are_greater: bool) -> None:
    ends = dialled(we_are_greater)
    for place in range(len(ends.their_first)):
        changed = bytearray(ends.their_first)
        changed[place] ^= 1 << place % 8
        us = copy.deepcopy(ends.us)
        outcome = fate(us, bytes(changed), WHOLE)
        assert outcome == "failed" or place < HEADER, "only a longer length may make it wait"


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_out_of_turn() -> None:
    us = crossing()
    with pytest.raises(RuntimeError):
        _ = us._own.replay_token
    with pytest.raises(RuntimeError):
        us._peer.answer()
    tell(us, listener().receive(us.start()))
    with pytest.raises(RuntimeError, match="go on with that one"):
        us.receive(b"")
