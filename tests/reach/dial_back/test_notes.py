"""`crust.reach.dial_back.notes`: what is said is understood, and what makes no sense is `Malformed`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust import Endpoint
from crust.errors import Malformed
from crust.reach.dial_back import notes as notes
from crust.reach.dial_back.gate import DIAL_BACK_PAYMENT, MAX_PAID_DIALS
from crust.reach.dial_back.notes import Answer, Bill, Payment, Request, Result, parse_dial_back, payments
from crust.transport.framing import ADDRESS, HEADER, NUMBER_LIMIT, control_frame, parse_control

ENDPOINTS = tuple(map(Endpoint.parse, ("tcp://192.0.2.7:5483", "utp://[2001:db8::7]:1", "tcp://10.0.0.1:65535")))
LONGEST = Endpoint.utp(("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%" + "x" * 32, 65535))

ALL = [
    Request(7, ENDPOINTS),
    Request(NUMBER_LIMIT - 1, tuple(Endpoint.utp((f"2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}", n)) for n in range(4))),
    Bill(7, 65_536),
    Payment(NUMBER_LIMIT - 1, notes.MAX_PAD),
    Answer(7, tuple(Result)),
]


@pytest.mark.parametrize("note", ALL, ids=lambda note: type(note).__name__)
def test_there_and_back_in_a_frame(note: Any) -> None:
    frame = control_frame(ADDRESS, note.content())
    assert parse_dial_back(parse_control(frame[HEADER.size :])) == note


def test_the_longest_endpoint_goes_in() -> None:
    assert parse_dial_back(Request(1, (LONGEST,)).content()) == Request(1, (LONGEST,))


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert parse_dial_back({**Bill(1, 2).content(), "currency": "bytes"}) == Bill(1, 2)


def test_the_words_never_change() -> None:
    assert {result.value for result in Result} == {"reachable", "unreachable", "refused", "not tried"}


@pytest.mark.parametrize("size", [1, notes.MAX_PAD, notes.MAX_PAD + 1, DIAL_BACK_PAYMENT, notes.MAX_BILL])
def test_payments_add_up(size: int) -> None:
    paid = payments(Bill(3, size))
    assert sum(payment.size for payment in paid) == size
    assert all(1 <= payment.size <= notes.MAX_PAD and payment.number == 3 for payment in paid)


def test_the_largest_bill_that_we_make_is_one_that_we_would_pay() -> None:
    assert DIAL_BACK_PAYMENT * MAX_PAID_DIALS <= notes.MAX_BILL


WRONG: list[object] = [
    None,
    [],
    "ask",
    {},
    {"ask": 1},
    {"ask": 1, "told": 1, "at": ["tcp://192.0.2.7:1"], "results": ["reachable"]},
    {"ask": "1", "at": ["tcp://192.0.2.7:1"]},
    {"ask": True, "at": ["tcp://192.0.2.7:1"]},
    {"ask": -1, "at": ["tcp://192.0.2.7:1"]},
    {"ask": NUMBER_LIMIT, "at": ["tcp://192.0.2.7:1"]},
    {"ask": 1, "at": []},
    {"ask": 1, "at": {}},
    {"ask": 1, "at": "tcp://192.0.2.7:1"},
    {"ask": 1, "at": [f"tcp://192.0.2.7:{port}" for port in range(1, 6)]},
    {"ask": 1, "at": ["tcp://192.0.2.7:1", "TCP://192.0.2.7:1"]},
    {"ask": 1, "at": ["tcp://localhost:1"]},
    {"ask": 1, "at": ["tcp://192.0.2.7"]},
    {"ask": 1, "at": ["tcp://192.0.2.7:65536"]},
    {"ask": 1, "at": ["http://192.0.2.7:1"]},
    {"ask": 1, "at": [" " * 90 + "192.0.2.7:1"]},
    {"ask": 1, "at": [7]},
    {"ask": 1, "at": [None]},
    {"due": 1},
    {"due": 1, "bytes": -1},
    {"due": 1, "bytes": 1.5},
    {"paid": 1, "pad": ""},
    {"paid": 1, "pad": 5},
    {"paid": 1, "pad": "x" * (notes.MAX_PAD + 1)},
    {"paid": 1, "pad": "é"},
    {"told": 1, "results": []},
    {"told": 1, "results": "reachable"},
    {"told": 1, "results": ["reachable"] * 5},
    {"told": 1, "results": ["Reachable"]},
    {"told": 1, "results": [["reachable"]]},
    {"told": 1, "results": [None]},
]


@pytest.mark.parametrize("content", WRONG, ids=lambda content: json.dumps(content)[:60])
def test_nonsense(content: object) -> None:
    with pytest.raises(Malformed):
        parse_dial_back(content)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70)
words = st.sampled_from([*(str(endpoint) for endpoint in ENDPOINTS), *(result.value for result in Result), "tcp://"])
anything = st.recursive(scalars | words, lambda inside: st.lists(inside, max_size=6), max_leaves=8)
KEYS = ["ask", "at", "due", "bytes", "paid", "pad", "told", "results", "seen"]


@given(st.dictionaries(st.sampled_from(KEYS), anything, max_size=4) | anything)
def test_only_malformed_comes_out(content: object) -> None:
    try:
        note = parse_dial_back(content)
    except Malformed:
        return
    assert parse_dial_back(note.content()) == note
    assert len(control_frame(ADDRESS, note.content())) <= HEADER.size + 4096
