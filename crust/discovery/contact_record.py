"""Contact records: where a node can be reached, signed by the node itself (docs/discovery.md, "Gossip"). Pure.

All numbers are big-endian::

    record    =  version        1    1
              || capabilities   2    bits, see `Capability`; those that are not known are kept and mean nothing
              || sequence       6    of two records of a node the one with the greater number counts
              || expiry         4    seconds since 1970; from then on the record is worth nothing
              || signing key   32    Ed25519; the peer id follows from it
              || count          1    of endpoints, 0 to 8; none withdraws what earlier records said
              || endpoints           each: kind 1 || address 4 or 16 || port 2
              || signature     64    Ed25519 of: domain || network tag || all of the above

    kind      =  0x04 TCP over IPv4, 0x06 TCP over IPv6, 0x14 uTP over IPv4, 0x16 uTP over IPv6

There is one encoding of what a record says: endpoints stand in the order of their bytes, none twice.
"""

import enum
import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Final

from crust.discovery.contact import dialable
from crust.endpoint import Endpoint, Protocol
from crust.errors import Malformed
from crust.identity import SIGNATURE_SIZE, Identity, PeerId, peer_id_of, signer
from crust.transport.masking import NetworkKeys

RECORD_VERSION: Final = 1
MAX_ENDPOINTS: Final = 8
"""Of one record: two transports, IPv4 and IPv6, from inside and outside. It is also what a liar can make others dial
of a stranger's addresses, by one identity at a time."""
SEQUENCE_LIMIT: Final = 2**48
"""Sequence numbers are smaller: milliseconds since 1970 fit for some thousands of years."""
EXPIRY_LIMIT: Final = 2**32

_HEAD: Final = struct.Struct(">BHHII32sB")  # the sequence as 2 and 4 bytes
_PORT: Final = struct.Struct(">H")
_ENDPOINT_SIZES: Final = {4: 7, 6: 19}  # by IP version: kind, address, port
_PROTOCOLS: Final = (Protocol.TCP, Protocol.UTP)  # by the upper four bits of a kind
_DOMAIN: Final = b"crust contact record\0"

MIN_CONTACT_RECORD: Final = _HEAD.size + SIGNATURE_SIZE
MAX_CONTACT_RECORD: Final = MIN_CONTACT_RECORD + MAX_ENDPOINTS * 19
"""Bytes of a record with `MAX_ENDPOINTS` over IPv6."""


class Capability(enum.IntFlag):
    """What a node says of itself."""

    DIRECT = 1
    """Others have connected to it at these endpoints: it is not behind a router that keeps them out."""
    RELAY = 2
    """It helps others to meet."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a record says, before anybody has looked at its signature. `parse` makes it, `verify` makes it good."""

    peer_id: PeerId
    """Who is said to have signed."""
    sequence: int
    expiry: int
    """Seconds since 1970."""
    endpoints: tuple[Endpoint, ...]
    """In the order of the record: TCP first."""
    capabilities: Capability
    raw: bytes = field(repr=False)
    """The record as it came, to be passed on."""

    def verify(self, network_tag: bytes) -> "ContactRecord":
        """The same as a record that can be relied on to be from its `peer_id`.

        Args:
            network_tag: see `network_tag`; a record of another network does not verify.

        Raises:
            Malformed: it is forged, damaged, or of another network.
        """
        end = len(self.raw) - SIGNATURE_SIZE
        signer(_DOMAIN + network_tag + self.raw[:end], self.raw[end:], _signing_key(self.raw))
        return ContactRecord(*(getattr(self, each.name) for each in fields(self)))


class ContactRecord(Claim):
    """A record whose signature holds."""

    __slots__ = ()


def network_tag(keys: NetworkKeys) -> bytes:
    """32 bytes that bind signatures to a network; as secret as its key, and never sent."""
    return blake2b(b"", digest_size=32, key=keys.psk, person=b"crust contacts").digest()


def publishable(endpoints: Iterable[Endpoint], *, allow_loopback: bool = False) -> tuple[Endpoint, ...]:
    """Those endpoints that a record can carry, in its order: at most `MAX_ENDPOINTS`, the earlier ones preferred."""
    chosen: dict[bytes, Endpoint] = {}
    for endpoint in endpoints:
        if len(chosen) < MAX_ENDPOINTS and dialable(endpoint, allow_loopback=allow_loopback) and _is_plain(endpoint):
            chosen[_encode_endpoint(endpoint)] = endpoint
    return tuple(endpoint for _, endpoint in sorted(chosen.items()))


