import dataclasses

import pytest

from crust.discovery.cache_record import MAX_FAILURES, NO_TAG, Record
from crust.discovery.cache_table import MAX_PER_HOST, MAX_PER_PEER, CacheTable, by_usefulness, storable
from crust.discovery.contact import Contact, Source
from crust.endpoint import Endpoint
from crust.identity import PeerId

OTHER = b"another!"
NOW = 1_700_000_000_000


def at(number: int, port: int = 5483) -> Endpoint:
    return Endpoint.tcp((f"10.0.{number // 256}.{number % 256}", port))


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def filled(count: int, capacity: int = 1500) -> CacheTable:
    """Contacts 1 to ``count``; the last worked last."""
    table = CacheTable(capacity)
    for number in range(1, count + 1):
        table.worked(at(number), peer(number), Source.GOSSIP, NO_TAG, NOW + number)
    return table


def order(table: CacheTable, limit: int = 1500) -> list[Endpoint]:
    return [contact.endpoints[0] for contact in contacts(table, limit)]


def contacts(table: CacheTable, limit: int = 1500, own: PeerId | None = None) -> list[Contact]:
    return table.contacts(NO_TAG, limit, own=own, allow_loopback=False)


def test_who_worked_last_comes_first() -> None:
    table = filled(5)
    table.worked(at(2), peer(2), Source.GOSSIP, NO_TAG, NOW)
    assert order(table) == [at(2), at(5), at(4), at(3), at(1)]
    assert order(table, 2) == [at(2), at(5)]
    assert order(table, 0) == order(table, -1) == []


@pytest.mark.parametrize("step", [-(10**12), -1, 0])
def test_a_clock_that_is_turned_back_does_not_turn_the_order(step: int) -> None:
    table = filled(3)
    table.worked(at(1), peer(1), Source.GOSSIP, NO_TAG, NOW + step)
    table.worked(at(9), peer(9), Source.GOSSIP, NO_TAG, 1)
    assert order(table) == [at(9), at(1), at(3), at(2)]
    assert table.records[(NO_TAG, at(1))].first_success <= table.records[(NO_TAG, at(1))].last_success


def test_times_are_those_of_the_first_and_last_success_and_of_the_last_failure() -> None:
    table = filled(1)
    table.failed(at(1), NO_TAG, NOW + 50)
    table.failed(at(1), NO_TAG, NOW + 60)
    record = table.records[(NO_TAG, at(1))]
    assert (record.first_success, record.last_success, record.last_failure) == (NOW + 1, NOW + 1, NOW + 60)
    assert record.failures == 2
    table.worked(at(1), peer(1), Source.CACHE, NO_TAG, NOW + 70)
    record = table.records[(NO_TAG, at(1))]
    assert (record.first_success, record.last_success, record.failures) == (NOW + 1, NOW + 70, 0)


def test_failures_push_a_contact_back_further_and_further() -> None:
    table = filled(200)
    places = []
    for _ in range(5):
        places.append(order(table).index(at(200)))
        table.failed(at(200), NO_TAG, NOW)
    assert places[0] == 0
    assert places == sorted(set(places))
    assert order(table)[-1] == at(200)


def test_failures_are_counted_no_further_than_a_record_can() -> None:
    table = CacheTable(5, [Record(at(1), None, Source.GOSSIP, failures=MAX_FAILURES)])
    table.failed(at(1), NO_TAG, NOW)
    assert table.records[(NO_TAG, at(1))].failures == MAX_FAILURES


def test_a_failure_of_somebody_unknown_is_not_remembered() -> None:
    table = filled(1)
    table.failed(at(2), NO_TAG, NOW)
    assert order(table) == [at(1)]


def test_a_whole_cache_that_fails_is_kept_since_it_may_be_us_who_is_offline() -> None:
    table = filled(10)
    for number in range(1, 11):
        for _ in range(100):
            table.failed(at(number), NO_TAG, NOW)
    assert len(order(table)) == 10


def test_a_full_cache_takes_a_new_contact_and_evicts_the_least_useful() -> None:
    """TRAPS T-41: one that never evicts."""
    table = filled(20, capacity=20)
    for _ in range(8):
        table.failed(at(15), NO_TAG, NOW)
    table.worked(at(100), peer(100), Source.GOSSIP, NO_TAG, NOW)
    assert set(order(table)) == {at(number) for number in (*range(1, 21), 100)} - {at(15)}
    table.worked(at(101), peer(101), Source.GOSSIP, NO_TAG, NOW)
    assert at(1) not in order(table)


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("capacity", [1, 2, 10])
def test_a_full_cache_never_rejects(capacity: int, source: Source) -> None:
    table = filled(capacity, capacity)
    for number in range(100, 120):
        table.worked(at(number), peer(number), source, NO_TAG, 1)
        assert at(number) in order(table)
        assert len(table.records) == capacity


def test_who_will_be_told_of_again_is_less_useful() -> None:
    sources = [Source.GOSSIP, Source.CONFIG, Source.BEACON]
    records = [Record(at(number), None, source, recency=7) for number, source in enumerate(sources)]
    assert [record.source for record in by_usefulness(reversed(records))] == sources


def test_the_source_stays_when_a_contact_of_the_cache_works_again() -> None:
    table = filled(1)
    table.worked(at(1), peer(1), Source.CACHE, NO_TAG, NOW)
    assert table.records[(NO_TAG, at(1))].source is Source.GOSSIP
    table.worked(at(1), peer(1), Source.BEACON, NO_TAG, NOW)
    assert table.records[(NO_TAG, at(1))].source is Source.BEACON


