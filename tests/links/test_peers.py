"""The choice between duplicates: the rules one by one, then nodes in every order that things can happen."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from crust.links.peers import Candidate, PeerTable, Verdict
from tests.links.peer_world import INITIATOR, RESPONDER, Broken, Step, World, peer_id

CHOOSER, WAITER = "C", "A"  # what our own node is called below; the peers are called B
THEM = peer_id("B")


def table(own: str, max_connections: int = 100, max_per_address: int = 100) -> PeerTable:
    return PeerTable(peer_id(own), max_connections, max_per_address)


def candidate(
    serial: int | None = None,
    alone: bool = False,
    *,
    peer: str = "B",
    address: str = "192.0.2.1",
    session: bytes = b"one",
    began: int = 0,
    relayed: bool = False,
) -> Candidate:
    return Candidate(peer_id(peer), address, session, began, serial, alone, relayed=relayed)


def verdict(of: PeerTable, one: Candidate) -> Verdict:
    return of.register(one)[0]


# --- the rules --------------------------------------------------------------------------------------


def test_the_greater_id_chooses_the_first_and_refuses_the_second() -> None:
    ours, first, second = table(CHOOSER), candidate(1, True), candidate(2)
    assert ours.register(first) == (Verdict.CHOOSE, None)
    assert ours.register(second) == (Verdict.DUPLICATE, None)
    assert ours.held(THEM) is first
    assert len(ours) == 1


def test_the_lesser_id_waits_and_obeys() -> None:
    ours, first, second = table(WAITER), candidate(), candidate()
    assert ours.register(first) == ours.register(second) == (Verdict.WAIT, None)
    assert ours.held(THEM) is None
    assert len(ours) == 0
    assert ours.chosen_by_peer(second) is None
    assert ours.held(THEM) is second
    assert len(ours) == 1


def test_nobody_is_connected_to_itself() -> None:
    assert table("B").register(candidate()) == (Verdict.SELF, None)


def test_serials_grow_and_alone_is_told() -> None:
    for own in (CHOOSER, WAITER):
        ours, first, second = table(own), candidate(), candidate()
        other = candidate(peer="D" if own == CHOOSER else "0")
        for one in (first, second, other):
            ours.register(one)
        assert 0 < first.serial < second.serial < other.serial
        assert (first.alone, second.alone, other.alone) == (True, False, True)
        for one in (first, second):
            ours.remove(one)
        again = candidate()
        ours.register(again)
        assert again.alone
        assert again.serial > other.serial


@pytest.mark.parametrize(
    ("held_serial", "serial", "alone", "replaces"),
    [
        (1, 2, True, True),  # it knew the one that we hold, and has no connection with us any more
        (1, 2, False, False),  # it still has it
        (2, 1, True, False),  # a handshake that was delayed
        (None, 2, True, False),  # it may not have known it yet
        (1, None, False, False),  # we dialled: it has told us nothing
    ],
)
def test_what_the_peer_says_about_itself_tells_stale_from_duplicate(
    held_serial: int | None, serial: int | None, alone: bool, replaces: bool
) -> None:
    ours, held, new = table(CHOOSER), candidate(held_serial), candidate(serial, alone)
    ours.register(held)
    expected = (Verdict.CHOOSE, held) if replaces else (Verdict.DUPLICATE, None)
    assert ours.register(new) == expected
    assert ours.held(THEM) is (new if replaces else held)
    assert len(ours) == 1


def test_a_later_session_replaces_and_an_earlier_one_never_does() -> None:
    ours, held = table(CHOOSER), candidate(1, session=b"two", began=5)
    ours.register(held)
    assert verdict(ours, candidate(9, True, session=b"one", began=4)) is Verdict.DUPLICATE
    new = candidate(1, True, session=b"three", began=6)
    assert ours.register(new) == (Verdict.CHOOSE, held)


def test_a_choice_that_was_overtaken_does_not_win() -> None:
    for first, second in (
        (candidate(1, began=1), candidate(2, began=1)),  # one session: the peer's serials tell
        (candidate(7, session=b"one", began=1), candidate(1, session=b"two", began=2)),  # it was started anew
    ):
        ours = table(WAITER)
        for one in (first, second):
            ours.register(one)
        assert ours.chosen_by_peer(second) is None
        assert ours.chosen_by_peer(first) is None
        assert ours.held(THEM) is second
        ours.remove(first)
        assert ours.held(THEM) is second


def test_a_choice_in_order_replaces() -> None:
    ours, first, second = table(WAITER), candidate(1), candidate(2)
    ours.register(first)
    ours.chosen_by_peer(first)
    assert verdict(ours, second) is Verdict.WAIT
    assert not second.alone
    assert ours.chosen_by_peer(second) is first
    assert ours.held(THEM) is second
    assert len(ours) == 1
    ours.remove(first)  # its threads end later
    assert ours.held(THEM) is second


def test_what_was_removed_cannot_be_chosen() -> None:
    ours, first = table(WAITER), candidate(1)
    ours.register(first)
    ours.remove(first)
    assert ours.chosen_by_peer(first) is None
    assert ours.held(THEM) is None
    assert len(ours) == 0


@pytest.mark.parametrize("own", [CHOOSER, WAITER])
def test_removing_frees_and_may_be_repeated(own: str) -> None:
    ours = table(own, max_connections=1, max_per_address=1)
    for _ in range(3):
        one = candidate(1)
        assert verdict(ours, one) in (Verdict.CHOOSE, Verdict.WAIT)
        ours.chosen_by_peer(one)
        assert len(ours) == 1
        for _ in range(2):
            ours.remove(one)
        assert len(ours) == 0
        assert ours.held(THEM) is None
    ours.remove(candidate())
    assert not ours._peers
    assert not ours._places
    assert not ours._per_address


# --- bounds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", ["0", "Z"])
def test_the_bound_on_connections_counts_those_that_wait(own: str) -> None:
    ours = table(own, max_connections=2)
    one, two, three = (candidate(peer=name) for name in "BCD")
    accepted = Verdict.WAIT if own == "0" else Verdict.CHOOSE
    assert [verdict(ours, each) for each in (one, two, three)] == [accepted, accepted, Verdict.FULL]
    assert verdict(ours, candidate(peer="B")) is (Verdict.WAIT if own == "0" else Verdict.DUPLICATE)
    ours.remove(two)
    assert verdict(ours, three) is accepted


@pytest.mark.parametrize("own", ["0", "Z"])
def test_the_bound_for_an_address_counts_peers_once(own: str) -> None:
    ours = table(own, max_per_address=1)
    first, again, elsewhere = candidate(), candidate(), candidate(peer="C", address="192.0.2.9")
    assert verdict(ours, first) is not Verdict.FULL
    assert verdict(ours, again) is (Verdict.WAIT if own == "0" else Verdict.DUPLICATE)
    assert verdict(ours, candidate(peer="C")) is Verdict.FULL
    assert verdict(ours, elsewhere) is not Verdict.FULL
    ours.remove(first)
    ours.remove(again)
    ours.remove(elsewhere)
    assert verdict(ours, candidate(peer="C")) is not Verdict.FULL


def test_a_peer_that_moves_takes_a_place_at_its_new_address() -> None:
    ours = table(CHOOSER, max_per_address=1)
    held, there = candidate(1), candidate(peer="A", address="192.0.2.9")
    ours.register(held)
    ours.register(there)
    moved = candidate(2, True, address="192.0.2.9")
    assert verdict(ours, moved) is Verdict.FULL
    assert ours.held(THEM) is held
    ours.remove(there)
    assert ours.register(moved) == (Verdict.CHOOSE, held)
    assert verdict(ours, candidate(peer="A")) is Verdict.CHOOSE, "the old place is free"


def test_being_full_does_not_refuse_a_peer_that_comes_back() -> None:
    ours, held = table(CHOOSER, max_connections=1, max_per_address=1), candidate(1)
    ours.register(held)
    assert ours.register(candidate(2, True)) == (Verdict.CHOOSE, held)


# --- every order --------------------------------------------------------------------------------------


def possible(world: World, budget: tuple[str, ...]) -> Iterable[tuple[Step, str]]:
    """What the world around may do next, and what that takes from the budget."""
    for number, ends in enumerate(world.connections):
        if any(end.state != "over" for end in ends):
            yield ("cut", number), "cut"
        for side, end in enumerate(ends):
            if end.state != "over":
                yield ("break", number, side), "break"
            if end.state not in ("live", "leaving", "over", "answered"):
                yield ("give up", number, side), "give up"
            if end.state == "live":
                yield ("drop", end.node, number), "drop"
    for name in world.nodes:
        yield ("crash", name), "crash"
    for word in budget:
        if len(word) == 2:
            yield ("dial", *word), word


def explore(world: World, budget: tuple[str, ...], check: Callable[[World], None]) -> int:
    """Try every order, with everything in ``budget`` happening at every moment or never; how many ways it ended."""
    start: tuple[World, tuple[str, ...], tuple[Step, ...]] = (world, tuple(sorted(budget)), ())
    seen, stack, ends = {(world.key(), start[1])}, [start], 0
    while stack:
        here, left, path = stack.pop()
        steps = [(step, left) for step in here.steps()]
        if not steps:
            ends += 1
            try:
                here.check_settled()
                check(here)
            except AssertionError as error:
                raise AssertionError(f"after {path}: {error}") from error
        for step, word in possible(here, left):
            if word in left:
                rest = list(left)
                rest.remove(word)
                steps.append((step, tuple(rest)))
        for step, rest_of_budget in steps:
            there = here.clone()
            try:
                there.do(step)
            except Broken as error:
                raise AssertionError(f"after {(*path, step)}: {error}") from error
            key = there.key(), rest_of_budget
            if key not in seen:
                seen.add(key)
                stack.append((there, rest_of_budget, (*path, step)))
    return ends


def world_of(dials: str, eager: bool) -> World:
    world = World("AB", eager=eager)
    for dial in dials.split():
        world.dial(*dial)
    return world


def exactly_one(world: World) -> None:
    for node in world.nodes.values():
        assert (node.news, node.losses, len(node.live)) == (1, 0, 1), node


@pytest.mark.parametrize(
    ("dials", "eager"),
    [
        ("AB", False),
        ("BA", False),
        ("AB BA", False),
        ("AB AB", False),
        ("BA BA", False),
        ("AB BA AB", True),
        ("AB BA BA", True),
        pytest.param("AB BA AB BA", True, marks=pytest.mark.slow),
        pytest.param("AB BA AB", False, marks=pytest.mark.long),
    ],
)
def test_both_dial_at_once_in_every_order(dials: str, eager: bool) -> None:
    """Both ends keep the same one, announce it once, and lose nothing."""
    assert explore(world_of(dials, eager), (), exactly_one) >= 1


@pytest.mark.parametrize(
    ("dials", "happens", "eager"),
    [
        ("AB BA", "cut", True),
        ("AB BA", "break", True),
        pytest.param("AB BA", "give-up", False, marks=pytest.mark.slow),
        ("AB", "break AB", True),
        ("BA", "break BA", True),
        pytest.param("AB", "break AB BA", True, marks=pytest.mark.long),
        ("BA", "drop AB", True),
        ("AB", "drop BA", True),
        ("AB", "crash AB", True),
        ("AB", "crash BA", True),
        pytest.param("BA", "crash AB", False, marks=pytest.mark.slow),
        pytest.param("BA", "crash BA", False, marks=pytest.mark.slow),
        ("AB", "crash crash BA", True),
        pytest.param("BA", "crash AB BA", True, marks=pytest.mark.slow),
        pytest.param("BA", "give-up AB BA", True, marks=pytest.mark.slow),
    ],
)
def test_whatever_happens_in_every_order(dials: str, happens: str, eager: bool) -> None:
    """Nothing that the other end still has is ever replaced, and in the end both agree."""
    budget = tuple(word.replace("-", " ") for word in happens.split())
    assert explore(world_of(dials, eager), budget, lambda _: None) > 1


def the_direct_one(world: World) -> None:
    for node in world.nodes.values():
        ((_, number),) = node.live.items()
        assert not world.connections[number][0].relayed, node
        assert (node.news, node.losses) in ((1, 0), (2, 1)), node


@pytest.mark.parametrize(
    ("dials", "eager"),
    [
        ("ab AB", False),
        ("ab BA", False),
        ("ba AB", False),
        ("ba BA", False),
        ("ab ba AB", True),
        pytest.param("ab AB BA", True, marks=pytest.mark.slow),
        pytest.param("ba BA AB", True, marks=pytest.mark.slow),
        pytest.param("ab ab BA", True, marks=pytest.mark.slow),
        pytest.param("ab ba AB BA", True, marks=pytest.mark.slow),
        pytest.param("ab ba AB", False, marks=pytest.mark.long),
        pytest.param("ba AB BA", False, marks=pytest.mark.long),
    ],
)
def test_a_direct_connection_takes_the_place_of_a_relayed_one_in_every_order(dials: str, eager: bool) -> None:
    """Whichever comes first; and a relayed one never that of a direct one."""
    assert explore(world_of(dials, eager), (), the_direct_one) >= 1


def test_relayed_connections_alone_are_as_good_as_others() -> None:
    assert explore(world_of("ab ba", False), (), exactly_one) >= 1


@pytest.mark.parametrize(
    ("dials", "happens", "eager"),
    [
        ("ab AB", "cut", True),
        ("ba AB", "break", True),
        ("ab BA", "give-up", True),
        ("ba AB", "give-up", True),
        pytest.param("ab BA", "give-up", False, marks=pytest.mark.slow),
        pytest.param("ba AB", "give-up", False, marks=pytest.mark.slow),
        ("ba", "AB give-up", True),
        ("AB", "ab break", True),
        pytest.param("BA", "ba break", True, marks=pytest.mark.slow),
        ("ab", "AB drop", True),
        ("ab", "BA crash", True),
        pytest.param("BA", "ab crash", True, marks=pytest.mark.slow),
        pytest.param("ab AB", "give-up break", True, marks=pytest.mark.slow),
        pytest.param("ba", "AB crash ab", True, marks=pytest.mark.long),
        pytest.param("ab BA", "give-up give-up", False, marks=pytest.mark.long),
    ],
)
def test_whatever_happens_to_relayed_ones_and_direct_ones(dials: str, happens: str, eager: bool) -> None:
    """Both ends agree in the end."""
    budget = tuple(word.replace("-", " ") for word in happens.split())
    assert explore(world_of(dials, eager), budget, lambda _: None) > 1


def disaster(world: World, dice: random.Random, likely: dict[str, float]) -> Step | None:
    """Something that happens to the world just now, or nothing."""
    kinds = tuple(kind for kind, chance in likely.items() if dice.random() < chance)
    pairs = [a + b for a in world.nodes for b in world.nodes if a != b]
    words = {
        *kinds,
        *(pair for pair in pairs if "dial" in kinds),
        *(pair.lower() for pair in pairs if "relay" in kinds),
    }
    choices = [step for step, word in possible(world, tuple(sorted(words))) if word in words]
    return dice.choice(choices) if choices else None


@pytest.mark.parametrize(
    ("names", "seeds"), [("AB", 20), ("ABC", 20), pytest.param("ABC", 250, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "likely",
    [
        {"dial": 0.3},
        {"dial": 0.2, "cut": 0.05, "break": 0.1},
        {"dial": 0.2, "drop": 0.1, "give up": 0.1},
        {"dial": 0.2, "crash": 0.05, "break": 0.05},
        {"dial": 0.2, "cut": 0.02, "break": 0.02, "drop": 0.02, "give up": 0.02, "crash": 0.02},
        {"dial": 0.1, "relay": 0.2, "cut": 0.02, "break": 0.02, "drop": 0.02, "give up": 0.05, "crash": 0.02},
    ],
    ids=lambda likely: " ".join(likely),
)
def test_longer_stories(names: str, seeds: int, likely: dict[str, float]) -> None:
    for seed in range(seeds):
        dice = random.Random(seed)
        world = World(names)
        story: list[Any] = []
        try:
            for _ in range(120):
                step = disaster(world, dice, likely)
                if step is None:
                    steps = world.steps()
                    if not steps:
                        continue
                    step = dice.choice(steps)
                story.append(step)
                world.do(step)
            world.settle(dice.choice)
            world.check_settled()
            if list(likely) == ["dial"]:
                for node in world.nodes.values():
                    assert node.news == len(node.live)
                    assert node.losses == 0
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after {story}: {error}") from error


def test_a_direct_connection_that_comes_to_nothing_leaves_the_relayed_one() -> None:
    ours, relayed, direct = table(CHOOSER), candidate(1, relayed=True), candidate(2)
    ours.register(relayed)
    assert ours.register(direct) == (Verdict.CHOOSE, relayed)
    ours.remove(direct)
    assert ours.restore(relayed)
    assert ours.held(THEM) is relayed
    assert len(ours) == 1
    ours.remove(relayed)
    assert len(ours) == 0
    assert not ours._places


def test_nothing_is_restored_where_something_else_is_held() -> None:
    ours, relayed, direct = table(CHOOSER), candidate(1, relayed=True), candidate(2)
    ours.register(relayed)
    ours.register(direct)
    assert not ours.restore(relayed)
    assert ours.held(THEM) is direct


# --- coming back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("how", ["break", "crash"])
@pytest.mark.parametrize("loser", ["A", "B"])
@pytest.mark.parametrize("dial", ["AB", "BA"])
def test_a_peer_that_comes_back_replaces_its_stale_connection(dial: str, loser: str, how: str, eager: bool) -> None:
    """The other end has heard nothing of the loss; without the rule it would refuse the new one as a duplicate."""
    world = World("AB", eager=eager)
    old = world.dial(*dial)
    world.settle()
    other = "B" if loser == "A" else "A"
    lost_at, held_at = world.side_of(old, loser), world.side_of(old, other)
    world.do(("break", old, lost_at) if how == "break" else ("crash", loser))
    if how == "break":
        world.do(("wire", old, lost_at))
        while world.nodes[loser].inbox:
            world.do(("manager", loser))
    new = world.dial(loser, other)
    while steps := [step for step in world.steps() if step != ("wire", old, held_at)]:
        world.do(steps[0])
    assert world.chosen(loser, other) == world.chosen(other, loser) == new
    assert world.nodes[other].losses == 1
    world.settle()
    world.check_settled()
    assert world.chosen(loser, other) == new, "the end of the old one, which comes late, changes nothing"


def test_a_handshake_of_a_dead_session_replaces_nothing() -> None:
    """A dials and crashes; its last message waits in the network until the new A is connected."""
    world = World("AB", eager=True)
    late = world.dial("A", "B")
    world.do(("wire", late, RESPONDER))
    world.do(("wire", late, INITIATOR))
    world.do(("crash", "A"))
    new = world.dial("A", "B")
    while steps := [step for step in world.steps() if step[1] == new]:
        world.do(steps[0])
    assert world.chosen("B", "A") == new
    world.do(("wire", late, RESPONDER))
    assert world.chosen("B", "A") == world.chosen("A", "B") == new
    world.settle()
    world.check_settled()
    assert (world.nodes["B"].news, world.nodes["B"].losses) == (1, 0)
