"""The datagrams of the beacon (docs/discovery.md, "The beacon"): a `Message`, and `Seal`, which only members can open.

::

    datagram  =  nonce    24 random bytes
              || sealed   96 bytes: XChaCha20-Poly1305 of the body, 80 bytes, with a tag of 16
    body      =  version  1    1; what follows is that of this version
              || kind     1    see `Kind`
              || tcp      2    big-endian; the port that the sender listens on, 0 for none
              || utp      2    the same, on UDP
              || guid     16   which beacon this is, random; a node finds its own datagrams by it
              || peer id  32
              || token    8    random; who answers sends it back
              || echo     8    the token that is answered, else zeros
              || spare    10   zeros; ignored

All have the same size, so that no answer is larger than its question, and nobody can tell one kind from another. No
sockets, threads or clocks.
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
)
from nacl.exceptions import CryptoError

from crust.errors import Malformed
from crust.identity import PeerId
from crust.transport.masking import NetworkKeys

BEACON_VERSION: Final = 1
GUID_SIZE: Final = 16  # bytes
TOKEN_SIZE: Final = 8  # bytes
NONCE_SIZE: Final = 24  # bytes; XChaCha20 takes random ones (draft-irtf-cfrg-xchacha, section 2)
NO_TOKEN: Final = bytes(TOKEN_SIZE)

_BODY: Final = struct.Struct(f">BBHH{GUID_SIZE}s32s{TOKEN_SIZE}s{TOKEN_SIZE}s10x")
_TAG_SIZE: Final = 16
DATAGRAM_SIZE: Final = NONCE_SIZE + _BODY.size + _TAG_SIZE
"""Bytes of every datagram: 120."""

_CONTEXT: Final = b"crust beacon"


class Kind(enum.IntEnum):
    """What a datagram is for."""

    ASK = 1
    """To all: who is there? An `ANSWER` or an `EXCHANGE` may follow."""
    CHECK = 2
    """To one that was heard of: is it really you? An `ANSWER` follows."""
    ANNOUNCE = 3
    """To all: here I am. Who does not know the sender may `CHECK`."""
    ANSWER = 4
    """To one that asked or checked: here I am."""
    EXCHANGE = 5
    """An `ANSWER` and a `CHECK` in one, for askers that are not known."""


class Announcement(NamedTuple):
    """What a node tells of itself."""

    peer_id: PeerId
    tcp_port: int
    """1 to 65535, or 0 if it does not listen on TCP."""
    utp_port: int
    """1 to 65535, or 0 if it does not listen for uTP."""

    @property
    def reachable(self) -> bool:
        """Whether anybody can connect to the node."""
        return bool(self.tcp_port or self.utp_port)


class Message(NamedTuple):
    """What a datagram says."""

    kind: Kind
    guid: bytes
    """`GUID_SIZE` bytes: which beacon sent it."""
    about: Announcement
    token: bytes
    """`TOKEN_SIZE` bytes that an answer gives back."""
    echo: bytes = NO_TOKEN
    """The token that this answers."""

    def encode(self) -> bytes:
        """The body."""
        about = self.about
        ports = about.tcp_port, about.utp_port
        return _BODY.pack(BEACON_VERSION, self.kind, *ports, self.guid, bytes(about.peer_id), self.token, self.echo)


def decode(body: bytes) -> Message:
    """Read what `Message.encode` gives.

    Raises:
        Malformed: it is none; also one of another version.
    """
    if len(body) != _BODY.size:
        raise Malformed("a beacon has a wrong size")
    version, kind, tcp, utp, guid, peer, token, echo = _BODY.unpack(body)
    if version != BEACON_VERSION:
        raise Malformed(f"a beacon is of version {version}, this node speaks {BEACON_VERSION}")
    try:
        kind = Kind(kind)
    except ValueError:
        raise Malformed(f"a beacon is of the unknown kind {kind}") from None
    return Message(kind, guid, Announcement(PeerId(peer), tcp, utp), token, echo)


def beacon_key(keys: NetworkKeys) -> bytes:
    """The 32 secret bytes that seal the beacons of a network; the handshake's keys do not follow from them."""
    return blake2b(b"", digest_size=32, key=keys.psk, person=_CONTEXT).digest()


class Seal:
    """What only members of a network can make and open. Any thread may call.

    Args:
        keys: of the network; the handshake's pre-shared key, from which another key is derived here.
        random: gives that many random bytes.
    """

    def __init__(self, keys: NetworkKeys, random: Callable[[int], bytes] = os.urandom) -> None:
        self._key = beacon_key(keys)
        self._random = random

    def close(self, message: Message) -> bytes:
        """A datagram, different each time."""
        nonce = self._random(NONCE_SIZE)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(message.encode(), _CONTEXT, nonce, self._key)

    def open(self, datagram: bytes) -> Message | None:
        """What a datagram says; ``None`` if it is not of our network, or damaged.

        Raises:
            Malformed: a member of our network sent it, but this version does not understand it.
        """
        if len(datagram) != DATAGRAM_SIZE:
            return None
        nonce, sealed = datagram[:NONCE_SIZE], datagram[NONCE_SIZE:]
        try:
            body = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, _CONTEXT, nonce, self._key)
        except CryptoError:
            return None
        return decode(body)
