"""What the original's uTP did not stand: a full mesh that talks on every link while packets are lost.

Its test of 60 nodes hung or lost connections once in some hundred links (its issues 412 and 439). Run it often with
``CRUST_MESH_RUNS=200 pytest -m long tests/manager/test_utp_mesh.py``; a failure names its seed.
"""

import itertools
import os
import random
from collections.abc import Callable
from functools import partial

import pytest

from crust import Event, Identity
from crust.transport.utp.burst import Burst
from crust.transport.utp.datagrams import Datagrams
from tests.manager.conftest import CAPACITIES
from tests.manager.helpers import Node, Nodes, in_parallel, wait_until

RUNS = int(os.environ.get("CRUST_MESH_RUNS", "1"))
NODES = int(os.environ.get("CRUST_MESH_NODES", "60"))
LOSS = float(os.environ.get("CRUST_MESH_LOSS", "0.05"))  # of the packets of each direction
SEED = int(os.environ.get("CRUST_MESH_SEED", "1"))
MESSAGES = [b"%d" % number for number in range(4)]
PATIENT = {
    "dial_timeout": 300.0,
    "handshake_timeout": 300.0,
    "dead_after": 600.0,
    "keepalive_interval": 100.0,
    "linger": 60.0,
    "max_dials": 2,
}
"""For nodes that share one process and two cores with fifty others: its threads may wait for seconds for their turn.
Nothing else is easier for them."""


class Losses:
    """Makes sockets that lose packets, each by dice of its own."""

    def __init__(self, seed: int) -> None:
        self._seeds = random.Random(seed)
        self.lost = self.sent = 0

    def __call__(self, host: str, port: int, *, offload: bool | None = None) -> Datagrams:
        return _Lossy(self, random.Random(self._seeds.random()), host, port, offload=offload)


class _Lossy(Datagrams):
    def __init__(
        self, losses: Losses, dice: random.Random, host: str, port: int, *, offload: bool | None = None
    ) -> None:
        super().__init__(host, port, offload=offload)
        self._losses = losses
        self._dice = dice

    def send(self, burst: Burst) -> int:
        """What is lost was taken: the sender cannot know."""
        passing = [number for number in range(burst.count) if self._dice.random() >= LOSS]
        self._losses.sent += burst.count
        self._losses.lost += burst.count - len(passing)
        if len(passing) == burst.count:
            return super().send(burst)
        for number in passing:
            buffers = burst.buffers[2 * number : 2 * number + 2]
            single = Burst(burst.address, buffers, sum(map(len, buffers)), burst.dont_fragment)
            if not super().send(single):
                return number
        return burst.count


def dial_once(nodes: list[Node]) -> list[Callable[[], None]]:
    """Of every pair one dials the other."""
    return [partial(node.connect, other) for node, other in itertools.combinations(nodes, 2)]


def dial_both_ways(nodes: list[Node]) -> list[Callable[[], None]]:
    """Everybody dials everybody."""
    return [partial(node.connect, other) for node, other in itertools.permutations(nodes, 2)]


def mesh(nodes: Nodes, size: int, calls: Callable[[list[Node]], list[Callable[[], None]]]) -> None:
    """Connect all, say four things on every link, each way, and stop."""
    crowd = [nodes.make(identity=Identity(), **PATIENT) for _ in range(size)]
    for call in calls(crowd):
        call()
    for node in crowd:
        node.wait(lambda node: len(node.news) >= size - 1, 400.0)

    def talk(node: Node) -> None:
        for message in MESSAGES:
            for other in crowd:
                if other is not node:
                    node.send(other, message)

    in_parallel([partial(talk, node) for node in crowd])
    for node, other in itertools.permutations(crowd, 2):
        node.expect_messages(other, MESSAGES)
    assert [node.count["LostConnection"] for node in crowd] == [0] * size
    # A call whose pair was connected by the other one's call is still under way: its peer must not go before.
    wait_until(lambda: not any(len(node.manager._core._dialer) for node in crowd))
    in_parallel([node.stop for node in crowd])
    assert [len(node.news) for node in crowd] == [size - 1] * size
    assert [event for node in crowd for event in node.log if isinstance(event, Event.ConnectionFailed)] == []


def lossy_mesh(
    nodes: Nodes,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    calls: Callable[[list[Node]], list[Callable[[], None]]],
    seed: int,
) -> None:
    losses = Losses(seed)
    monkeypatch.setattr("crust.transport.utp.udp_port.Datagrams", losses)
    mesh(nodes, size, calls)
    assert 0.5 * LOSS < losses.lost / losses.sent < 2 * LOSS


@pytest.mark.parametrize("transport", ["utp"], indirect=True)
@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)
@pytest.mark.parametrize("calls", [dial_once, dial_both_ways])
def test_eight_nodes(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, calls: Callable[[list[Node]], list[Callable[[], None]]]
) -> None:
    lossy_mesh(nodes, monkeypatch, 8, calls, SEED)


@pytest.mark.parametrize("transport", ["utp"], indirect=True)
def test_sixteen_nodes(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    lossy_mesh(nodes, monkeypatch, 16, dial_once, SEED)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("transport", ["utp"], indirect=True)
@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_a_mesh_of_sixty(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    lossy_mesh(nodes, monkeypatch, NODES, dial_once, seed)
