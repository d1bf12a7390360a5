"""Authenticated ciphers that work in buffers of the caller: the hot spot of every byte that Crust moves.

PyNaCl's public functions allocate, zero and copy for each call. `FastAead` calls the same functions of the same
libsodium through PyNaCl's private ``nacl._sodium`` with pointers into buffers that are reused, which is several times
faster; `PortableAead` uses the public functions only. `new_aead` takes the fast one where a self-test shows that it
gives what the public functions give, so a PyNaCl that changes its insides costs speed and nothing else.

The associated data of a message is always the few bytes just before its ciphertext, because that is where a record has
its header. No sockets, threads or clocks. An object belongs to one thread at a time.
"""

import functools
import importlib
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from nacl import bindings
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

log = logging.getLogger("crust.transport.aead")

AEGIS256: Final = "aegis256"
CHACHA20: Final = "chacha20"
KEY_SIZE: Final = 32  # bytes, of both ciphers

Bytes: TypeAlias = bytes | bytearray | memoryview
_Encrypt: TypeAlias = Callable[[bytes, bytes | None, bytes, bytes], bytes]


@dataclass(frozen=True, slots=True)
class _Cipher:
    """What differs from cipher to cipher."""

    symbol: str  # in the names of libsodium's functions
    tag_size: int  # bytes
    nonce_size: int  # bytes; zeros, and in the last 8 the counter, little-endian


_CIPHERS: Final = {
    # draft-irtf-cfrg-aegis-aead: 256-bit nonce; libsodium always makes the long tag
    AEGIS256: _Cipher("aegis256", tag_size=32, nonce_size=32),
    # RFC 8439; nonces are laid out as Noise section 12.3 does
    CHACHA20: _Cipher("chacha20poly1305_ietf", tag_size=16, nonce_size=12),
}

TAG_SIZES: Final = {name: cipher.tag_size for name, cipher in _CIPHERS.items()}
"""Bytes that sealing adds, for each cipher."""


class Aead(Protocol):
    """One key of one cipher. Never seal two messages with the same counter: that gives away both.

    Attributes:
        tag_size: bytes that sealing adds.
    """

    tag_size: int

    def seal(self, counter: int, out: bytearray, offset: int, plaintext: Bytes, length: int) -> None:
        """Write ``length + tag_size`` bytes of ciphertext to ``out[offset:]``.

        The associated data is the ``ad_size`` bytes of ``out`` before ``offset``.

        Args:
            counter: 0 to 2**64 - 1, of this message.
            out: where to; may have any size that suffices, and is not resized.
            offset: bytes, at least ``ad_size``.
            plaintext: contiguous bytes, outside of ``out``.
            length: how many bytes of ``plaintext``, from its start.

        Raises:
            ValueError: it does not fit.
        """

    def open(self, counter: int, buffer: bytearray, offset: int, length: int) -> bool:
        """Decrypt the ``length`` bytes (tag included) at ``buffer[offset:]`` in place.

        The plaintext, ``tag_size`` bytes shorter, is then at ``offset``. ``buffer`` cannot be resized while this object
        lives or until another buffer is given.

        Returns:
            False if the message, its counter or its associated data is not what was sealed; what is in the place of
            the ciphertext then means nothing.

        Raises:
            ValueError: the place is not in the buffer, or shorter than a tag.
        """