def test_endpoints_of_one_peer_are_one_contact() -> None:
    table = CacheTable(10)
    both = (Endpoint.tcp("192.0.2.1:1"), Endpoint.utp("192.0.2.1:1"))
    table.worked(both[1], peer(1), Source.GOSSIP, NO_TAG, NOW)
    table.worked(at(5), peer(5), Source.GOSSIP, NO_TAG, NOW)
    table.worked(both[0], peer(1), Source.GOSSIP, NO_TAG, NOW)
    assert contacts(table) == [Contact(both, peer(1), Source.CACHE), Contact((at(5),), peer(5), Source.CACHE)]
    assert contacts(table, 1) == [Contact(both, peer(1), Source.CACHE)]


def test_endpoints_of_nobody_known_are_contacts_of_their_own() -> None:
    table = CacheTable(10)
    for number in (1, 2):
        table.worked(at(number), None, Source.GOSSIP, NO_TAG, NOW)
    assert contacts(table) == [Contact((at(number),), None, Source.CACHE) for number in (2, 1)]


def test_an_endpoint_that_has_a_new_owner() -> None:
    table = filled(1)
    table.worked(at(1), peer(77), Source.GOSSIP, NO_TAG, NOW)
    assert contacts(table) == [Contact((at(1),), peer(77), Source.CACHE)]


def test_our_own_peer_id_is_not_given_out() -> None:
    assert [contact.peer_id for contact in contacts(filled(3), own=peer(2))] == [peer(3), peer(1)]


def test_a_network_does_not_see_the_contacts_of_another() -> None:
    table = filled(1)
    table.worked(at(1), peer(8), Source.GOSSIP, OTHER, NOW)
    table.worked(at(2), peer(9), Source.GOSSIP, OTHER, NOW)
    assert order(table) == [at(1)]
    table.remove(at(1), OTHER)
    assert order(table) == [at(1)]
    assert [one.peer_id for one in table.contacts(OTHER, 9, own=None, allow_loopback=False)] == [peer(9)]
    table.clear()
    assert not table.records


def test_what_a_file_says_is_not_dialled_blindly() -> None:
    lies = [Record(endpoint, None, Source.GOSSIP) for endpoint in (Endpoint.tcp("127.0.0.1:22"), at(1, port=0))]
    table = CacheTable(10, lies)
    assert contacts(table) == []
    assert len(table.contacts(NO_TAG, 9, own=None, allow_loopback=True)) == 1


def test_one_host_cannot_push_out_all_others() -> None:
    table = filled(50, capacity=60)
    for port in range(1, 1000):
        table.worked(Endpoint.tcp(("198.51.100.7", port)), peer(port + 1000), Source.GOSSIP, NO_TAG, NOW)
    hosts = [record.endpoint.host for record in table.records.values()]
    assert hosts.count("198.51.100.7") == MAX_PER_HOST
    table = filled(50, capacity=200)
    for number in range(1, 1000):
        host = f"2001:db8:1:2::{number:x}"
        table.worked(Endpoint.tcp((host, 1)), peer(number + 1000), Source.GOSSIP, NO_TAG, NOW)
    assert len(table.records) == 50 + MAX_PER_HOST


def test_loopback_is_no_host_that_is_bounded() -> None:
    table = CacheTable(1500)
    for port in range(1, 101):
        table.worked(Endpoint.tcp(("127.0.0.1", port)), peer(port), Source.GOSSIP, NO_TAG, NOW)
        table.worked(Endpoint.tcp(("::1", port)), peer(port), Source.GOSSIP, NO_TAG, NOW)
    assert len(table.records) == 200


def test_who_moves_often_leaves_a_bounded_trail() -> None:
    table = filled(5)
    for number in range(100, 200):
        table.worked(at(number), peer(1), Source.GOSSIP, NO_TAG, NOW)
    mine = [record.endpoint for record in table.records.values() if record.peer_id == peer(1)]
    assert mine == [at(number) for number in range(200 - MAX_PER_PEER, 200)]


def test_what_the_user_adds_is_tried_first_and_does_not_claim_to_have_worked() -> None:
    table = filled(3)
    for _ in range(3):
        table.failed(at(2), NO_TAG, NOW)
    table.add(at(50), None, NO_TAG)
    table.add(at(2), None, NO_TAG)
    assert order(table)[:3] == [at(2), at(3), at(1)]  # what the configuration may say again waits a little
    assert at(50) in order(table)
    added = table.records[(NO_TAG, at(50))]
    assert (added.source, added.last_success, added.peer_id) == (Source.CONFIG, 0, None)
    assert table.records[(NO_TAG, at(2))].peer_id == peer(2)


def test_a_table_is_built_from_the_newest_copies_within_its_capacity() -> None:
    records = [Record(at(number), None, Source.GOSSIP, recency=number, version=number) for number in range(1, 21)]
    newer = dataclasses.replace(records[4], failures=0, version=99, recency=99)
    table = CacheTable(3, [*records, newer, records[4]])
    assert set(table.records) == {(NO_TAG, at(5)), (NO_TAG, at(20)), (NO_TAG, at(19))}
    table.worked(at(3), None, Source.GOSSIP, NO_TAG, NOW)
    assert table.records[(NO_TAG, at(3))].version == 100


@pytest.mark.parametrize(
    ("address", "verdict"),
    [("192.0.2.1:1", True), ("[2001:db8::1%eth0]:1", False), ("[fe80::1%eth0]:1", False), ("example.org:1", False)],
)
def test_what_may_be_stored(address: str, verdict: bool) -> None:
    assert storable(Endpoint.tcp(address)) is verdict
    assert not storable(Endpoint.tracer(address))


def test_loopback_is_stored_only_where_it_is_allowed() -> None:
    assert not storable(Endpoint.tcp("127.0.0.1:1"))
    assert storable(Endpoint.tcp("127.0.0.1:1"), allow_loopback=True)
