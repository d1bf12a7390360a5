"""Contact records: one encoding, signed by the one they speak of, and nothing else passes."""

import ipaddress
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.discovery.contact_record import (
    EXPIRY_LIMIT,
    MAX_CONTACT_RECORD,
    MAX_ENDPOINTS,
    MIN_CONTACT_RECORD,
    SEQUENCE_LIMIT,
    Capability,
    ContactRecord,
    make_record,
    network_tag,
    parse,
    publishable,
)
from crust.endpoint import Endpoint, Protocol
from crust.errors import Malformed
from crust.identity import SIGNATURE_SIZE, Identity
from crust.transport.masking import network_keys
from tests.discovery.records import FOREIGN_TAG, TAG, identity, record

V4 = Endpoint.tcp("192.0.2.7:5483")
V6 = Endpoint.utp("[2001:db8::7]:5483")
HEAD = 50  # bytes before the endpoints

addresses = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="2001:db8::/32"))
endpoints = st.builds(
    lambda protocol, address, port: Endpoint(protocol, str(address), port),
    st.sampled_from([Protocol.TCP, Protocol.UTP]),
    addresses,
    st.integers(1, 65535),
)


def signed(body: bytes, who: Identity | None = None) -> bytes:
    """A record with a good signature, whatever is in it."""
    return body + (who or identity(1)).sign(b"crust contact record\0" + TAG + body)


def body_with(*encoded: bytes, count: int | None = None, version: int = 1) -> bytes:
    """All before the signature."""
    number = len(encoded) if count is None else count
    head = struct.pack(">BHHII32sB", version, 0, 0, 1, 99, identity(1).signing_key, number)
    return head + b"".join(encoded)


def encoded(kind: int, host: str, port: int = 5483) -> bytes:
    return bytes([kind]) + ipaddress.ip_address(host).packed + port.to_bytes(2, "big")


# --- what comes back --------------------------------------------------------------------------------------------------


@given(
    given=st.lists(endpoints, max_size=12),
    sequence=st.integers(0, SEQUENCE_LIMIT - 1),
    expiry=st.integers(0, EXPIRY_LIMIT - 1),
    capabilities=st.integers(0, 0xFFFF),
)
def test_there_and_back(given: list[Endpoint], sequence: int, expiry: int, capabilities: int) -> None:
    chosen = publishable(given)
    made = make_record(identity(1), TAG, chosen, sequence, expiry, capabilities)
    claim = parse(made.raw)
    assert claim.verify(TAG) == made
    assert not isinstance(claim, ContactRecord)
    assert isinstance(claim.verify(TAG), ContactRecord)
    assert (claim.peer_id, claim.sequence, claim.expiry) == (identity(1).peer_id, sequence, expiry)
    assert claim.capabilities == capabilities
    assert set(claim.endpoints) == set(chosen) <= set(given)
    assert len(chosen) == min(len(set(given)), MAX_ENDPOINTS)
    assert MIN_CONTACT_RECORD <= len(made.raw) <= MAX_CONTACT_RECORD


def test_the_bytes() -> None:
    """What docs/discovery.md says."""
    raw = make_record(identity(1), TAG, (V4, V6), 0x010203040506, 0x0708090A, Capability.RELAY).raw
    assert raw[:13].hex() == "0100020102030405060708090a"
    assert raw[13:45] == identity(1).signing_key
    assert raw[45:46].hex() == "02"
    assert raw[46:53].hex() == "04c0000207156b"
    assert raw[53:72].hex() == "1620010db8000000000000000000000007156b"
    assert len(raw) == 72 + SIGNATURE_SIZE


def test_tcp_comes_first() -> None:
    utp, tcp = Endpoint.utp("10.0.0.1:1"), Endpoint.tcp("[2001:db8::1]:9")
    assert publishable([utp, tcp]) == (tcp, utp)


def test_what_cannot_be_published() -> None:
    useless = ["tcp://0.0.0.0:1", "tcp://10.0.0.1:0", "tcp://224.0.0.1:1", "tcp://example.org:1", "tracer://10.0.0.1:1"]
    useless += ["tcp://[fe80::1%eth0]:1", "tcp://[::ffff:10.0.0.1]:1", "tcp://127.0.0.1:1", "tcp://[::1]:1"]
    given = [Endpoint.parse(text) for text in useless]
    assert publishable(given) == ()
    assert [str(each) for each in publishable(given, allow_loopback=True)] == ["tcp://127.0.0.1:1", "tcp://[::1]:1"]


