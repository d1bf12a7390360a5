"""Which contacts are kept, in which order they are tried, and which one goes when there is no room. Pure.

The order does not depend on any clock: a computer that starts in 1970 must not take its newest contacts for its oldest.
Every change has a version, greater than all before; how recently a contact worked is the version of that moment.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from crust.discovery.cache_record import MAX_FAILURES, Key, Record
from crust.discovery.contact import Contact, Source, dialable
from crust.endpoint import Endpoint
from crust.identity import PeerId

MAX_PER_HOST: Final = 32  # records with one IPv4 address or IPv6 /64: one host shall not push out all others
MAX_PER_PEER: Final = 8  # records with one peer id: who moves often leaves a trail of dead addresses

# What makes a contact less useful, in places of the order: one that failed once comes after 16 more recent ones that
# did not, one that failed seven times after all others of a cache of the usual size.
_PER_FAILURE: Final = 16
_DOUBLINGS: Final = 12
# The configuration and the LAN will tell us again of whom they told us before; gossip and peers may not.
_BY_SOURCE: Final = {Source.CONFIG: 8, Source.FALLBACK: 8, Source.BEACON: 16}


def storable(endpoint: Endpoint, *, allow_loopback: bool = False) -> bool:
    """Whether an endpoint may be remembered: dialable from anywhere on its network, at any later time."""
    return "%" not in endpoint.host and dialable(endpoint, allow_loopback=allow_loopback)


class CacheTable:
    """The records of a cache. Not for two threads at a time.

    Args:
        capacity: the most records to keep, at least 1.
        records: what is there already; of two with one key the greater version counts.
    """

    def __init__(self, capacity: int, records: Iterable[Record] = ()) -> None:
        self._capacity = capacity
        self.records: dict[Key, Record] = {}
        for record in records:
            known = self.records.get(record.key)
            if known is None or known.version < record.version:
                self.records[record.key] = record
        self._version = max((record.version for record in self.records.values()), default=0)
        if len(self.records) > capacity:
            self.records = {record.key: record for record in by_usefulness(self.records.values())[:capacity]}

    def worked(self, endpoint: Endpoint, peer_id: PeerId | None, source: Source, network: bytes, wall: int) -> None:
        """A direct connection to ``endpoint`` was made; ``wall`` is in milliseconds."""
        known = self.records.get((network, endpoint))
        if known is None:
            record = Record(endpoint, peer_id, source, network, first_success=wall, last_success=wall)
        else:
            learned = known.source if source is Source.CACHE else source
            first = min(known.first_success or wall, wall)
            record = dataclasses.replace(
                known, peer_id=peer_id, source=learned, first_success=first, last_success=wall, failures=0
            )
        self._put(record, recent=True)

    def add(self, endpoint: Endpoint, peer_id: PeerId | None, network: bytes) -> None:
        """The user says that ``endpoint`` is a peer's; it is tried like one that worked just now."""
        known = self.records.get((network, endpoint)) or Record(endpoint, peer_id, Source.CONFIG, network)
        self._put(dataclasses.replace(known, peer_id=peer_id or known.peer_id, failures=0), recent=True)

    def failed(self, endpoint: Endpoint, network: bytes, wall: int) -> None:
        """An attempt at ``endpoint`` failed. It stays: perhaps it is this machine that is off the network."""
        if known := self.records.get((network, endpoint)):
            failures = min(known.failures + 1, MAX_FAILURES)
            self._put(dataclasses.replace(known, failures=failures, last_failure=wall), recent=False)

    def remove(self, endpoint: Endpoint, network: bytes) -> None:
        """Forget ``endpoint``."""
        self.records.pop((network, endpoint), None)

    def clear(self) -> None:
        """Forget everything, of every network."""
        self.records.clear()

    def contacts(self, network: bytes, limit: int, *, own: PeerId | None, allow_loopback: bool) -> list[Contact]:
        """The most useful contacts of a network, best first; endpoints with one peer id are one contact."""
        found: dict[PeerId | Endpoint, list[Record]] = {}
        for record in by_usefulness(record for record in self.records.values() if record.network == network):
            who = record.peer_id or record.endpoint
            wanted = (who in found or len(found) < limit) and (own is None or record.peer_id != own)
            if wanted and storable(record.endpoint, allow_loopback=allow_loopback):
                found.setdefault(who, []).append(record)
        return [
            Contact(tuple(record.endpoint for record in records[:MAX_PER_PEER]), records[0].peer_id, Source.CACHE)
            for records in found.values()
        ]

    def _put(self, record: Record, *, recent: bool) -> None:
        self._version += 1
        recency = self._version if recent else record.recency
        record = dataclasses.replace(record, version=self._version, recency=recency)
        is_new = record.key not in self.records
        self.records[record.key] = record
        if is_new:
            self._make_room(record)

    def _make_room(self, latest: Record) -> None:
        """Evict until all bounds hold again; never ``latest``."""
        others = [record for record in self.records.values() if record is not latest]
        host = _host(latest.endpoint)
        if host is not None:
            self._evict([one for one in others if _host(one.endpoint) == host], MAX_PER_HOST - 1)
        if latest.peer_id is not None:
            self._evict([one for one in others if one.peer_id == latest.peer_id], MAX_PER_PEER - 1)
        if len(self.records) > self._capacity:
            self._evict([one for one in others if one.key in self.records], self._capacity - 1)

    def _evict(self, among: list[Record], keep: int) -> None:
        if len(among) > keep:
            for record in by_usefulness(among)[keep:]:
                self.records.pop(record.key, None)


def by_usefulness(records: Iterable[Record]) -> list[Record]:
    """The most useful first: those that worked most recently, less what speaks against them."""
    recent = sorted(records, key=lambda record: (-record.recency, record.endpoint, record.network))
    cost = {record.key: place + _handicap(record) for place, record in enumerate(recent)}
    return sorted(recent, key=lambda record: cost[record.key])


def _handicap(record: Record) -> int:
    return _PER_FAILURE * ((1 << min(record.failures, _DOUBLINGS)) - 1) + _BY_SOURCE.get(record.source, 0)


@lru_cache(maxsize=8192)
def _host(endpoint: Endpoint) -> ipaddress.IPv4Address | ipaddress.IPv6Network | None:
    """What counts as one host; ``None`` for loopback, where all nodes of a test are."""
    address = ipaddress.ip_address(endpoint.host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return None if address.is_loopback else ipaddress.IPv6Network((address, 64), strict=False)
        address = address.ipv4_mapped
    return None if address.is_loopback else address
