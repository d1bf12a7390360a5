"""How two stores of records find what one of them lacks: the computations of an exchange. Pure."""

import random
from typing import Final

from crust.discovery.contact_record import ContactRecord
from crust.discovery.gossip_messages import MAX_ENTRIES, MAX_GIVEN, Have
from crust.discovery.record_store import BUCKETS, RecordStore
from crust.identity import PeerId

RECORDS_PER_SUM: Final = 8
"""About so many records share one sum: fewer would make the sums larger, more would make the lists that follow larger
(an entry is 14 bytes, a sum 6)."""


def sums_for(store: RecordStore) -> list[int]:
    """Sums in a number that suits the store."""
    count = 1
    while count < BUCKETS and count * RECORDS_PER_SUM < len(store):
        count *= 2
    return store.sums(count)


def listing(store: RecordStore, sums: list[int], random: random.Random) -> tuple[list[int], dict[bytes, int]]:
    """What to say to a peer with those sums.

    Returns:
        The buckets that it should look at, and what the store has in them: short ids and sequence numbers. If there is
        more than fits one message, some of the buckets that differ, by chance.
    """
    ours = store.sums(len(sums))
    width = BUCKETS // len(sums)
    differ = [n for n in range(BUCKETS) if ours[n // width] != sums[n // width]]
    random.shuffle(differ)
    buckets: list[int] = []
    entries: dict[bytes, int] = {}
    for number in differ:
        if len(entries) + store.bucket_size(number) <= MAX_ENTRIES:
            buckets.append(number)
            entries |= {short: record.sequence for short, record in store.bucket(number)}
    return buckets, entries


def differences(store: RecordStore, theirs: Have, peer: PeerId, now: float) -> tuple[list[ContactRecord], list[bytes]]:
    """What to give to a peer that has that, and what to want of it (short ids); at most `MAX_GIVEN` of each."""
    give: list[ContactRecord] = []
    for number in theirs.buckets:
        for short, record in store.bucket(number):
            known = theirs.entries.get(short, -1 if not theirs.full else record.sequence)
            if known < record.sequence:
                give.append(record)
    want = [short for short, sequence in theirs.entries.items() if store.wants(short, sequence, peer, now)]
    give.sort(key=lambda record: -record.sequence)  # the latest first: of what is left more may be known next time
    return give[:MAX_GIVEN], want[:MAX_GIVEN]
