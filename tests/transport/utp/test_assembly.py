"""Bursts: every packet a whole one, told apart by nothing but number and payload."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.assembly import control, data_burst, one
from crust.transport.utp.burst import Burst
from crust.transport.utp.outgoing import Outgoing, OutPacket, OutRun
from crust.transport.utp.packet import HEADER_SIZE, Packet, PacketType, decode, header
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.receiver import Receiver
from crust.transport.utp.sender import Sender

PEER = ("192.0.2.1", 7)


def packets(burst: Burst) -> list[Packet]:
    """What a burst is on the wire, decoded."""
    found = []
    for at in range(0, len(burst.buffers), 2):
        data = b"".join(burst.buffers[at : at + 2])
        last = at + 2 == len(burst.buffers)
        assert len(data) <= burst.segment if last else len(data) == burst.segment, "or the kernel cuts it elsewhere"
        found.append(decode(data))
    assert len(found) == burst.count
    return found


def assembled(outgoing: Outgoing, sack: bytes = b"") -> Burst:
    return data_burst(PEER, outgoing, 1001, 2**32 - 1, 77, 4096, 65535, sack)


@given(seq_nr=st.integers(0, 65535), size=st.integers(1, 40), data=st.binary(min_size=1, max_size=400), at=st.data())
def test_a_run_is_packets_with_numbers_in_a_row(seq_nr: int, size: int, data: bytes, at: st.DataObject) -> None:
    start = at.draw(st.integers(0, len(data) - 1))
    run = OutRun(seq_nr, data, start, len(data), size)
    found = packets(assembled(Outgoing(run)))
    assert b"".join(packet.payload for packet in found) == data[start:]
    assert [packet.seq_nr for packet in found] == [(seq_nr + number) % 65536 for number in range(run.count)]
    wanted = Packet(PacketType.DATA, 1001, 2**32 - 1, 77, 4096, 0, 65535)
    assert {packet._replace(seq_nr=0, payload=b"") for packet in found} == {wanted}


@pytest.mark.parametrize("kind", [PacketType.DATA, PacketType.FIN])
def test_single_packets_keep_their_type_number_and_payload(kind: PacketType) -> None:
    payloads = [b"abcd", b"efgh", b"i"] if kind == PacketType.DATA else [b""]
    single = tuple(OutPacket(kind, number, payload) for number, payload in zip((65535, 3, 4), payloads, strict=False))
    found = packets(assembled(Outgoing(packets=single), sack=b"\1\0\0\x80"))
    assert [(packet.type, packet.seq_nr, packet.payload) for packet in found] == [
        (kind, packet.seq_nr, packet.payload) for packet in single
    ]
    assert {packet.sack for packet in found} == {b"\1\0\0\x80"}


def test_a_probe_is_padded_to_its_size_may_not_be_cut_and_leaves_out_the_sack() -> None:
    run = OutRun(9, bytes(528), 0, 528, 528)
    burst = assembled(Outgoing(run, pad_to=1472), sack=b"\1\0\0\0")
    assert burst.dont_fragment
    assert sum(map(len, burst.buffers)) == 1472
    (packet,) = packets(burst)
    assert packet.payload == bytes(528)
    assert packet.sack == b""
    assert not assembled(Outgoing(OutRun(9, b"x", 0, 1, 1))).dont_fragment


def test_a_packet_without_payload_is_a_burst_of_its_own_length() -> None:
    data = header(PacketType.STATE, 1, 2, 3, 4, 5, 6, b"\1\0\0\0")
    burst = one(PEER, data)
    assert (burst.address, burst.count, burst.segment) == (PEER, 1, len(data))
    assert packets(burst)[0].sack == b"\1\0\0\0"


def test_a_control_packet_says_where_both_halves_stand() -> None:
    sender = Sender(500, PathMtu(548, 1472), 1 << 20)
    sender.buffer.write(b"on its way", 0, 10)
    sender.buffer.take_run(sender.buffer.peek_run(10, 1), 1, 0.0)
    receiver = Receiver(100_000)
    receiver.buffer.ack_nr = 41
    receiver.difference = 1234
    receiver.buffer.add(44, b"early")
    packet = decode(control(PacketType.STATE, 7, sender, receiver, 1.5))
    assert packet == Packet(PacketType.STATE, 7, 1_500_000, 1234, 100_000 - 5, 501, 41, b"\2\0\0\0")
    assert len(control(PacketType.RESET, 7, sender, Receiver(9000), 0.0)) == HEADER_SIZE
