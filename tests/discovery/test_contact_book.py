"""`crust.discovery.contact_book`: contacts of every source, merged, and in which order they have their turn."""

import math
import random
from collections import Counter

import pytest

from crust.discovery.contact import Contact, Source
from crust.discovery.contact_book import (
    BOOK_CAPACITY,
    BOOK_ENDPOINTS,
    LONGER_PAUSES,
    ContactBook,
    Entry,
    Promise,
    Turns,
    given,
)
from crust.endpoint import Endpoint
from crust.identity import Identity, PeerId

SHORTEST, LONGEST = 1.0, 60.0
PEER, OTHER = Identity().peer_id, Identity().peer_id
A, B, C = (Endpoint.tcp(f"192.0.2.{number}:5483") for number in (1, 2, 3))


@pytest.fixture
def book() -> ContactBook:
    return ContactBook(SHORTEST, LONGEST, random.Random(7))


def add(
    book: ContactBook,
    *endpoints: Endpoint,
    peer: PeerId | None = PEER,
    source: Source = Source.GOSSIP,
    promise: Promise = Promise.TOLD,
) -> Entry:
    entry = book.add(Contact(endpoints, peer, source), promise)
    assert entry is not None
    return entry


def number(count: int) -> Endpoint:
    return Endpoint.tcp((f"10.0.{count >> 8}.{count & 255}", 1))


# --- merging ----------------------------------------------------------------------------------------------------------


def test_one_peer_is_one_contact_by_whatever_way_it_is_known(book: ContactBook) -> None:
    first = add(book, A, source=Source.CACHE, promise=Promise.OLDER)
    assert add(book, B, A, source=Source.BEACON, promise=Promise.HERE) is first
    assert first.endpoints == (B, A)
    assert (first.promise, first.source) == (Promise.HERE, Source.BEACON)
    add(book, A, source=Source.CACHE, promise=Promise.FAILED)
    assert (first.promise, first.source) == (Promise.HERE, Source.BEACON), "what is known to be better stays"
    assert len(book) == 1


def test_an_endpoint_does_not_make_two_peers_one(book: ContactBook) -> None:
    """Anybody can sign a record with the endpoints of a configured contact, and would keep it from being dialled."""
    (contact,) = given([A], Source.CONFIG)
    configured = book.add(contact, Promise.GIVEN)
    assert add(book, A) is not configured
    assert add(book, A, peer=OTHER) is not add(book, A)
    assert len(book) == 3


def test_endpoints_of_a_contact_are_bounded(book: ContactBook) -> None:
    for count in range(3 * BOOK_ENDPOINTS):
        entry = add(book, number(count))
    assert len(entry.endpoints) == BOOK_ENDPOINTS
    assert entry.endpoints[0] == number(3 * BOOK_ENDPOINTS - 1)
    crowd = add(book, *map(number, range(3 * BOOK_ENDPOINTS)), peer=OTHER)
    assert len(crowd.endpoints) == BOOK_ENDPOINTS


def test_what_the_user_gives_is_grouped_by_host_and_port() -> None:
    both = Endpoint.utp("192.0.2.1:5483")
    assert given([A, B, both, A], Source.CONFIG) == [
        Contact((A, both, A), None, Source.CONFIG),
        Contact((B,), None, Source.CONFIG),
    ]
    assert given([], Source.CONFIG) == []


def test_a_flood_of_contacts_is_bounded_and_what_failed_goes_first(book: ContactBook) -> None:
    (contact,) = given([A], Source.CONFIG)
    configured = book.add(contact, Promise.GIVEN)
    assert configured is not None
    entries = [add(book, number(count), peer=Identity().peer_id) for count in range(BOOK_CAPACITY - 1)]
    assert book.add(Contact((B,), PEER, Source.GOSSIP), Promise.TOLD) is None
    assert book.add(Contact((C,), None, Source.CONFIG), Promise.GIVEN) is not None, "the user's word counts"
    book.failed(entries[5], "dead", 0.0)
    for _ in range(9):
        book.failed(configured, "dead", 0.0)
    add(book, B)
    assert entries[5] not in book.entries()
    assert configured in book.entries()


# --- ourselves --------------------------------------------------------------------------------------------------------


def test_own_endpoints_are_left_out(book: ContactBook) -> None:
    """T-28: own interface addresses in the own cache."""
    entry = add(book, A, B)
    book.own = {A}
    assert book.usable(entry) == (B,)
    book.own = {A, B}
    assert book.due(0.0) == []
    assert len(book) == 0
    assert book.newly_ours() == [entry]
    assert entry.result == "that is this node itself"
    assert book.newly_ours() == []


def test_who_turned_out_to_be_ourselves_stays_out(book: ContactBook) -> None:
    """A port forwarded to ourselves has an address that no interface has."""
    entry, friend = add(book, A), add(book, B, peer=OTHER)
    book.is_us([A])
    add(book, C)
    assert book.due(math.inf) == [friend]
    assert entry.ours


# --- pauses -----------------------------------------------------------------------------------------------------------


def pause_after(book: ContactBook, entry: Entry, failures: int) -> float:
    for _ in range(failures):
        book.failed(entry, "nobody there", 100.0)
    return entry.not_before - 100.0


def test_pauses_of_a_contact_double(book: ContactBook) -> None:
    entry = add(book, A)
    for expected in (1, 2, 4, 8, 16, 32, 64):
        assert 0.5 * expected <= pause_after(book, entry, 1) <= 0.75 * expected
    assert book.due(entry.not_before - 0.01) == []
    assert book.due(entry.not_before) == [entry]