class PortableAead:
    """`Aead` on PyNaCl's public functions.

    Args:
        cipher: `AEGIS256` or `CHACHA20`.
        key: 32 bytes.
        ad_size: bytes of associated data.
    """

    __slots__ = ("_ad_size", "_decrypt", "_encrypt", "_key", "_nonce", "tag_size")

    def __init__(self, cipher: str, key: bytes, ad_size: int) -> None:
        facts = _CIPHERS[cipher]
        self.tag_size = facts.tag_size
        self._ad_size = ad_size
        self._key = key
        self._nonce = struct.Struct(f"<{facts.nonce_size - 8}xQ").pack
        self._encrypt: _Encrypt = getattr(bindings, f"crypto_aead_{facts.symbol}_encrypt")
        self._decrypt: _Encrypt = getattr(bindings, f"crypto_aead_{facts.symbol}_decrypt")

    def seal(self, counter: int, out: bytearray, offset: int, plaintext: Bytes, length: int) -> None:
        end = offset + length + self.tag_size
        if not 0 <= length <= len(plaintext) or offset < self._ad_size or end > len(out):
            raise ValueError("a message does not fit its buffers")
        ad = bytes(out[offset - self._ad_size : offset])
        out[offset:end] = self._encrypt(bytes(plaintext[:length]), ad, self._nonce(counter), self._key)

    def open(self, counter: int, buffer: bytearray, offset: int, length: int) -> bool:
        if length < self.tag_size or offset < self._ad_size or offset + length > len(buffer):
            raise ValueError("a message is outside of its buffer")
        ad = bytes(buffer[offset - self._ad_size : offset])
        ciphertext = bytes(buffer[offset : offset + length])
        try:
            plaintext = self._decrypt(ciphertext, ad, self._nonce(counter), self._key)
        except CryptoError:
            return False
        buffer[offset : offset + len(plaintext)] = plaintext
        return True


@functools.cache
def _sodium() -> Any:
    """PyNaCl's private module; `nacl.bindings`, imported above, has initialised the library."""
    return importlib.import_module("nacl._sodium")


class FastAead:
    """`Aead` on libsodium's functions themselves. Check `fast_aead_works` first.

    Args:
        cipher: `AEGIS256` or `CHACHA20`.
        key: 32 bytes.
        ad_size: bytes of associated data.
    """

    # Held for their memory: _key, _nonce, _buffer. The pointers beside them do not keep anything alive in every cffi.
    __slots__ = (
        "_ad_size",
        "_base",
        "_buffer",
        "_bytes_type",
        "_decrypt",
        "_encrypt",
        "_from_buffer",
        "_key",
        "_key_at",
        "_nonce",
        "_nonce_at",
        "_null",
        "_out",
        "_out_base",
        "_set_counter",
        "_size",
        "tag_size",
    )

    def __init__(self, cipher: str, key: bytes, ad_size: int) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a key has {KEY_SIZE} bytes")
        facts = _CIPHERS[cipher]
        sodium = _sodium()
        self.tag_size = facts.tag_size
        self._ad_size = ad_size
        self._from_buffer = sodium.ffi.from_buffer
        self._bytes_type = sodium.ffi.typeof("unsigned char[]")
        self._null = sodium.ffi.NULL
        self._encrypt = getattr(sodium.lib, f"crypto_aead_{facts.symbol}_encrypt")
        self._decrypt = getattr(sodium.lib, f"crypto_aead_{facts.symbol}_decrypt")
        self._key = key
        self._key_at = self._from_buffer(key)
        self._nonce = bytearray(facts.nonce_size)
        self._nonce_at = self._from_buffer(self._nonce)
        self._set_counter = functools.partial(struct.Struct("<Q").pack_into, self._nonce, facts.nonce_size - 8)
        # The pointers stay right because nobody can resize a bytearray that has one.
        self._out: bytearray | None = None
        self._out_base: Any = None
        self._buffer: bytearray | None = None
        self._base: Any = None
        self._size = 0

    def seal(self, counter: int, out: bytearray, offset: int, plaintext: Bytes, length: int) -> None:
        # Nothing below checks bounds: these lines stand between a wrong number and the process's memory.
        ad_size = self._ad_size
        if not 0 <= length <= len(plaintext) or offset < ad_size or offset + length + self.tag_size > len(out):
            raise ValueError("a message does not fit its buffers")
        self._set_counter(counter)
        if out is not self._out:
            self._out_base = self._from_buffer(self._bytes_type, out, True)
            self._out = out
        at = self._out_base + offset
        source = self._from_buffer(plaintext)
        null = self._null
        self._encrypt(at, null, source, length, at - ad_size, ad_size, null, self._nonce_at, self._key_at)

    def open(self, counter: int, buffer: bytearray, offset: int, length: int) -> bool:
        if buffer is not self._buffer:
            self._base = self._from_buffer(self._bytes_type, buffer, True)
            self._buffer = buffer
            self._size = len(buffer)
        ad_size = self._ad_size
        if length < self.tag_size or offset < ad_size or offset + length > self._size:
            raise ValueError("a message is outside of its buffer")
        self._set_counter(counter)
        at = self._base + offset
        null = self._null
        failed: int = self._decrypt(at, null, null, at, length, at - ad_size, ad_size, self._nonce_at, self._key_at)
        return failed == 0


