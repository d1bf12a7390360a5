"""Handshake messages as they look on the wire: random bytes, to anyone without the network key (docs/protocol.md, 1).

::

    envelope  =  salt             16 random bytes
              || length ^ mask    2 bytes, little-endian: bytes of the Noise message
              || message ^ mask   the Noise message

The mask is a ChaCha20 key stream; its key comes from the network's mask key, the salt, and which of the three messages
it is. What makes lengths vary is padding inside the encrypted payload (`crust.transport.hello`), where it is also
authenticated. No sockets, threads or clocks.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from crust.errors import Malformed
from crust.transport.aead import keystream

SALT_SIZE: Final = 16  # bytes; no two messages of a network share one before some 2**64 of them
MAX_HANDSHAKE_MESSAGE: Final = 1024
"""Bytes of an envelope, at most: the whole of what an unproved peer can make us hold."""

_IMPOSSIBLE: Final = "a handshake message has an impossible length"
_LENGTH: Final = struct.Struct("<H")
# Bytes of the Noise messages with empty payloads: keys (32), their and the payloads' tags (16).
_MIN_MESSAGE: Final = {1: 32 + 16, 2: 32 + 48 + 16, 3: 48 + 16}


@dataclass(frozen=True, slots=True)
class NetworkKeys:
    """What members of a network share."""

    psk: bytes = field(repr=False)
    """The pre-shared key of the Noise handshake, 32 bytes."""
    mask_key: bytes = field(repr=False)
    """Where the masks of handshake messages come from, 32 bytes."""


def network_keys(network: str, network_key: bytes | None) -> NetworkKeys:
    """The keys of a network.

    Args:
        network: its name, which is public: without ``network_key``, whoever knows it can talk to the network's nodes.
        network_key: the network's secret. Make it 32 random bytes: there is no key stretching, so a pass phrase could
            be guessed from one recorded handshake.
    """
    name = network.encode("utf-8", "surrogatepass")
    # The length and the flag keep every pair of name and key apart from every other.
    material = struct.pack("<I?", len(name), network_key is not None) + name + (network_key or b"")
    psk = blake2b(material, digest_size=32, person=b"crust psk").digest()
    mask_key = blake2b(material, digest_size=32, person=b"crust mask").digest()
    return NetworkKeys(psk, mask_key)


def _mask(mask_key: bytes, salt: bytes, number: int) -> bytes:
    """As many bytes of the key stream as an envelope may need."""
    key = blake2b(salt + bytes((number,)), digest_size=32, key=mask_key, person=b"crust envelope").digest()
    return keystream(key, 0, MAX_HANDSHAKE_MESSAGE - SALT_SIZE)


def _xor(data: bytes, mask: bytes) -> bytes:
    """``data`` XOR as much of ``mask``."""
    size = len(data)
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask[:size], "little")).to_bytes(size, "little")


def envelope(mask_key: bytes | None, number: int, message: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Wrap handshake message ``number`` (1 to 3) for the wire.

    Args:
        mask_key: of the network; ``None`` leaves out the salt and the mask, for tests against other implementations.
        number: 1, 2 or 3.
        message: the Noise message.
        random: gives that many random bytes.

    Raises:
        ValueError: the message is too long.
    """
    plain = _LENGTH.pack(len(message)) + message
    if SALT_SIZE + len(plain) > MAX_HANDSHAKE_MESSAGE:
        raise ValueError(f"an envelope has at most {MAX_HANDSHAKE_MESSAGE} bytes")
    if mask_key is None:
        return plain
    salt = random(SALT_SIZE)
    return salt + _xor(plain, _mask(mask_key, salt, number))


class Unmasker:
    """Takes one envelope from the front of a stream that comes in pieces; the arguments are those of `envelope`."""

    def __init__(self, mask_key: bytes | None, number: int) -> None:
        self._mask_key = mask_key
        self._number = number
        self._salt_size = 0 if mask_key is None else SALT_SIZE
        self._data = b""
        self._mask = b""
        self._size = 0  # of the whole envelope, once known
        self._failed = False

    @property
    def unused(self) -> bytes:
        """The bytes that came after the envelope; empty before its end."""
        return self._data[self._size :] if self._size else b""

    def feed(self, data: bytes) -> bytes | None:
        """Take received bytes.

        Returns:
            The Noise message once it is complete, else None. Once complete, later data only adds to `unused`.

        Raises:
            Malformed: the length cannot be that of such a message. It raises again when called again.
        """
        if self._failed:
            raise Malformed(_IMPOSSIBLE)
        self._data += data
        header = self._salt_size + _LENGTH.size
        if not self._size and len(self._data) >= header:
            self._size = header + self._read_length(header)
        if not self._size or len(self._data) < self._size:
            return None
        return self._unmask(header, self._size)

    def _unmask(self, start: int, end: int) -> bytes:
        """What is between two places in the envelope, without its mask."""
        data = self._data[start:end]
        return data if self._mask_key is None else _xor(data, self._mask[start - SALT_SIZE :])

    def _read_length(self, header: int) -> int:
        if self._mask_key is not None:
            self._mask = _mask(self._mask_key, self._data[:SALT_SIZE], self._number)
        length: int = _LENGTH.unpack(self._unmask(self._salt_size, header))[0]
        if not _MIN_MESSAGE[self._number] <= length <= MAX_HANDSHAKE_MESSAGE - SALT_SIZE - _LENGTH.size:
            self._failed = True
            raise Malformed(_IMPOSSIBLE)
        return length
