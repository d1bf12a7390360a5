"""What arrived, against a table of packets: in whatever order, twice, too far ahead, with little room."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.constants import REORDER_WINDOW
from crust.transport.utp.packet import sack_bits
from crust.transport.utp.receive_buffer import Arrival, ReceiveBuffer

START = 65_530
MUCH = 1 << 20


@dataclass
class Model:
    """The same by the book: what was taken is kept by number, and nothing else is known."""

    payloads: list[bytes]
    capacity: int
    end: bool
    taken: dict[int, bytes] = field(default_factory=dict)
    read: int = 0

    @property
    def reached(self) -> int:
        """Packets in order so far, the FIN after the payloads counts."""
        count = 0
        while count in self.taken:
            count += 1
        return count

    @property
    def ready(self) -> bytes:
        return b"".join(self.taken[number] for number in range(self.reached))[self.read :]

    @property
    def early(self) -> int:
        return sum(len(payload) for number, payload in self.taken.items() if number > self.reached)

    def add(self, number: int, payload: bytes) -> Arrival:
        """What must become of a packet."""
        reached = self.reached
        if number in self.taken:
            return Arrival.DUPLICATE
        room = self.capacity - len(self.ready)
        # The FIN has no place of its own among the early ones.
        if len(payload) > (room if number == reached else max(room - self.early, 0)):
            return Arrival.REFUSED
        self.taken[number] = payload
        return Arrival.IN_ORDER if number == reached else Arrival.EARLY

    def check(self, buffer: ReceiveBuffer) -> None:
        """Compare all that can be seen."""
        ready = self.ready
        assert buffer.waiting == len(ready)
        assert buffer.free == max(self.capacity - len(ready) - self.early, 0)
        assert buffer.ack_nr == (START + self.reached - 1) & 0xFFFF
        ended = self.end and len(self.payloads) in self.taken
        assert buffer.at_end is (ended and self.reached == len(self.payloads) + 1)
        early = [number for number in self.taken if number > self.reached and number < len(self.payloads)]
        assert list(sack_bits(buffer.sack(), buffer.ack_nr)) == [(START + number) & 0xFFFF for number in sorted(early)]
        assert buffer.has_early is (bool(early) or (ended and not buffer.at_end))


SIZES = st.one_of(st.integers(0, 5), st.sampled_from([1023, 1024, 1025, 1452]))
STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("run"), st.integers(0, 12), st.integers(1, 5)),
    st.tuples(st.just("read"), st.integers(1, 3000), st.booleans()),
)


@given(
    sizes=st.lists(SIZES, max_size=12),
    steps=st.lists(STEPS, max_size=60),
    capacity=st.sampled_from([0, 7, 1500, 5000, MUCH]),
    end=st.booleans(),
)
def test_the_reader_gets_what_was_sent_in_order_and_once(
    sizes: list[int], steps: list[tuple[str, int, int]], capacity: int, end: bool
) -> None:
    rng = Random(1)
    payloads = [rng.randbytes(size) for size in sizes]
    model, buffer = Model(payloads, capacity, end), ReceiveBuffer((START - 1) & 0xFFFF, capacity)
    for what, number, extra in steps:
        if what == "add" and number < len(payloads):
            ended = buffer.at_end
            arrival = buffer.add((START + number) & 0xFFFF, memoryview(payloads[number]))
            if ended:
                assert arrival in (Arrival.DUPLICATE, Arrival.REFUSED)
            else:
                assert arrival is model.add(number, payloads[number])
        elif what == "add" and end:
            arrival = buffer.finish((START + len(payloads)) & 0xFFFF)
            assert arrival is model.add(len(payloads), b"")
        elif what == "run":
            _add_run(buffer, model, number, extra)
        elif what == "read":
            _read(buffer, model, number, bool(extra))
        model.check(buffer)


def _add_run(buffer: ReceiveBuffer, model: Model, number: int, count: int) -> None:
    some = model.payloads[number : number + count]
    if not some:
        return
    joined = b"".join(some)
    welcome = number == model.reached and len(model.taken) == model.reached and len(joined) <= buffer.free
    assert buffer.add_run((START + number) & 0xFFFF, len(some), joined) is welcome
    if welcome:
        model.taken.update(enumerate(some, number))


def _read(buffer: ReceiveBuffer, model: Model, limit: int, into: bool) -> None:
    ready = model.ready
    if into:
        target = bytearray(limit)
        filled = buffer.read_into(memoryview(target))
        assert filled == min(limit, len(ready)), "as far as what waits goes"
        found = bytes(target[:filled])
    else:
        found = buffer.read(limit)
        assert len(found) <= limit
        assert bool(found) is bool(ready)
    assert found == ready[: len(found)]
    model.read += len(found)


@pytest.mark.parametrize(
    ("ahead", "arrival"),
    [
        (-2 * REORDER_WINDOW, Arrival.DUPLICATE),
        (-1, Arrival.DUPLICATE),
        (0, Arrival.IN_ORDER),
        (REORDER_WINDOW - 1, Arrival.EARLY),
        (REORDER_WINDOW, Arrival.REFUSED),
        (32768, Arrival.REFUSED),
        (-2 * REORDER_WINDOW - 1, Arrival.REFUSED),
    ],
)
@pytest.mark.parametrize("ack_nr", [0, 65535, 65000, 30000])
def test_how_far_off_a_number_may_be(ack_nr: int, ahead: int, arrival: Arrival) -> None:
    buffer = ReceiveBuffer(ack_nr, MUCH)
    assert buffer.add((ack_nr + 1 + ahead) & 0xFFFF, b"x") is arrival
    wanted = Arrival.DUPLICATE if arrival is Arrival.REFUSED else arrival
    buffer = ReceiveBuffer(ack_nr, MUCH)
    assert buffer.finish((ack_nr + 1 + ahead) & 0xFFFF) is wanted


def test_what_is_missing_is_let_in_where_early_ones_fill_the_room() -> None:
    buffer = ReceiveBuffer(0, 3000)
    assert [buffer.add(number, bytes(1000)) for number in (2, 3, 4)] == [Arrival.EARLY] * 3
    assert buffer.add(5, b"x") is Arrival.REFUSED
    assert buffer.add(1, bytes(1000)) is Arrival.IN_ORDER
    assert buffer.waiting == 4000
    assert buffer.free == 0
    assert buffer.add(5, b"x") is Arrival.REFUSED, "and no more than that"


def test_what_came_early_takes_room_only_once() -> None:
    buffer = ReceiveBuffer(0, 3000)
    buffer.add(2, bytes(1000))
    assert buffer.free == 2000
    buffer.add(1, bytes(500))
    assert (buffer.waiting, buffer.free) == (1500, 1500)
    assert buffer.read(1) + buffer.read(5000) + buffer.read(5000) == bytes(1500)
    assert buffer.free == 3000


def test_nothing_comes_after_the_end() -> None:
    buffer = ReceiveBuffer(0, MUCH)
    assert buffer.finish(3) is Arrival.EARLY
    assert buffer.add(3, b"beyond") is Arrival.REFUSED
    assert buffer.add(4, b"beyond") is Arrival.REFUSED
    assert buffer.finish(2) is Arrival.DUPLICATE, "the first one counts"
    assert buffer.add(1, b"a") is Arrival.IN_ORDER
    assert buffer.add(2, b"b") is Arrival.IN_ORDER
    assert buffer.at_end
    assert buffer.ack_nr == 3
    assert buffer.read(10) + buffer.read(10) == b"ab"
    assert buffer.add(4, b"beyond") is Arrival.REFUSED


def test_an_end_before_what_came_is_a_contradiction() -> None:
    buffer = ReceiveBuffer(0, MUCH)
    buffer.add(4, b"d")
    assert buffer.finish(3) is Arrival.REFUSED, "the missing ones may still prove it wrong"
    assert buffer.finish(1) is Arrival.CONTRADICTION
    assert not buffer.at_end
    assert buffer.finish(5) is Arrival.EARLY


def test_last_words_travel_with_the_end() -> None:
    buffer = ReceiveBuffer(0, MUCH)
    assert buffer.finish(2, memoryview(b"!")) is Arrival.EARLY
    assert buffer.add(1, b"bye") is Arrival.IN_ORDER
    assert buffer.read(10) == b"bye!"
    assert buffer.at_end
    small = ReceiveBuffer(0, 3)
    assert small.finish(1, b"long") is Arrival.REFUSED


def test_what_was_given_may_change_afterwards() -> None:
    data = bytearray(b"early and late")
    buffer = ReceiveBuffer(0, MUCH)
    buffer.add(2, memoryview(data)[:5])
    buffer.add(1, memoryview(data)[5:])
    data[:] = bytes(len(data))
    assert buffer.read(100) == b" and lateearly"


def test_many_small_packets_do_not_cost_an_object_each() -> None:
    buffer = ReceiveBuffer(0, MUCH)
    for number in range(1, 60_001):
        buffer.add(number, b"x")
    assert len(buffer._pieces) <= 2
    assert buffer.read(MUCH) == b"x" * 60_000


def test_large_ones_are_not_copied() -> None:
    payload = bytes(60_000)
    buffer = ReceiveBuffer(0, MUCH)
    buffer.add_run(1, 40, payload)
    assert buffer.read(MUCH) is payload


def test_what_nobody_will_read_is_freed() -> None:
    buffer = ReceiveBuffer(0, 5000)
    buffer.add(1, bytes(2000))
    buffer.add(3, bytes(2000))
    buffer.read(5)
    buffer.discard()
    assert buffer.waiting == 0
    assert buffer.free == 5000
    assert buffer.sack() == b""
    assert buffer.read(10) == b""
