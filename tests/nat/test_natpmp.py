"""`crust.nat.natpmp`: bytes of RFC 6886."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.nat.gateway_answer import TCP, UDP, Answer, Kind, Outcome, Seen
from crust.nat.natpmp import NatPmp
from tests.nat.gateway_fakes import natpmp_address, natpmp_mapping

dialect = NatPmp()


def test_requests_are_those_of_the_rfc() -> None:
    assert dialect.ask_address() == b"\x00\x00"
    assert dialect.ask_map(TCP, 5483, 5484, None, 3600, b"") == bytes.fromhex("0002 0000 156b 156c 00000e10")
    assert dialect.ask_map(UDP, 1, 65535, "1.2.3.4", 7200, bytes(12)) == bytes.fromhex("0001 0000 0001 ffff 00001c20")


def test_the_end_of_a_mapping_names_no_outside_port() -> None:
    assert dialect.ask_map(TCP, 5483, 5484, None, 0, b"") == bytes.fromhex("0002 0000 156b 0000 00000000")


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_a_mapping(transport: int) -> None:
    data = natpmp_mapping(transport=transport, epoch=7, internal=1, external=2, lifetime=3)
    assert dialect.parse(data) == Answer(Outcome.OK, Kind.MAP, 7, transport, 1, 2, None, 3)


def test_the_outside_address() -> None:
    assert dialect.parse(natpmp_address(epoch=9)) == Answer(Outcome.OK, Kind.ADDRESS, 9, address="11.1.1.2")


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (2, Outcome.REFUSED),
        (3, Outcome.NOT_CONNECTED),
        (4, Outcome.NO_ROOM),
        (5, Outcome.UNSUPPORTED),
        (77, Outcome.NOT_UNDERSTOOD),
    ],
)
def test_refusals(result: int, outcome: Outcome) -> None:
    assert dialect.parse(natpmp_mapping(result=result, external=0)).outcome is outcome
    assert dialect.parse(natpmp_address(result=result)) == Answer(outcome, Kind.ADDRESS, 0)
    assert dialect.parse(natpmp_address(result=result)[:8]).outcome is outcome


def test_another_version_is_told_without_a_body() -> None:
    assert dialect.parse(struct.pack("!BBHI", 0, 129, 1, 5)).outcome is Outcome.OTHER_VERSION


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        b"\x02" + natpmp_address()[1:],  # another version
        b"\x00\x00" + natpmp_address()[2:],  # a request
        b"\x00\x83" + natpmp_mapping()[2:],  # opcode 3
        natpmp_address()[:11],
        natpmp_mapping()[:15],
        natpmp_mapping(external=0),
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(Malformed):
        dialect.parse(data)


@given(st.binary(max_size=40))
def test_nothing_but_malformed_escapes(data: bytes) -> None:
    try:
        dialect.parse(data)
    except Malformed:
        pass


def test_a_clock_that_goes_back_has_lost_its_mappings() -> None:
    """Section 3.6: seven eighths of the time that passed, less two seconds."""
    before = Seen(1000, 50.0)
    assert not dialect.lost_state(before, Seen(1000 + 800, 850.0))
    assert not dialect.lost_state(before, Seen(1000 + 698, 850.0))
    assert dialect.lost_state(before, Seen(1000 + 697, 850.0))
    assert dialect.lost_state(before, Seen(3, 51.0))
    assert not dialect.lost_state(before, Seen(1_000_000, 51.0))
