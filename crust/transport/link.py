"""`Link`: frames over a stream. The encrypted one is here; that of tracer connections is in `crust.transport.tracer`.

A link is two halves that share nothing, so that one thread can read while another writes.
"""

from typing import Final, NamedTuple
from typing import Protocol as TypingProtocol

from crust.transport.base import Stream
from crust.transport.records import MAX_RECORD, RECORD_OVERHEAD, Opener, Sealer

FLUSH_BYTES: Final = 512 * 1024
"""Sealed bytes that are gathered for one system call: eight full records."""
MUCH: Final = 32 * 1024
"""Bytes in one read from which more can be expected to be there: then looking costs less than waking others twice."""
_FIRST_OUT: Final = 1024  # bytes
_SMALL_FLUSHES: Final = 64


class FrameReader(TypingProtocol):
    """Plaintext frames from a stream."""

    def fill(self) -> bool:
        """Read what the stream has, at least one byte; ``False`` when the peer sends no more."""
        ...

    def fill_waiting(self) -> bool:
        """Read what the stream has already, when much is coming in; ``False`` when nothing came. Never blocks."""
        ...

    def next(self) -> bytes | memoryview | None:
        """The next piece of whole frames, valid until the next call; ``None`` when more has to be read."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes that came from the network so far."""
        ...


class FrameWriter(TypingProtocol):
    """Plaintext frames to a stream."""

    def add(self, plaintext: bytes) -> bool:
        """Queue whole frames (at most one record's worth); whether that flushed what was gathered."""
        ...

    def wrap(self, plaintext: bytes) -> bytes:
        """What the network gets of whole frames, for a caller who sends it: at once, and with nothing gathered."""
        ...

    def flush(self) -> None:
        """Send what was gathered."""
        ...

    def flush_waiting(self) -> bool:
        """Send what the stream takes without waiting; whether that was all. The rest is for `flush`. Never blocks."""
        ...

    @property
    def bytes_written(self) -> int:
        """Bytes that went to the network so far."""
        ...


class RecordReader:
    """Opens the records of a stream."""

    def __init__(self, stream: Stream, opener: Opener) -> None:
        self._stream = stream
        self._opener = opener
        self._latest = 0
        self.bytes_read = 0

    def fill(self) -> bool:
        """See `FrameReader.fill`."""
        return self._took(self._stream.receive_into(self._opener.writable()))

    def fill_waiting(self) -> bool:
        """See `FrameReader.fill_waiting`."""
        return self._latest >= MUCH and self._took(self._stream.receive_waiting(self._opener.writable()))

    def _took(self, count: int) -> bool:
        self._opener.received(count)
        self._latest = count
        self.bytes_read += count
        return count > 0

    def next(self) -> bytes | memoryview | None:
        """See `FrameReader.next`.

        Raises:
            Malformed: a record is forged, damaged, out of order or of a length that cannot be.
        """
        return self._opener.open_next()


class RecordWriter:
    """Seals frames into records and sends many of them with one call."""

    def __init__(self, stream: Stream, sealer: Sealer) -> None:
        self._stream = stream
        self._sealer = sealer
        # Grows with what is sent and shrinks when little is: a quiet connection must not hold much memory.
        self._out = bytearray(_FIRST_OUT)
        self._used = 0
        self._small = 0  # flushes since one used a fair part of the buffer
        self.bytes_written = 0

    def add(self, plaintext: bytes) -> bool:
        """See `FrameWriter.add`."""
        needed = self._used + len(plaintext) + RECORD_OVERHEAD
        if needed > len(self._out):
            # Replaced, not resized: the cipher keeps a pointer to the one that it wrote to last.
            larger = bytearray(min(4 * needed, FLUSH_BYTES + MAX_RECORD))
            larger[: self._used] = self._out[: self._used]
            self._out = larger
        self._used = self._sealer.seal_into(self._out, self._used, plaintext, len(plaintext))
        if self._used < FLUSH_BYTES:
            return False
        self.flush()
        return True

    def wrap(self, plaintext: bytes) -> bytes:
        """See `FrameWriter.wrap`."""
        return self._sealer.seal(plaintext)

    def flush(self) -> None:
        """See `FrameWriter.flush`."""
        used = self._used
        if used:
            self._used = 0
            with memoryview(self._out) as view, view[:used] as sealed:
                self._stream.send_all(sealed)
            self.bytes_written += used
            self._note_use(used)

    def _note_use(self, used: int) -> None:
        self._small = self._small + 1 if used * 16 < len(self._out) else 0
        if self._small >= _SMALL_FLUSHES and len(self._out) > _FIRST_OUT and not self._used:
            self._out = bytearray(_FIRST_OUT)
            self._small = 0

    def flush_waiting(self) -> bool:
        """See `FrameWriter.flush_waiting`."""
        with memoryview(self._out) as view, view[: self._used] as sealed:
            sent = self._stream.send_waiting(sealed)
        self.bytes_written += sent
        left = self._used - sent
        if left:
            self._out[:left] = self._out[sent : self._used]
        self._used = left
        if sent and len(self._out) > _FIRST_OUT:
            self._note_use(sent)
        return not left


class Link(NamedTuple):
    """A stream with the two halves that speak frames on it."""

    stream: Stream
    reader: FrameReader
    writer: FrameWriter
