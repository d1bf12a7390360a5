"""Whole networks of gossiping nodes, simulated: from a line to enough connections, through loss, churn and lies.

The figures of docs/discovery.md come from here: ``pytest -m "slow or long" -o log_cli=true --log-cli-level=INFO
tests/discovery/test_gossip_simulation.py``.
"""

import logging
import random

import pytest

from crust.discovery.gossip import MAX_PAUSE, REFRESH
from tests.discovery.gossip_liars import LIARS, Flooder, Forger, Inventor
from tests.discovery.gossip_world import Node, World, quick_signatures

__all__ = ["quick_signatures"]
log = logging.getLogger("tests.gossip")
pytestmark = pytest.mark.usefixtures("quick_signatures")


def say(text: str) -> None:
    """For the documentation."""
    log.info(text)


def in_a_line(world: World, kinds: list[type[Node]], width: int = 1) -> None:
    """Each connected with the ``width`` before it. (Where it is one, a liar that gives nothing cuts the line.)"""
    nodes = [world.add(kind) for kind in kinds]
    for step in range(1, width + 1):
        for one, other in zip(nodes, nodes[step:], strict=False):
            world.link(one, other)


def with_liars(count: int, share: int, seed: str) -> list[type[Node]]:
    """``count`` kinds of nodes, ``share`` per cent of them liars, all kinds of them, nowhere two side by side."""
    kinds: list[type[Node]] = [Node] * count
    for number in range(count * share // 100):
        kinds[number * (100 // share) + 1 + random.Random(f"{seed} {number}").randrange(100 // share - 2)] = LIARS[
            number % len(LIARS)
        ]
    return kinds


def assert_only_liars_are_reported(world: World) -> None:
    for node in world.honest:
        wrong = [other.number for other in world.honest if other.id in node.reported]
        assert not wrong, f"node {node.number} reported the honest {wrong}"


@pytest.mark.parametrize("seed", ["one", *(pytest.param(seed, marks=pytest.mark.slow) for seed in ("two", "three"))])
def test_from_a_line_of_a_hundred_to_enough_connections(seed: str) -> None:
    world = World(seed, target=4)
    in_a_line(world, [Node] * 100)
    assert world.run(30.0, world.all_have_target)
    say(f"100 nodes, no loss: all have 4 connections after {world.now:.1f} s, {world.dials} dials")
    assert world.dials < 100 * 4
    assert world.run(120.0, lambda: all(len(node.gossip) == 100 for node in world.nodes))
    say(f"100 nodes, no loss: all know all after {world.now:.1f} s")
    assert max(len(node.links) for node in world.nodes) <= 16, "the load is spread"
    assert_only_liars_are_reported(world)


def test_a_target_of_many() -> None:
    world = World("many", target=12)
    in_a_line(world, [Node] * 60)
    assert world.run(60.0, world.all_have_target)


def test_through_loss_and_lies() -> None:
    world = World("lies", target=4, loss=0.1)
    in_a_line(world, with_liars(100, 10, "lies"), width=2)
    assert len(world.honest) == 90
    assert world.run(60.0, world.all_have_target)
    say(f"100 nodes, 10 % loss, 10 % liars: all honest ones have 4 connections after {world.now:.1f} s")
    world.run(150.0)
    honest = {node.id for node in world.honest}
    for node in world.honest:
        known = {contact.peer_id for contact in node.gossip.contacts(world.wall)}
        assert len(known & honest) >= 0.99 * (len(honest) - 1)
    assert_only_liars_are_reported(world)
    caught = {type(liar) for liar in world.nodes if any(liar.id in node.reported for node in world.honest)}
    assert {Forger, Flooder} <= caught


def test_through_churn() -> None:
    """Each second one node goes without a word and a new one comes, which knows one node."""
    world = World("churn", target=4, loss=0.05)
    in_a_line(world, [Node] * 60)
    world.run(20.0)
    for _ in range(60):
        world.kill(world.random.choice(world.honest))
        newcomer = world.add()
        world.link(newcomer, world.random.choice(world.honest[:-1]))
        world.run(1.0)
    assert world.run(60.0, world.all_have_target)
    assert len(world.honest) == 60
    assert_only_liars_are_reported(world)


def test_more_nodes_than_places() -> None:
    """Each knows a sample, and nobody sends for ever what has no place."""
    world = World("sample", target=4, capacity=24, measure=True)
    in_a_line(world, [Node] * 60)
    assert world.run(60.0, world.all_have_target)
    world.run(600.0)
    assert max(len(node.gossip) for node in world.nodes) == 25
    known = {contact.peer_id for node in world.nodes for contact in node.gossip.contacts(world.wall)}
    assert len(known) == 60
    before = sum(node.bytes_sent for node in world.nodes)
    world.run(300.0)
    rate = (sum(node.bytes_sent for node in world.nodes) - before) / 300 / 60
    say(f"60 nodes with room for 24: {rate:.1f} bytes per second and node at rest")
    assert rate < 40


def test_one_that_invents_a_thousand_nodes_does_not_stop_the_others() -> None:
    world = World("ghosts", target=4)
    in_a_line(world, [Inventor if number % 10 == 5 else Node for number in range(50)])
    assert world.run(180.0, world.all_have_target)
    say(f"50 nodes of which 5 invent 500 more: all honest ones have 4 connections after {world.now:.1f} s")


def at_rest(world: World, count: int) -> None:
    """A network that has been there for long: all know all, and records are renewed at all times."""
    for _ in range(count):
        world.add()
    for number, node in enumerate(world.nodes):
        world.link(node, world.nodes[(number + 1) % count])
        while len(node.links) < world.target:
            world.link(node, world.random.choice(world.nodes))
    records = [node.gossip.record for node in world.nodes]
    for node in world.nodes:
        for other, record in zip(world.nodes, records, strict=True):
            if record and other is not node:
                node.gossip._store.put(record, other.id, -1000.0)
        node.gossip._refresh_at = world.random.uniform(0, 0.875 * REFRESH)
        node.gossip._pause = MAX_PAUSE
        node.rearm()


def rate_at_rest(count: int, seconds: float) -> float:
    world = World("rest", target=4, capacity=1024, measure=True)
    at_rest(world, count)
    world.run(120.0)
    before = sum(node.bytes_sent for node in world.nodes)
    world.run(seconds)
    rate = (sum(node.bytes_sent for node in world.nodes) - before) / seconds / count
    say(f"{count} nodes at rest: {rate:.1f} bytes per second and node, sent; as many received")
    return rate


def test_costs_at_rest() -> None:
    assert rate_at_rest(100, 1200.0) < 40


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_costs_at_rest_of_a_thousand() -> None:
    assert rate_at_rest(1000, 600.0) < 250


def through_loss_churn_and_lies(world: World, count: int) -> None:
    in_a_line(world, with_liars(count, 10, world.seed), width=2)
    for _ in range(count // 11):  # in half a minute: many more would cut the line before anybody knows others
        world.kill(world.random.choice(world.honest))
        newcomer = world.add()
        world.link(newcomer, world.random.choice(world.honest[:-1]))
        world.run(330 / count)
    assert world.run(60.0, world.all_have_target)
    say(f"{count} nodes, loss, churn, liars: all honest ones have 4 connections after {world.now:.1f} s")
    world.run(30.0)
    assert_only_liars_are_reported(world)
    known = sorted(len(node.gossip) for node in world.honest)
    say(f"known then: at least {known[0]}, half of them {known[len(known) // 2]}")
    assert known[0] >= min(count // 8, 20)


def test_a_hundred_through_loss_churn_and_lies() -> None:
    through_loss_churn_and_lies(World("hundred", target=4, loss=0.05), 100)


@pytest.mark.long
def test_two_hundred_through_loss_churn_and_lies() -> None:
    through_loss_churn_and_lies(World("two hundred", target=4, loss=0.05), 200)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_through_loss_churn_and_lies() -> None:
    through_loss_churn_and_lies(World("thousand", target=4, loss=0.05), 1000)


def from_a_line_to_enough_connections(world: World, count: int) -> None:
    in_a_line(world, [Node] * count)
    assert world.run(60.0, world.all_have_target)
    say(f"{count} nodes, no loss: all have 4 connections after {world.now:.1f} s, {world.dials} dials")


def test_from_a_line_of_three_hundred_to_enough_connections() -> None:
    from_a_line_to_enough_connections(World("line", target=4), 300)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_from_a_line_of_a_thousand_to_enough_connections() -> None:
    from_a_line_to_enough_connections(World("line", target=4), 1000)