@pytest.mark.parametrize(("sequence", "expiry"), [(-1, 5), (SEQUENCE_LIMIT, 5), (5, -1), (5, EXPIRY_LIMIT)])
def test_numbers_that_no_record_can_have(sequence: int, expiry: int) -> None:
    with pytest.raises(Malformed, match="cannot have"):
        make_record(identity(1), TAG, (V4,), sequence, expiry)


def test_more_endpoints_than_a_record_can_have() -> None:
    with pytest.raises(Malformed):
        make_record(identity(1), TAG, tuple(Endpoint.tcp(("10.0.0.1", port)) for port in range(1, 400)), 5, 5)


# --- who signed it ----------------------------------------------------------------------------------------------------


@given(place=st.integers(0, len(record(1).raw) - 1), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(place: int, bit: int) -> None:
    raw = bytearray(record(1).raw)
    raw[place] ^= 1 << bit
    with pytest.raises(Malformed):
        parse(bytes(raw)).verify(TAG)


def test_nobody_can_speak_for_another() -> None:
    """The signature of one, the key of the other."""
    ours, theirs = record(1).raw, record(2).raw
    for raw in (
        ours[:13] + identity(2).signing_key + ours[45:],
        ours[:-SIGNATURE_SIZE] + theirs[-SIGNATURE_SIZE:],
    ):
        with pytest.raises(Malformed, match="genuine"):
            parse(raw).verify(TAG)


def test_a_record_of_another_network_is_refused() -> None:
    foreign = record(1, tag=FOREIGN_TAG)
    assert parse(foreign.raw).verify(FOREIGN_TAG) == foreign
    with pytest.raises(Malformed, match="genuine"):
        parse(foreign.raw).verify(TAG)


def test_networks_have_tags_of_their_own() -> None:
    tags = {network_tag(network_keys(name, key)) for name in ("crust", "other") for key in (None, bytes(16), bytes(17))}
    assert len(tags) == 6
    assert {len(tag) for tag in tags} == {32}


def test_a_signature_means_nothing_without_its_domain() -> None:
    body = record(1).raw[:-SIGNATURE_SIZE]
    with pytest.raises(Malformed, match="genuine"):
        parse(body + identity(1).sign(body)).verify(TAG)


def test_a_key_that_anybody_can_sign_with_has_no_record() -> None:
    raw = record(1).raw
    with pytest.raises(Malformed):
        parse(raw[:13] + b"\x01" + bytes(31) + raw[45:])


# --- what no correct node makes ---------------------------------------------------------------------------------------

ONE, TWO = encoded(0x04, "10.0.0.1"), encoded(0x04, "10.0.0.2")


def test_the_signature_of_these_bodies_is_good() -> None:
    """So that what follows fails for its own reason."""
    assert parse(signed(body_with(ONE, TWO))).verify(TAG).endpoints == (
        Endpoint.tcp("10.0.0.1:5483"),
        Endpoint.tcp("10.0.0.2:5483"),
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (body_with(TWO, ONE), "out of order"),
        (body_with(ONE, ONE), "out of order"),
        (body_with(ONE, count=2), "says 2 endpoints"),
        (body_with(ONE, TWO, count=1), "says 1 endpoints"),
        (body_with(*(encoded(0x04, f"10.0.0.{n}") for n in range(1, 10))), "9 endpoints"),
        (body_with(ONE[:-1], count=1), "half of one"),
        (body_with(ONE, b"\x04", count=1), "half of one"),
        (body_with(b"\x05" + ONE[1:]), "unknown kind"),
        (body_with(b"\x24" + ONE[1:]), "unknown kind"),
        (body_with(version=2), "version 2"),
        (body_with(encoded(0x04, "0.0.0.0")), "impossible endpoint"),
        (body_with(encoded(0x04, "255.255.255.255")), "impossible endpoint"),
        (body_with(encoded(0x04, "224.0.0.1")), "impossible endpoint"),
        (body_with(encoded(0x04, "10.0.0.1", port=0)), "impossible endpoint"),
        (body_with(encoded(0x06, "fe80::1")), "impossible endpoint"),
        (body_with(encoded(0x06, "::ffff:10.0.0.1")), "impossible endpoint"),
        (body_with(*(encoded(0x06, f"2001:db8::{n}") for n in range(1, 10))), "bytes"),
        (b"", "bytes"),
    ],
)
def test_what_has_another_form_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse(signed(body))


@given(data=st.binary(max_size=MAX_CONTACT_RECORD + 10))
def test_only_malformed_comes_out(data: bytes) -> None:
    for raw in (data, record(1).raw[:HEAD] + data):
        try:
            parse(raw).verify(TAG)
        except Malformed:
            continue
        assert raw == record(1).raw


def test_it_never_changes() -> None:
    made: Any = record(1)
    with pytest.raises(AttributeError):
        made.sequence = 5
