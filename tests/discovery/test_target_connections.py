"""Who is dialled so that there are enough connections."""

import random

from crust.discovery.contact import Contact, Source
from crust.discovery.target_connections import (
    BACKOFF_MAX,
    BACKOFF_MIN,
    MAX_AT_ONCE,
    MAX_CANDIDATES,
    MAX_REMEMBERED,
    PATIENCE,
    REPORT_TIMEOUT,
    SHORT_LIFE,
    SPARE,
    TargetConnections,
    neighbourhood,
)
from crust.endpoint import Endpoint
from crust.identity import PeerId


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def contact(number: int, host: str = "") -> Contact:
    endpoint = Endpoint.tcp((host or f"10.{number % 250}.0.1", 5483))
    return Contact((endpoint,), peer(number), Source.GOSSIP)


CONTACTS = [contact(number) for number in range(50)]


class Bench:
    """A `TargetConnections` and what is connected."""

    def __init__(self, target: int = 4, max_at_once: int = MAX_AT_ONCE) -> None:
        self.targets = TargetConnections(target, random.Random(1), max_at_once)
        self.connected: dict[PeerId, Endpoint] = {}
        self.now = 0.0

    def plan(self, contacts: list[Contact] = CONTACTS) -> list[PeerId]:
        planned = self.targets.plan(self.connected.keys(), self.connected.values(), contacts, self.now)
        return [each.peer_id for each in planned if each.peer_id]

    def connect(self, number: int, host: str = "") -> None:
        self.connected[peer(number)] = contact(number, host).endpoints[0]
        self.targets.ended(peer(number), True, self.now)


def test_what_is_missing_is_dialled_and_one_to_spare() -> None:
    bench = Bench(target=2)
    planned = bench.plan()
    assert len(set(planned)) == len(planned) == 2 + SPARE
    assert bench.targets.dialling == set(planned)
    assert bench.plan() == []


def test_never_more_at_once_than_allowed() -> None:
    bench = Bench(target=20, max_at_once=3)
    first = bench.plan()
    assert len(first) == 3
    assert bench.plan() == []
    bench.targets.ended(first[0], False, 0.0)
    (second,) = bench.plan()
    assert second not in first


def test_dead_ones_do_not_stand_in_the_way_for_long() -> None:
    """Of a hundred that take ten seconds to fail, and one that answers at once."""
    bench = Bench(target=1)
    dialled: list[PeerId] = []
    while bench.targets.next_timer(0, bench.now) or not dialled:
        dialled += bench.plan()
        assert len(bench.targets.dialling) <= MAX_AT_ONCE
        if len(dialled) >= MAX_AT_ONCE:
            break
        bench.now = bench.targets.next_timer(0, bench.now) or 0.0
    assert len(set(dialled)) == MAX_AT_ONCE
    assert bench.now == (MAX_AT_ONCE / (1 + SPARE) - 1) * PATIENCE


def test_enough_is_enough() -> None:
    bench = Bench(target=2)
    bench.connect(1)
    assert len(bench.plan()) == 2
    bench.connect(2)
    assert bench.plan() == []
    assert bench.targets.next_timer(2, 0.0) is None
    assert Bench(target=0).plan() == []


def test_neither_the_connected_nor_the_nameless_are_dialled() -> None:
    bench = Bench(target=4)
    bench.connect(1)
    bench.connect(2)
    nameless = Contact((Endpoint.tcp("10.1.1.1:1"),), None, Source.CONFIG)
    assert bench.plan([contact(1), contact(2), nameless]) == []
    assert bench.plan([contact(1), contact(3), nameless]) == [peer(3)]


def test_a_dead_one_is_left_alone_for_longer_and_longer() -> None:
    bench = Bench()
    pauses = []
    for _ in range(14):
        assert bench.plan([contact(1)]) == [peer(1)]
        bench.targets.ended(peer(1), False, bench.now)
        assert bench.plan([contact(1)]) == []
        again = bench.targets.next_timer(0, bench.now)
        assert again is not None
        pauses.append(again - bench.now)
        bench.now = again - 0.01
        assert bench.plan([contact(1)]) == []
        bench.now = again
    for number, pause in enumerate(pauses):
        usual = min(BACKOFF_MIN * 2**number, BACKOFF_MAX)
        assert 0.75 * usual <= pause <= 1.25 * usual
    assert len({pause / BACKOFF_MAX for pause in pauses[-4:]}) == 4, "without jitter all would come back at once"


def test_dead_ones_do_not_hold_others_up() -> None:
    bench = Bench(target=1)
    dead = bench.plan()
    assert len(dead) == 1 + SPARE
    for each in dead:
        bench.targets.ended(each, False, 0.0)
    others = bench.plan()
    assert len(others) == 1 + SPARE
    assert not set(others) & set(dead)


