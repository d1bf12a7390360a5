"""The datagrams of hole punching (docs/nat.md): a `Probe`, and `PunchSeal`, which only the two who meet can open.

::

    datagram  =  nonce    24 random bytes, the first of which no uTP packet begins with
              || sealed   40 bytes: XChaCha20-Poly1305 of the body, 24 bytes, with a tag of 16
    body      =  version  1    1
              || kind     1    see `ProbeKind`
              || socket   2    big-endian; which of its sockets the sender used
              || number   4    big-endian; no two datagrams of a sender have the same
              || token    8    random, of the sender in this meeting
              || echo     8    the other's token once it was heard, else zeros

All have the same size, so that no answer is larger than what it answers. No sockets, threads or clocks.
"""

import enum
import os
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
)
from nacl.exceptions import CryptoError

from crust.errors import Malformed
from crust.identity import Identity
from crust.nat.connection_info import ConnectionInfo
from crust.transport.masking import NetworkKeys

PROBE_VERSION: Final = 1
TOKEN_SIZE: Final = 8  # bytes
NO_TOKEN: Final = bytes(TOKEN_SIZE)
NONCE_SIZE: Final = 24  # bytes; XChaCha20 takes random ones (draft-irtf-cfrg-xchacha, section 2)

_BODY: Final = struct.Struct(f">BBHI{TOKEN_SIZE}s{TOKEN_SIZE}s")
_TAG_SIZE: Final = 16
PROBE_SIZE: Final = NONCE_SIZE + _BODY.size + _TAG_SIZE
"""Bytes of every datagram: 64."""

_CONTEXT: Final = b"crust punch"


class ProbeKind(enum.IntEnum):
    """What a datagram says."""

    PROBE = 1
    """Do you hear me?"""
    USE = 2
    """Let us talk on this path. Only one side says so: the one with the greater peer id."""
    AGREED = 3
    """Yes."""


class Probe(NamedTuple):
    """What a datagram says."""

    kind: ProbeKind
    socket: int
    number: int
    token: bytes
    echo: bytes = NO_TOKEN


def decode(body: bytes) -> Probe:
    """Read a body.

    Raises:
        Malformed: it is none; also one of another version.
    """
    if len(body) != _BODY.size:
        raise Malformed("a probe has a wrong size")
    version, kind, socket, number, token, echo = _BODY.unpack(body)
    if version != PROBE_VERSION:
        raise Malformed(f"a probe is of version {version}, this node speaks {PROBE_VERSION}")
    try:
        kind = ProbeKind(kind)
    except ValueError:
        raise Malformed(f"a probe is of the unknown kind {kind}") from None
    return Probe(kind, socket, number, token, echo)


def encode(probe: Probe) -> bytes:
    """The body of a probe."""
    return _BODY.pack(PROBE_VERSION, *probe)


def punch_key(identity: Identity, ours: ConnectionInfo, theirs: ConnectionInfo, network: NetworkKeys) -> bytes:
    """The 32 bytes that both sides of a meeting come to, and nobody else: not even who carried the infos.

    Args:
        identity: ours.
        ours, theirs: what was exchanged; the nonces make the key another one each time.
        network: both have to be in it.

    Raises:
        Malformed: their peer id is nobody's key.
    """
    try:
        shared = crypto_scalarmult(identity.private_key, bytes(theirs.peer_id))
    except (CryptoError, RuntimeError):
        raise Malformed("the peer id of the connection info is nobody's key") from None
    both = sorted((ours, theirs), key=lambda info: info.peer_id)
    material = b"".join(bytes(info.peer_id) + info.nonce for info in both)
    return blake2b(shared + material, digest_size=32, key=network.psk, person=_CONTEXT).digest()


class PunchSeal:
    """What only the two who meet can make and open, each the other's. Any thread may call.

    Args:
        key: see `punch_key`.
        greater: whether ours is the greater peer id. What one side seals the other opens, and it cannot itself: a
            datagram that is thrown back says nothing.
        random: gives that many random bytes.
    """

    def __init__(self, key: bytes, greater: bool, random: Callable[[int], bytes] = os.urandom) -> None:
        self._key = key
        self._random = random
        self._own = _CONTEXT + bytes([greater])
        self._their = _CONTEXT + bytes([not greater])

    def close(self, probe: Probe) -> bytes:
        """A datagram, different each time."""
        nonce = self._random(NONCE_SIZE)
        if nonce[0] & 0x0F == 1:  # the version of uTP, in the same place (BEP 29)
            nonce = bytes([nonce[0] ^ 0x08]) + nonce[1:]
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(encode(probe), self._own, nonce, self._key)

    def open(self, datagram: bytes) -> Probe | None:
        """What a datagram says; ``None`` if the other side did not make it for this meeting.

        Raises:
            Malformed: the other side made it, but this version does not understand it.
        """
        if len(datagram) != PROBE_SIZE:
            return None
        nonce, sealed = datagram[:NONCE_SIZE], datagram[NONCE_SIZE:]
        try:
            body = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, self._their, nonce, self._key)
        except CryptoError:
            return None
        return decode(body)
