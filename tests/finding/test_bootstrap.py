"""The rounds of ``bootstrap()``, with a dialer made of paper and a clock that is set by hand."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import pytest

from crust.config import Config
from crust.connecting.attempts import Attempt, Job, Race
from crust.connecting.dialing import Dialer
from crust.discovery.contact import Contact, Source
from crust.discovery.contact_book import ContactBook, Promise, given
from crust.endpoint import Endpoint
from crust.finding import bootstrap
from crust.finding.bootstrap import ASKING, RESTART_DELAY, SHORT_LIFE, Bootstrapper, backoff
from crust.finding.surroundings import Surroundings
from crust.finding.trial import LOOKS
from crust.identity import Identity
from crust.limits import BOOTSTRAP_PARALLEL
from crust.threads.timers import Timers

SHORTEST, LONGEST = 1.0, 8.0
CONFIG = Config(bootstrap_backoff_min=SHORTEST, bootstrap_backoff_max=LONGEST)


def contacts(count: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint.tcp((f"192.0.2.{number}", 5483)) for number in range(1, count + 1))


class PaperDialer:
    """Keeps what it is asked for; the test says how each job ends."""

    def __init__(self) -> None:
        self.running: list[Job] = []
        self.tried: list[Endpoint] = []
        self.given_up: list[Endpoint] = []
        self.most = 0
        self.at_once: Callable[[Endpoint], bool | None] = lambda endpoint: None
        """Whether a job succeeds before connect() returns; ``None``: it does not end there."""

    def connect(
        self, endpoints: Iterable[Endpoint], race: Race, ended: Callable[[Job], None], bootstrap: bool = False
    ) -> Job:
        assert bootstrap
        job = Job(tuple(endpoints), race, ended, bootstrap)
        endpoint = job.endpoints[0]
        self.tried.append(endpoint)
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        outcome = self.at_once(endpoint)
        if outcome is not None:
            self.end(job, outcome)
        return job

    def give_up(self, job: Job) -> None:
        assert not job.done
        self.running.remove(job)
        self.given_up.append(job.endpoints[0])
        job.done = True
        job.ended(job)

    def end(self, job: Job, connected: bool) -> None:
        """What the real one does at the end of a job."""
        self.running.remove(job)
        job.done = True
        job.connected = connected
        if connected:
            job.race.won += 1
        else:
            job.failed(Attempt(job, job.endpoints[0], job.endpoints[0]), "nobody there")
        job.ended(job)

    def fail_all(self) -> None:
        while self.running:
            self.end(self.running[0], connected=False)


class World:
    """A bootstrapper and all that it depends on."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.dialer = PaperDialer()
        self.timers = Timers()
        self.book = ContactBook(SHORTEST, LONGEST, random.Random(1))
        self.connected: set[Endpoint] = set()
        self.alone = True
        self.hopeful = False
        self.falls_short = False
        self.counting = True
        self.who: dict[Endpoint, str] = {}
        self.rounds_begun = 0
        around = Surroundings(
            is_connected=lambda entry: not self.connected.isdisjoint(entry.endpoints),
            alone=lambda: self.alone,
            hopeful=lambda: self.hopeful,
            round_begins=self.round_begins,
            counts=lambda entry: self.counting,
            who=lambda entry: self.who.get(entry.endpoints[0], entry),
            falls_short=lambda: self.falls_short,
        )
        self.bootstrapper = Bootstrapper(CONFIG, self.book, cast(Dialer, self.dialer), self.timers, around)

    def round_begins(self) -> None:
        self.rounds_begun += 1

    def start(self, contacts: tuple[Endpoint, ...], max_connections: int, keep_going: bool = False) -> None:
        """The user asks for it, and gives contacts."""
        for contact in given(contacts, Source.FALLBACK):
            self.book.add(contact, Promise.GIVEN)
        self.bootstrapper.start(max_connections, keep_going)

    def turn_up(self, endpoint: Endpoint, promise: Promise = Promise.HERE, source: Source = Source.BEACON) -> None:
        """Somebody is found."""
        self.bootstrapper.offer(self.book.add(Contact((endpoint,), Identity().peer_id, source), promise))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.time + seconds
        while (due := self.timers.next_deadline()) is not None and due <= until:
            self.time = max(self.time, due)
            self.timers.run_due(self.time)
        self.time = until

    def pause(self) -> float:
        """Go to the next timer; how long that takes."""
        due = self.timers.next_deadline()
        assert due is not None, "there is no next round"
        passed, self.time = due - self.time, due
        self.timers.run_due(due)
        return passed

    @property
    def over(self) -> bool:
        return not self.bootstrapper.running and not self.dialer.running and self.timers.next_deadline() is None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(bootstrap, "now", lambda: made.time)
    yield made
    assert made.dialer.most <= BOOTSTRAP_PARALLEL


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [backoff(number, 1.0, 60.0, lambda: 0.5) for number in range(1, 10)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_pauses_stay_bounded_for_ever() -> None:
    assert backoff(10**9, 0.001, 60.0, lambda: 0.5) == 60.0
    assert backoff(10**9, 0.001, 86400.0, lambda: 1.0) == 108000.0


def test_pauses_differ_from_node_to_node() -> None:
    assert backoff(1, 4.0, 60.0, lambda: 0.0) == 3.0
    assert backoff(1, 4.0, 60.0, lambda: 1.0) == 5.0
    assert len({backoff(1, 4.0, 60.0) for _ in range(20)}) > 1
    assert all(3.0 <= backoff(1, 4.0, 60.0) <= 5.0 for _ in range(200))


# --- a round ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, BOOTSTRAP_PARALLEL, BOOTSTRAP_PARALLEL + 1, 3 * BOOTSTRAP_PARALLEL + 2])
def test_a_round_tries_every_contact_once_and_few_at_a_time(world: World, count: int) -> None:
    world.start(contacts(count), 1)
    assert len(world.dialer.running) == min(count, BOOTSTRAP_PARALLEL)
    while world.dialer.running:
        assert len(world.dialer.running) == min(
            BOOTSTRAP_PARALLEL, count - len(world.dialer.tried) + len(world.dialer.running)
        )
        world.dialer.end(random.choice(world.dialer.running), connected=False)
    assert Counter(world.dialer.tried) == Counter(contacts(count))


def test_nobody_is_always_first(world: World) -> None:
    """Else everybody's first contact would be overrun."""
    orders = set()
    for _ in range(3):
        world.start(contacts(12), 1)
        world.dialer.fail_all()
        orders.add(tuple(world.dialer.tried))
        world.dialer.tried.clear()
        world.bootstrapper.stop()
    assert len(orders) > 1  # the same by chance: once in 10**17
    assert {frozenset(order) for order in orders} == {frozenset(contacts(12))}


def test_tcp_and_utp_of_one_node_are_one_contact(world: World) -> None:
    """One job has both, in which TCP goes ahead (tests/connecting/test_dialing.py); so both count as one."""
    utp = tuple(Endpoint.utp((f"192.0.2.{number}", 5483)) for number in range(1, 4))
    world.start((*utp, *contacts(3)), 1)
    assert len(world.dialer.running) == 3
    assert {frozenset(job.endpoints) for job in world.dialer.running} == {
        frozenset(pair) for pair in zip(utp, contacts(3), strict=True)
    }


def test_utp_alone_waits_for_nobody(world: World) -> None:
    utp = tuple(Endpoint.utp((f"192.0.2.{number}", 1)) for number in range(1, 4))
    world.start((*utp, *contacts(3)), 1)
    assert set(world.dialer.tried) == {*utp, *contacts(3)}


def test_enough_connections_end_the_round_early(world: World) -> None:
    world.start(contacts(40), 2)
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.bootstrapper.running
    world.dialer.end(world.dialer.running[0], connected=True)
    assert not world.bootstrapper.running
    tried = len(world.dialer.tried)
    assert tried == BOOTSTRAP_PARALLEL + 1
    world.dialer.fail_all()  # those that were under way
    assert world.over
    assert len(world.dialer.tried) == tried


def test_one_connection_is_enough_when_there_are_no_more_contacts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crust.bootstrap")
    world.start(contacts(20), 5)
    world.dialer.end(world.dialer.running[3], connected=True)
    assert world.bootstrapper.running
    world.dialer.fail_all()
    assert len(world.dialer.tried) == 20
    assert world.over
    assert "bootstrap is done: 1 connected in round 1" in caplog.text


def test_it_goes_on_until_somebody_is_there(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crust.bootstrap")
    world.start(contacts(3), 1)
    for expected in (1, 2, 4, 8, 8, 8):
        assert len(world.dialer.running) == 3
        world.dialer.fail_all()
        assert world.bootstrapper.running
        assert 0.75 * expected <= world.pause() <= 1.25 * expected
    world.dialer.fail_all()
    world.pause()
    world.dialer.end(world.dialer.running[1], connected=True)
    world.dialer.fail_all()
    assert world.over
    assert len(world.dialer.tried) == 3 * 8
    assert "tcp://192.0.2.2:5483: nobody there" in caplog.text
    assert "bootstrap round 7 reached nobody; the next begins in" in caplog.text
    assert "bootstrap is done: 1 connected in round 8" in caplog.text


def test_nothing_is_tried_during_a_pause(world: World) -> None:
    world.start(contacts(3), 1)
    world.dialer.fail_all()
    world.pass_time(0.74 * SHORTEST)
    assert not world.dialer.running
    world.pass_time((1.26 - 0.74) * SHORTEST)
    assert len(world.dialer.running) == 3


def test_a_new_bootstrap_begins_with_short_pauses_again(world: World) -> None:
    world.start(contacts(1), 1)
    for _ in range(5):
        world.dialer.fail_all()
        world.pause()
    world.dialer.end(world.dialer.running[0], connected=True)
    world.start(contacts(1), 1)
    world.dialer.fail_all()
    assert world.pause() <= 1.25 * SHORTEST


# --- jobs that end before connect() returns ---------------------------------------------------------------------------


def test_all_jobs_fail_at_once(world: World) -> None:
    """A blacklist may refuse them all; no recursion as deep as the list is long."""
    world.dialer.at_once = lambda endpoint: False
    many = tuple(Endpoint.tcp(("192.0.2.1", port)) for port in range(1, 5001))
    world.start(many, 1)
    assert Counter(world.dialer.tried) == Counter(many)
    assert world.dialer.most == 1
    assert 0.75 <= world.pause() <= 1.25
    assert len(world.dialer.tried) == 2 * len(many)


def test_a_job_succeeds_at_once(world: World) -> None:
    """It is connected already."""
    world.dialer.at_once = lambda endpoint: True
    world.start(contacts(5), 2)
    assert len(world.dialer.tried) == 2
    assert world.over


def test_some_jobs_end_at_once_and_others_do_not(world: World) -> None:
    slow = contacts(60)[::2]
    world.dialer.at_once = lambda endpoint: None if endpoint in slow else False
    world.start(contacts(60), 1)
    while world.dialer.running:
        world.dialer.end(world.dialer.running[0], connected=False)
    assert Counter(world.dialer.tried) == Counter(contacts(60))
    assert world.bootstrapper.running
    world.pause()
    world.dialer.end(world.dialer.running[0], connected=True)
    world.dialer.fail_all()
    assert world.over


# --- calls while it runs ----------------------------------------------------------------------------------------------


def test_a_second_call_raises_the_aim(world: World) -> None:
    world.start(contacts(10), 1)
    world.start(contacts(10), 3)
    world.start(contacts(10), 2)  # never lowers it
    for _ in range(2):
        world.dialer.end(world.dialer.running[0], connected=True)
        assert world.bootstrapper.running
    world.dialer.end(world.dialer.running[0], connected=True)
    assert not world.bootstrapper.running
    assert len(world.dialer.tried) == 10


def test_a_second_call_brings_contacts_for_the_next_round(world: World) -> None:
    world.start(contacts(2), 1)
    world.start(contacts(3), 1)
    world.start((), 1)
    assert len(world.dialer.tried) == 2
    world.dialer.fail_all()
    world.pause()
    assert Counter(world.dialer.tried[2:]) == Counter(contacts(3))


def test_a_call_during_a_pause_ends_it_and_starts_nothing_twice(world: World) -> None:
    world.start(contacts(2), 1)
    world.dialer.fail_all()
    world.start(contacts(3), 4)
    assert Counter(world.dialer.tried[2:]) == Counter(contacts(3))  # at once
    assert world.timers.next_deadline() is None
    world.start(contacts(4), 1)
    assert len(world.dialer.running) == 3
    world.dialer.fail_all()
    assert 1.5 <= world.pause() <= 2.5  # it was the second round


def test_a_dialer_that_fails_does_not_stop_the_rounds(world: World) -> None:
    def out_of_order(endpoint: Endpoint) -> None:
        world.dialer.running.pop()
        raise RuntimeError("out of order")

    world.dialer.at_once = out_of_order
    with pytest.raises(RuntimeError):
        world.start(contacts(3), 1)
    world.dialer.at_once = lambda endpoint: None
    world.bootstrapper._fill()
    assert len(world.dialer.running) == 2


# --- the dead do not keep the living waiting --------------------------------------------------------------------------


def test_a_hundred_dead_contacts_do_not_delay_a_good_one(world: World) -> None:
    """T-32: nobody answers for ``dial_timeout``, but who is there answers soon."""
    dead = tuple(Endpoint.tcp((f"192.0.2.{number}", 1)) for number in range(1, 201))
    good = Endpoint.tcp("198.51.100.1:1")
    world.start((*dead, good), 1)
    began = world.time
    while good not in world.dialer.tried:
        world.pause()
    assert world.time - began <= LOOKS[0] * (len(dead) // BOOTSTRAP_PARALLEL)
    job = next(job for job in world.dialer.running if good in job.endpoints)
    world.dialer.end(job, connected=True)
    assert world.over


def test_who_is_slow_to_answer_gets_more_time_when_all_had_their_turn(world: World) -> None:
    world.start(contacts(BOOTSTRAP_PARALLEL + 1), 1)
    assert world.pause() == pytest.approx(LOOKS[0])
    (slow,) = world.dialer.given_up
    assert len(set(world.dialer.tried)) == BOOTSTRAP_PARALLEL + 1
    assert world.dialer.tried.count(slow) == 1, "it waits for a place"
    world.dialer.fail_all()
    assert world.dialer.tried.count(slow) == 2
    assert world.dialer.given_up == [slow]


def test_who_stood_back_is_not_said_to_wait_when_the_job_is_done(world: World) -> None:
    world.start(contacts(BOOTSTRAP_PARALLEL + 1), 1)
    world.pause()
    (slow,) = world.dialer.given_up
    world.dialer.end(world.dialer.running[0], connected=True)
    results = {entry.endpoints[0]: entry.result for entry in world.book.entries()}
    assert results.pop(slow) == "had not answered when others were connected"
    assert set(results.values()) == {"connected", "had not answered when others were connected"}


def test_nobody_stands_back_for_nobody(world: World) -> None:
    """As long as there is room, and when nobody waits, all have the time that a dial takes."""
    world.start(contacts(BOOTSTRAP_PARALLEL), 1)
    assert world.timers.next_deadline() is None
    world.turn_up(Endpoint.tcp("198.51.100.1:1"))
    world.pass_time(LOOKS[0])
    world.dialer.fail_all()
    assert len(world.dialer.given_up) == 1


def test_who_is_answering_does_not_have_to_stand_back(world: World) -> None:
    world.start(contacts(BOOTSTRAP_PARALLEL + 5), 1)
    answering = world.dialer.running[0]
    attempt = Attempt(answering, answering.endpoints[0], answering.endpoints[0])
    answering.running.add(attempt)
    answering.race.running.add(attempt)
    world.pass_time(60.0)
    assert answering in world.dialer.running
    assert set(contacts(BOOTSTRAP_PARALLEL + 5)) == set(world.dialer.tried)


def reached(job: Job, after: float) -> None:
    """Somebody answers."""
    attempt = Attempt(job, job.endpoints[0], job.endpoints[0])
    attempt.reached_after = after
    job.running.add(attempt)


def test_where_somebody_answers_late_there_is_more_time_but_not_without_end(world: World) -> None:
    """A contact that accepts and says nothing is as bad as a dead one."""
    world.start(contacts(2 * BOOTSTRAP_PARALLEL), 1)
    deaf = world.dialer.running[0]
    reached(deaf, 0.39)
    world.pass_time(LOOKS[0])
    assert len(world.dialer.given_up) == BOOTSTRAP_PARALLEL - 1
    assert deaf in world.dialer.running
    world.pass_time(LOOKS[1] - LOOKS[0])
    assert deaf not in world.dialer.running


def test_who_answers_soon_and_then_says_nothing_is_soon_found_out(world: World) -> None:
    """200 of them delay a good contact no longer than 200 dead ones do."""
    world.start(contacts(200), 1)
    began = world.time
    while len(set(world.dialer.tried)) < 200:
        for job in world.dialer.running:
            if not job.running:
                reached(job, 0.01)
        world.pause()
    assert world.time - began <= LOOKS[0] * (200 // BOOTSTRAP_PARALLEL)


def test_all_dead_contacts_are_found_out_in_the_end(world: World) -> None:
    """Standing back is no way to live for ever."""
    begun: dict[Job, float] = {}
    world.start(contacts(100), 1)
    for _ in range(10_000):
        overdue = [job for job in world.dialer.running if job in begun and world.time - begun[job] >= 10.0]
        for job in overdue:
            world.dialer.end(job, connected=False)
        if world.bootstrapper.next_round_at is not None:
            break
        begun.update({job: world.time for job in world.dialer.running if job not in begun})
        world.pass_time(0.25)
    assert all(entry.failures == 1 and entry.result.endswith("nobody there") for entry in world.book.entries())


# --- contacts that turn up --------------------------------------------------------------------------------------------


def test_who_turns_up_during_a_round_is_tried_next(world: World) -> None:
    world.start(contacts(100), 1)
    new = Endpoint.tcp("198.51.100.1:1")
    world.turn_up(new)
    assert new not in world.dialer.tried
    world.dialer.end(world.dialer.running[0], connected=False)
    assert world.dialer.tried[-1] == new


def test_who_turns_up_during_a_pause_is_tried_at_once(world: World) -> None:
    """And the pause is over when that succeeds, and goes on when it does not."""
    world.start(contacts(2), 1)
    world.dialer.fail_all()
    ends = world.bootstrapper.next_round_at
    new = Endpoint.tcp("198.51.100.1:1")
    world.turn_up(new)
    assert world.dialer.tried[2:] == [new]
    world.dialer.fail_all()
    assert world.bootstrapper.next_round_at == ends
    world.turn_up(Endpoint.tcp("198.51.100.2:1"))
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.over


def test_who_has_just_failed_is_not_tried_again_because_it_is_mentioned_again(world: World) -> None:
    """T-27: floods come from loops."""
    here = Contact((Endpoint.tcp("198.51.100.1:1"),), Identity().peer_id, Source.BEACON)
    world.hopeful = True
    world.start((), 1)
    for _ in range(50):
        world.bootstrapper.offer(world.book.add(here, Promise.HERE))
        world.dialer.fail_all()
        world.pass_time(0.01)
    assert len(world.dialer.tried) == 1
    moved = Contact((Endpoint.tcp("198.51.100.2:1"),), here.peer_id, Source.BEACON)
    world.bootstrapper.offer(world.book.add(moved, Promise.HERE))
    assert len(world.dialer.tried) == 2, "but it can be reached elsewhere now"


def test_nobody_is_known_but_somebody_may_turn_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """T-30: no stuck flag, and no end, where a beacon may still find somebody."""
    world.hopeful = True
    world.start((), 1)
    assert world.bootstrapper.running
    assert not caplog.records
    world.pause()
    world.turn_up(contacts(1)[0])
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.over


def test_nobody_was_on_the_way_after_all(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An empty cache is no reason to wait; and it is said once."""
    world.hopeful = True
    world.start((), 1, keep_going=True)
    world.bootstrapper.expect_no_more()
    assert not caplog.records
    world.hopeful = False
    world.bootstrapper.expect_no_more()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    for _ in range(3):
        world.pause()
    assert len(caplog.records) == 1
    world.bootstrapper.stop()
    caplog.clear()
    world.start((), 1)
    assert (len(caplog.records), world.over) == (1, True)


def test_a_round_that_has_reached_some_waits_for_those_who_are_still_answering(world: World) -> None:
    """Else ``bootstrap(8)`` gives as many connections as happened to be there when the first was made."""
    world.hopeful = True
    world.start(contacts(1), 3)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.pass_time(0.9 * ASKING)
    here = [Endpoint.tcp(f"198.51.100.{number}:1") for number in (1, 2)]
    for endpoint in here:
        assert world.bootstrapper.running
        world.turn_up(endpoint)
        world.dialer.end(world.dialer.running[0], connected=True)
    assert world.dialer.tried[1:] == here
    assert world.over
    assert world.bootstrapper.made == 3


def test_a_round_that_has_reached_some_does_not_wait_for_ever(world: World) -> None:
    world.hopeful = True
    world.start(contacts(1), 3)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.pass_time(1.01 * ASKING)
    assert world.over
    assert (world.bootstrapper.rounds, world.bootstrapper.made) == (1, 1)


def test_a_round_that_has_reached_some_ends_when_all_who_were_asked_have_answered(world: World) -> None:
    world.hopeful = True
    world.start(contacts(1), 3)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.bootstrapper.expect_no_more()
    assert world.bootstrapper.running
    world.hopeful = False
    world.bootstrapper.expect_no_more()
    assert world.over


def test_each_round_gathers_contacts_anew(world: World) -> None:
    world.start(contacts(1), 1)
    for number in range(1, 4):
        assert world.rounds_begun == number
        world.dialer.fail_all()
        world.pause()


def test_nothing_is_tried_that_turns_up_when_all_is_done(world: World) -> None:
    """T-26."""
    world.start(contacts(1), 1)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.turn_up(Endpoint.tcp("198.51.100.1:1"))
    assert world.over


def test_who_is_connected_already_is_not_dialled_but_counts(world: World) -> None:
    """T-27."""
    world.connected.add(contacts(3)[1])
    world.start(contacts(3), 2)
    assert contacts(3)[1] not in world.dialer.tried
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.over


def test_one_who_is_connected_already_but_does_not_count(world: World) -> None:
    world.connected.add(contacts(3)[1])
    world.counting = False
    world.start(contacts(3), 2)
    assert contacts(3)[1] not in world.dialer.tried
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.bootstrapper.running
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.bootstrapper.made == 2
    assert world.over


@pytest.mark.parametrize("already", [False, True])
def test_two_contacts_that_turn_out_to_be_one_peer_count_once(world: World, already: bool) -> None:
    """One is from the configuration, the other from the beacon: ``bootstrap(3)`` still lacks two."""
    one, again = contacts(2)
    world.who = {one: "the same", again: "the same"}
    world.hopeful = True
    world.start((one,), 3)
    world.dialer.end(world.dialer.running[0], connected=True)
    if already:
        world.connected.add(again)
    world.turn_up(again)
    if not already:
        world.dialer.end(world.dialer.running[0], connected=True)
    assert world.bootstrapper.made == 1
    assert world.bootstrapper.running


def test_one_endpoint_that_two_contacts_have_is_tried_once_in_a_round(world: World) -> None:
    (endpoint,) = contacts(1)
    world.book.add(Contact((endpoint,), Identity().peer_id, Source.CACHE), Promise.RECENT)
    world.start((endpoint,), 1)
    assert world.dialer.tried == [endpoint]


# --- going on ---------------------------------------------------------------------------------------------------------


def test_when_all_connections_are_lost_it_begins_again_if_asked_to(world: World) -> None:
    for _ in range(3):
        if not world.bootstrapper.running:
            world.start(contacts(3), 1, keep_going=True)
        world.dialer.end(world.dialer.running[0], connected=True)
        world.alone = False
        world.pass_time(60.0)
        assert not world.bootstrapper.running
        world.bootstrapper.lost_one()
        world.pass_time(60.0)
        assert not world.bootstrapper.running, "another connection is left"
        world.alone = True
        world.bootstrapper.lost_one()
        world.pass_time(RESTART_DELAY[0] / 2)
        assert not world.bootstrapper.running, "another connection may take its place in a moment"
        world.pass_time(RESTART_DELAY[1])
        assert world.bootstrapper.running
        assert len(world.dialer.running) == 3
    world.bootstrapper.stop()
    world.dialer.fail_all()
    world.bootstrapper.lost_one()
    assert world.over


def test_connections_that_do_not_live_long_are_looked_for_with_growing_pauses(world: World) -> None:
    """Two nodes with one identity would replace each other for ever, several times a second."""

    def live(seconds: float) -> None:
        world.dialer.end(world.dialer.running[0], connected=True)
        assert not world.bootstrapper.running
        world.alone = False
        world.pass_time(seconds)
        world.alone = True
        world.bootstrapper.lost_one()
        world.pass_time(RESTART_DELAY[1])

    world.start(contacts(1), 1, keep_going=True)
    live(SHORT_LIFE / 2)
    assert world.dialer.running, "once may be chance"
    for expected in (1, 2, 4, 8, 8):
        live(SHORT_LIFE / 2)
        began, ends = world.time, world.bootstrapper.next_round_at
        assert ends is not None
        assert 0.75 * expected - RESTART_DELAY[1] <= ends - began <= 1.25 * expected
        world.pause()
    live(SHORT_LIFE)
    assert world.dialer.running, "it was there for a while"
    live(SHORT_LIFE / 2)
    assert world.dialer.running


def test_who_turns_up_while_short_lives_make_it_pause_is_tried_at_once(world: World) -> None:
    world.start(contacts(1), 1, keep_going=True)
    for _ in range(2):
        world.dialer.end(world.dialer.running[0], connected=True)
        world.bootstrapper.lost_one()
        world.pass_time(RESTART_DELAY[1])
    assert not world.dialer.running
    world.turn_up(Endpoint.tcp("198.51.100.1:1"))
    assert len(world.dialer.running) == 1


def test_without_being_asked_it_does_not_begin_again(world: World) -> None:
    world.start(contacts(3), 1)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.bootstrapper.lost_one()
    assert world.over


def test_a_connection_that_is_lost_before_the_round_ends_is_noticed(world: World) -> None:
    world.start(contacts(2), 2, keep_going=True)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.bootstrapper.lost_one()
    world.dialer.end(world.dialer.running[0], connected=False)
    assert not world.bootstrapper.running
    world.pass_time(RESTART_DELAY[1])
    assert world.bootstrapper.running


def test_as_long_as_it_falls_short_further_rounds_follow(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One is connected, another who was given is not; pauses grow as for a round that reached nobody."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    late, there = contacts(2)
    world.connected.add(there)
    world.falls_short = True
    world.start((late, there), 3, keep_going=True)
    for expected in (1, 2, 4, 8, 8):
        assert [job.endpoints[0] for job in world.dialer.running] == [late]
        world.dialer.fail_all()
        assert world.bootstrapper.running
        assert 0.75 * expected <= world.pause() <= 1.25 * expected
    assert "bootstrap round 5 is not enough; the next begins in" in caplog.text
    world.falls_short = False
    world.dialer.end(world.dialer.running[0], connected=True)
    assert world.bootstrapper.made == 2, "the one who was there counts once"
    world.alone = False
    world.pass_time(60.0)
    assert world.over


def test_when_there_are_enough_the_pause_ends_it(world: World) -> None:
    """Others may have come in the meantime."""
    world.connected.add(contacts(2)[1])
    world.falls_short, world.alone = True, False
    world.start(contacts(2), 3)
    world.dialer.fail_all()
    world.falls_short = False
    world.pause()
    assert world.over


def test_all_connections_are_lost_while_it_waits_to_look_for_more(world: World) -> None:
    """That may be a long pause: it begins anew, with short ones."""
    world.connected.add(contacts(2)[1])
    world.falls_short, world.alone = True, False
    world.start(contacts(2), 3, keep_going=True)
    for _ in range(8):
        world.dialer.fail_all()
        world.pause()
    world.dialer.fail_all()
    world.connected.clear()
    world.bootstrapper.lost_one()
    world.pass_time(RESTART_DELAY[1])
    assert not world.dialer.running, "another connection is left"
    world.alone = True
    world.bootstrapper.lost_one()
    world.pass_time(RESTART_DELAY[1])
    (job,) = world.dialer.running  # the other one has failed so often that it has to wait
    assert (world.bootstrapper.rounds, job.endpoints[0]) == (1, contacts(2)[1])


def test_a_loss_that_leaves_too_few_begins_it_again(world: World) -> None:
    world.start(contacts(2), 1, keep_going=True)
    world.dialer.end(world.dialer.running[0], connected=True)
    world.alone = False
    world.dialer.fail_all()
    world.pass_time(60.0)
    assert world.over
    world.falls_short = True
    world.bootstrapper.lost_one()
    world.pass_time(RESTART_DELAY[1])
    assert world.bootstrapper.running


def test_the_network_is_back(world: World) -> None:
    world.start(contacts(2), 1)
    for _ in range(4):
        world.dialer.fail_all()
        world.pause()
    world.dialer.fail_all()
    world.bootstrapper.hurry()
    assert len(world.dialer.running) == 2
    world.bootstrapper.hurry()
    assert len(world.dialer.running) == 2


# --- the end ----------------------------------------------------------------------------------------------------------


def test_stop_during_a_round(world: World) -> None:
    world.start(contacts(40), 1)
    world.bootstrapper.stop()
    assert not world.bootstrapper.running
    world.dialer.fail_all()
    assert len(world.dialer.tried) == BOOTSTRAP_PARALLEL
    assert world.over


def test_stop_during_a_pause(world: World) -> None:
    world.start(contacts(3), 1)
    world.dialer.fail_all()
    world.bootstrapper.stop()
    world.bootstrapper.stop()
    assert world.over
    world.timers.run_due(world.time + 2 * LONGEST)
    assert len(world.dialer.tried) == 3


def test_stop_before_anything(world: World) -> None:
    world.bootstrapper.stop()
    assert world.over


def test_nobody_to_try(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.start((), 1)
    assert world.over
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "bootstrap() knows nobody to try: give fallback_endpoints" in record.getMessage()
    assert world.bootstrapper.gave_up
    world.start(contacts(1), 1)
    assert len(world.dialer.running) == 1
    assert not world.bootstrapper.gave_up


# --- turned away after the choice -------------------------------------------------------------------------------------


def test_a_contact_that_turns_us_away_does_not_count(world: World) -> None:
    """It was connected for a moment: the rest of the round is tried, then there is a pause as after any failure."""
    world.start(contacts(BOOTSTRAP_PARALLEL + 3), 1)
    job = world.dialer.running[0]
    world.dialer.end(job, connected=True)
    world.dialer.fail_all()
    assert world.over
    world.bootstrapper.turned_away(job.race)
    (entry,) = [entry for entry in world.book.entries() if entry.endpoints == job.endpoints]
    assert (entry.failures, entry.result) == (1, "it was connected, and turned us away")
    assert world.bootstrapper.running
    world.dialer.fail_all()
    # Those that were given up when the place was taken have their turn as well.
    assert Counter(world.dialer.tried) == Counter([*contacts(BOOTSTRAP_PARALLEL + 3), *world.dialer.given_up])
    assert 0.75 <= world.pause() <= 1.25
    assert len(world.dialer.running) == BOOTSTRAP_PARALLEL


def test_the_only_contact_turns_us_away_again_and_again(world: World) -> None:
    """Pauses grow as if it had not answered."""
    world.start(contacts(1), 1)
    for expected in (1, 2, 4, 8, 8):
        (job,) = world.dialer.running
        world.dialer.end(job, connected=True)
        world.bootstrapper.turned_away(job.race)
        assert not world.dialer.running
        assert 0.75 * expected <= world.pause() <= 1.25 * expected


def test_turned_away_by_one_of_several(world: World) -> None:
    """One connection is enough to be in the network."""
    world.start(contacts(2), 2)
    jobs = list(world.dialer.running)
    for job in jobs:
        world.dialer.end(job, connected=True)
    world.bootstrapper.turned_away(jobs[0].race)
    assert world.over


def test_turned_away_while_others_are_tried(world: World) -> None:
    world.start(contacts(2), 2)
    first, second = world.dialer.running
    world.dialer.end(first, connected=True)
    world.bootstrapper.turned_away(first.race)
    assert world.bootstrapper.running
    world.dialer.end(second, connected=False)
    assert 0.75 <= world.pause() <= 1.25
    assert len(world.dialer.running) == 2


def test_turned_away_when_a_new_bootstrap_is_under_way(world: World) -> None:
    world.start(contacts(1), 1)
    (old,) = world.dialer.running
    world.dialer.end(old, connected=True)
    world.start(contacts(2), 1)
    world.bootstrapper.turned_away(old.race)
    assert len(world.dialer.running) == 2
    world.dialer.end(world.dialer.running[0], connected=True)
    world.dialer.fail_all()
    assert world.over
