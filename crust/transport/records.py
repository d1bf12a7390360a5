"""The record layer: what follows the handshake on the wire (docs/protocol.md, section 3).

::

    record  =  length ^ mask   4 bytes, little-endian; the length of what follows, 16 or 32 (the tag) to MAX_SEALED
            || ciphertext      AEAD over the plaintext and a tag; the associated data is the 4 masked bytes

Both directions have their own keys, and number their records from 0. No sockets, threads or clocks; an object belongs
to one thread at a time.
"""

import struct
import sys
from array import array
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NoReturn, TypeAlias

from crust.errors import Malformed
from crust.transport.aead import KEY_SIZE, TAG_SIZES, Aead, Bytes, keystream, new_aead

AeadMaker: TypeAlias = Callable[[str, bytes, int], Aead]

HEADER_SIZE: Final = 4  # bytes
MAX_RECORD_PLAINTEXT: Final = 65536 + 64
"""Bytes in one record: a message of 64 KiB and its frame header."""
RECORD_OVERHEAD: Final = HEADER_SIZE + max(TAG_SIZES.values())
"""Bytes that a record has beside its plaintext, at most."""
MAX_RECORD: Final = MAX_RECORD_PLAINTEXT + RECORD_OVERHEAD
"""Bytes of one record on the wire, at most."""
REKEY_RECORDS: Final = 2**20
"""Records under one key: 64 GiB at most, far below any limit of either cipher; then both sides take the next key."""

RECEIVE_CAPACITY: Final = 1024 * 1024
"""Bytes that a busy connection's receive buffer grows to: fifteen of the largest records for one system call."""
_FIRST_CAPACITY: Final = 16 * 1024
"""Bytes of a receive buffer that nothing has filled yet: idle connections are many."""
_QUIET_READS: Final = 32
"""Reads in a row that leave 7/8 of the buffer unused before it shrinks again."""

_MASKS: Final = 256
"""Length masks made at a time: 1 KiB for each direction of a connection, and the cost of making them spread thin."""
_MASK_INDEX: Final = _MASKS - 1

_header = struct.Struct("<I")
_pack_header: Final = _header.pack_into
_unpack_header: Final = _header.unpack_from


def _derive(key: bytes, cipher: str, purpose: bytes) -> bytes:
    """Keys of one purpose and cipher tell nothing about those of another."""
    return blake2b(cipher.encode("ascii"), digest_size=32, key=key, person=purpose).digest()


