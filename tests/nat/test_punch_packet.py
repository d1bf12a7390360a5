"""`crust.nat.punch_packet`: sealed for two, and nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.identity import Identity, PeerId
from crust.nat import punch_packet
from crust.nat.connection_info import ConnectionInfo
from crust.nat.punch_packet import PROBE_SIZE, Probe, ProbeKind, PunchSeal, decode, encode, punch_key
from crust.transport.masking import network_keys
from crust.transport.utp.packet import could_be_utp

KEY = bytes(range(32))
PROBE = Probe(ProbeKind.USE, 255, 77, b"abcdefgh", b"12345678")
ONE, TWO, THREE = (Identity(bytes([number] * 32)) for number in (1, 2, 3))
NETWORK = network_keys("crust", None)


def seals() -> tuple[PunchSeal, PunchSeal]:
    return PunchSeal(KEY, True), PunchSeal(KEY, False)


def test_there_and_back() -> None:
    greater, lesser = seals()
    for one, other in ((greater, lesser), (lesser, greater)):
        datagram = one.close(PROBE)
        assert len(datagram) == PROBE_SIZE == 64
        assert other.open(datagram) == PROBE
        assert one.close(PROBE) != datagram


def test_what_is_thrown_back_says_nothing() -> None:
    greater, _ = seals()
    assert greater.open(greater.close(PROBE)) is None


def test_who_has_another_key_learns_nothing_and_can_say_nothing() -> None:
    greater, lesser = seals()
    stranger = PunchSeal(bytes(32), False)
    assert stranger.open(greater.close(PROBE)) is None
    assert greater.open(stranger.close(PROBE)) is None
    datagram = bytearray(lesser.close(PROBE))
    for bit in range(0, len(datagram) * 8, 7):
        datagram[bit // 8] ^= 1 << bit % 8
        assert greater.open(bytes(datagram)) is None
        datagram[bit // 8] ^= 1 << bit % 8
    assert greater.open(bytes(datagram)) == PROBE
    assert greater.open(b"") is greater.open(bytes(64)) is greater.open(bytes(65)) is None


def test_no_probe_looks_like_a_packet_of_utp() -> None:
    for first in range(256):
        datagram = PunchSeal(KEY, True, lambda size, first=first: bytes([first]) * size).close(PROBE)
        assert not could_be_utp(datagram)


def test_bodies() -> None:
    assert decode(encode(PROBE)) == PROBE
    for bad in (b"", encode(PROBE)[:-1], b"\2" + encode(PROBE)[1:], b"\1\0" + encode(PROBE)[2:]):
        with pytest.raises(Malformed):
            decode(bad)


def test_a_member_of_another_version_is_told_from_strangers() -> None:
    greater, _ = seals()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(punch_packet, "PROBE_VERSION", 2)
        datagram = PunchSeal(KEY, False).close(PROBE)
    with pytest.raises(Malformed, match="version 2"):
        greater.open(datagram)


@given(st.binary(max_size=40))
def test_nothing_but_malformed_comes_of_any_body(body: bytes) -> None:
    try:
        probe = decode(body)
    except Malformed:
        return
    assert encode(probe) == body


def infos() -> tuple[ConnectionInfo, ConnectionInfo]:
    return ConnectionInfo(ONE.peer_id), ConnectionInfo(TWO.peer_id)


def test_both_come_to_one_key() -> None:
    one, two = infos()
    key = punch_key(ONE, one, two, NETWORK)
    assert key == punch_key(TWO, two, one, NETWORK)
    assert len(key) == 32


def test_each_meeting_each_pair_and_each_network_has_its_own() -> None:
    one, two = infos()
    keys = {
        punch_key(ONE, one, two, NETWORK),
        punch_key(ONE, ConnectionInfo(ONE.peer_id), two, NETWORK),
        punch_key(ONE, one, ConnectionInfo(TWO.peer_id), NETWORK),
        punch_key(ONE, one, ConnectionInfo(THREE.peer_id), NETWORK),
        punch_key(ONE, one, two, network_keys("other", None)),
        punch_key(THREE, one, two, NETWORK),  # who carried the infos has no more than this
    }
    assert len(keys) == 6


def test_a_key_of_nobody() -> None:
    one, _ = infos()
    with pytest.raises(Malformed):
        punch_key(ONE, one, ConnectionInfo(PeerId(bytes(32))), NETWORK)