def _self_test(cipher: str) -> bool:
    """Whether `FastAead` agrees with `PortableAead` on messages around the block sizes, and refuses a changed one."""
    facts = _CIPHERS[cipher]
    lib = _sodium().lib
    for what, size in (("abytes", facts.tag_size), ("npubbytes", facts.nonce_size), ("keybytes", KEY_SIZE)):
        if getattr(lib, f"crypto_aead_{facts.symbol}_{what}")() != size:
            return False
    fast, portable = FastAead(cipher, bytes(range(32)), 4), PortableAead(cipher, bytes(range(32)), 4)
    for length in (0, 1, 15, 16, 17, 32, 33, 300):
        counter = 2**64 - 1 - length
        plaintext = bytes(number & 255 for number in range(length))
        ours, theirs = bytearray(b"head" + bytes(length + facts.tag_size)), bytearray(4 + length + facts.tag_size)
        theirs[:4] = b"head"
        fast.seal(counter, ours, 4, plaintext, length)
        portable.seal(counter, theirs, 4, plaintext, length)
        if ours != theirs or not fast.open(counter, ours, 4, len(ours) - 4) or ours[4 : 4 + length] != plaintext:
            return False
        theirs[-1] ^= 1
        if fast.open(counter, theirs, 4, len(theirs) - 4):
            return False
    return True


@functools.cache
def fast_aead_works(cipher: str) -> bool:
    """Whether `FastAead` can be used in this process; tried once. From any thread."""
    try:
        works = _self_test(cipher)
    except (ImportError, AttributeError, TypeError, ValueError, NotImplementedError) as error:
        log.info("the fast %s is not available: %s", cipher, error)
        return False
    if not works:
        log.warning("the fast %s fails its self-test; using the portable one", cipher)
    return works


def new_aead(cipher: str, key: bytes, ad_size: int) -> Aead:
    """The fastest `Aead` of this process for a cipher of `supported_ciphers`. From any thread."""
    return FastAead(cipher, key, ad_size) if fast_aead_works(cipher) else PortableAead(cipher, key, ad_size)


@functools.cache
def has_fast_aes() -> bool:
    """Whether the processor has AES instructions that libsodium uses; False where that cannot be found out."""
    try:
        return bool(_sodium().lib.crypto_aead_aes256gcm_is_available())
    except (ImportError, AttributeError):
        return False


def supported_ciphers() -> tuple[str, ...]:
    """What this node can use, best first. ChaCha20-Poly1305 is always among them.

    AEGIS-256 without AES instructions is several times slower than ChaCha20-Poly1305, and not constant-time everywhere.
    """
    if has_fast_aes() and hasattr(bindings, "crypto_aead_aegis256_encrypt"):
        return (AEGIS256, CHACHA20)
    return (CHACHA20,)


def keystream(key: bytes, number: int, size: int) -> bytes:
    """Pseudo-random bytes that only holders of the key can make: ChaCha20 (RFC 8439) from block 1.

    Args:
        key: 32 bytes.
        number: 0 to 2**64 - 1; each gives another stream. The nonce is 4 zero bytes and this, little-endian.
        size: bytes.
    """
    # PyNaCl has no ChaCha20 alone; what ChaCha20-Poly1305 makes of zeros is the key stream, then a tag.
    nonce = struct.pack("<4xQ", number)
    return crypto_aead_chacha20poly1305_ietf_encrypt(bytes(size), None, nonce, key)[:size]
