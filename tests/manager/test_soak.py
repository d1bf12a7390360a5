"""Many lives at random: nodes start, dial each other in any direction, talk, drop and stop at any moment.

Afterwards nothing is left, and the events of every node made sense (`tests.manager.order`). The moments are drawn from
a seed, which is the test's parameter: what goes wrong once can be played again (threads permitting).
"""

import os
import random
import threading
from pathlib import Path

import pytest

from crust import CrustError, Endpoint
from tests.manager.conftest import CAPACITIES
from tests.manager.helpers import Capacity, Node, Nodes, in_parallel

DESCRIPTORS = Path("/proc/self/fd")
ROUNDS = 70
MANY_ROUNDS = 500
ROUNDS_OF_SMALL = 30  # where the channel of one node has room for one
MOST_NODES = 5
MOST_ACTIONS = 40


def what_is_there() -> tuple[list[str], int]:
    """The threads of all managers, and how many descriptors the process has."""
    threads = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("crust-"))
    return threads, len(os.listdir(DESCRIPTORS)) if DESCRIPTORS.is_dir() else 0


def act(node: Node, dice: random.Random, targets: list[Endpoint]) -> None:
    """One thing that a user does; that a connection has gone meanwhile is part of the game."""
    connected = [info.endpoint for info in node.manager.connections()]
    choice = dice.random()
    try:
        if not connected or choice < 0.35:
            node.connect(dice.choice(targets))
        elif choice < 0.92:
            size = dice.choice([0, 1, 64, 1_000, 70_000, 300_000])
            node.manager.send(dice.choice(connected), dice.randbytes(size), timeout=dice.choice([0.0, 0.01]))
        else:
            node.drop(dice.choice(connected))
    except CrustError:
        pass


def live(node: Node, dice: random.Random, targets: list[Endpoint]) -> None:
    """One node's life until its end, which comes in order or in haste."""
    for _ in range(dice.randrange(MOST_ACTIONS)):
        act(node, dice, targets)
    node.stop(dice.choice([0.0, 0.05, 1.0]))


def play(seed: int, capacity: Capacity) -> None:
    """One round."""
    dice = random.Random(seed)
    before = what_is_there()
    nodes = Nodes(capacity)
    made = [nodes.make() for _ in range(dice.randint(2, MOST_NODES))]
    targets = [node.endpoint for node in made]
    lives = [(node, random.Random(dice.random())) for node in made]
    in_parallel([lambda node=node, own=own: live(node, own, targets) for node, own in lives])  # type: ignore[misc]
    nodes.end()
    assert what_is_there() == before


@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)
@pytest.mark.parametrize("seed", range(5))
def test_a_few_lives_leave_nothing_and_make_sense(seed: int, capacity: Capacity) -> None:
    play(seed, capacity)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)
def test_many_rounds_leave_nothing_and_make_sense(capacity: Capacity) -> None:
    for seed in range(1_000, 1_000 + (ROUNDS_OF_SMALL if capacity.small else ROUNDS)):
        play(seed, capacity)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)
def test_very_many_rounds_leave_nothing_and_make_sense(capacity: Capacity) -> None:
    for seed in range(2_000, 2_000 + MANY_ROUNDS):
        play(seed, capacity)
