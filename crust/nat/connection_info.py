"""`ConnectionInfo`: all that a peer needs to meet us, as one line of text to be copied (docs/nat.md). Pure.

All numbers are big-endian; the line is ``crust-info:`` and this, as RFC 4648 section 5 has it, without padding::

    info       =  version      1    1
               || peer id     32
               || nonce       16    random, new for each info: keys of probes are made with it
               || mapping      1    as the three that follow: what the sender's NAT does, see `crust.nat.behaviour`
               || filtering    1
               || allocation   1
               || delta        1    signed
               || count        1    of candidates, 0 to 16
               || candidates        the best first; each: kind 1 || address 4 or 16 || port 2
               || checksum     4    the first bytes of the BLAKE2b of all of the above

    kind       =  0x04 over IPv4, 0x06 over IPv6; plus 0x10 for uTP instead of TCP;
                  plus 0x00 for a host's own address, 0x40 mapped by the router, 0x80 seen by others, 0xc0 predicted
"""

import base64
import binascii
import enum
import ipaddress
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple, Self

from crust.discovery.contact import dialable
from crust.endpoint import Endpoint, Protocol
from crust.errors import Malformed
from crust.identity import PeerId
from crust.nat.behaviour import MAX_DELTA, UNKNOWN, Allocation, Behaviour, Filtering, Mapping

INFO_VERSION: Final = 1
INFO_CANDIDATES: Final = 16
"""Of one info: two transports, four addresses of the host, two of the router, IPv4 and IPv6."""
NONCE_SIZE: Final = 16  # bytes
PREFIX: Final = "crust-info:"

