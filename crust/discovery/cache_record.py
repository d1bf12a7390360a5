"""The bytes of the bootstrap cache: a header, and records of one fixed size. Pure; the file is in `cache_file`.

Numbers are big-endian. The file is a header and as many slots as the header says, each `SIZE` bytes::

    header   0  8  magic "CRUSTBC\\n"          record   0  8  checksum; all zero: the slot is free
             8  2  version of the layout               8  8  version: of two copies the greater one counts
            10  2  bytes in a slot                    16  8  recency: the version when it last worked
            12  4  capacity, in contacts              24  1  protocol (0 TCP, 1 uTP)
            16  4  slots                              25  1  address family (4 or 6)
            20  4  zero                               26  1  source
            24  8  checksum of bytes 0 to 23          27  1  flags: 1 = there is a peer id
            32 96  zero                               28  2  port
                                                      30  2  failures since it last worked
    Times are milliseconds since the epoch            32 16  address; IPv4 in the last four bytes
    by the wall clock, 0 for never. They are          48 32  peer id
    for people: the order comes from                  80  8  tag of the network
    versions, which no clock can turn back.           88 24  times: first success, last success, last failure
                                                     112 16  zero; readers ignore them

A checksum is the first 8 bytes of BLAKE2b over the rest of the record (the header: what stands before it).
"""

import hashlib
import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from crust.discovery.contact import Source
from crust.endpoint import Endpoint, Protocol
from crust.errors import EndpointError, Malformed
from crust.identity import KEY_SIZE, PeerId

SIZE: Final = 128  # bytes; divides a page, so a record never lies in two
CHECKSUM_SIZE: Final = 8  # bytes
TAG_SIZE: Final = 8  # bytes
NO_TAG: Final = bytes(TAG_SIZE)
FREE: Final = bytes(CHECKSUM_SIZE)
LAYOUT_VERSION: Final = 1
SPARE_SLOTS: Final = 32  # beyond the capacity: new copies are written there before old ones are cleared
MAX_CAPACITY: Final = 100_000  # contacts; keeps a damaged or hostile header from mapping gigabytes
MAX_FAILURES: Final = 0xFFFF
MAX_MILLISECONDS: Final = 253_402_300_799_999  # the end of the year 9999
MAX_VERSION: Final = 2**62  # more than any number of writes; what lies beyond would leave no room for newer ones

_MAGIC: Final = b"CRUSTBC\n"
_HEADER: Final = struct.Struct("!8sHHIII8s")
_RECORD: Final = struct.Struct("!8sQQBBBBHH16s32s8sQQQ16x")
_HAS_PEER_ID: Final = 1
assert _RECORD.size == SIZE

Key = tuple[bytes, Endpoint]
"""What there is one record of: the tag of a network and an endpoint."""


class NewerLayout(Malformed):
    """A sound file of a later version of Crust."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of one endpoint. Times are milliseconds since the epoch, 0 for never."""

    endpoint: Endpoint
    peer_id: PeerId | None
    source: Source
    network: bytes = NO_TAG
    first_success: int = 0
    last_success: int = 0
    last_failure: int = 0
    failures: int = 0
    recency: int = 0
    version: int = 1

    @property
    def key(self) -> Key:
        """What makes it different from other records."""
        return (self.network, self.endpoint)


@dataclass(frozen=True, slots=True)
class Header:
    """How large the file is.

    Raises:
        ValueError: ``capacity`` is not from 1 to `MAX_CAPACITY`.
    """

    capacity: int

    def __post_init__(self) -> None:
        if not 1 <= self.capacity <= MAX_CAPACITY:
            raise ValueError(f"a cache has room for 1 to {MAX_CAPACITY} contacts, not {self.capacity}")

    @property
    def slots(self) -> int:
        """Places for records."""
        return self.capacity + SPARE_SLOTS

    @property
    def file_size(self) -> int:
        """Bytes in the file."""
        return (1 + self.slots) * SIZE


def network_tag(psk: bytes) -> bytes:
    """What stands in records for the network with this pre-shared key, which cannot be computed from it."""
    return hashlib.blake2b(psk, digest_size=TAG_SIZE, person=b"crust cache net").digest()


def milliseconds(wall_time: float) -> int:
    """Seconds since the epoch as they are stored; what no clock of ours can have said becomes the nearest that fits."""
    return int(min(max(wall_time, 0.001), MAX_MILLISECONDS / 1000) * 1000)


