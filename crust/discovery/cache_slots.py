"""Where in the file records lie, and in which order they are written so that a crash loses none. Pure.

A record is never changed in place: its new copy goes into a free slot, is made durable, and only then is the old copy
cleared. Inside a slot the checksum is written last and cleared first. So whenever the writer dies, every record that
was complete still is, in its old or its new copy or both; of two copies the greater version counts, and the next
writer clears the other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from crust.discovery.cache_record import CHECKSUM_SIZE, FREE, SIZE, Key, Record, decode, encode, is_free
from crust.errors import Malformed

_BLANK: Final = bytes(SIZE - CHECKSUM_SIZE)


class Buffer(Protocol):
    """What a record is written to: an ``mmap``, or a ``bytearray``."""

    def __setitem__(self, part: slice, data: bytes, /) -> None:
        """Store bytes."""


@dataclass(slots=True)
class Scan:
    """What is in the slots (numbered from 0)."""

    live: dict[Key, tuple[int, Record]] = field(default_factory=dict)
    """The newest copy of each record, and its slot."""

    stale: list[int] = field(default_factory=list)
    """Older copies, left by a writer that died."""

    damaged: list[int] = field(default_factory=list)
    """What is neither free nor a record."""

    free: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Step:
    """Records to write; when they are durable, slots to clear."""

    writes: list[tuple[int, Record]]
    clears: list[int]


class SlotReader:
    """Reads the slots of one file again and again; only those that changed cost anything."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[bytes, Record | None]] = {}

    def scan(self, data: bytes) -> Scan:
        """What the bytes of a whole file hold. Not for two threads at a time."""
        scan = Scan()
        for slot in range(len(data) // SIZE - 1):
            raw = data[(slot + 1) * SIZE : (slot + 2) * SIZE]
            if is_free(raw):
                scan.free.append(slot)
                continue
            seen = self._seen.get(slot)
            if seen is None or seen[0] != raw:
                seen = self._seen[slot] = (raw, _decoded(raw))
            if seen[1] is None:
                scan.damaged.append(slot)
            else:
                _note(scan, slot, seen[1])
        return scan


def _decoded(raw: bytes) -> Record | None:
    try:
        return decode(raw)
    except Malformed:
        return None


def _note(scan: Scan, slot: int, record: Record) -> None:
    other = scan.live.get(record.key)
    if other is not None and other[1].version >= record.version:
        scan.stale.append(slot)
        return
    if other is not None:
        scan.stale.append(other[0])
    scan.live[record.key] = (slot, record)


def plan(scan: Scan, wanted: Mapping[Key, Record]) -> list[Step]:
    """The steps from what is in the slots to ``wanted``.

    Args:
        scan: all slots.
        wanted: fewer records than there are slots.
    """
    new = [record for key, record in wanted.items() if key not in scan.live or scan.live[key][1] != record]
    clears = [*scan.stale, *scan.damaged, *(slot for key, (slot, _) in scan.live.items() if key not in wanted)]
    free = scan.free
    steps: list[Step] = []
    while new or clears:
        if not (free or clears):
            raise ValueError(f"{len(wanted)} records do not fit")
        now, new = new[: len(free)], new[len(free) :]
        clears += [scan.live[record.key][0] for record in now if record.key in scan.live]
        steps.append(Step(list(zip(free, now, strict=False)), clears))
        free, clears = free[len(now) :] + clears, []
    return steps


def carry_out(buffer: Buffer, steps: Iterable[Step], make_durable: Callable[[], None]) -> None:
    """Write and clear.

    Args:
        buffer: the whole file.
        steps: from `plan`.
        make_durable: returns when all that was written would survive a power failure.
    """
    for step in steps:
        for slot, record in step.writes:
            _store(buffer, slot, encode(record))
        make_durable()
        for slot in step.clears:
            _erase(buffer, slot)


def _store(buffer: Buffer, slot: int, raw: bytes) -> None:
    start = (slot + 1) * SIZE
    buffer[start + CHECKSUM_SIZE : start + SIZE] = raw[CHECKSUM_SIZE:]
    buffer[start : start + CHECKSUM_SIZE] = raw[:CHECKSUM_SIZE]


def _erase(buffer: Buffer, slot: int) -> None:
    start = (slot + 1) * SIZE
    buffer[start : start + CHECKSUM_SIZE] = FREE
    buffer[start + CHECKSUM_SIZE : start + SIZE] = _BLANK
