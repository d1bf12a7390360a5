"""`crust.transport.pcapng`: the blocks and packets byte by byte. That real tools read them is shown in
`tests/dissector`."""

import ipaddress
import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.pcapng import ACK, SYN, packet_block, section_header, tcp_packet, udp_packet


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each block, whose two lengths must agree."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert data[at + size - 4 : at + size] == struct.pack("<I", size)
        yield kind, data[at + 8 : at + size - 4]
        at += size


def packets(data: bytes) -> Iterator[bytes]:
    """The packets of a file."""
    for kind, body in blocks(data):
        if kind == 6:
            size = struct.unpack_from("<I", body, 12)[0]
            yield body[20 : 20 + size]


class TcpParts(NamedTuple):
    """What is in a TCP segment over IPv4."""

    source: tuple[str, int]
    target: tuple[str, int]
    number: int
    ack: int
    flags: int
    payload: bytes


def tcp_parts(packet: bytes) -> TcpParts:
    """Take a packet apart."""
    hosts = [str(ipaddress.ip_address(packet[at : at + 4])) for at in (12, 16)]
    source, target, number, ack, offset, flags = struct.unpack_from(">HHIIBB", packet, 20)
    assert offset == 0x50
    return TcpParts((hosts[0], source), (hosts[1], target), number, ack, flags, packet[40:])


def ones_sum(data: bytes) -> int:
    """The sum of RFC 1071, word by word: 0xFFFF over anything that carries its right checksum."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_header_of_a_file() -> None:
    (section, interface) = list(blocks(section_header("crust 1.0")))
    assert section[0] == 0x0A0D0D0A
    assert section[1][:4] == bytes.fromhex("4d3c2b1a")
    assert section[1][16:] == b"\x04\x00\x09\x00crust 1.0\0\0\0" + bytes(4)
    assert interface == (1, struct.pack("<HHI", 101, 0, 0))


def test_a_packet_with_a_comment_and_cut_off() -> None:
    ((kind, body),) = list(blocks(packet_block(b"12345", 2**32 + 7, "why", length=90)))
    assert kind == 6
    assert struct.unpack_from("<IIIII", body) == (0, 1, 7, 5, 90)
    assert body[20:] == b"12345\0\0\0" + b"\x01\x00\x03\x00why\0" + bytes(4)


def test_a_segment() -> None:
    packet = tcp_packet(("10.0.0.1", 1), ("10.0.0.2", 65535), b"data", number=2**32 + 5, ack=2**32, flags=SYN | ACK)
    assert packet[:12].hex() == "45000" + "02c" + "00004000" + "4006" + packet[10:12].hex()
    assert tcp_parts(packet) == (("10.0.0.1", 1), ("10.0.0.2", 65535), 5, 0, 18, b"data")


@pytest.mark.parametrize("hosts", [("10.0.0.1", "10.0.0.2"), ("fe80::1%eth0", "2001:db8::2")])
@given(payload=st.binary(max_size=300), number=st.integers(0, 2**40))
def test_the_checksums_are_right(hosts: tuple[str, str], payload: bytes, number: int) -> None:
    one, other = (hosts[0], 5), (hosts[1], 6)
    for packet, kind in (
        (tcp_packet(one, other, payload, number=number, ack=0), 6),
        (udp_packet(one, other, payload), 17),
    ):
        header = 20 if packet[0] >> 4 == 4 else 40
        if header == 20:
            assert ones_sum(packet[:20]) == 0xFFFF
            assert int.from_bytes(packet[2:4], "big") == len(packet)
        addresses = packet[12:20] if header == 20 else packet[8:40]
        segment = packet[header:]
        assert ones_sum(addresses + struct.pack(">II", len(segment), kind) + segment) == 0xFFFF
        assert packet.endswith(payload)
