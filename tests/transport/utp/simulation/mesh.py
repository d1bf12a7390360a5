"""Every node connects to every other one, and a few messages go over each connection, both ways, with loss.

python -m tests.transport.utp.simulation.mesh --nodes 60 --runs 200
"""

import argparse
import multiprocessing
import os
import sys
from dataclasses import dataclass
from random import Random

from crust.transport.utp.burst import Address
from crust.transport.utp.connection import UtpConnection
from tests.transport.utp.simulation.application import Application, Plan
from tests.transport.utp.simulation.clockwork import Hang
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.network import Nat, Network
from tests.transport.utp.simulation.node import Node

DEADLINE = 600.0  # seconds of virtual time
STEPS_PER_CONNECTION = 2000  # of the clockwork: beyond it is a storm


@dataclass(frozen=True, slots=True)
class Run:
    """One mesh.

    Args:
        seed: of everything left to chance.
        nodes: how many.
        messages: on each connection, each way.
        loss: share of packets lost, each way.
        rendezvous: all are behind NATs, and both sides of each connection dial.
    """

    seed: int
    nodes: int = 60
    messages: int = 4
    loss: float = 0.05
    rendezvous: bool = False


@dataclass(frozen=True, slots=True)
class Met:
    """What came of it."""

    connections: int
    seconds: float
    packets: int
    lost: int
    wrong: list[str]
    """What did not arrive or should not have."""


class Mesh:
    """Builds the nodes, lets all of them dial, and looks at what each side got."""

    def __init__(self, run: Run) -> None:
        rng = self._rng = Random(f"mesh {run.seed}")
        self._run = run
        conditions = Conditions(delay=0.02, jitter=0.02, in_order=False, loss=run.loss)
        self.network = Network(f"mesh {run.seed}", conditions)
        self.nodes = [self.network.add(nat=Nat() if run.rendezvous else None) for _ in range(run.nodes)]
        self._index: dict[Address, int] = {node.address: number for number, node in enumerate(self.nodes)}
        self.sides: dict[tuple[int, int], Application] = {}
        self.wrong: list[str] = []
        connections = run.nodes * (run.nodes - 1) // 2
        self.network.clockwork.most_steps = STEPS_PER_CONNECTION * connections
        for number, node in enumerate(self.nodes):
            if not run.rendezvous:
                node.on_accept = lambda connection, number=number: self._use(number, connection)
            for other in range(run.nodes if run.rendezvous else number):
                if other == number:
                    continue
                self.network.clockwork.at(rng.random(), self._dial, number, other)

    def _dial(self, own: int, other: int) -> None:
        node = self.nodes[own]
        address, rendezvous = self.nodes[other].address, self._run.rendezvous
        self._use(own, node.mux.connect(address, node.now, rendezvous=rendezvous))
        node.wake()

    def _use(self, own: int, connection: UtpConnection) -> None:
        other = self._index[connection.address]
        if (own, other) in self.sides:
            self.wrong.append(f"{own} got a second connection with {other}")
            return
        messages = [self._rng.randint(1, 3000) for _ in range(self._run.messages)]
        plan = Plan(total=sum(messages), largest_write=max(messages), writing_pauses=0.7, longest_pause=0.5)
        salts = own * self._run.nodes + other, other * self._run.nodes + own
        rng = Random(self._rng.getrandbits(64))
        clockwork, node = self.network.clockwork, self.nodes[own]
        self.sides[own, other] = Application(clockwork, node, connection, plan, *salts, rng)

    def met(self) -> Met:
        """Let it happen."""
        clockwork = self.network.clockwork
        wanted = self._run.nodes * (self._run.nodes - 1)
        try:
            while len(self.sides) < wanted or not all(side.over for side in self.sides.values()):
                if clockwork.now >= DEADLINE:
                    self.wrong.append(f"not over after {DEADLINE} s")
                    break
                clockwork.run(clockwork.now + 1.0)
        except Hang as error:
            self.wrong.append(str(error))
        for (own, other), side in sorted(self.sides.items()):
            there = self.sides.get((other, own))
            if side.wrong or side.connection.error or there is None or side.received != there.plan.total:
                self.wrong.append(f"{own} with {other}: {side}, {side.wrong}, {side.connection.error!r}")
        self.wrong += [f"{node.address} still has {len(node.mux)} connections" for node in self.nodes if len(node.mux)]
        return Met(wanted // 2, clockwork.now, *self._packets(self.nodes), self.wrong)

    def _packets(self, nodes: list[Node]) -> tuple[int, int]:
        links = [self.network.link(a.address, b.address) for a in nodes for b in nodes if a is not b]
        return sum(node.packets_sent for node in nodes), sum(link.counts.lost for link in links)


def meet(run: Run) -> Met:
    """One mesh, from dialling to the last end."""
    return Mesh(run).met()


def main() -> int:
    """Run as many as asked for; 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.transport.utp.simulation.mesh", description=__doc__)
    parser.add_argument("--nodes", type=int, default=60)
    parser.add_argument("--loss", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0, help="of the first run (default: 0)")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    runs = [Run(seed, arguments.nodes, loss=arguments.loss) for seed in seeds]
    failed = packets = 0
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for run, met in zip(runs, pool.imap(meet, runs), strict=True):
            failed += bool(met.wrong)
            packets += met.packets
            if met.wrong:
                sys.stdout.write(f"seed {run.seed}:\n  " + "\n  ".join(met.wrong[:20]) + "\n")
    sys.stdout.write(f"{len(runs)} meshes of {arguments.nodes} nodes, {failed} failed; {packets} packets\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
