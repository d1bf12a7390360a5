"""Tracer connections: the same frames as the secure transport, in clear (docs/protocol.md, "Tracer").

What is here takes the place of `RecordReader` and `RecordWriter`. A tracer connection is for watching, not for speed:
its frames are taken one by one.
"""

from typing import Final

from crust.errors import Malformed
from crust.transport.base import Stream
from crust.transport.framing import HEADER, LAST_CONTROL, MAX_CONTROL, MAX_FRAME, PING
from crust.transport.link import FLUSH_BYTES, MUCH

_FIRST_ROOM: Final = 4096  # bytes; a quiet connection must not hold much memory
_MOST_ROOM: Final = 2 * MAX_FRAME


class TracerReader:
    """Frames of a stream in clear.

    Args:
        stream: where they come from.
        received: what was read of it already.
    """

    def __init__(self, stream: Stream, received: bytes = b"") -> None:
        self._stream = stream
        self._room = bytearray(max(_FIRST_ROOM, len(received)))
        self._room[: len(received)] = received
        self._start, self._end = 0, len(received)
        self._latest = 0
        self.bytes_read = 0

    def fill(self) -> bool:
        """See `FrameReader.fill`."""
        with self._writable() as room:
            return self._took(self._stream.receive_into(room))

    def fill_waiting(self) -> bool:
        """See `FrameReader.fill_waiting`."""
        if self._latest < MUCH:
            return False
        with self._writable() as room:
            return self._took(self._stream.receive_waiting(room))

    def _writable(self) -> memoryview:
        """Free room, of which there is some: what a frame promises is not allocated before half of it has come."""
        waiting = self._end - self._start
        room = self._room
        if waiting >= len(room) // 2 and len(room) < _MOST_ROOM:
            room = bytearray(min(2 * len(room), _MOST_ROOM))
        if self._start or room is not self._room:
            room[:waiting] = self._room[self._start : self._end]
            self._room, self._start, self._end = room, 0, waiting
        return memoryview(self._room)[waiting:]

    def _took(self, count: int) -> bool:
        self._end += count
        self._latest = count
        self.bytes_read += count
        return count > 0

    def next(self) -> bytes | None:
        """The next frame; ``None`` when more has to be read.

        Raises:
            Malformed: a length that no frame of its kind has; noticed when the header is there.
        """
        if self._end - self._start < HEADER.size:
            return None
        (word,) = HEADER.unpack_from(self._room, self._start)
        kind, size = word & 0xFF, HEADER.size + (word >> 8)
        most = HEADER.size + MAX_CONTROL if PING <= kind <= LAST_CONTROL else MAX_FRAME
        if size > most:
            raise Malformed(f"a frame 0x{kind:02x} of {size} bytes; the limit is {most}")
        if self._end - self._start < size:
            return None
        with memoryview(self._room) as view:
            frame = bytes(view[self._start : self._start + size])
        self._start += size
        return frame


class TracerWriter:
    """Sends frames in clear, many of them with one call.

    Args:
        stream: where they go.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._out = bytearray()
        self.bytes_written = 0

    def add(self, plaintext: bytes) -> bool:
        """See `FrameWriter.add`."""
        self._out += plaintext
        if len(self._out) < FLUSH_BYTES:
            return False
        self.flush()
        return True

    def wrap(self, plaintext: bytes) -> bytes:
        """See `FrameWriter.wrap`."""
        return plaintext

    def flush(self) -> None:
        """See `FrameWriter.flush`."""
        out, self._out = self._out, bytearray()
        if out:
            self._stream.send_all(out)
            self.bytes_written += len(out)

    def flush_waiting(self) -> bool:
        """See `FrameWriter.flush_waiting`."""
        sent = self._stream.send_waiting(self._out)
        self.bytes_written += sent
        del self._out[:sent]
        return not self._out
