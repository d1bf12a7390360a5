"""What peers tell each other: there and back, in the bounds of a frame; all else is `Malformed`."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.discovery.contact_record import MAX_CONTACT_RECORD
from crust.discovery.gossip_messages import (
    MAX_ENTRIES,
    MAX_GIVEN,
    NUMBER_BITS,
    Give,
    Have,
    Message,
    Sums,
    decode_record,
    gives,
    parse_message,
)
from crust.discovery.record_store import BUCKETS
from crust.errors import Malformed
from crust.transport.framing import CONTACTS, MAX_CONTROL, control_frame, parse_control

LARGEST = 2**NUMBER_BITS - 1
SHORTS = [number.to_bytes(8, "big") for number in range(MAX_ENTRIES + 1)]

numbers = st.integers(0, LARGEST)
shorts = st.binary(min_size=8, max_size=8)
sum_lists = st.sampled_from([1, 2, 4, 64]).flatmap(
    lambda count: st.lists(st.integers(0, 2**48 - 1), min_size=count, max_size=count)
)
messages = st.one_of(
    st.builds(Sums, numbers, sum_lists),
    st.builds(
        Have,
        numbers,
        st.sets(st.integers(0, BUCKETS - 1)).map(sorted),
        st.dictionaries(shorts, st.integers(0, 2**48 - 1), max_size=20),
        st.booleans(),
    ),
    st.builds(
        Give,
        numbers,
        st.lists(st.binary(max_size=MAX_CONTACT_RECORD).map(lambda raw: base64.b64encode(raw).decode()), max_size=5),
        st.lists(shorts, max_size=20),
    ),
)


def as_it_arrives(content: dict[str, Any]) -> dict[str, Any]:
    """Through a control frame and back."""
    return parse_control(control_frame(CONTACTS, content)[4:])


@given(message=messages)
def test_there_and_back(message: Message) -> None:
    assert parse_message(as_it_arrives(message.content())) == message


@pytest.mark.parametrize(
    "message",
    [
        Sums(LARGEST, [2**48 - 1] * BUCKETS),
        Have(LARGEST, list(range(BUCKETS)), dict.fromkeys(SHORTS[:MAX_ENTRIES], 2**48 - 1), True),
        *gives(LARGEST, [bytes(MAX_CONTACT_RECORD)] * MAX_GIVEN, SHORTS[:MAX_GIVEN]),
    ],
)
def test_the_largest_fit_a_frame(message: Message) -> None:
    assert parse_message(as_it_arrives(message.content())) == message
    assert len(control_frame(CONTACTS, message.content())) <= MAX_CONTROL + 4


@given(sizes=st.lists(st.integers(1, MAX_CONTACT_RECORD), max_size=MAX_GIVEN), wanted=st.integers(0, MAX_GIVEN))
def test_much_is_given_in_several_frames(sizes: list[int], wanted: int) -> None:
    records = [bytes([number]) * size for number, size in enumerate(sizes)]
    made = [parse_message(as_it_arrives(give.content())) for give in gives(7, records, SHORTS[:wanted])]
    assert all(isinstance(give, Give) and give.number == 7 for give in made)
    assert [decode_record(text) for give in made if isinstance(give, Give) for text in give.records] == records
    assert [short for give in made if isinstance(give, Give) for short in give.wanted] == SHORTS[:wanted]
    assert bool(made) is bool(records or wanted)


def test_unknown_keys_are_ignored() -> None:
    assert parse_message({"x": 1, "sums": "AAAAAAAA", "new": {}}) == Sums(1, [0])


HAVE = {"x": 1, "in": "AAAAAAAAAAA=", "have": ""}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"x": 1},
        {"sums": "AAAAAAAA"},
        {"x": -1, "sums": "AAAAAAAA"},
        {"x": True, "sums": "AAAAAAAA"},
        {"x": 2**63, "sums": "AAAAAAAA"},
        {"x": 1, "sums": ""},
        {"x": 1, "sums": 5},
        {"x": 1, "sums": "AAAA"},
        {"x": 1, "sums": "A" * 24},
        {"x": 1, "sums": "AAAA AAAA"},
        {"x": 1, "sums": "AAAAAAA\u00e4"},
        {"x": 1, "sums": "A" * 8 * 128},
        HAVE | {"in": "AAAA"},
        HAVE | {"in": None},
        HAVE | {"have": "AAAA"},
        HAVE | {"have": base64.b64encode(SHORTS[0] + bytes(6) + SHORTS[0] + bytes(6)).decode()},
        HAVE | {"have": base64.b64encode(b"".join(short + bytes(6) for short in SHORTS)).decode()},
        {"x": 1, "records": {}},
        {"x": 1, "records": [5]},
        {"x": 1, "records": [], "want": "AAAA"},
        {"x": 1, "records": [], "want": []},
        {"x": 1, "records": [], "want": base64.b64encode(bytes(8 * (MAX_GIVEN + 1))).decode()},
        {"x": 1, "want": ""},
    ],
)
def test_what_makes_no_sense_is_malformed(content: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_message(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["x", "sums", "have", "in", "full", "records", "want"])


@given(content=st.dictionaries(keys, json_values | numbers | st.just("AAAAAAAAAAA="), max_size=7))
def test_only_malformed_comes_out(content: dict[str, Any]) -> None:
    try:
        message = parse_message(content)
    except Malformed:
        return
    assert isinstance(message, Sums | Have | Give)


@pytest.mark.parametrize("text", ["=", "AA", "A" * 1000, "ä", "AAAA\n"])
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(Malformed):
        decode_record(text)
