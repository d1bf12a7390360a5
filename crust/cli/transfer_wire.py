"""The messages of a file transfer, as bytes: each is one Crust message, whole and in order.

All numbers are big-endian. ``transfer`` is chosen at random by the sender for each file and stays the same when it has
to reconnect::

     0      2   3   4           20
     +------+---+---+-----------+----------------
     | "CF" | 1 | k | transfer  | body of kind k
     +------+---+---+-----------+----------------

     k  name      from      body
     1  OFFER     sender    size u64 | files that follow u32 | name, UTF-8
     2  HAVE      receiver  position u64                      "prove that yours begins with the same bytes"
     3  PROOF     sender    position u64 | hash 32            hash of the first `position` bytes
     4  START     receiver  position u64                      "send from there on"
     5  CHUNK     sender    position u64 | 1 byte to 1 MiB
     6  FINISH    sender    size u64 | hash 32                hash of the whole file
     7  SAVED     receiver  already u8 | hash 32 | name       on disk under this name; already: it was there
     8  REFUSED   receiver  code u8 | text                    not taken, or given up; what had come may be kept
     9  CANCEL    sender    text                              given up by the sender
    10  POSITION  receiver  position u64                      written (or, before START, checked) up to there
    11  END       sender    nothing; transfer is 0            no more files

A transfer::

    sender                              receiver
      OFFER ---------------------------->
      <----------------------- HAVE 400      a part of it, or a file of this name and size, is there
      PROOF 400, hash ------------------>    equal: go on behind it; else from 0 (or REFUSED, or SAVED)
      <---------------------- START 400
      CHUNK 400 ... CHUNK ... ---------->
      <------------------- POSITION ...
      FINISH, hash --------------------->    compares, writes through to the disk, gives the file its name
      <--------------------- SAVED, hash

The hash is BLAKE2b (RFC 7693) with 32 bytes. It is the *sender* who proves, so that nobody learns from a receiver what
is in its folder.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from crust.errors import Malformed
from crust.limits import MIB

MAGIC: Final = b"CF"
VERSION: Final = 1
TRANSFER_SIZE: Final = 16  # bytes
HASH_SIZE: Final = 32  # bytes
NO_TRANSFER: Final = bytes(TRANSFER_SIZE)
MAX_CHUNK: Final = MIB
"""Bytes in one CHUNK at the most: what a receiver may have to hold beside what the library does."""
MAX_TEXT: Final = 1024
"""Bytes of a name or reason; what a file system takes as a name is checked elsewhere."""

_HEADER: Final = struct.Struct(f">2sBB{TRANSFER_SIZE}s")
CHUNK_OVERHEAD: Final = _HEADER.size + 8
"""Bytes of a CHUNK before its data."""
MAX_FILE_SIZE: Final = 2**63 - 1
"""Bytes; what file offsets can express."""


class Code(enum.IntEnum):
    """Why a receiver refused; numbers that are not known here read as ``OTHER``."""

    OTHER = 0
    BAD_NAME = 1
    EXISTS = 2
    TOO_LARGE = 3
    BUSY = 4
    NO_SPACE = 5
    DENIED = 6
    DISK = 7
    CORRUPT = 8
    PROTOCOL = 9
    NOT_ALLOWED = 10


_CODES: Final = {int(code): code for code in Code}


class TransferError(Exception):
    """A file cannot be received or read; ends that transfer, not the connection.

    Args:
        code: the cause, for programs.
        text: the cause and the way out, for people on both sides; nothing about this machine beyond the file.
        detail: more for the people on this side.
    """

    def __init__(self, code: Code, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.local = f"{text} ({detail})" if detail else text


@dataclass(frozen=True, slots=True)
class Offer:
    """The sender has a file."""

    transfer: bytes
    size: int
    following: int
    """How many files the sender will offer after this one."""
    name: str


@dataclass(frozen=True, slots=True)
class Have:
    """The receiver may have the beginning already."""

    transfer: bytes
    position: int


@dataclass(frozen=True, slots=True)
class Proof:
    """The sender's hash of the first ``position`` bytes."""

    transfer: bytes
    position: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Start:
    """The receiver wants the bytes from ``position`` on."""

    transfer: bytes
    position: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of the file."""

    transfer: bytes
    position: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class Finish:
    """All bytes are sent."""

    transfer: bytes
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Saved:
    """The file is checked and on the receiver's disk."""

    transfer: bytes
    already: bool
    digest: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver does not take the file, or cannot go on with it."""

    transfer: bytes
    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """The sender gives up."""

    transfer: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far the receiver is."""

    transfer: bytes
    position: int


