import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli.bench_protocol import (
    BULK,
    MAX_CONTROL,
    MAX_FLOOD_SECONDS,
    MAX_PING,
    PING,
    PONG,
    VERSION,
    Drop,
    Flood,
    Reply,
    Server,
    bulk,
    control,
    number,
    parse_control,
)
from crust.errors import Malformed

MAX_SIZE = 1 << 20


@pytest.fixture
def server() -> Server[str]:
    made: Server[str] = Server(MAX_SIZE)
    made.joined("anna")
    return made


def answer(server: Server[str], peer: str = "anna", now: float = 0.0, **fields: Any) -> dict[str, Any]:
    """What the server replies to a request."""
    action = server.message(peer, control(**fields), now)
    assert isinstance(action, Reply)
    assert action.peer == peer
    return parse_control(action.data)


@pytest.mark.parametrize("size", [1, 2, 64, 256, 257, 100_000])
def test_bulk_messages_have_their_size(size: int) -> None:
    assert len(bulk(size)) == size
    assert bulk(size)[:1] == BULK


def test_control_messages_are_read_back() -> None:
    assert parse_control(control(do="flood", size=3)) == {"do": "flood", "size": 3}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x03", b"\x00{}", b"\x03[]", b"\x03{", b"\x03\xff", b"\x03" + b"[" * 1000, control(x="y" * MAX_CONTROL)],
)
def test_what_is_not_a_control_message_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_control(data)


@pytest.mark.parametrize("value", [None, "1", True, [], -1, 11, float("nan"), float("inf")])
def test_numbers_out_of_bounds_are_malformed(value: object) -> None:
    with pytest.raises(Malformed, match="from 0 to 10"):
        number({"n": value}, "n", 0, 10)


def test_hello_gives_the_version(server: Server[str]) -> None:
    assert answer(server, do="hello", version=VERSION) == {"ok": "hello", "version": VERSION}


def test_bulk_messages_are_counted_from_the_first(server: Server[str]) -> None:
    answer(server, do="count")
    for now in (5.0, 6.0, 7.0):
        assert server.message("anna", bulk(100), now) is None
    assert answer(server, now=7.5, do="total") == {"ok": "total", "messages": 3, "bytes": 300, "seconds": 2.5}


def test_counting_begins_anew(server: Server[str]) -> None:
    server.message("anna", bulk(100), 1.0)
    answer(server, do="count")
    assert answer(server, now=9.0, do="total") == {"ok": "total", "messages": 0, "bytes": 0, "seconds": 0.0}


def test_peers_are_counted_apart(server: Server[str]) -> None:
    server.joined("bert")
    server.message("bert", bulk(10), 0.0)
    assert answer(server, do="total")["messages"] == 0


def test_a_ping_comes_back(server: Server[str]) -> None:
    assert server.message("anna", PING + b"abc", 0.0) == Reply("anna", PONG + b"abc")


def test_a_flood_is_started_and_reported(server: Server[str]) -> None:
    assert server.message("anna", control(do="flood", size=64, seconds=1.5), 0.0) == Flood("anna", 64, 1.5)
    assert server.flooded(7) == Reply("anna", control(ok="flood", messages=7))


def test_there_is_one_flood_at_a_time_for_all_together(server: Server[str]) -> None:
    server.joined("bert")
    assert isinstance(server.message("anna", control(do="flood", size=64, seconds=1), 0.0), Flood)
    assert "busy" in answer(server, "bert", do="flood", size=64, seconds=1)["error"]
    assert "busy" in answer(server, do="flood", size=64, seconds=1)["error"]
    server.flooded(0)
    assert isinstance(server.message("bert", control(do="flood", size=64, seconds=1), 0.0), Flood)


def test_a_flood_of_a_peer_that_left_frees_the_place(server: Server[str]) -> None:
    server.joined("bert")
    server.message("anna", control(do="flood", size=64, seconds=1), 0.0)
    server.left("anna")
    assert server.flooded(3) is None
    assert isinstance(server.message("bert", control(do="flood", size=64, seconds=1), 0.0), Flood)


@pytest.mark.parametrize(
    "request_",
    [
        {"size": MAX_SIZE + 1, "seconds": 1},
        {"size": 0, "seconds": 1},
        {"size": 64, "seconds": MAX_FLOOD_SECONDS + 1},
        {"size": 64, "seconds": -1},
        {"size": 64},
        {"size": "64", "seconds": 1},
    ],
)
def test_a_flood_out_of_bounds_ends_the_connection(server: Server[str], request_: dict[str, Any]) -> None:
    action = server.message("anna", control(do="flood", **request_), 0.0)
    assert isinstance(action, Drop)
    server.left("anna")
    server.joined("bert")
    assert isinstance(server.message("bert", control(do="flood", size=1, seconds=0), 0.0), Flood)


def test_a_ping_too_large_ends_the_connection(server: Server[str]) -> None:
    assert isinstance(server.message("anna", PING + bytes(MAX_PING), 0.0), Drop)


def test_what_a_later_version_asks_is_refused_politely(server: Server[str]) -> None:
    assert "cannot" in answer(server, do="dance")["error"]


def test_messages_of_a_peer_that_was_dropped_are_passed_over(server: Server[str]) -> None:
    server.left("anna")
    assert server.message("anna", control(do="hello"), 0.0) is None
    assert server.peers == 0


@given(st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda tail: b"\x03" + tail))))
def test_no_bytes_make_the_server_fail_or_grow(messages: list[bytes]) -> None:
    server: Server[str] = Server(MAX_SIZE)
    server.joined("eve")
    for data in messages:
        action = server.message("eve", data, 0.0)
        if isinstance(action, Reply):
            assert len(action.data) <= max(len(data), MAX_CONTROL)
        assert server.peers == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["do", "size", "seconds", "version"]), _JSON | st.just("flood")))
def test_no_request_makes_the_server_fail_or_send_too_much(fields: dict[str, Any]) -> None:
    server: Server[str] = Server(MAX_SIZE)
    server.joined("eve")
    action = server.message("eve", b"\x03" + json.dumps(fields).encode(), 0.0)
    if isinstance(action, Flood):
        assert 1 <= action.size <= MAX_SIZE
        assert 0 <= action.seconds <= MAX_FLOOD_SECONDS