class _Direction:
    """The key schedule of one direction.

    Args:
        key: 32 bytes from the handshake.
        cipher: `crust.transport.aead.AEGIS256` or `CHACHA20`.
        rekey_records: records until the next key, 1 to 2**32; both sides must have the same.
        make_aead: another maker of ciphers than `new_aead`.

    Raises:
        ValueError: one of these is out of range.
    """

    __slots__ = (
        "_aead",
        "_chain",
        "_cipher",
        "_counter",
        "_make_aead",
        "_mask_key",
        "_masks",
        "_rekey_records",
        "_tag_size",
    )
    _aead: Aead
    _counter: int
    _mask_key: bytes
    _masks: "array[int]"

    def __init__(
        self, key: bytes, cipher: str, *, rekey_records: int = REKEY_RECORDS, make_aead: AeadMaker = new_aead
    ) -> None:
        if len(key) != KEY_SIZE or cipher not in TAG_SIZES or not 1 <= rekey_records <= 2**32:
            raise ValueError(f"a direction needs a {KEY_SIZE}-byte key, a known cipher, and 1 to 2**32 records per key")
        self._chain = key
        self._cipher = cipher
        self._rekey_records = rekey_records
        self._make_aead = make_aead
        self._tag_size = TAG_SIZES[cipher]
        self._next_epoch()

    def _next_epoch(self) -> None:
        """Replace every key; the old ones cannot be computed from the new ones."""
        chain, cipher = self._chain, self._cipher
        self._aead = self._make_aead(cipher, _derive(chain, cipher, b"crust record key"), HEADER_SIZE)
        self._mask_key = _derive(chain, cipher, b"crust length key")
        self._chain = _derive(chain, cipher, b"crust next key")
        self._counter = 0
        self._next_masks()

    def _next_masks(self) -> None:
        """Make the masks of the next `_MASKS` records."""
        block = keystream(self._mask_key, self._counter // _MASKS, _MASKS * HEADER_SIZE)
        self._masks = array("I", block)
        if sys.byteorder == "big":  # pragma: no cover - no such machine at hand
            self._masks.byteswap()

    def _turn(self) -> None:
        """Prepare what the next record needs; its number is a multiple of `_MASKS` or of `_rekey_records`."""
        if self._counter == self._rekey_records:
            self._next_epoch()
        else:
            self._next_masks()


class Sealer(_Direction):
    """Turns plaintexts into the records of one direction; see `_Direction` for the arguments and what it raises."""

    __slots__ = ()

    def seal_into(self, out: bytearray, offset: int, plaintext: Bytes, length: int) -> int:
        """Write one record to ``out[offset:]``.

        Args:
            out: where to; `RECORD_OVERHEAD` bytes more than ``length`` suffice. It cannot be resized
                any more until another one is used: a pointer to it is kept.
            offset: bytes, from 0.
            plaintext: contiguous bytes, outside of ``out``.
            length: how many bytes of ``plaintext``, from its start; 0 to `MAX_RECORD_PLAINTEXT`.

        Returns:
            The offset after the record.

        Raises:
            ValueError: too long, or it does not fit; no number was used up.
        """
        if length > MAX_RECORD_PLAINTEXT or offset < 0 or offset + HEADER_SIZE > len(out):
            raise ValueError("a record does not fit its buffer or is too long")
        counter = self._counter
        sealed = length + self._tag_size
        start = offset + HEADER_SIZE
        _pack_header(out, offset, sealed ^ self._masks[counter & _MASK_INDEX])
        self._aead.seal(counter, out, start, plaintext, length)
        self._counter = counter = counter + 1
        if not counter & _MASK_INDEX or counter == self._rekey_records:
            self._turn()
        return start + sealed

    def seal(self, plaintext: Bytes) -> bytes:
        """One record with all of ``plaintext``; for tests and rare occasions."""
        out = bytearray(HEADER_SIZE + len(plaintext) + self._tag_size)
        self.seal_into(out, 0, plaintext, len(plaintext))
        return bytes(out)


class Opener(_Direction):
    """Turns the stream of one direction back into plaintexts, in a receive buffer that it owns.

    Read into `writable`, tell `received`, then take `open_next` until it gives None. Where reading ends makes no
    difference to what comes out. Records are decrypted where they lie; the buffer is small until reads fill it.

    Args:
        capacity: bytes that the buffer grows to, at least `MAX_RECORD`.
    """

    __slots__ = ("_buffer", "_capacity", "_end", "_failure", "_filled", "_quiet", "_sealed", "_start", "_view")
    _buffer: bytearray
    _view: memoryview

    def __init__(
        self,
        key: bytes,
        cipher: str,
        *,
        capacity: int = RECEIVE_CAPACITY,
        rekey_records: int = REKEY_RECORDS,
        make_aead: AeadMaker = new_aead,
    ) -> None:
        super().__init__(key, cipher, rekey_records=rekey_records, make_aead=make_aead)
        if capacity < MAX_RECORD:
            raise ValueError(f"a receive buffer has at least {MAX_RECORD} bytes")
        self._capacity = capacity
        self._start = 0  # of what was not opened yet
        self._end = 0  # of what was received
        self._sealed = 0  # length of the ciphertext at _start + HEADER_SIZE; 0 while its header is not complete
        self._filled = False  # whether the last read took all the room there was
        self._quiet = 0  # reads since one used a fair part of the buffer
        self._failure: str | None = None
        self._allocate(_FIRST_CAPACITY)

    @property
    def capacity(self) -> int:
        """Bytes that the receive buffer has at present."""
        return len(self._buffer)

    @property
    def pending(self) -> int:
        """Bytes received that `open_next` has not given yet."""
        return self._end - self._start

    def writable(self) -> memoryview:
        """Room for the next read, never empty. What `open_next` gave before is not valid any more.

        Raises:
            Malformed: the stream failed before.
            ValueError: `open_next` was not called until it gave None, and there is no room left.
        """
        if self._failure is not None:
            raise Malformed(self._failure)
        if self._start == self._end:
            self._start = self._end = 0
        size = len(self._buffer)
        if self._filled and size < self._capacity:
            self._allocate(min(2 * size, self._capacity))
        elif self._quiet >= _QUIET_READS and not self._end and size > _FIRST_CAPACITY:
            self._allocate(_FIRST_CAPACITY)
        self._filled = False
        self._make_room()
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Tell that a read put ``count`` bytes at the start of what `writable` gave."""
        end = self._end + count
        size = len(self._buffer)
        if not 0 <= count <= size - self._end:
            raise ValueError("more was received than there was room for")
        self._filled = end == size
        self._quiet = self._quiet + 1 if count * 8 < size else 0
        self._end = end

    def feed(self, data: Bytes) -> None:
        """Copy received bytes in, as many as they are; for what came with the handshake, and for tests."""
        if self._failure is not None:
            raise Malformed(self._failure)
        end = self._end + len(data)
        if end > len(self._buffer):
            self._allocate(max(self.pending + len(data), len(self._buffer)))
            end = self._end + len(data)
        self._view[self._end : end] = data
        self._end = end

    def open_next(self) -> memoryview | None:
        """The plaintext of the next record, or None when more has to be received first.

        It is a view of the receive buffer, valid until `writable` or `feed` is called.

        Raises:
            Malformed: the length is impossible or the record does not authenticate. Nothing of it or after it is given,
                and every later call raises as well. (A changed length that is still possible shows only when that many
                bytes are there: the length alone has no tag.)
        """
        if self._failure is not None:
            raise Malformed(self._failure)
        start = self._start + HEADER_SIZE
        end = self._end
        sealed = self._sealed
        if not sealed:
            if end < start:
                return None
            sealed = self._sealed = self._read_header()
        after = start + sealed
        if end < after:
            return None
        counter = self._counter
        if not self._aead.open(counter, self._buffer, start, sealed):
            self._fail(f"record {counter} does not authenticate: it was changed on the way or made with another key")
        self._start = after
        self._sealed = 0
        self._counter = counter = counter + 1
        if not counter & _MASK_INDEX or counter == self._rekey_records:
            self._turn()
        return self._view[start : after - self._tag_size]

    def _read_header(self) -> int:
        sealed: int = _unpack_header(self._buffer, self._start)[0] ^ self._masks[self._counter & _MASK_INDEX]
        if not self._tag_size <= sealed <= MAX_RECORD_PLAINTEXT + self._tag_size:
            self._fail(f"record {self._counter} has an impossible length: it was changed on the way")
        return sealed

    def _fail(self, what: str) -> NoReturn:
        self._failure = what
        raise Malformed(what)

    def _make_room(self) -> None:
        """See to it that a whole record fits after `_start`, and that the next read is not needlessly small."""
        pending = self.pending
        if self._sealed and self._sealed + HEADER_SIZE > len(self._buffer):
            self._allocate(min(_power_of_two(self._sealed + HEADER_SIZE), self._capacity))
        elif self._start and len(self._buffer) - self._end < MAX_RECORD:
            # To the front, once for a partial record: it fits from there.
            self._view[:pending] = self._view[self._start : self._end]
            self._start, self._end = 0, pending
        if self._end == len(self._buffer):
            raise ValueError("the receive buffer is full: take what is in it with open_next()")

    def _allocate(self, size: int) -> None:
        """Change to a buffer of ``size`` bytes, with what is pending at its front."""
        pending = self.pending
        buffer = bytearray(size)
        if pending:
            buffer[:pending] = self._view[self._start : self._end]
        # Never resized: views of it, and the pointer that the cipher has, stay valid as long as somebody has them.
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._start, self._end = 0, pending


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
