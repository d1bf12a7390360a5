"""`crust.nat.connection_info`: one line there and back, and what is said of lines that came to harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.endpoint import Endpoint
from crust.errors import Malformed
from crust.identity import Identity, PeerId
from crust.nat import connection_info
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import (
    INFO_CANDIDATES,
    MAX_INFO_TEXT,
    PREFIX,
    Candidate,
    CandidateKind,
    ConnectionInfo,
    sendable,
)
from tests.documents import blocks

PEER = Identity(bytes(32)).peer_id
NONCE = bytes(range(16))
CANDIDATES = (
    Candidate(CandidateKind.MAPPED, Endpoint.tcp("203.0.113.9:5483")),
    Candidate(CandidateKind.REFLEXIVE, Endpoint.utp("203.0.113.9:40000")),
    Candidate(CandidateKind.HOST, Endpoint.utp("[2001:db8::7]:1")),
    Candidate(CandidateKind.PREDICTED, Endpoint.utp("203.0.113.9:40001")),
)
BEHAVIOUR = Behaviour(Mapping.ADDRESS_DEPENDENT, Filtering.ADDRESS_DEPENDENT, Allocation.SEQUENTIAL, -2)
INFO = ConnectionInfo(PEER, CANDIDATES, BEHAVIOUR, NONCE)


def test_one_line_there_and_back() -> None:
    line = INFO.encode()
    assert line.startswith(PREFIX)
    assert len(line.split()) == 1
    assert ConnectionInfo.parse(line) == INFO
    empty = ConnectionInfo(PEER)
    assert ConnectionInfo.parse(empty.encode()) == empty
    assert ConnectionInfo(PEER).nonce != empty.nonce


def test_the_example_of_the_documentation() -> None:
    (block,) = [block for block in blocks("docs/nat.md") if block.text.startswith(PREFIX)]
    assert block.text == INFO.encode() + "\n"


def test_broken_lines_of_mail_are_mended() -> None:
    line = INFO.encode()
    assert ConnectionInfo.parse(f"\n  {line[:30]}\r\n {line[30:]} \n") == INFO


def test_the_longest() -> None:
    candidates = tuple(
        Candidate(CandidateKind.HOST, Endpoint.utp(f"[2001:db8::{number:x}]:1")) for number in range(1, 17)
    )
    line = ConnectionInfo(PEER, candidates).encode()
    assert len(line) == MAX_INFO_TEXT < 512
    assert len(ConnectionInfo.parse(line).candidates) == INFO_CANDIDATES


def test_every_slip_in_copying_is_noticed() -> None:
    line = INFO.encode()
    for at in range(len(line)):
        for changed in (line[:at], line[:at] + line[at + 1 :], line[:at] + "x" + line[at + 1 :], line + line[at]):
            if changed != line:
                with pytest.raises(Malformed, match="copy"):
                    ConnectionInfo.parse(changed)


@pytest.mark.parametrize("text", ["", "hello", PREFIX, PREFIX + "é", PREFIX + "====", "x" * 10_000])
def test_what_is_none(text: str) -> None:
    with pytest.raises(Malformed, match="copy"):
        ConnectionInfo.parse(text)


def remade(change: object) -> str:
    """A line with other bytes, and the right checksum."""
    data = bytearray(connection_info._decode(INFO.encode())[:-4])
    change(data)  # type: ignore[operator]
    whole = bytes(data) + connection_info._checksum(bytes(data))
    return PREFIX + connection_info.base64.urlsafe_b64encode(whole).decode().rstrip("=")


def test_a_newer_version_says_so() -> None:
    with pytest.raises(Malformed, match="version 2"):
        ConnectionInfo.parse(remade(lambda data: data.__setitem__(0, 2)))


def test_names_of_behaviour_that_came_up_later_are_unknown() -> None:
    parsed = ConnectionInfo.parse(remade(lambda data: data.__setitem__(49, 77)))
    assert parsed == ConnectionInfo(PEER, CANDIDATES, Behaviour(), NONCE)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.__setitem__(53, 3),  # the count
        lambda data: data.__setitem__(54, 0x45 | 0),  # no IP version
        lambda data: data.__setitem__(54, 0x64),  # no protocol
        lambda data: data.__setitem__(slice(59, 61), b"\0\0"),  # port 0
        lambda data: data.__setitem__(slice(55, 59), b"\xe0\0\0\1"),  # multicast
        lambda data: data.__setitem__(52, 127),  # delta
        lambda data: data.__delitem__(-1),
    ],
)
def test_what_no_node_says(change: object) -> None:
    with pytest.raises(Malformed):
        ConnectionInfo.parse(remade(change))


def test_what_cannot_be_sent_is_not_made() -> None:
    utp = Candidate(CandidateKind.HOST, Endpoint.utp("192.0.2.1:1"))
    for candidates in (
        (utp, utp),
        (utp, utp._replace(kind=CandidateKind.MAPPED)),
        (Candidate(CandidateKind.HOST, Endpoint.tracer("192.0.2.1:1")),),
        (Candidate(CandidateKind.HOST, Endpoint.utp("host.example:1")),),
        (Candidate(CandidateKind.HOST, Endpoint.utp("192.0.2.1:0")),),
        (Candidate(CandidateKind.HOST, Endpoint.utp(("fe80::1%eth0", 1))),),
        tuple(utp._replace(endpoint=Endpoint.utp(("192.0.2.1", port))) for port in range(1, 18)),
    ):
        with pytest.raises(Malformed):
            ConnectionInfo(PEER, candidates)
        assert ConnectionInfo(PEER, sendable(candidates))
    assert sendable([utp, utp._replace(kind=CandidateKind.MAPPED)]) == (utp,)
    with pytest.raises(Malformed):
        ConnectionInfo(PEER, (), Behaviour(delta=65))
    with pytest.raises(Malformed):
        ConnectionInfo(PEER, nonce=b"short")


@given(st.binary(max_size=120))
def test_nothing_but_malformed_comes_of_any_bytes(tail: bytes) -> None:
    def change(data: bytearray) -> None:
        data[54:] = tail
        data[53] = len(tail) // 7

    try:
        parsed = ConnectionInfo.parse(remade(change))
    except Malformed:
        return
    assert ConnectionInfo.parse(parsed.encode()) == parsed


def test_the_peer_is_not_shown_more_than_needed() -> None:
    assert NONCE.hex() not in repr(INFO)
    assert isinstance(INFO.peer_id, PeerId)
