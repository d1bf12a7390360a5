"""What gossip knows: the newest record of each node, within bounds that nobody can turn against others. Pure.

Nodes compare what they know by *sums*: each record has a place among 64 buckets that follows from its peer id, and a
bucket's sum is the exclusive or of the hashes of (peer id, sequence) of its records. Neighbouring buckets can be added
together to have fewer sums.

When there are more nodes than places, each store keeps a sample of its own: who brought the most gives way, and among
what one peer brought a secret rank decides. So a peer that invents nodes displaces what itself brought, and nobody can
aim at a certain node. A record that lost its place is not wanted back from the same peer, so two stores do not send
each other for ever what the other has no place for.
"""

import enum
import os
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from crust.discovery.contact_record import ContactRecord
from crust.identity import PeerId

MAX_RECORDS: Final = 1024
"""Records kept: a third of a megabyte, and many times what a node needs to find its peers."""
BUCKETS: Final = 64
"""Of sums; the most that an exchange compares."""
BUCKET_CROWD: Final = 4
"""How many times its share a bucket may hold: peer ids that were made to fall into one bucket do not fill it beyond
what one frame can list."""
MIN_BUCKET: Final = 8
"""Records that a bucket may hold in a small store."""
RENEWAL_GAP: Final = 20.0
"""Seconds between two records of a node that are taken: who moves all the time does not keep a whole network busy."""
SHORT_ID: Final = 8
"""Bytes that name a node in an exchange: a hash of its peer id."""
SUM_SIZE: Final = 6
"""Bytes of a sum: 2**48 tries for somebody who wants two stores to look equal that are not, until the next refresh."""


class Put(enum.Enum):
    """What became of a record."""

    NEW = enum.auto()
    """Nothing was known of the node."""
    MOVED = enum.auto()
    """The node has other endpoints or capabilities now."""
    REFRESHED = enum.auto()
    """It says the same as before, for longer."""
    NOT_NEWER = enum.auto()
    """This or a later one is known, or one that was taken a moment ago."""
    NO_ROOM = enum.auto()
    """It does not belong to the sample that this store keeps."""


@dataclass(slots=True)
class _Entry:
    record: ContactRecord
    introducer: PeerId | None
    rank: bytes
    hash: int
    renewed: float
    """When the record was taken."""


def short_id(peer_id: PeerId) -> bytes:
    """How exchanges name a node; its upper six bits are its bucket."""
    return blake2b(bytes(peer_id), digest_size=SHORT_ID).digest()


def bucket_of(short: bytes) -> int:
    """0 to 63."""
    return short[0] >> 2


