"""`crust.nat.upnp_messages`: the answers of the other process, which has read what a gateway says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.endpoint import Port
from crust.errors import Malformed
from crust.nat.upnp_messages import NO_HOLE, Answer, Call, Given, NoAnswer, Wish, encode, parse

CALL = Call(
    "http://192.168.1.1/x", "192.168.1.2", (Wish(Port.tcp(1), 2), Wish(Port.utp(3), 4)), (Wish(Port.tcp(5), 6),), 60
)
GOOD: dict[str, Any] = {
    "external": "11.1.1.2",
    "mapped": [["TCP", 1, 2, 60]],
    "failed": [["UDP", 3, "no"]],
    "left": [["TCP", 5, "stays"]],
}


def test_a_call() -> None:
    assert json.loads(encode(CALL, 20.0, ["/lib"])) == {
        "url": "http://192.168.1.1/x",
        "local": "192.168.1.2",
        "lease": 60,
        "seconds": 21.0,
        "path": ["/lib"],
        "map": [["TCP", 1, 2], ["UDP", 3, 4]],
        "unmap": [["TCP", 5, 6]],
    }


def test_an_answer() -> None:
    expected = Answer("11.1.1.2", {Port.tcp(1): Given(2, 60)}, {Port.utp(3): "no"}, None, ("stays (tcp:5)",))
    assert parse(json.dumps(GOOD).encode(), CALL) == expected


def test_what_is_wrong_besides() -> None:
    said = {"external": None, "mapped": [], "failed": [["", 0, "does not tell"]], "left": []}
    assert parse(json.dumps(said).encode(), CALL) == Answer(None, {}, {}, "does not tell")


@pytest.mark.parametrize("number", [0, 65535])
def test_a_hole_in_a_firewall_has_a_number_and_our_address(number: int) -> None:
    call = Call("http://[2a00::1]:80/x", "2a00::2", (Wish(Port.tcp(1), NO_HOLE),), (Wish(Port.utp(2), 7),), 60)
    assert b'"map": [["TCP", 1, -1]], "unmap": [["UDP", 2, 7]]' in encode(call, 20.0, [])
    said = {"external": "2a00::bad", "mapped": [["TCP", 1, number, 60]], "failed": [], "left": []}
    assert parse(json.dumps(said).encode(), call) == Answer("2a00::2", {Port.tcp(1): Given(number, 60)}, {}, None)


def test_an_error() -> None:
    with pytest.raises(NoAnswer, match="no such device"):
        parse(b'{"error": "no such device"}', CALL)


@pytest.mark.parametrize(
    "change",
    [
        {"external": "nonsense"},
        {"external": "2a00::1"},
        {"mapped": None},
        {"mapped": {}},
        {"mapped": [["TCP", 1, 2]]},
        {"mapped": ["TCP"]},
        {"mapped": [["TCP", 9, 2, 60]]},  # not asked for
        {"mapped": [["UDP", 1, 2, 60]]},
        {"mapped": [[["TCP"], 1, 2, 60]]},
        {"mapped": [["TCP", 1, 0, 60]]},
        {"mapped": [["TCP", 1, 65536, 60]]},
        {"mapped": [["TCP", 1, True, 60]]},
        {"mapped": [["TCP", 1, 2.5, 60]]},
        {"mapped": [["TCP", 1, 2, -1]]},
        {"mapped": [["TCP", 1, 2, 60]] * 100},
        {"failed": [["TCP", 1, 7]]},
        {"failed": [["TCP", 1, "a\nb"]]},
        {"failed": [["TCP", 1, "a" * 1000]]},
        {"left": None},
        {"left": [["TCP", 1, "stays"]]},  # was not to end
        {"left": [["", 0, "stays"]]},
        {"left": [["TCP", 5, 7]]},
        {"error": 5},
    ],
)
def test_nothing_is_taken_on_trust(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse(json.dumps({**GOOD, **change}).encode(), CALL)


@pytest.mark.parametrize("output", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 10_000, b" " * 100_000 + b"{}"])
def test_what_is_no_answer(output: bytes) -> None:
    with pytest.raises(Malformed):
        parse(output, CALL)


@given(st.binary(max_size=100) | st.lists(st.lists(st.none() | st.text(max_size=4) | st.integers(), max_size=4)).map(
    lambda rows: json.dumps({"external": None, "mapped": rows, "failed": rows, "left": rows}).encode()
))  # fmt: skip
def test_nothing_else_escapes(output: bytes) -> None:
    try:
        parse(output, CALL)
    except (Malformed, NoAnswer):
        pass
