"""`crust.transport.tracer_hello`: the beginning of a tracer connection, honest, cut into pieces, and wrong."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import HandshakeFailed, Malformed
from crust.identity import Identity, UnprovenPeerId
from crust.transport.framing import HEADER, MAX_CONTROL, PING, control_frame
from crust.transport.hello import MAX_HELLO
from crust.transport.masking import network_keys
from crust.transport.tracer_hello import (
    HELLO,
    MAGIC,
    READY,
    TracerHello,
    TracerInitiator,
    TracerResponder,
    tracer_network_tag,
)

KEYS = network_keys("crust", None)
CLIENT, SERVER = Identity(bytes(range(32))), Identity(bytes(32))


def initiator(**settings: Any) -> TracerInitiator:
    return TracerInitiator(CLIENT, settings.pop("keys", KEYS), b"session1", **settings)


def responder(**settings: Any) -> TracerResponder:
    return TracerResponder(SERVER, settings.pop("keys", KEYS), b"session2", **settings)


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# --- the exchange -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_both_learn_what_the_other_says(size: int) -> None:
    out, into = initiator(), responder()
    answer = b"".join(into.receive(part) for part in pieces(out.start(), size))
    assert [out.receive(part) for part in pieces(answer + b"next", size)][-1]
    assert not into.done
    for part in pieces(out.finish(7, True) + b"rest", size):
        assert into.receive(part) == b""
    assert into.done
    assert out.peer_id == UnprovenPeerId(bytes(SERVER.peer_id))
    assert into.peer_id == UnprovenPeerId(bytes(CLIENT.peer_id))
    assert (out.peer_hello.session, into.peer_hello.session) == (b"session2", b"session1")
    assert (into.peer_hello.serial, into.peer_hello.alone) == (7, True)
    assert (out.unused, into.unused) == (b"next", b"rest")


def test_the_claim_of_a_peer_is_never_its_proven_id() -> None:
    out, into = initiator(), responder()
    out.receive(into.receive(out.start()))
    assert out.peer_id != SERVER.peer_id
    assert not out.peer_id.proven


def test_the_bytes_of_the_first_message() -> None:
    sent = initiator().start()
    assert sent[:16] == b"CRUST TRACER\r\n\x1a\x00"
    (word,) = HEADER.unpack_from(sent, 16)
    assert (word & 0xFF, word >> 8) == (0x70, len(sent) - 20)
    assert json.loads(sent[20:]) == {
        "version": 1,
        "network": "052d2fd4794bf27e",
        "peer": CLIENT.peer_id.hex(),
        "session": b"session1".hex(),
        "capabilities": [],
        "agent": "crust",
    }


def test_ready_says_which_attempt_it_is() -> None:
    sent = initiator().finish(3, True)
    assert sent == control_frame(READY, {"version": 1, "serial": 3, "alone": True})


def test_the_magic_cannot_be_taken_for_a_frame() -> None:
    (word,) = HEADER.unpack_from(MAGIC)
    assert word >> 8 > MAX_CONTROL


@pytest.mark.parametrize("keys", [network_keys("other", None), network_keys("crust", b"k" * 16)])
def test_another_network_gets_no_byte(keys: Any) -> None:
    into = responder()
    with pytest.raises(HandshakeFailed, match="another network"):
        into.receive(initiator(keys=keys).start())
    out = initiator()
    with pytest.raises(HandshakeFailed, match="another network"):
        out.receive(responder(keys=keys).receive(initiator(keys=keys).start()))


@pytest.mark.parametrize(
    "said",
    [
        {"version": 2},
        {"version": 2, "network": "00" * 8},
        {"version": 2, "network": None},
        {"version": 2, "network": tracer_network_tag(KEYS).hex().upper()},
    ],
)
def test_a_stranger_of_another_version_gets_no_byte(said: dict[str, Any]) -> None:
    """It would be told our network, with which it could come in."""
    into = responder()
    with pytest.raises(HandshakeFailed):
        into.receive(MAGIC + control_frame(HELLO, said))
    assert into.failure is None


@pytest.mark.parametrize("version", [1, 2, 65535])
@pytest.mark.parametrize("more", [{}, {"agent": "c"}, {"capabilities": []}, {"agent": "crust", "capabilities": []}])
def test_nobody_gets_more_than_they_sent(version: int, more: dict[str, Any]) -> None:
    said = {"version": version, "network": tracer_network_tag(KEYS).hex()}
    if version == 1:
        said |= {"peer": "ab" * 32, "session": "01" * 8}
    sent = MAGIC + control_frame(HELLO, said | more)
    into = responder()
    answer = b"".join(into.receive(part) for part in pieces(sent, 7))
    assert 0 < len(answer) <= len(sent)
    out = initiator(version=version)
    if version == 1:
        assert out.receive(answer)
    else:
        with pytest.raises(HandshakeFailed, match="and the peer version 1"):
            out.receive(answer)


def test_the_tag_does_not_give_the_key_away() -> None:
    tags = {tracer_network_tag(network_keys(name, key)) for name in ("a", "b") for key in (None, b"k" * 16)}
    assert len(tags) == 4
    assert {len(tag) for tag in tags} == {8}
    assert all(tag not in network_keys("a", None).psk for tag in tags)


@pytest.mark.parametrize(("ours", "theirs", "who"), [(1, 2, "this node"), (2, 1, "the peer")])
def test_another_version_is_told_to_both(ours: int, theirs: int, who: str) -> None:
    into, out = responder(version=ours), initiator(version=theirs)
    answer = into.receive(out.start())
    assert answer.startswith(MAGIC)
    assert into.failure is not None
    assert str(into.failure).endswith(f"upgrade {who}")
    with pytest.raises(HandshakeFailed, match=rf"speaks version {theirs} .* version {ours}"):
        out.receive(answer)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n",
        MAGIC[:-1] + b"\x01",
        b"\0" * 16,
        MAGIC + control_frame(PING, {"t": 1}),
        MAGIC + HEADER.pack(HELLO | (MAX_HELLO + 1) << 8),
        MAGIC + control_frame(HELLO, {"version": 1}),
        MAGIC + HEADER.pack(HELLO | 2 << 8) + b"{]",
        b"D",
    ],
)
def test_what_is_no_beginning_gets_no_byte(sent: bytes) -> None:
    """Noticed at the first byte that is wrong, as far as one by one can tell."""
    for size in (1, 4096):
        into = responder()
        with pytest.raises(HandshakeFailed):
            assert not any(into.receive(part) for part in pieces(sent, size))


@given(data=st.binary(max_size=200), begun=st.booleans())
def test_garbage_never_gets_further(data: bytes, begun: bool) -> None:
    into = responder()
    try:
        into.receive(MAGIC + data if begun else data)
    except HandshakeFailed:
        return
    assert not into.done


def test_a_wrong_ready() -> None:
    into = responder()
    into.receive(initiator().start())
    with pytest.raises(HandshakeFailed, match="0x10"):
        into.receive(control_frame(PING, {"t": 1}))


def test_nothing_is_known_before_it_was_told() -> None:
    with pytest.raises(RuntimeError):
        _ = initiator().peer_id


# --- the content of HELLO ---------------------------------------------------------------------------------------------

GOOD = {"version": 1, "network": "00" * 8, "peer": "ab" * 32, "session": "01" * 8, "capabilities": ["a-1"], "new": [1]}


def test_it_is_read_back() -> None:
    hello = TracerHello(
        network=bytes(8),
        peer_id=UnprovenPeerId(bytes(32)),
        session=b"12345678",
        capabilities=("one", "two-2"),
        agent="crust",
    )
    assert TracerHello.parse(hello.encode()[HEADER.size :]) == hello
    assert TracerHello.parse(json.dumps(GOOD).encode()).capabilities == ("a-1",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", None),
        ("version", 0),
        ("network", "00" * 7),
        ("network", "0G" * 8),
        ("network", 5),
        ("peer", "ab" * 31),
        ("peer", "AB" * 32),
        ("session", ""),
        ("session", None),
        ("capabilities", "text"),
        ("capabilities", ["Capital"]),
        ("capabilities", [1]),
        ("capabilities", ["a"] * 17),
        ("agent", "\x1b[2J"),
    ],
)
def test_a_wrong_field_is_malformed(key: str, value: object) -> None:
    with pytest.raises(Malformed):
        TracerHello.parse(json.dumps(GOOD | {key: value}).encode())


def test_a_key_that_comes_twice_is_malformed() -> None:
    text = json.dumps(GOOD)
    with pytest.raises(Malformed, match="twice"):
        TracerHello.parse(text.replace("{", '{"peer": "' + "00" * 32 + '", ', 1).encode())


def test_of_another_version_only_the_version_is_read() -> None:
    """And the network, which decides whether there is an answer."""
    said = b'{"version": 9, "network": "%s", "peer": 4}' % (b"0a" * 8)
    assert TracerHello.parse(said) == TracerHello(version=9, network=b"\n" * 8)
    with pytest.raises(Malformed, match="network"):
        TracerHello.parse(b'{"version": 9}')
