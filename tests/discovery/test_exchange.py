"""Two stores find what one of them lacks, in as few and small messages as that takes."""

import random

from crust.discovery.exchange import RECORDS_PER_SUM, differences, listing, sums_for
from crust.discovery.gossip_messages import MAX_ENTRIES, MAX_GIVEN, Have
from crust.discovery.record_store import BUCKETS, RecordStore
from tests.discovery.records import identity, record

ALICE, BOB = identity(1001).peer_id, identity(1002).peer_id
CHANCE = random.Random(1)


def store_of(numbers: range, capacity: int = 1024, sequence: int = 1) -> RecordStore:
    made = RecordStore(identity(1000).peer_id, capacity, b"secret")
    for number in numbers:
        made.put(record(number, sequence), ALICE, 0.0)
    return made


def exchange(asker: RecordStore, answerer: RecordStore, now: float = 100.0) -> tuple[int, int]:
    """All steps of one exchange; how many records were given and how many wanted."""
    buckets, entries = listing(answerer, sums_for(asker), CHANCE)
    give, want = differences(asker, Have(1, buckets, entries, answerer.full), BOB, now)
    for each in give:
        answerer.put(each, ALICE, now)
    for short in want:
        found = answerer.find(short)
        assert found
        asker.put(found, BOB, now)
    return len(give), len(want)


def test_the_number_of_sums_suits_the_store() -> None:
    assert [len(sums_for(store_of(range(size)))) for size in (0, 1, 8, 9, 100, 600)] == [1, 1, 1, 2, 16, BUCKETS]
    assert len(sums_for(store_of(range(RECORDS_PER_SUM * 4)))) == 4


def test_equal_stores_have_nothing_to_say() -> None:
    one, other = store_of(range(100)), store_of(range(100))
    assert listing(other, sums_for(one), CHANCE) == ([], {})
    assert exchange(one, other) == (0, 0)


def test_each_gets_what_it_lacks() -> None:
    one, other = store_of(range(50)), store_of(range(30, 90))
    assert exchange(one, other) == (30, 40)
    assert sums_for(one) == sums_for(other)
    assert len(one) == len(other) == 90


def test_newer_records_replace_older_ones_on_both_sides() -> None:
    one, other = store_of(range(40)), store_of(range(40))
    for number in range(10):
        one.put(record(number, 2), ALICE, 50.0)
        other.put(record(39 - number, 2), ALICE, 50.0)
    assert exchange(one, other) == (10, 10)
    assert sums_for(one) == sums_for(other)


def test_one_difference_takes_a_short_list() -> None:
    one, other = store_of(range(500)), store_of(range(499))
    _, entries = listing(other, sums_for(one), CHANCE)
    assert len(entries) < 30


def test_a_lot_of_differences_takes_several_exchanges() -> None:
    one, other = store_of(range(700)), store_of(range(0))
    rounds = 0
    while sums_for(one) != sums_for(other):
        given, wanted = exchange(other, one)
        assert given == 0
        assert 0 < wanted <= MAX_GIVEN
        rounds += 1
    assert rounds <= -(-700 // MAX_GIVEN) + 3
    for _ in range(3):
        buckets, entries = listing(one, [5], CHANCE)
        assert len(entries) <= MAX_ENTRIES
        assert len(entries) == sum(one.bucket_size(number) for number in buckets)


def test_a_full_store_is_not_given_new_nodes() -> None:
    """It asks for those of its sample; others would be sent again and again."""
    one, other = store_of(range(100)), store_of(range(100, 300), capacity=64)
    given, _ = exchange(one, other)
    assert given == 0
    for _ in range(20):
        before = {each.peer_id for each in other}
        _, wanted = exchange(other, one)
        if not wanted:
            assert {each.peer_id for each in other} == before
            return
    raise AssertionError("the two go on sending for ever what has no place")
