import random
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from crust.discovery.cache_record import CHECKSUM_SIZE, SIZE, SPARE_SLOTS, Header, Key, Record, encode, encode_header
from crust.discovery.cache_slots import SlotReader, carry_out, plan
from crust.discovery.contact import Source
from crust.endpoint import Endpoint

CAPACITY = 4
HEADER = Header(CAPACITY)


class Killed(BaseException):
    """The writer died."""


class Dying:
    """A buffer whose writer is killed when it has stored so many bytes; what was stored stays."""

    def __init__(self, data: bytearray, budget: int) -> None:
        self.data = data
        self.budget = budget

    def __setitem__(self, part: slice, stored: bytes) -> None:
        size = min(len(stored), self.budget)
        self.data[part.start : part.start + size] = stored[:size]
        self.budget -= size
        if size < len(stored):
            raise Killed


def record(number: int, version: int) -> Record:
    return Record(Endpoint.tcp(f"192.0.2.{number}:1"), None, Source.GOSSIP, recency=version, version=version)


def table(*records: Record) -> dict[Key, Record]:
    return {one.key: one for one in records}


def empty() -> bytearray:
    return bytearray(encode_header(HEADER).ljust(HEADER.file_size, b"\0"))


def content(data: bytes | bytearray) -> dict[Key, Record]:
    return {key: one for key, (_, one) in SlotReader().scan(bytes(data)).live.items()}


def write(data: bytearray, wanted: dict[Key, Record]) -> None:
    carry_out(data, plan(SlotReader().scan(bytes(data)), wanted), lambda: None)


def test_what_is_written_is_read() -> None:
    data = empty()
    wanted = table(record(1, 1), record(2, 2))
    write(data, wanted)
    assert content(data) == wanted
    assert bytes(data[:SIZE]) == encode_header(HEADER)


def test_the_same_table_costs_no_write() -> None:
    data = empty()
    wanted = table(record(1, 1), record(2, 2))
    write(data, wanted)
    assert plan(SlotReader().scan(bytes(data)), wanted) == []


def histories() -> Iterator[tuple[dict[Key, Record], dict[Key, Record]]]:
    """Tables before and after a change: of every kind, and of several at once."""
    four = [record(number, number) for number in range(1, 5)]
    yield {}, table(four[0])
    yield table(four[0]), table(record(1, 9))
    yield table(*four), table(*four[1:], record(5, 9))  # one is evicted for another
    yield table(*four), table(record(1, 9), record(2, 10), record(3, 11), record(4, 12))
    yield table(*four), table(*four[:2])
    yield table(*four), {}


@pytest.mark.parametrize(("before", "after"), list(histories()))
def test_a_writer_may_die_after_any_byte_and_no_record_is_lost(
    before: dict[Key, Record], after: dict[Key, Record]
) -> None:
    start = empty()
    write(start, before)
    damages = 0
    for budget in range(10_000):
        data = bytearray(start)
        try:
            carry_out(Dying(data, budget), plan(SlotReader().scan(bytes(data)), after), lambda: None)
        except Killed:
            pass
        else:
            break
        found = content(data)
        kept = before.keys() & after.keys()
        assert kept <= found.keys(), f"lost after {budget} bytes"
        assert all(found[key] in (before[key], after[key]) for key in kept), f"went back in time after {budget} bytes"
        assert all(one in (before.get(key), after.get(key)) for key, one in found.items())
        damages += len(SlotReader().scan(bytes(data)).damaged)
        write(data, after)  # and the next writer finishes it
        assert content(data) == after
        scan = SlotReader().scan(bytes(data))
        assert (scan.stale, scan.damaged, len(scan.free)) == ([], [], HEADER.slots - len(after))
    else:
        raise AssertionError("the writer never came to its end")
    # A slot that is being filled or cleared counts as free, but while its checksum itself is half there.
    assert damages <= (CHECKSUM_SIZE - 1) * (len(before) + len(after))
    assert budget >= SIZE * (len(before) or 1) // 4  # something was written, and every byte of it was the last once


def test_what_is_replaced_or_evicted_goes_only_when_the_new_is_durable() -> None:
    data = empty()
    write(data, table(record(1, 1), record(2, 2)))
    log: list[dict[Key, Record]] = []
    after = table(record(1, 5), record(3, 6))
    carry_out(data, plan(SlotReader().scan(bytes(data)), after), lambda: log.append(content(data)))
    assert log == [table(record(1, 5), record(2, 2), record(3, 6))]
    raw = bytes(data)
    assert raw.count(encode(record(1, 1))) == 0  # the older copy was still there, and is gone now
    assert content(data) == after


def test_of_two_copies_the_newer_counts_wherever_it_lies() -> None:
    for order in ((record(1, 3), record(1, 7)), (record(1, 7), record(1, 3))):
        data = empty()
        for slot, one in enumerate(order, 1):
            data[slot * SIZE : (slot + 1) * SIZE] = encode(one)
        assert content(data) == table(record(1, 7))
        write(data, content(data))
        assert len(SlotReader().scan(bytes(data)).free) == HEADER.slots - 1


def test_a_file_full_of_damage_takes_new_records() -> None:
    data = empty()
    data[SIZE:] = random.Random(1).randbytes(len(data) - SIZE)
    scan = SlotReader().scan(bytes(data))
    assert len(scan.damaged) == HEADER.slots
    assert not scan.live
    write(data, table(record(1, 1)))
    assert content(data) == table(record(1, 1))
    assert SlotReader().scan(bytes(data)).damaged == []


def test_a_whole_table_is_changed_although_few_slots_are_free() -> None:
    big = Header(200)
    data = bytearray(big.file_size)
    first = table(*(record(number, number) for number in range(1, 201)))
    write(data, first)
    assert content(data) == first
    second = table(*(record(number, 1000 + number) for number in range(1, 201)))
    steps = plan(SlotReader().scan(bytes(data)), second)
    assert all(len(step.writes) <= SPARE_SLOTS + 1 for step in steps)
    write(data, second)
    assert content(data) == second


def test_more_records_than_slots_are_a_mistake() -> None:
    too_many = table(*(record(number, number) for number in range(1, HEADER.slots + 2)))
    with pytest.raises(ValueError, match="do not fit"):
        plan(SlotReader().scan(bytes(empty())), too_many)


def test_a_reader_sees_what_changed_in_a_slot_it_knows() -> None:
    data, reader = empty(), SlotReader()
    write(data, table(record(1, 1)))
    assert [one for _, one in reader.scan(bytes(data)).live.values()] == [record(1, 1)]
    data[SIZE : 2 * SIZE] = encode(record(2, 2))
    assert [one for _, one in reader.scan(bytes(data)).live.values()] == [record(2, 2)]
    data[SIZE : 2 * SIZE] = bytes(SIZE)
    assert reader.scan(bytes(data)).live == {}


@given(st.binary(max_size=6 * SIZE), st.binary(max_size=6 * SIZE))
def test_any_bytes_can_be_read_and_written_over(noise: bytes, more: bytes) -> None:
    data = empty()
    data[SIZE : SIZE + len(noise)] = noise
    data[len(data) - len(more) :] = more
    write(data, table(record(1, 1)))
    assert content(data) == table(record(1, 1))