_HEAD: Final = struct.Struct(f">B32s{NONCE_SIZE}sBBBbB")
_PORT: Final = struct.Struct(">H")
_SIZES: Final = {4: 7, 6: 19}  # of a candidate, by IP version
_PROTOCOLS: Final = (Protocol.TCP, Protocol.UTP)
_CHECKSUM_SIZE: Final = 4
MAX_INFO_SIZE: Final = _HEAD.size + INFO_CANDIDATES * _SIZES[6] + _CHECKSUM_SIZE
"""Bytes before they become text."""
MAX_INFO_TEXT: Final = len(PREFIX) + -(-MAX_INFO_SIZE * 8 // 6)
"""Characters of the longest line."""

_INCOMPLETE: Final = "the connection info is incomplete or damaged: copy all of the line again"


class CandidateKind(enum.IntEnum):
    """Where an address comes from. The numbers are sent: they never change."""

    HOST = 0
    """An interface of the host has it."""
    MAPPED = 1
    """The router forwards it, because it was asked to."""
    REFLEXIVE = 2
    """Others see it."""
    PREDICTED = 3
    """Others may see it next."""


class Candidate(NamedTuple):
    """An address at which a node may be reached."""

    kind: CandidateKind
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """See the module's text.

    Raises:
        Malformed: it cannot be sent; the caller has a bug.
    """

    peer_id: PeerId
    candidates: tuple[Candidate, ...] = ()
    """The best first; each endpoint once."""
    behaviour: Behaviour = UNKNOWN
    """Of the NAT in front of the uTP port. Hairpinning and the number of hosts are not sent."""
    nonce: bytes = field(default_factory=lambda: os.urandom(NONCE_SIZE), repr=False)

    def __post_init__(self) -> None:
        endpoints = [candidate.endpoint for candidate in self.candidates]
        if len(endpoints) > INFO_CANDIDATES or len(set(endpoints)) < len(endpoints) or len(self.nonce) != NONCE_SIZE:
            raise Malformed(f"a connection info has at most {INFO_CANDIDATES} candidates, none of them twice")
        if not all(map(_can_be_sent, endpoints)) or abs(self.behaviour.delta) > MAX_DELTA:
            raise Malformed("a connection info has a candidate that nobody can use, or an impossible delta")

    def encode(self) -> str:
        """The line; `parse` reads it."""
        behaviour = self.behaviour
        head = _HEAD.pack(
            INFO_VERSION,
            bytes(self.peer_id),
            self.nonce,
            behaviour.mapping,
            behaviour.filtering,
            behaviour.allocation,
            behaviour.delta,
            len(self.candidates),
        )
        data = head + b"".join(map(_encode_candidate, self.candidates))
        return PREFIX + base64.urlsafe_b64encode(data + _checksum(data)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `encode` gives; white space anywhere in it is ignored, as e-mail breaks long lines.

        Raises:
            Malformed: it is none; the message says what to do.
        """
        text = "".join(text[: 4 * MAX_INFO_TEXT].split())
        if not text.startswith(PREFIX):
            raise Malformed(f"not a connection info: copy the whole line, which begins with {PREFIX}")
        data = _decode(text)
        if len(data) < _HEAD.size + _CHECKSUM_SIZE:
            raise Malformed(_INCOMPLETE)
        body = data[:-_CHECKSUM_SIZE]
        if _checksum(body) != data[-_CHECKSUM_SIZE:]:  # all versions end with it
            raise Malformed(_INCOMPLETE)
        if data[0] != INFO_VERSION:
            raise Malformed(f"the connection info is of version {data[0]}, this node knows {INFO_VERSION}: update it")
        _, peer_id, nonce, mapping, filtering, allocation, delta, count = _HEAD.unpack_from(body)
        candidates = tuple(_parse_candidates(body[_HEAD.size :]))
        if len(candidates) != count:
            raise Malformed(_INCOMPLETE)
        try:
            behaviour = Behaviour(Mapping(mapping), Filtering(filtering), Allocation(allocation), delta)
        except ValueError:
            behaviour = UNKNOWN  # names that came up later
        return cls(PeerId(peer_id), candidates, behaviour, nonce)


def _decode(text: str) -> bytes:
    """The bytes of a line, if it is the one line that they make."""
    payload = text[len(PREFIX) :]
    try:
        data = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(_INCOMPLETE) from None
    if len(data) > MAX_INFO_SIZE or base64.urlsafe_b64encode(data).decode().rstrip("=") != payload:
        raise Malformed(_INCOMPLETE)
    return data


def _checksum(data: bytes) -> bytes:
    """Against slips in copying, not against forgers: who can change the line can change this as well."""
    return blake2b(data, digest_size=_CHECKSUM_SIZE, person=b"crust info").digest()


def _can_be_sent(endpoint: Endpoint) -> bool:
    if endpoint.protocol not in _PROTOCOLS or "%" in endpoint.host:
        return False
    return dialable(endpoint, allow_loopback=True)


def sendable(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Those that an info can carry, each endpoint once (as the first of its kinds), at most `INFO_CANDIDATES`."""
    chosen: dict[Endpoint, Candidate] = {}
    for candidate in candidates:
        if _can_be_sent(candidate.endpoint):
            chosen.setdefault(candidate.endpoint, candidate)
    return tuple(chosen.values())[:INFO_CANDIDATES]


def _encode_candidate(candidate: Candidate) -> bytes:
    kind, endpoint = candidate
    address = ipaddress.ip_address(endpoint.host)
    first = kind << 6 | _PROTOCOLS.index(endpoint.protocol) << 4 | address.version
    return bytes([first]) + address.packed + _PORT.pack(endpoint.port)


def _parse_candidates(data: bytes) -> Iterable[Candidate]:
    at = 0
    while at < len(data):
        size = _SIZES.get(data[at] & 0xF, 0)
        protocol = data[at] >> 4 & 3
        piece = data[at : at + size]
        if not size or len(piece) != size or protocol >= len(_PROTOCOLS):
            raise Malformed(_INCOMPLETE)
        host = str(ipaddress.ip_address(piece[1:-2]))
        endpoint = Endpoint(_PROTOCOLS[protocol], host, _PORT.unpack_from(piece, size - 2)[0])
        yield Candidate(CandidateKind(data[at] >> 6), endpoint)
        at += size