def begins_like_a_cache(data: bytes) -> bool:
    """Whether the first bytes of a file say that it is, or was, a cache, however damaged the rest may be."""
    return data.startswith(_MAGIC)


def encode_header(header: Header) -> bytes:
    """The first `SIZE` bytes of a file."""
    rest = _HEADER.pack(_MAGIC, LAYOUT_VERSION, SIZE, header.capacity, header.slots, 0, FREE)[:-CHECKSUM_SIZE]
    return (rest + _checksum(rest)).ljust(SIZE, b"\0")


def decode_header(data: bytes) -> Header:
    """Read the first `SIZE` bytes of a file.

    Raises:
        NewerLayout: a later version of Crust wrote it.
        Malformed: it is no header.
    """
    if len(data) < _HEADER.size:
        raise Malformed(f"the header has {len(data)} bytes instead of {SIZE}")
    magic, version, size, capacity, slots, _, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise Malformed("it does not begin like a cache")
    if checksum != _checksum(data[: _HEADER.size - CHECKSUM_SIZE]):
        raise Malformed("the checksum of its header is wrong")
    if version > LAYOUT_VERSION:
        raise NewerLayout(f"it has layout {version}; this version of crust knows {LAYOUT_VERSION}")
    try:
        header = Header(capacity)
    except ValueError as error:
        raise Malformed(str(error)) from None
    if (version, size, slots) != (LAYOUT_VERSION, SIZE, header.slots):
        raise Malformed("the sizes in its header contradict each other")
    return header


def encode(record: Record) -> bytes:
    """The `SIZE` bytes of a record.

    Raises:
        ValueError: the endpoint is a name or has a scope, which a record has no room for.
    """
    address = ipaddress.ip_address(record.endpoint.host)
    if "%" in record.endpoint.host:
        raise ValueError(f"{record.endpoint} has a scope")
    packed = _RECORD.pack(
        FREE,
        record.version,
        record.recency,
        record.endpoint.protocol,
        address.version,
        record.source,
        0 if record.peer_id is None else _HAS_PEER_ID,
        record.endpoint.port,
        record.failures,
        address.packed.rjust(16, b"\0"),
        bytes(KEY_SIZE) if record.peer_id is None else bytes(record.peer_id),
        record.network,
        record.first_success,
        record.last_success,
        record.last_failure,
    )
    return _checksum(packed[CHECKSUM_SIZE:]) + packed[CHECKSUM_SIZE:]


def decode(data: bytes) -> Record:
    """Read a record.

    Raises:
        Malformed: it was torn or changed, or says what no record says.
    """
    if len(data) != SIZE:
        raise Malformed(f"a record has {SIZE} bytes, not {len(data)}")
    fields = _RECORD.unpack(data)
    checksum, version, recency, protocol, family, source, flags, port, failures, address, peer, network = fields[:12]
    first, last, failure = times = fields[12:]
    if checksum != _checksum(data[CHECKSUM_SIZE:]):
        raise Malformed("the checksum is wrong")
    if not 1 <= version <= MAX_VERSION or recency > version or max(times) > MAX_MILLISECONDS or flags & ~_HAS_PEER_ID:
        raise Malformed("a number is out of range")
    try:
        endpoint = _endpoint(protocol, family, address, port)
        source = Source(source)
    except ValueError as error:  # EndpointError is one
        raise Malformed(str(error)) from None
    peer_id = PeerId(peer) if flags & _HAS_PEER_ID else None
    return Record(endpoint, peer_id, source, network, first, last, failure, failures, recency, version)


def is_free(slot: bytes) -> bool:
    """Whether a slot holds nothing: never used, cleared, or its writer did not get to the end."""
    return slot.startswith(FREE)


def _endpoint(protocol: int, family: int, address: bytes, port: int) -> Endpoint:
    if protocol not in (Protocol.TCP, Protocol.UTP):
        raise EndpointError(f"protocol {protocol} is not one that is remembered")
    if family == 4 and not any(address[:12]):
        return Endpoint(Protocol(protocol), ".".join(map(str, address[12:])), port)
    if family == 6:
        return Endpoint(Protocol(protocol), str(ipaddress.IPv6Address(address)), port)
    raise EndpointError(f"address family {family} with {address.hex()}")


def _checksum(data: bytes) -> bytes:
    digest = hashlib.blake2b(data, digest_size=CHECKSUM_SIZE).digest()
    return digest if digest != FREE else b"\x01" * CHECKSUM_SIZE