def test_the_user_s_contacts_are_tried_in_every_round_and_others_less_often(book: ContactBook) -> None:
    """A round comes at least every 0.75 times ``bootstrap_backoff_max``."""
    configured = add(book, A, peer=None, source=Source.CONFIG, promise=Promise.GIVEN)
    stranger = add(book, B)
    assert pause_after(book, configured, 10_000) <= 0.75 * LONGEST
    assert 0.5 * LONGER_PAUSES * LONGEST <= pause_after(book, stranger, 10_000) <= 0.75 * LONGER_PAUSES * LONGEST


def test_pauses_differ(book: ContactBook) -> None:
    entry = add(book, A)
    pauses = set()
    for _ in range(10):
        pauses.add(pause_after(book, entry, 1))
        book.connected(entry)
    assert len(pauses) == 10


def test_forgiving(book: ContactBook) -> None:
    entry = add(book, A)
    for forgive in (
        lambda: book.connected(entry),
        book.forgive_all,
        lambda: add(book, B),
        lambda: add(book, C),
    ):
        pause_after(book, entry, 3)
        forgive()
        assert (entry.failures, entry.not_before) == (0, -math.inf)
    pause_after(book, entry, 3)
    add(book, C, promise=Promise.HERE)
    assert entry.failures == 3, "nothing new was said"


def test_what_came_of_it_is_remembered(book: ContactBook) -> None:
    entry = add(book, A)
    assert (entry.tries, entry.tried_at, entry.result) == (0, None, "not tried yet")
    book.trying(entry, 1e9)
    assert (entry.tries, entry.tried_at, entry.result) == (1, 1e9, "being tried")
    book.failed(entry, "Connection refused", 5.0)
    book.trying(entry, 1e9 + 1)
    assert (entry.tries, entry.tried_at, entry.result) == (2, 1e9 + 1, "Connection refused")
    book.connected(entry)
    assert entry.result == "connected"
    assert str(entry) == str(A)


def test_who_told_of_an_endpoint_that_worked(book: ContactBook) -> None:
    add(book, A)
    add(book, B, peer=None, source=Source.FALLBACK, promise=Promise.GIVEN)
    assert book.source_of(A, PEER) is Source.GOSSIP
    assert book.source_of(B, OTHER) is Source.FALLBACK
    assert book.source_of(C, PEER) is Source.CONNECTED
    assert book.source_of(A, OTHER) is Source.CONNECTED


# --- turns ------------------------------------------------------------------------------------------------------------


def entries_of(promise: Promise, count: int) -> list[Entry]:
    return [Entry((number(each),), None, Source.CACHE, promise) for each in range(count)]


def all_of(turns: Turns) -> list[Entry]:
    found = []
    while (entry := turns.take()) is not None:
        found.append(entry)
    return found


def test_who_is_here_comes_first_and_who_failed_last() -> None:
    turns = Turns(random.Random(1))
    for promise in reversed(Promise):
        for entry in entries_of(promise, 5):
            turns.put(entry)
    assert len(turns) == 5 * len(Promise)
    order = [entry.promise for entry in all_of(turns)]
    assert order[:5] == [Promise.HERE] * 5
    assert order[-10:] == [Promise.OLDER] * 5 + [Promise.FAILED] * 5
    assert len(turns) == 0
    assert turns.take() is None


def test_a_full_cache_does_not_keep_a_configured_contact_waiting() -> None:
    """T-32: minutes with a stale cache."""
    turns = Turns(random.Random(1))
    for entry in (*entries_of(Promise.RECENT, 500), *entries_of(Promise.TOLD, 500)):
        turns.put(entry)
    (configured,) = entries_of(Promise.GIVEN, 1)
    turns.put(configured)
    assert configured in turns
    assert configured in [turns.take() for _ in range(3)]
    assert configured not in turns


def test_the_first_is_another_one_each_time() -> None:
    """T-33: without it everybody's first contact is overloaded."""
    firsts: Counter[Endpoint] = Counter()
    for seed in range(300):
        turns = Turns(random.Random(seed))
        for entry in entries_of(Promise.RECENT, 3):
            turns.put(entry)
        first = turns.take()
        assert first is not None
        firsts[first.endpoints[0]] += 1
    assert len(firsts) == 3
    assert min(firsts.values()) > 60


def test_contacts_that_turned_out_to_be_one_node_are_told_of_once(book: ContactBook) -> None:
    told = add(book, A, B)
    (configured,) = (
        add(book, each.endpoints[0], peer=None, promise=Promise.GIVEN) for each in given([A], Source.CONFIG)
    )
    stranger = add(book, C, peer=None)
    assert [entry.endpoints for entry in book.for_people()] == [(A, B), (C,), (A,)], "nobody has proved anything"
    book.trying(configured, 100.0)
    book.connected(configured)
    book.answered([A], PEER)
    one, other = book.for_people()
    assert (one.peer_id, one.endpoints, one.tries, one.result) == (PEER, (A, B), 1, "connected")
    assert (other.endpoints, other.peer_id) == (stranger.endpoints, None)
    assert (configured.peer_id, told.tries) == (None, 0), "they are still two"
    book.answered([A], OTHER)
    assert [entry.peer_id for entry in book.for_people()] == [PEER, None, OTHER], "another node is there now"


def test_clear() -> None:
    turns = Turns(random.Random(1))
    turns.put(entries_of(Promise.GIVEN, 1)[0])
    turns.clear()
    assert turns.take() is None
