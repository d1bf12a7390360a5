"""`crust.nat.pcp`: bytes of RFC 6887."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.nat.gateway_answer import TCP, UDP, Answer, Kind, Outcome, Seen
from crust.nat.pcp import Pcp
from tests.nat.gateway_fakes import natpmp_mapping, pcp_answer

dialect = Pcp("192.168.1.2")
NONCE = bytes(range(12))


def test_a_request_is_that_of_the_rfc() -> None:
    assert dialect.ask_address() is None
    assert dialect.ask_map(TCP, 5483, 5484, None, 3600, NONCE) == bytes.fromhex(
        "02 01 0000 00000e10 00000000000000000000ffffc0a80102"
        "000102030405060708090a0b 06 000000 156b 156c 00000000000000000000ffff00000000"
    )


def test_an_address_that_is_liked_is_asked_for() -> None:
    assert dialect.ask_map(UDP, 1, 2, "11.1.1.2", 60, NONCE)[36:] == bytes.fromhex(
        "11 000000 0001 0002 00000000000000000000ffff0b010102"
    )


def test_the_end_of_a_mapping_wishes_for_nothing() -> None:
    request = dialect.ask_map(TCP, 5483, 5484, "11.1.1.2", 0, NONCE)
    assert request[4:8] == bytes(4)
    assert request[42:] == bytes(2) + bytes.fromhex("00000000000000000000ffff00000000")


def test_over_ipv6_addresses_are_what_they_are() -> None:
    request = Pcp("2a00::5%eth0").ask_map(TCP, 1, 1, None, 60, NONCE)
    assert request[8:24] == bytes.fromhex("2a000000000000000000000000000005")
    assert request[44:] == bytes(16)
    answer = Pcp("2a00::5").parse(pcp_answer(nonce=NONCE, address="2a00::5"))
    assert answer.address == "2a00::5"


def test_a_mapping() -> None:
    data = pcp_answer(nonce=NONCE, epoch=7, transport=UDP, internal=1, external=2, lifetime=3)
    assert dialect.parse(data) == Answer(Outcome.OK, Kind.MAP, 7, UDP, 1, 2, "11.1.1.2", 3, NONCE)
    assert dialect.parse(data + bytes(8)).external == 2  # options


def test_an_announcement() -> None:
    assert dialect.parse(pcp_answer(opcode=0, epoch=5)) == Answer(Outcome.OK, Kind.ANNOUNCE, 5)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (1, Outcome.OTHER_VERSION),
        (2, Outcome.REFUSED),
        (3, Outcome.NOT_UNDERSTOOD),
        (4, Outcome.UNSUPPORTED),
        (7, Outcome.NOT_CONNECTED),
        (8, Outcome.NO_ROOM),
        (12, Outcome.ANOTHER_NAT),
        (200, Outcome.NOT_UNDERSTOOD),
    ],
)
def test_refusals(result: int, outcome: Outcome) -> None:
    answer = dialect.parse(pcp_answer(result=result, nonce=NONCE))
    assert (answer.outcome, answer.address) == (outcome, None)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!BBHI", 0, 129, 1, 5),  # RFC 6886 section 3.5
        struct.pack("!BBH", 0, 128, 1),
        b"\x03" + pcp_answer(result=1)[1:],
        pcp_answer(result=1)[:24],
    ],
)
def test_a_router_of_another_version(data: bytes) -> None:
    assert dialect.parse(data).outcome is Outcome.OTHER_VERSION


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pcp_answer()[:20],
        pcp_answer()[:56],
        pcp_answer() + b"\0",  # not a multiple of four
        pcp_answer() + bytes(1044),  # more than 1100
        b"\x02\x01" + pcp_answer()[2:],  # a request
        b"\x03" + pcp_answer()[1:],
        b"\x02\x82" + pcp_answer()[2:],  # PEER
        pcp_answer(external=0),
        natpmp_mapping(),
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(Malformed):
        dialect.parse(data)


@given(st.binary(max_size=80) | st.binary(min_size=56, max_size=56).map(lambda rest: b"\x02\x81\0\0" + rest))
def test_nothing_but_malformed_escapes(data: bytes) -> None:
    try:
        dialect.parse(data)
    except Malformed:
        pass


def test_both_clocks_may_differ_by_a_sixteenth() -> None:
    """Section 8.5."""
    before = Seen(1000, 0.0)
    assert not dialect.lost_state(before, Seen(1800, 800.0))
    assert not dialect.lost_state(before, Seen(999, 0.0))
    assert dialect.lost_state(before, Seen(998, 0.0))
    assert not dialect.lost_state(before, Seen(1000 + 749, 800.0))
    assert dialect.lost_state(before, Seen(1000 + 747, 800.0))
    assert dialect.lost_state(before, Seen(1000 + 900, 800.0))
    assert not dialect.lost_state(before, Seen(1000 + 855, 800.0))