class RecordStore:
    """See the module's text. Belongs to one thread.

    Args:
        own: this node; its record is always kept.
        capacity: records of others.
        secret: makes the ranks; random if left out.
    """

    def __init__(self, own: PeerId, capacity: int = MAX_RECORDS, secret: bytes | None = None) -> None:
        self._own = short_id(own)
        self._capacity = capacity
        self._bucket_capacity = max(BUCKET_CROWD * capacity // BUCKETS, MIN_BUCKET)
        self._secret = os.urandom(16) if secret is None else secret
        self._entries: dict[bytes, _Entry] = {}
        self._buckets: list[dict[bytes, _Entry]] = [{} for _ in range(BUCKETS)]
        self._sums = [0] * BUCKETS
        # Who brought which: ranks in order, the last gives way first. The own record is in none.
        self._brought: dict[PeerId | None, list[tuple[bytes, bytes]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Whether a node that is not known yet takes the place of another."""
        return len(self._entries) - (self._own in self._entries) >= self._capacity

    def __iter__(self) -> Iterator[ContactRecord]:
        return (entry.record for entry in self._entries.values())

    def get(self, peer_id: PeerId) -> ContactRecord | None:
        """The newest record of a node."""
        return self.find(short_id(peer_id))

    def find(self, short: bytes) -> ContactRecord | None:
        """The same by its short id."""
        entry = self._entries.get(short)
        return entry.record if entry else None

    def bucket(self, number: int) -> Iterator[tuple[bytes, ContactRecord]]:
        """Short ids and records in a bucket."""
        return ((short, entry.record) for short, entry in self._buckets[number].items())

    def bucket_size(self, number: int) -> int:
        """How many records are in a bucket."""
        return len(self._buckets[number])

    def sums(self, count: int) -> list[int]:
        """Sums of all records.

        Args:
            count: how many sums: 1, 2, 4, ... 64.
        """
        width = BUCKETS // count
        sums = [0] * count
        for number, each in enumerate(self._sums):
            sums[number // width] ^= each
        return sums

    def wants(self, short: bytes, sequence: int, introducer: PeerId, now: float) -> bool:
        """Whether a record with that sequence number would be kept, if ``introducer`` brought it at ``now``."""
        entry = self._entries.get(short)
        if entry is not None:
            own = short == self._own
            return sequence > entry.record.sequence and (own or now - entry.renewed >= RENEWAL_GAP)
        return self._loser(short, introducer) != short

    def put(self, record: ContactRecord, introducer: PeerId | None, now: float) -> Put:
        """Keep a record, if it is newer than what is known of the node and there is room.

        Args:
            record: the record.
            introducer: which peer brought it; ``None`` for this node.
            now: seconds on a clock that never jumps.
        """
        short = short_id(record.peer_id)
        known = self._entries.get(short)
        if known is not None:
            return self._renew(short, known, record, now)
        loser = self._loser(short, introducer)
        if loser == short:
            return Put.NO_ROOM
        if loser is not None:
            self._remove(loser)
        rank = blake2b(short, digest_size=8, key=self._secret).digest()
        entry = _Entry(record, introducer, rank, _hash(short, record), now)
        self._entries[short] = self._buckets[bucket_of(short)][short] = entry
        self._sums[bucket_of(short)] ^= entry.hash
        if short != self._own:
            insort(self._brought.setdefault(introducer, []), (rank, short))
        return Put.NEW

    def expire(self, wall: float) -> int:
        """Forget what has expired; ``wall`` in seconds since 1970. Returns how many there were."""
        expired = [short for short, entry in self._entries.items() if entry.record.expiry <= wall]
        for short in expired:
            self._remove(short)
        return len(expired)

    def _renew(self, short: bytes, known: _Entry, record: ContactRecord, now: float) -> Put:
        # Two nodes whose short ids are equal cannot both be known: that of the first stays.
        if record.peer_id != known.record.peer_id or record.sequence <= known.record.sequence:
            return Put.NOT_NEWER
        if short != self._own and now - known.renewed < RENEWAL_GAP:
            return Put.NOT_NEWER
        before, known.record, known.renewed = known.record, record, now
        self._sums[bucket_of(short)] ^= known.hash
        known.hash = _hash(short, record)
        self._sums[bucket_of(short)] ^= known.hash
        same = (before.endpoints, before.capabilities) == (record.endpoints, record.capabilities)
        return Put.REFRESHED if same else Put.MOVED

    def _loser(self, short: bytes, introducer: PeerId | None) -> bytes | None:
        """Who would have to give way to a newcomer: perhaps itself; ``None`` if there is room."""
        if short == self._own:
            return None
        bucket = self._buckets[bucket_of(short)]
        rank = blake2b(short, digest_size=8, key=self._secret).digest()
        if len(bucket) >= self._bucket_capacity:
            others = [(entry.rank, each) for each, entry in bucket.items() if each != self._own]
            return max([*others, (rank, short)])[1]
        if not self.full:
            return None
        greediest = max(self._brought, key=lambda who: len(self._brought[who]), default=introducer)
        own_group = self._brought.get(introducer, [])
        if len(own_group) + 1 >= len(self._brought.get(greediest, [])):
            return max([*own_group[-1:], (rank, short)])[1]
        return self._brought[greediest][-1][1]

    def _remove(self, short: bytes) -> None:
        entry = self._entries.pop(short)
        del self._buckets[bucket_of(short)][short]
        self._sums[bucket_of(short)] ^= entry.hash
        if short == self._own:
            return
        group = self._brought[entry.introducer]
        del group[bisect_left(group, (entry.rank, short))]
        if not group:
            del self._brought[entry.introducer]


def _hash(short: bytes, record: ContactRecord) -> int:
    """What a record adds to the sum of its bucket."""
    text = short + record.sequence.to_bytes(6, "big")
    return int.from_bytes(blake2b(text, digest_size=SUM_SIZE).digest(), "big")
