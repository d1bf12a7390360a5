"""Runs of packets: cut anywhere they hold the same bytes under the same numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.outgoing import Outgoing, OutPacket, OutRun
from crust.transport.utp.packet import PacketType


@st.composite
def runs(draw: st.DrawFn) -> OutRun:
    data = draw(st.binary(min_size=1, max_size=200))
    start = draw(st.integers(0, len(data) - 1))
    stop = draw(st.integers(start + 1, len(data)))
    run = OutRun(draw(st.integers(65500, 65535)), data, start, stop, draw(st.integers(1, 30)))
    run.order, run.sent_at = 50, 9.0
    return run


@given(runs())
def test_a_run_is_its_bytes_in_pieces_of_one_size(run: OutRun) -> None:
    payloads = run.payloads()
    assert b"".join(payloads) == run.data[run.start : run.stop]
    assert len(payloads) == run.count
    assert {len(payload) for payload in payloads[:-1]} <= {run.size}
    assert 0 < len(payloads[-1]) <= run.size
    assert run.length == sum(map(len, payloads))


@given(runs(), st.data())
def test_what_is_dropped_from_the_front_is_what_was_there(run: OutRun, data: st.DataObject) -> None:
    before = list(run.split())
    count = data.draw(st.integers(0, run.count - 1))
    assert run.drop_first(count) == sum(packet.size for packet in before[:count])
    after = list(run.split())
    assert [(p.seq_nr, p.payload, p.order) for p in after] == [(p.seq_nr, p.payload, p.order) for p in before[count:]]
    assert run.count == len(after)


@given(runs(), st.integers(1, 300))
def test_what_the_system_did_not_take_is_not_of_the_run(run: OutRun, count: int) -> None:
    before = run.payloads()
    run.keep_first(count)
    assert run.payloads() == before[:count]
    assert run.count == len(before[:count])


def test_single_packets_are_on_their_way_as_the_run_was() -> None:
    run = OutRun(65535, b"abcdefg", 0, 7, 3)
    run.order, run.sent_at = 12, 3.5
    found = list(run.split())
    assert [(packet.seq_nr, packet.payload, packet.order) for packet in found] == [
        (65535, b"abc", 12),
        (0, b"def", 13),
        (1, b"g", 14),
    ]
    for packet in found:
        assert packet.type == PacketType.DATA
        assert (packet.sends, packet.sent_at, packet.flying) == (1, 3.5, True)
        assert not packet.queued
        assert not packet.sacked


def test_a_new_packet_was_never_sent() -> None:
    packet = OutPacket(PacketType.FIN, 5, b"")
    assert (packet.size, packet.sends, packet.flying, packet.queued, packet.sacked) == (0, 0, False, False, False)


@pytest.mark.parametrize(
    ("outgoing", "kind", "size"),
    [
        (Outgoing(OutRun(1, b"abcdefg", 0, 7, 3)), PacketType.DATA, 3),
        (Outgoing(OutRun(1, b"ab", 0, 2, 3)), PacketType.DATA, 2),
        (Outgoing(packets=(OutPacket(PacketType.DATA, 1, b"abc"), OutPacket(0, 2, b"d"))), PacketType.DATA, 3),
        (Outgoing(packets=(OutPacket(PacketType.FIN, 1, b""),)), PacketType.FIN, 0),
    ],
)
def test_what_leaves_together_has_one_type_and_size(outgoing: Outgoing, kind: PacketType, size: int) -> None:
    assert outgoing.type == kind
    assert outgoing.size == size