def test_success_forgets_failures() -> None:
    bench = Bench()
    for success in (False, False, True):
        bench.now += 100.0
        assert bench.plan([contact(1)]) == [peer(1)]
        bench.targets.ended(peer(1), success, bench.now)
    assert bench.plan([contact(1)]) == [peer(1)]


def test_who_moved_is_dialled_at_once() -> None:
    bench = Bench()
    bench.plan([contact(1)])
    bench.targets.ended(peer(1), False, 0.0)
    bench.targets.forgive(peer(1))
    assert bench.plan([contact(1)]) == [peer(1)]


def test_a_dial_whose_end_nobody_tells_ends_all_the_same() -> None:
    bench = Bench(target=1)
    first = bench.plan()
    assert bench.targets.next_timer(0, 0.0) == PATIENCE
    assert bench.targets.next_timer(0, PATIENCE) == REPORT_TIMEOUT
    bench.now = REPORT_TIMEOUT
    second = bench.plan()
    assert len(second) == len(first) == 1 + SPARE
    assert not set(first) & set(second)
    assert bench.targets.dialling == set(second)


def test_other_neighbourhoods_come_first() -> None:
    bench = Bench(target=8, max_at_once=8)
    bench.connect(1, "192.0.2.1")
    near = [contact(number, f"192.0.2.{number}") for number in range(2, 40)]
    far = [contact(100 + number, f"10.{number}.0.1") for number in range(4)]
    planned = bench.plan(near + far)
    assert {peer(100 + number) for number in range(4)} <= set(planned)
    assert len(planned) == 8, "where there is no choice, the same neighbourhood will do"


def test_who_never_failed_comes_first() -> None:
    bench = Bench(target=1)
    bench.plan([contact(1), contact(2)])
    bench.targets.ended(peer(1), False, 0.0)
    bench.targets.ended(peer(2), False, 0.0)
    bench.now = 1000.0
    hosts = [contact(number, f"10.1.0.{number}") for number in (1, 2, 3, 4)]
    assert set(bench.plan(hosts)) == {peer(3), peer(4)}


def test_chance_spreads_the_load() -> None:
    chosen = set()
    for seed in range(40):
        targets = TargetConnections(1, random.Random(seed))
        chosen |= {each.peer_id for each in targets.plan((), (), CONTACTS, 0.0)}
    assert len(chosen) > 20


def test_the_promising_are_not_overlooked() -> None:
    """Contacts may come best first, however many there are."""
    bench = Bench(target=1)
    many = [contact(number) for number in range(10 * MAX_CANDIDATES)]
    assert set(bench.plan(many)) <= {peer(number) for number in range(MAX_CANDIDATES)}


def test_failures_are_remembered_in_bounds() -> None:
    bench = Bench()
    for number in range(MAX_REMEMBERED + 10):
        bench.targets.ended(peer(number), False, 0.0)
    assert bench.plan([contact(9)]) == [peer(9)]
    assert bench.plan([contact(10)]) == []


def test_neighbourhoods() -> None:
    def of(text: str) -> tuple[int, bytes]:
        return neighbourhood(Endpoint.parse(text))

    assert of("tcp://192.0.2.1:5") == of("utp://192.0.99.9:7") == of("tcp://[::ffff:192.0.2.1]:5")
    assert of("tcp://192.0.2.1:5") != of("tcp://192.1.2.1:5")
    assert of("tcp://[2001:db8::1]:5") == of("tcp://[2001:db8:ffff::1]:5") != of("tcp://[2001:db9::1]:5")
    assert of("tcp://[fe80::1%eth0]:5") == of("tcp://[fe80::2]:5")
    assert of("tcp://a.example:5") != of("tcp://b.example:5")


def test_a_node_that_is_lost_soon_again_and_again_is_left_alone_for_longer_each_time() -> None:
    """Two nodes with one identity replace each other: without pauses they did so dozens of times a second."""
    bench = Bench(target=1)

    def live(seconds: float) -> float:
        """How long it is left alone after that."""
        bench.targets.came(peer(1), bench.now)
        bench.now += seconds
        bench.targets.lost(peer(1), bench.now)
        again = bench.targets.next_timer(0, bench.now)
        pause = 0.0 if again is None else again - bench.now
        bench.now += pause
        assert bench.plan([contact(1)]) == [peer(1)]
        return pause

    assert live(SHORT_LIFE / 2) == 0, "once may be chance"
    for expected in (1, 2, 4, 8):
        assert 0.75 * BACKOFF_MIN * expected <= live(SHORT_LIFE / 2) <= 1.25 * BACKOFF_MIN * expected
    assert live(SHORT_LIFE) == 0
    assert live(SHORT_LIFE / 2) == 0


def test_short_lives_that_are_remembered_are_bounded() -> None:
    bench = Bench()
    for number in range(MAX_REMEMBERED + 5):
        bench.targets.came(peer(number), 0.0)
        bench.targets.lost(peer(number), 1.0)
    assert len(bench.targets._short_lives) == MAX_REMEMBERED
    assert not bench.targets._since