@dataclass(frozen=True, slots=True)
class End:
    """The sender has no more files."""

    transfer: bytes = NO_TRANSFER


Message: TypeAlias = Offer | Have | Proof | Start | Chunk | Finish | Saved | Refused | Cancel | Position | End


class _Tail(enum.Enum):
    """What follows the fields of fixed size."""

    NOTHING = enum.auto()
    TEXT = enum.auto()
    BYTES = enum.auto()


_HASHED: Final = f">Q{HASH_SIZE}s"
# In the order of their numbers, from 1; the fields of each class are in the order of the wire.
_LAYOUTS: Final[dict[type[Message], tuple[struct.Struct, _Tail]]] = {
    Offer: (struct.Struct(">QI"), _Tail.TEXT),
    Have: (struct.Struct(">Q"), _Tail.NOTHING),
    Proof: (struct.Struct(_HASHED), _Tail.NOTHING),
    Start: (struct.Struct(">Q"), _Tail.NOTHING),
    Chunk: (struct.Struct(">Q"), _Tail.BYTES),
    Finish: (struct.Struct(_HASHED), _Tail.NOTHING),
    Saved: (struct.Struct(f">?{HASH_SIZE}s"), _Tail.TEXT),
    Refused: (struct.Struct(">B"), _Tail.TEXT),
    Cancel: (struct.Struct(""), _Tail.TEXT),
    Position: (struct.Struct(">Q"), _Tail.NOTHING),
    End: (struct.Struct(""), _Tail.NOTHING),
}
_KINDS: Final = tuple(_LAYOUTS)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS, 1)}


def is_transfer(data: bytes) -> bool:
    """Whether a message claims to be one of these, for programs that also say other things."""
    return data[:2] == MAGIC


def encode(message: Message) -> bytes:
    """The bytes of a message. Texts that are too long are cut."""
    kind = type(message)
    layout, tail = _LAYOUTS[kind]
    values = [getattr(message, name) for name in message.__slots__]
    end = b"" if tail is _Tail.NOTHING else values.pop()
    head = _HEADER.pack(MAGIC, VERSION, _NUMBERS[kind], values[0])
    return b"".join((head, layout.pack(*values[1:]), _cut(end) if isinstance(end, str) else end))


def _cut(text: str) -> bytes:
    return text.encode(errors="replace")[:MAX_TEXT].decode(errors="ignore").encode()


def parse_untrusted(data: bytes) -> Message:
    """Read a message.

    Raises:
        Malformed: no correct peer sends these bytes (or it speaks another version, which the message then says).
    """
    if len(data) < _HEADER.size or data[:2] != MAGIC:
        raise Malformed("not a message of a file transfer")
    _, version, number, transfer = _HEADER.unpack_from(data)
    if version != VERSION:
        raise Malformed(f"the peer speaks version {version} of the file transfer, this one version {VERSION}")
    if not 1 <= number <= len(_KINDS):
        raise Malformed(f"a file transfer has no message of kind {number}")
    kind = _KINDS[number - 1]
    layout, tail = _LAYOUTS[kind]
    body = memoryview(data)[_HEADER.size :]
    if len(body) < layout.size or (tail is _Tail.NOTHING and len(body) > layout.size):
        raise Malformed(f"a message of kind {number} with a body of {len(body)} bytes")
    values: list[Any] = [transfer, *layout.unpack_from(body)]
    if tail is _Tail.TEXT:
        values.append(_text(body[layout.size :]))
    elif tail is _Tail.BYTES:
        values.append(body[layout.size :])
    return _checked(kind(*values))


def _checked(message: Message) -> Message:
    match message:
        case Chunk(data=data) if not 1 <= len(data) <= MAX_CHUNK:
            raise Malformed(f"a piece of {len(data)} bytes; they have 1 to {MAX_CHUNK}")
        case Offer(size=position) | Finish(size=position) if position > MAX_FILE_SIZE:
            raise Malformed(f"a file of {position} bytes; no file system has that")
        case Refused(transfer, code, text):
            return Refused(transfer, _CODES.get(code, Code.OTHER), text)
        case End(transfer) if transfer != NO_TRANSFER:
            raise Malformed("an end that names a transfer")
    return message


def _text(body: memoryview) -> str:
    if len(body) > MAX_TEXT:
        raise Malformed(f"a text of {len(body)} bytes; at most {MAX_TEXT} are allowed")
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a text that is not UTF-8") from None
