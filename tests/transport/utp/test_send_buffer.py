"""What is sent, against a table of packets: taken, acknowledged, named early and lost in any order."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.outgoing import OutPacket
from crust.transport.utp.packet import PacketType
from crust.transport.utp.send_buffer import GATHERED, LOSS_THRESHOLD, SMALL, SendBuffer

START = 65_533
ALL = Random(3).randbytes(20_000)


@dataclass
class Sent:
    """One packet, as the model knows it."""

    payload: bytes
    fin: bool = False
    sends: int = 1
    order: int = 0
    sent_at: float = 0.0
    flying: bool = True
    sacked: bool = False


@dataclass
class Model:
    """The same with an entry per packet and sums made anew each time."""

    buffer: SendBuffer = field(default_factory=lambda: SendBuffer(START))
    packets: list[Sent] = field(default_factory=list)
    acked: int = 0
    written: int = 0
    cut: int = 0
    order: int = 0
    newest: int = 0
    now: float = 0.0
    fin: OutPacket | None = None

    @property
    def unacked(self) -> list[Sent]:
        return self.packets[self.acked :]

    def write(self, size: int, offset: int) -> None:
        data = bytes(offset) + ALL[self.written : self.written + size] + b"behind"
        size = len(data) - offset - 6
        self.buffer.write(data, offset, offset + size)
        self.written += size

    def take(self, size: int, most: int, taken: int) -> None:
        if not self.buffer.pending or self.fin:
            return
        run = self.buffer.peek_run(size, most)
        payloads = run.payloads()
        assert 1 <= len(payloads) <= most
        assert all(len(payload) == size for payload in payloads[:-1])
        assert len(payloads[-1]) == size or self.cut + run.length == self.written, "only the very last one is short"
        taken = min(taken, run.count)
        self.buffer.take_run(run, taken, self.now)
        for payload in payloads[:taken]:
            assert ALL[self.cut : self.cut + len(payload)] == payload
            self.cut += len(payload)
            self.order += 1
            self.packets.append(Sent(payload, order=self.order, sent_at=self.now))

    def finish(self) -> None:
        if not self.buffer.pending and self.fin is None:
            self.fin = self.buffer.make_fin()

    def resend(self, budget: int, most: int, taken: int) -> None:
        first = self.buffer.to_resend()
        if first is None:
            return
        found = self.buffer.all_to_resend(max(budget, first.size), most)
        assert found[0] is first
        assert len(found) <= most
        assert len({packet.type for packet in found}) == 1, "or they would not go into one burst"
        assert {packet.size for packet in found[:-1]} <= {first.size}
        assert found[-1].size <= first.size
        assert sum(packet.size for packet in found) <= max(budget, first.size)
        self.buffer.taken(found[:taken], self.now)
        for packet in found[:taken]:
            self.order += 1
            number = (packet.seq_nr - START) & 0xFFFF
            if number == len(self.packets):
                assert packet is self.fin
                self.packets.append(Sent(b"", fin=True, order=self.order, sent_at=self.now))
                continue
            sent = self.packets[number]
            assert not sent.flying
            assert not sent.sacked
            assert number >= self.acked
            assert packet.payload == sent.payload, "a number keeps its payload for ever"
            sent.flying, sent.sends, sent.order, sent.sent_at = True, sent.sends + 1, self.order, self.now

    def acknowledge(self, count: int, early: list[int]) -> None:
        count = min(count, len(self.unacked))
        ack_nr = (START + self.acked + count - 1) & 0xFFFF
        named = [(ack_nr + 2 + bit) & 0xFFFF for bit in early]
        new = [sent for sent in self.unacked[:count] if not sent.sacked]
        rest = self.unacked[count:]
        new += [rest[bit + 1] for bit in sorted(set(early)) if bit + 1 < len(rest) and not rest[bit + 1].sacked]
        news = self.buffer.acknowledge(ack_nr, named)
        self.acked += count
        assert news.size == sum(len(sent.payload) for sent in new)
        assert news.packets == len(new)
        assert news.fin is (count > 0 and self.packets[self.acked - 1].fin)
        times = {sent.sent_at for sent in new if sent.sends == 1}
        assert news.sent_at is None or news.sent_at in times
        if new and max(new, key=lambda sent: sent.order).sends == 1:
            assert news.sent_at is not None, "Karn's rule leaves this sample"
        for sent in new:
            sent.sacked, sent.flying = True, False
            self.newest = max(self.newest, sent.order)

    def lose(self, which: int) -> None:
        flying = [sent for sent in self.unacked if sent.flying]
        if which == 0:
            lost = flying
            assert self.buffer.lose_all() == len(lost)
        elif which == 1:
            lost = [max(flying, key=lambda sent: sent.order)] if flying else []
            assert len(self.buffer.lose_last()) == len(lost)
        elif which == 2:
            sacks = any(sent.sacked for sent in self.unacked)
            lost = [sent for sent in flying if sacks and sent.order <= self.newest - LOSS_THRESHOLD]
            assert len(self.buffer.find_lost()) == len(lost)
        else:
            number = self.acked + which - 3
            lost = [sent for sent in flying if number < len(self.packets) and sent is self.packets[number]]
            self.buffer.lose_number((START + number) & 0xFFFF)
        for sent in lost:
            sent.flying = False

    def check(self) -> None:
        buffer = self.buffer
        assert buffer.first == (START + self.acked) & 0xFFFF
        assert buffer.next_seq == (START + len(self.packets)) & 0xFFFF
        assert buffer.outstanding == len(self.unacked)
        assert buffer.pending == self.written - self.cut
        assert buffer.unacked == sum(len(sent.payload) for sent in self.unacked)
        assert buffer.waiting == buffer.pending + buffer.unacked
        assert buffer.missing == sum(len(sent.payload) for sent in self.unacked if not sent.sacked)
        assert buffer.in_flight == sum(len(sent.payload) for sent in self.unacked if sent.flying)
        waiting = [number for number, sent in enumerate(self.unacked) if not sent.flying and not sent.sacked]
        if self.fin is not None and not self.fin.sends:
            waiting.append(len(self.unacked))
        first = buffer.to_resend()
        oldest = None if first is None else (first.seq_nr - buffer.first) & 0xFFFF
        assert oldest == (waiting[0] if waiting else None), "what does not fly is queued, the oldest first"


SMALL_NUMBER = st.integers(1, 6)
STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([0, 1, 3, 50, 700, SMALL, SMALL + 1, 3000]), st.integers(0, 3)),
    st.tuples(st.just("take"), st.sampled_from([1, 100, 528, 1452]), SMALL_NUMBER, SMALL_NUMBER),
    st.tuples(st.just("resend"), st.integers(0, 5000), SMALL_NUMBER, st.integers(0, 6)),
    st.tuples(st.just("acknowledge"), st.integers(0, 6), st.lists(st.integers(0, 8), max_size=4)),
    st.tuples(st.just("lose"), st.integers(0, 8)),
    st.tuples(st.just("finish")),
)


@given(st.lists(STEPS, max_size=50))
def test_it_knows_of_each_packet_what_a_plain_table_knows(steps: list[tuple[object, ...]]) -> None:
    model = Model()
    for what, *arguments in steps:
        model.now += 1.0
        if what != "write" or model.fin is None:
            getattr(model, str(what))(*arguments)
        model.check()
    model.acknowledge(len(model.packets), [])
    model.check()
    assert model.buffer.unacked == model.buffer.in_flight == model.buffer.missing == model.buffer._sacked == 0
    assert not model.buffer._runs


def sent(*payloads: bytes) -> SendBuffer:
    """A buffer from which these are on their way, numbered from 10."""
    buffer = SendBuffer(10)
    for number, payload in enumerate(payloads):
        buffer.write(payload, 0, len(payload))
        buffer.take_run(buffer.peek_run(max(len(payload), 1), 1), 1, float(number))
    return buffer


def test_written_bytes_are_kept_and_not_copied() -> None:
    buffer, data = SendBuffer(0), bytes(100_000)
    buffer.write(data, 0, len(data))
    assert buffer.peek_run(1000, 46).data is data


def test_bursts_are_full_whatever_the_sizes_of_the_writes() -> None:
    buffer = SendBuffer(10)
    for _ in range(4):
        buffer.write(bytes(65_536), 0, 65_536)
    counts = []
    while buffer.pending:
        run = buffer.peek_run(1380, 46)
        counts.append(run.count)
        buffer.take_run(run, run.count, 1.0)
    assert counts == [46, 46, 46, 46, 6]


@pytest.mark.parametrize("size", [1, 10, SMALL])
def test_small_writes_are_gathered(size: int) -> None:
    buffer = SendBuffer(0)
    count = 20_000 // size
    for _ in range(count):
        buffer.write(bytes(size), 0, size)
    assert buffer.pending == count * size
    assert len(buffer._pending) <= count * size // GATHERED + 1


def test_packets_are_full_across_pieces() -> None:
    buffer = SendBuffer(0)
    for size in (2500, 2600, 30):
        buffer.write(ALL[:size], 0, size)
    sizes = []
    while buffer.pending:
        run = buffer.peek_run(1000, 10)
        sizes += [len(payload) for payload in run.payloads()]
        buffer.take_run(run, run.count, 0.0)
    assert sizes == [1000] * 5 + [130]


def test_peeking_changes_nothing() -> None:
    buffer = SendBuffer(5)
    buffer.write(b"abcdef", 0, 6)
    assert buffer.peek_run(2, 2).payloads() == buffer.peek_run(2, 2).payloads() == [b"ab", b"cd"]
    assert buffer.pending == 6
    assert buffer.outstanding == 0


def test_a_fin_takes_its_number_when_it_leaves() -> None:
    buffer = sent(b"data")
    fin = buffer.make_fin()
    assert fin.seq_nr == buffer.next_seq == 11
    assert buffer.to_resend() is fin
    buffer.taken([fin], 5.0)
    assert buffer.next_seq == 12
    assert buffer.to_resend() is None
    assert buffer.acknowledge(11).fin


def test_a_fin_that_was_named_early_counts_when_all_before_it_has_arrived() -> None:
    buffer = sent(b"data")
    buffer.taken([buffer.make_fin()], 5.0)
    assert not buffer.acknowledge(9, [11]).fin
    assert buffer.acknowledge(11).fin


def test_a_fin_that_never_left_cannot_be_named() -> None:
    buffer = sent(b"data")
    fin = buffer.make_fin()
    assert buffer.acknowledge(9, [fin.seq_nr]).packets == 0
    assert buffer.to_resend() is fin


def test_a_fin_is_not_sent_among_data() -> None:
    buffer = sent(b"one", b"two")
    buffer.taken([buffer.make_fin()], 5.0)
    buffer.lose_all()
    assert [packet.type for packet in buffer.all_to_resend(1000, 10)] == [PacketType.DATA] * 2
    buffer.taken(buffer.all_to_resend(1000, 10), 6.0)
    assert [packet.type for packet in buffer.all_to_resend(1000, 10)] == [PacketType.FIN]


def test_each_time_that_all_is_lost_the_oldest_goes_first() -> None:
    """The peer may have all but that one, and libutp says nothing to what it has."""
    buffer = sent(*[b"data"] * 5)
    for now in (5.0, 6.0, 7.0):
        buffer.lose_all()
        (first,) = buffer.all_to_resend(4, 10)
        assert first.seq_nr == 10
        buffer.taken([first], now)


def test_what_was_overtaken_by_three_is_lost() -> None:
    buffer = sent(*[b"data"] * 8)
    buffer.acknowledge(9, [11, 12])
    assert buffer.find_lost() == []
    buffer.acknowledge(9, [11, 12, 13])
    assert [packet.seq_nr for packet in buffer.find_lost()] == [10]
    assert buffer.find_lost() == [], "once"


def test_a_lost_repetition_is_found_by_what_was_sent_after_it() -> None:
    buffer = sent(*[b"data"] * 8)
    buffer.acknowledge(9, [11, 12, 13])
    buffer.find_lost()
    buffer.taken(buffer.all_to_resend(1000, 10), 20.0)
    buffer.acknowledge(9, [14, 15, 16, 17])
    assert buffer.find_lost() == [], "these were sent before the repetition"
    for _ in range(3):
        buffer.write(b"more", 0, 4)
        buffer.take_run(buffer.peek_run(4, 1), 1, 21.0)
    buffer.acknowledge(9, [18, 19, 20])
    assert [packet.seq_nr for packet in buffer.find_lost()] == [10]


def test_what_happens_to_one_packet_of_a_run_leaves_later_runs_alone() -> None:
    buffer = SendBuffer(10)
    for _ in range(3):
        buffer.write(bytes(4000), 0, 4000)
        buffer.take_run(buffer.peek_run(1000, 4), 4, 1.0)
    buffer.acknowledge(9, [15])
    assert sorted(buffer.flight) == list(range(10, 18))
    assert [run.seq_nr for run in buffer._runs] == [18]


def test_clearing_frees_everything() -> None:
    buffer = sent(b"one", b"two")
    buffer.write(b"three", 0, 5)
    buffer.lose_last()
    buffer.clear()
    assert buffer.waiting == buffer.in_flight == buffer.outstanding == 0
    assert buffer.to_resend() is None
    assert not buffer.flight
