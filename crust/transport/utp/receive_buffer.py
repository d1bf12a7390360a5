"""What has arrived: bytes in order for the reader, and packets that came early."""

from collections import deque
from enum import Enum, auto
from typing import Final

from crust.transport.utp.constants import REORDER_WINDOW
from crust.transport.utp.packet import sack_mask
from crust.transport.utp.sequence import SEQ_MASK

SMALL: Final = 1024
"""Bytes: pieces up to here are gathered, so that a stranger's one-byte packets do not cost an object each."""

_GATHERED: Final = 65536
"""Bytes of small pieces gathered into one."""


class Arrival(Enum):
    """What a packet brought."""

    IN_ORDER = auto()
    EARLY = auto()
    DUPLICATE = auto()
    REFUSED = auto()
    """No room, or too far ahead: the peer must send it again."""
    CONTRADICTION = auto()
    """What came before and this cannot both be the peer's."""


class ReceiveBuffer:
    """The receiving half of a connection.

    Args:
        ack_nr: the sequence number before the first one to come.
        capacity: bytes that may wait here.
    """

    __slots__ = (
        "_early",
        "_early_bytes",
        "_eof",
        "_last_words",
        "_offset",
        "_pieces",
        "_waiting",
        "ack_nr",
        "at_end",
        "capacity",
    )

    def __init__(self, ack_nr: int, capacity: int) -> None:
        self.ack_nr = ack_nr
        self.capacity = capacity
        self.at_end = False  # their FIN and everything before it has arrived
        self._pieces: deque[bytes | bytearray] = deque()
        self._offset = 0  # of the first piece: what was read of it
        self._waiting = 0
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        self._eof: int | None = None
        self._last_words = b""

    @property
    def waiting(self) -> int:
        """Bytes that can be read now."""
        return self._waiting

    @property
    def free(self) -> int:
        """Bytes that may still come: the window to advertise."""
        return max(self.capacity - self._waiting - self._early_bytes, 0)

    @property
    def has_early(self) -> bool:
        """Whether something is missing before what has arrived."""
        return bool(self._early) or (self._eof is not None and not self.at_end)

    def sack(self) -> bytes:
        """The bit mask of what came early; ``b""`` when nothing did."""
        return sack_mask(self.ack_nr, self._early) if self._early else b""

    def add(self, seq_nr: int, payload: bytes | memoryview) -> Arrival:
        """Take the payload of one DATA packet; it is copied."""
        ahead = (seq_nr - self.ack_nr - 1) & SEQ_MASK
        if ahead >= REORDER_WINDOW:
            return Arrival.DUPLICATE if ahead > SEQ_MASK - 2 * REORDER_WINDOW else Arrival.REFUSED
        if self.at_end or (self._eof is not None and ahead >= (self._eof - self.ack_nr - 1) & SEQ_MASK):
            return Arrival.REFUSED  # nothing comes after a FIN
        if seq_nr in self._early:
            return Arrival.DUPLICATE
        # What is missing is always let in where the early ones are: else they would block it for ever.
        if len(payload) > (self.free if ahead else self.capacity - self._waiting):
            return Arrival.REFUSED
        if ahead:
            self._early[seq_nr] = bytes(payload)
            self._early_bytes += len(payload)
            return Arrival.EARLY
        self.ack_nr = seq_nr
        self._append(bytes(payload))
        self._catch_up()
        return Arrival.IN_ORDER

    def add_run(self, seq_nr: int, count: int, payload: bytes) -> bool:
        """Take ``count`` packets at once that are the next ones in order, joined; ``False`` when they are not that."""
        if seq_nr != (self.ack_nr + 1) & SEQ_MASK or self._early or self._eof is not None or len(payload) > self.free:
            return False
        self.ack_nr = (self.ack_nr + count) & SEQ_MASK
        self._append(payload)
        return True

    def finish(self, seq_nr: int, payload: bytes | memoryview = b"") -> Arrival:
        """Take a FIN; what comes before it may still be missing. Ours have no payload, others' may."""
        ahead = (seq_nr - self.ack_nr - 1) & SEQ_MASK
        if self._eof is not None or ahead >= REORDER_WINDOW:
            return Arrival.DUPLICATE
        if any((early - seq_nr) & SEQ_MASK <= REORDER_WINDOW for early in self._early):
            # Something came that would be after it. Where nothing is missing any more one of both is forged.
            return Arrival.REFUSED if ahead else Arrival.CONTRADICTION
        if len(payload) > self.free:
            return Arrival.REFUSED
        self._eof, self._last_words = seq_nr, bytes(payload)
        self._catch_up()
        return Arrival.IN_ORDER if self.at_end else Arrival.EARLY

    def _catch_up(self) -> None:
        early = self._early
        while early:
            following = (self.ack_nr + 1) & SEQ_MASK
            payload = early.pop(following, None)
            if payload is None:
                break
            self.ack_nr = following
            self._early_bytes -= len(payload)
            self._append(payload)
        if self._eof is not None and (self.ack_nr + 1) & SEQ_MASK == self._eof:
            self.ack_nr = self._eof
            self.at_end = True
            self._append(self._last_words)

    def _append(self, payload: bytes) -> None:
        size = len(payload)
        if not size:
            return
        self._waiting += size
        if size <= SMALL and self._pieces:
            last = self._pieces[-1]
            if isinstance(last, bytearray) and len(last) < _GATHERED:
                last += payload
                return
        self._pieces.append(bytearray(payload) if size <= SMALL else payload)

    def read(self, limit: int) -> bytes:
        """Take up to ``limit`` bytes out; ``b""`` when nothing waits."""
        pieces = self._pieces
        if not pieces:
            return b""
        first = pieces[0]
        start, self._offset = self._offset, 0
        size = len(first) - start
        if size <= limit:
            pieces.popleft()
            self._waiting -= size
            return bytes(first) if not start else bytes(memoryview(first)[start:])
        self._offset = start + limit
        self._waiting -= limit
        return bytes(memoryview(first)[start : start + limit])

    def read_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the bytes go and say how far that is."""
        pieces = self._pieces
        filled, room = 0, len(buffer)
        while pieces and filled < room:
            first = pieces[0]
            start = self._offset
            size = len(first) - start
            if size <= room - filled:
                buffer[filled : filled + size] = memoryview(first)[start:] if start else first
                pieces.popleft()
                self._offset = 0
            else:
                size = room - filled
                buffer[filled:] = memoryview(first)[start : start + size]
                self._offset = start + size
            filled += size
        self._waiting -= filled
        return filled

    def discard(self) -> None:
        """Nobody will read it: free what waits."""
        self._pieces.clear()
        self._early.clear()
        self._offset = self._waiting = self._early_bytes = 0
