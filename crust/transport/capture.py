"""What a process sends and receives, written down for Wireshark: the frames inside the records, in clear.

Off unless the environment variable `VARIABLE` names a file. That file has no keys, and everything else. Each connection
becomes a made-up TCP connection between its two addresses that looks like a tracer connection (docs/protocol.md,
"Tracer"), so that one dissector reads both. Several processes may write to one file: each packet is one write at its
end.
"""

import logging
import os
import stat
import threading
from collections.abc import Mapping
from typing import Final

from crust._version import __version__
from crust.endpoint import Endpoint, Protocol
from crust.errors import ConfigError
from crust.files import others_may_read
from crust.identity import PeerId, UnprovenPeerId
from crust.threads.clock import wall_time
from crust.transport.link import FrameReader, FrameWriter, Link
from crust.transport.pcapng import ACK, PUSH, SYN, packet_block, section_header, tcp_packet
from crust.transport.tcp import explain
from crust.transport.tracer_hello import MAGIC, TracerHello

log = logging.getLogger("crust.capture")

VARIABLE: Final = "CRUST_CAPTURE"
"""The environment variable that names the file."""
MAX_PAYLOAD: Final = 32_768
"""Bytes of frames in one made-up packet: an IP packet has 65,535 at most."""

_MODE: Final = 0o600  # what is in it was meant for two


def from_environment(environment: Mapping[str, str] = os.environ) -> "Capture | None":
    """The capture that the environment asks for, if it does.

    Raises:
        ConfigError: see `open_to_append`.
    """
    path = environment.get(VARIABLE)
    return Capture(path) if path else None


def open_to_append(path: str, exclusively: bool = False) -> int:
    """A descriptor of a file that nobody else may read, made if it is not there. Does not block.

    Args:
        path: the file; a symbolic link is not followed, as somebody else may have put it there.
        exclusively: whether it has to be made.

    Raises:
        ConfigError: it is there and is no regular file, or others may read or write it.
        FileExistsError: it is there, and should not be.
        OSError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | (os.O_EXCL if exclusively else 0)
    safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | safe, _MODE)
    except OSError as error:
        if os.path.islink(path) and not isinstance(error, FileExistsError):
            raise ConfigError(
                f"{path}: a capture is not written through a symbolic link: name the file itself"
            ) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) and not others_may_read(mode):
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path}: a capture is written to a regular file, which this is not")
    raise ConfigError(
        f"{path}: other users may read or write it, and a capture has, decrypted, what was meant for two: "
        f"chmod 600 {path}, or name another file"
    )


class Capture:
    """A file to which connections are written. Any thread may call.

    Args:
        path: the file; what it has already stays.

    Raises:
        ConfigError: it cannot be written, or others may read it; see `open_to_append`.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._broken = False
        try:
            self._append(section_header(f"crust {__version__}"))
        except OSError as error:
            raise ConfigError(f"{VARIABLE}: {self._path} cannot be written: {explain(error)}") from error
        except ConfigError as error:
            raise ConfigError(f"{VARIABLE}: {error}") from None
        log.error(  # not an error, but seen by whoever looks at any line at all
            "CAPTURE IS ON (%s): all that this process sends and receives is written, decrypted, to %s",
            VARIABLE,
            self._path,
        )

    def _append(self, data: bytes) -> None:
        # Opened for each packet: a descriptor that stays open would have to be owned by somebody.
        descriptor = open_to_append(self._path)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def write(self, packet: bytes, comment: str = "") -> None:
        """Append a packet. When that fails, this is the last one: a full disk must not end connections."""
        if self._broken:
            return
        try:
            self._append(packet_block(packet, int(wall_time() * 1_000_000), comment))
        except (OSError, ConfigError) as error:
            self._broken = True
            why = explain(error) if isinstance(error, OSError) else error
            log.error("the capture %s ends here: %s", self._path, why)

    def tap(self, link: Link, own: PeerId, peer: PeerId, outgoing: bool) -> Link:
        """The same link, which from now on is written down.

        Args:
            link: as it is established, before its first frame.
            own: who we are.
            peer: who the peer is.
            outgoing: whether we dialled.
        """
        story = _Story(self, link.stream.local, link.stream.remote, outgoing)
        story.begin(own, peer)
        return Link(link.stream, _TappedReader(link.reader, story), _TappedWriter(link.writer, story))