def make_record(
    identity: Identity,
    network_tag: bytes,
    endpoints: tuple[Endpoint, ...],
    sequence: int,
    expiry: int,
    capabilities: int = 0,
) -> ContactRecord:
    """Our own record.

    Args:
        identity: ours, which signs.
        network_tag: see `network_tag`.
        endpoints: what `publishable` gave.
        sequence: greater than that of any earlier record of this identity, smaller than `SEQUENCE_LIMIT`.
        expiry: seconds since 1970, smaller than `EXPIRY_LIMIT`.
        capabilities: what this node says of itself; `Capability`.

    Raises:
        Malformed: no such record is possible; the caller has a bug, or a broken clock.
    """
    if not 0 <= sequence < SEQUENCE_LIMIT or not 0 <= expiry < EXPIRY_LIMIT:
        raise Malformed(f"a record cannot have the sequence number {sequence} and the expiry {expiry}")
    head = _HEAD.pack(
        RECORD_VERSION,
        capabilities,
        sequence >> 32,
        sequence & 0xFFFFFFFF,
        expiry,
        identity.signing_key,
        min(len(endpoints), 255),
    )
    body = head + b"".join(_encode_endpoint(endpoint) for endpoint in endpoints)
    return parse(body + identity.sign(_DOMAIN + network_tag + body)).verify(network_tag)


def parse(raw: bytes) -> Claim:
    """Read a record without looking at its signature.

    Raises:
        Malformed: it is no record, or not in the one form that it must have.
    """
    if not MIN_CONTACT_RECORD <= len(raw) <= MAX_CONTACT_RECORD:
        raise Malformed(f"a contact record of {len(raw)} bytes; it has {MIN_CONTACT_RECORD} to {MAX_CONTACT_RECORD}")
    version, capabilities, high, low, expiry, signing_key, count = _HEAD.unpack_from(raw)
    if version != RECORD_VERSION:
        raise Malformed(f"a contact record of version {version}, this node knows {RECORD_VERSION}")
    endpoints = tuple(_parse_endpoints(raw[_HEAD.size : -SIGNATURE_SIZE]))
    if len(endpoints) != count or count > MAX_ENDPOINTS:
        raise Malformed(f"a contact record says {count} endpoints and has {len(endpoints)}")
    sequence = high << 32 | low
    return Claim(peer_id_of(signing_key), sequence, expiry, endpoints, Capability(capabilities), raw)


def _signing_key(raw: bytes) -> bytes:
    key: bytes = _HEAD.unpack_from(raw)[5]
    return key


def _is_plain(endpoint: Endpoint) -> bool:
    """Whether it has one encoding: no IPv4 address inside an IPv6 one, and no scope."""
    if "%" in endpoint.host:
        return False
    address = ipaddress.ip_address(endpoint.host)
    return address.version == 4 or address.ipv4_mapped is None


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    address = ipaddress.ip_address(endpoint.host)
    kind = _PROTOCOLS.index(endpoint.protocol) << 4 | address.version
    return bytes([kind]) + address.packed + _PORT.pack(endpoint.port)


def _parse_endpoints(data: bytes) -> Iterator[Endpoint]:
    at, last = 0, b""
    while at < len(data):
        size = _ENDPOINT_SIZES.get(data[at] & 0xF)
        protocol = data[at] >> 4
        piece = data[at : at + (size or 0)]
        if size is None or protocol >= len(_PROTOCOLS) or len(piece) != size:
            raise Malformed("a contact record has an endpoint of an unknown kind, or half of one")
        if piece <= last:
            raise Malformed("the endpoints of a contact record are out of order")
        host = str(ipaddress.ip_address(piece[1:-2]))
        endpoint = Endpoint(_PROTOCOLS[protocol], host, _PORT.unpack_from(piece, size - 2)[0])
        if not dialable(endpoint, allow_loopback=True) or not _is_plain(endpoint):
            raise Malformed(f"a contact record has the impossible endpoint {endpoint}")
        yield endpoint
        at, last = at + size, piece
