"""The store: the newest record of each, sums that tell stores apart, and a bounded sample that nobody can aim at."""

import random
from collections import Counter

import pytest

from crust.discovery.record_store import (
    BUCKET_CROWD,
    BUCKETS,
    RENEWAL_GAP,
    SUM_SIZE,
    Put,
    RecordStore,
    bucket_of,
    short_id,
)
from tests.discovery.records import WALL, identity, record

OWN, ALICE, BOB = (identity(number).peer_id for number in (1000, 1001, 1002))


def store(capacity: int = 1024, secret: bytes = b"secret") -> RecordStore:
    return RecordStore(OWN, capacity, secret)


def filled(numbers: range, capacity: int = 1024, secret: bytes = b"secret") -> RecordStore:
    made = store(capacity, secret)
    for number in numbers:
        made.put(record(number), ALICE, 0.0)
    return made


# --- the newest -------------------------------------------------------------------------------------------------------


def test_the_newest_is_kept() -> None:
    kept = store()
    assert kept.put(record(1, 5), ALICE, 0.0) is Put.NEW
    assert kept.put(record(1, 5), BOB, 100.0) is Put.NOT_NEWER
    assert kept.put(record(1, 4), BOB, 100.0) is Put.NOT_NEWER
    assert kept.put(record(1, 6), BOB, 100.0) is Put.REFRESHED
    assert kept.put(record(1, 7, host="10.9.9.9"), BOB, 200.0) is Put.MOVED
    assert kept.put(record(1, 8, host="10.9.9.9", capabilities=1), BOB, 300.0) is Put.MOVED
    assert [each.sequence for each in kept] == [8]
    assert kept.get(identity(1).peer_id) == record(1, 8, host="10.9.9.9", capabilities=1)
    assert kept.get(identity(2).peer_id) is None


def test_who_moves_all_the_time_is_heard_now_and_then() -> None:
    kept = store()
    kept.put(record(1, 5), ALICE, 100.0)
    short, soon, later = short_id(identity(1).peer_id), 100.0 + RENEWAL_GAP - 0.1, 100.0 + RENEWAL_GAP
    assert not kept.wants(short, 6, ALICE, soon)
    assert kept.put(record(1, 6), ALICE, soon) is Put.NOT_NEWER
    assert kept.wants(short, 6, ALICE, later)
    assert kept.put(record(1, 6), ALICE, later) is Put.REFRESHED


def test_our_own_record_can_change_at_any_time() -> None:
    kept = store()
    assert kept.put(record(1000, 5), None, 0.0) is Put.NEW
    assert kept.put(record(1000, 6), None, 0.0) is Put.REFRESHED


def test_what_has_expired_goes() -> None:
    kept = store()
    kept.put(record(1, expiry=WALL + 10), ALICE, 0.0)
    kept.put(record(2, expiry=WALL + 20), ALICE, 0.0)
    kept.put(record(1000, expiry=WALL + 5), None, 0.0)
    assert kept.expire(WALL + 4) == 0
    assert kept.expire(WALL + 10) == 2
    assert [each.peer_id for each in kept] == [identity(2).peer_id]
    assert kept.expire(WALL + 20) == 1
    assert kept.sums(1) == [0]


# --- sums -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32, 64])
def test_sums_are_equal_where_the_records_are(count: int) -> None:
    numbers = list(range(60))
    one, other = store(secret=b"one"), store(secret=b"other")
    for number in numbers:
        one.put(record(number), ALICE, 0.0)
    random.Random(1).shuffle(numbers)
    for number in numbers:
        other.put(record(number, 0), BOB, 0.0)
        other.put(record(number), BOB, 50.0)
    sums = one.sums(count)
    assert sums == other.sums(count)
    assert len(sums) == count
    assert all(0 <= each < 256**SUM_SIZE for each in sums)
    # One newer record shows in its bucket, and nowhere else.
    other.put(record(7, 2), BOB, 100.0)
    place = bucket_of(short_id(identity(7).peer_id)) * count // BUCKETS
    differ = [number for number in range(count) if sums[number] != other.sums(count)[number]]
    assert differ == [place]


def test_buckets_hold_what_is_in_them() -> None:
    kept = filled(range(100))
    found = [(short, each) for number in range(BUCKETS) for short, each in kept.bucket(number)]
    assert {each.peer_id for _, each in found} == {identity(number).peer_id for number in range(100)}
    assert all(short == short_id(each.peer_id) for short, each in found)
    assert all(kept.find(short) == each for short, each in found)
    assert sum(kept.bucket_size(number) for number in range(BUCKETS)) == len(kept) == 100


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_the_bound_holds_and_our_own_record_stays() -> None:
    kept = store(capacity=32)
    kept.put(record(1000), None, 0.0)
    assert not kept.full
    for number in range(300):
        short = short_id(identity(number).peer_id)
        wanted = kept.wants(short, 1, ALICE, 0.0)
        assert (kept.put(record(number), ALICE, 0.0) is Put.NEW) is wanted
        assert len(kept) <= 33
    assert kept.full
    assert kept.get(OWN)
    assert kept.sums(1) != [0]


def test_two_stores_keep_different_samples() -> None:
    """So that the network as a whole remembers everybody, and nobody can invent nodes that push out a certain one."""
    kept = [{each.peer_id for each in filled(range(300), 64, secret)} for secret in (b"one", b"two", b"three")]
    assert len(kept[0] | kept[1] | kept[2]) > 100


def test_a_peer_that_invents_nodes_displaces_what_it_brought_itself() -> None:
    kept = store(capacity=64)
    for number in range(32):
        kept.put(record(number), ALICE, 0.0)
    for number in range(100, 600):
        kept.put(record(number), BOB, 0.0)
    honest = {identity(number).peer_id for number in range(32)}
    left = sum(1 for each in kept if each.peer_id in honest)
    # Some fall to crowded buckets, which belong to nobody.
    assert left >= 28


def test_peers_share_the_places() -> None:
    kept = store(capacity=60)
    introducers = [identity(number).peer_id for number in (2001, 2002, 2003)]
    for number in range(300):
        kept.put(record(number), introducers[number % 3], 0.0)
    brought = Counter(introducers[number % 3] for number in range(300) if kept.get(identity(number).peer_id))
    assert len(brought) == 3
    assert min(brought.values()) >= 15


def test_ids_made_for_one_bucket_do_not_fill_the_store() -> None:
    kept = store(capacity=128)
    numbers = [n for n in range(2000) if bucket_of(short_id(identity(n).peer_id)) == 5]
    limit = BUCKET_CROWD * 128 // BUCKETS
    assert len(numbers) > limit
    for number in numbers:
        kept.put(record(number), ALICE, 0.0)
    assert kept.bucket_size(5) == len(kept) == limit


def test_what_lost_its_place_is_not_wanted_back() -> None:
    kept = filled(range(200), capacity=50)
    gone = [number for number in range(200) if kept.get(identity(number).peer_id) is None]
    assert not any(kept.wants(short_id(identity(number).peer_id), 9, ALICE, 0.0) for number in gone)
    for number in gone:
        assert kept.put(record(number), ALICE, 0.0) is Put.NO_ROOM
