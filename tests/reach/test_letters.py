"""`crust.reach.letters`: what travels in PUNCH frames; from strangers, so that nothing but Malformed may come of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.identity import Identity, PeerId
from crust.nat.connection_info import ConnectionInfo
from crust.nat.meeting import ID_LIMIT, MAX_REASON, Note, Step
from crust.reach.letters import MAX_SEEN, Letter, parse_letter
from crust.transport.framing import PUNCH, Decoder, control_frame

PEER = Identity(bytes([7] * 32)).peer_id
INFO = ConnectionInfo(PEER).encode()

peer_ids = st.binary(min_size=32, max_size=32).map(PeerId)
numbers = st.integers(0, ID_LIMIT - 1)
notes = st.one_of(
    numbers.map(lambda number: Note(Step.OFFER, number, INFO)),
    st.tuples(numbers, st.integers(0, 10_000)).map(lambda each: Note(Step.ACCEPT, each[0], INFO, each[1] / 1000)),
    numbers.map(lambda number: Note(Step.GO, number)),
    st.tuples(numbers, st.text(max_size=MAX_REASON)).map(lambda each: Note(Step.REFUSE, each[0], reason=each[1])),
)
hosts = st.sampled_from(["192.0.2.1", "2001:db8::1", "127.0.0.1", "::", "fe80::1%eth0"])
letters = st.one_of(
    st.tuples(peer_ids, notes).map(lambda each: Letter(*each)),
    st.tuples(peer_ids, notes, st.lists(hosts, max_size=MAX_SEEN)).map(
        lambda each: Letter(each[0], each[1], True, tuple(each[2]))
    ),
)


@given(letters)
def test_what_is_written_is_read(letter: Letter) -> None:
    assert parse_letter(json.loads(json.dumps(letter.content()))) == letter


def test_a_letter_fits_into_a_frame() -> None:
    """The longest one."""
    note = Note(Step.REFUSE, ID_LIMIT - 1, reason="\0" * MAX_REASON)
    letter = Letter(PEER, note, True, ("2001:db8:1111:2222:3333:4444:5555:6666",) * MAX_SEEN)
    decoder = Decoder(max_message_size=1)
    decoder.feed(control_frame(PUNCH, letter.content()))
    assert [(kind, parse_letter(content)) for kind, content in decoder.take_controls()] == [(PUNCH, letter)]


def test_no_more_hosts_are_told_than_are_taken() -> None:
    hosts = tuple(f"192.0.2.{number}" for number in range(MAX_SEEN + 3))
    letter = Letter(PEER, Note(Step.GO, 1), True, hosts)
    assert parse_letter(letter.content()).seen == hosts[:MAX_SEEN]


GOOD: dict[str, Any] = {"step": "go", "meeting": 1}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "to",
        GOOD,
        {**GOOD, "to": PEER.hex(), "from": PEER.hex()},
        {**GOOD, "to": 7},
        {**GOOD, "to": None},
        {**GOOD, "to": PEER.hex()[:-1]},
        {**GOOD, "to": PEER.hex() + "0"},
        {**GOOD, "to": "g" * 64},
        {**GOOD, "to": "²" * 64},
        {**GOOD, "from": "", "seen": []},
        {**GOOD, "from": PEER.hex(), "seen": "192.0.2.1"},
        {**GOOD, "from": PEER.hex(), "seen": ["192.0.2.1"] * (MAX_SEEN + 1)},
        {**GOOD, "from": PEER.hex(), "seen": ["example.org"]},
        {**GOOD, "from": PEER.hex(), "seen": [""]},
        {"to": PEER.hex(), "step": "come", "meeting": 1},
        {"to": PEER.hex(), "step": "go", "meeting": -1},
        {"to": PEER.hex(), "step": "offer", "meeting": 1},
        {"to": PEER.hex(), "step": "go", "meeting": 1, "reason": "x" * (MAX_REASON + 1)},
    ],
)
def test_what_is_none(content: object) -> None:
    with pytest.raises(Malformed):
        parse_letter(content)


def test_a_number_is_no_host() -> None:
    """To the module that reads addresses it would be one."""
    assert parse_letter({**GOOD, "from": PEER.hex(), "seen": [16909060, None, "192.0.2.1"]}).seen == ("192.0.2.1",)


plain_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)
json_values = plain_values | st.lists(plain_values, max_size=6) | st.dictionaries(st.text(max_size=8), plain_values)
fields = st.fixed_dictionaries(
    {},
    optional={
        "to": json_values | peer_ids.map(lambda peer: peer.hex()),
        "from": json_values | peer_ids.map(lambda peer: peer.hex()),
        "seen": json_values | st.lists(hosts | json_values, max_size=6),
        "step": json_values | st.sampled_from([step.value for step in Step]),
        "meeting": json_values | numbers,
        "info": json_values | st.just(INFO),
        "took": json_values,
        "reason": json_values,
    },
)


@given(json_values | fields)
def test_nothing_but_malformed_comes_of_what_strangers_write(content: object) -> None:
    try:
        letter = parse_letter(content)
    except Malformed:
        return
    assert parse_letter(letter.content()) == letter
    assert len(letter.seen) <= MAX_SEEN
