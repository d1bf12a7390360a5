"""`Link`: frames over a stream. The encrypted one is here; tracer connections will bring their own reader and writer.

A link is two halves that share nothing, so that one thread can read while another writes.
"""

from typing import Final, NamedTuple
from typing import Protocol as TypingProtocol

from crust.transport.base import Stream
from crust.transport.records import MAX_RECORD, Opener, Sealer

FLUSH_BYTES: Final = 256 * 1024
"""Sealed bytes that are gathered for one system call: four full records, about what still fits the processor's
cache."""


class FrameReader(TypingProtocol):
    """Plaintext frames from a stream."""

    def fill(self) -> bool:
        """Read what the stream has, at least one byte; ``False`` when the peer sends no more."""
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

    def flush(self) -> None:
        """Send what was gathered."""
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
        self.bytes_read = 0

    def fill(self) -> bool:
        """See `FrameReader.fill`."""
        count = self._stream.receive_into(self._opener.writable())
        self._opener.received(count)
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
        self.sealer = sealer
        self._out = bytearray(FLUSH_BYTES + MAX_RECORD)
        self._view = memoryview(self._out)
        self._used = 0
        self.bytes_written = 0

    def add(self, plaintext: bytes) -> bool:
        """See `FrameWriter.add`."""
        self._used = self.sealer.seal_into(self._out, self._used, plaintext, len(plaintext))
        if self._used < FLUSH_BYTES:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """See `FrameWriter.flush`."""
        used = self._used
        if used:
            self._used = 0
            self._stream.send_all(self._view[:used])
            self.bytes_written += used


class Link(NamedTuple):
    """A stream with the two halves that speak frames on it."""

    stream: Stream
    reader: FrameReader
    writer: FrameWriter