class _Story:
    """The made-up TCP connection: two directions, each with its number of bytes."""

    def __init__(self, capture: Capture, local: Endpoint, remote: Endpoint, outgoing: bool) -> None:
        self._capture = capture
        self._protocol = remote.protocol
        self._ends = {True: local.address, False: remote.address}  # by whether it is ours
        self._numbers = {True: 0, False: 0}
        self._outgoing = outgoing
        self._lock = threading.Lock()  # the reader's thread and the writer's

    def begin(self, own: PeerId, peer: PeerId) -> None:
        """The three packets of TCP's own handshake, and what stands for Crust's."""
        dialler = self._outgoing
        self._packet(dialler, b"", SYN, self._comment(peer))
        self._numbers[dialler] = 1
        self._packet(not dialler, b"", SYN | ACK)
        self._numbers[not dialler] = 1
        self._packet(dialler, b"", ACK)
        for ours in (dialler, not dialler):
            self.frames(ours, MAGIC + self._hello(own if ours else peer))

    def _comment(self, peer: PeerId) -> str:
        if self._protocol is Protocol.TRACER:
            return f"a tracer connection with {peer}, written down by one end"
        return f"a secure connection over {self._protocol.scheme} with {peer}, decrypted by one end"

    def _hello(self, who: PeerId) -> bytes:
        agent = "tracer" if self._protocol is Protocol.TRACER else f"decrypted; {self._protocol.scheme}"
        claim = UnprovenPeerId(bytes(who))
        return TracerHello(network=bytes(8), peer_id=claim, session=bytes(8), agent=f"crust capture: {agent}").encode()

    def frames(self, ours: bool, plaintext: bytes | memoryview) -> None:
        """Whole frames that we, or the peer, sent."""
        for at in range(0, len(plaintext), MAX_PAYLOAD):
            self._packet(ours, bytes(plaintext[at : at + MAX_PAYLOAD]), ACK | PUSH)

    def _packet(self, ours: bool, payload: bytes, flags: int, comment: str = "") -> None:
        with self._lock:
            number, ack = self._numbers[ours], self._numbers[not ours] if flags & ACK else 0
            self._numbers[ours] += len(payload)
            source, target = self._ends[ours], self._ends[not ours]
            packet = tcp_packet(source, target, payload, number=number, ack=ack, flags=flags)
            self._capture.write(packet, comment)


class _TappedReader:
    """See `FrameReader`."""

    def __init__(self, reader: FrameReader, story: _Story) -> None:
        self._reader = reader
        self._story = story
        self.fill = reader.fill
        self.fill_waiting = reader.fill_waiting

    def next(self) -> bytes | memoryview | None:
        plaintext = self._reader.next()
        if plaintext is not None:
            self._story.frames(False, plaintext)
        return plaintext

    @property
    def bytes_read(self) -> int:
        return self._reader.bytes_read


class _TappedWriter:
    """See `FrameWriter`."""

    def __init__(self, writer: FrameWriter, story: _Story) -> None:
        self._writer = writer
        self._story = story
        self.flush = writer.flush
        self.flush_waiting = writer.flush_waiting

    def add(self, plaintext: bytes) -> bool:
        self._story.frames(True, plaintext)
        return self._writer.add(plaintext)

    def wrap(self, plaintext: bytes) -> bytes:
        self._story.frames(True, plaintext)
        return self._writer.wrap(plaintext)

    @property
    def bytes_written(self) -> int:
        return self._writer.bytes_written
