"""One run: a seed drawn, two applications let loose on each other, and what came of it judged."""

from dataclasses import dataclass, field
from random import Random

from crust.errors import ConnectionLost, CrustError
from crust.transport.utp.connection import UtpConnection
from tests.transport.utp.simulation.application import Application, Plan
from tests.transport.utp.simulation.chances import Chances, NearTheWrap, draw
from tests.transport.utp.simulation.clockwork import Hang
from tests.transport.utp.simulation.network import Nat, Network, Trace
from tests.transport.utp.simulation.node import Node

DEADLINE = 1800.0
"""Seconds of virtual time after which a run that is not over hangs."""

FULL_PACKET = 500  # bytes, about, as long as nothing is known of the path

STRANGERS_STOP = 5.0
"""Seconds after which no strangers send anything any more."""

STEPS_PER_RUN = 4_000
STEPS_PER_PACKET = 25
"""So many events may a run take, and so many more for each full packet that its applications write: many losses,
pauses and timers. Beyond it is a storm."""


class Failed(AssertionError):
    """A run went wrong; the text says how to have it again."""


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    seed: int
    complete: bool
    """Whether every byte of both sides arrived and neither side saw an error."""
    seconds: float
    """Of virtual time until both sides were over."""
    steps: int
    packets: int
    written: int
    resent: int
    errors: list[str] = field(default_factory=list)


class Scenario:
    """One run of a seed."""

    def __init__(self, seed: int, trace: Trace | None = None, chances: Chances | None = None) -> None:
        self.seed = seed
        self.chances = chances or draw(seed)
        self.sides: list[Application | None] = [None, None]
        self._rng = Random(f"scenario {seed}")
        chances = self.chances
        self.network = network = Network(seed, trace=trace)
        self.nodes = [
            network.add(
                chances.settings[side],
                clock=chances.clocks[side],
                kernel=chances.kernels[side],
                nat=self._nat(side),
                rng=NearTheWrap(self._rng.getrandbits(64)),
            )
            for side in (0, 1)
        ]
        first, second = self.nodes
        network.set_link(first.address, second.address, chances.there)
        network.set_link(second.address, first.address, chances.back)
        full_packets = sum(plan.total for plan in chances.plans) // FULL_PACKET
        network.clockwork.most_steps = STEPS_PER_RUN + STEPS_PER_PACKET * full_packets

    def run(self) -> Outcome:
        """Let it happen and judge it.

        Raises:
            Failed: something is wrong; chained to what was raised, where something was.
        """
        try:
            self._start()
            self._let_it_end()
            return self._judged()
        except Exception as error:
            raise Failed(
                f"seed {self.seed} at {self.network.clockwork.now:.3f} s: {error!r}\nAgain, with every packet:\n"
                f"    python -m tests.transport.utp.simulation --seed {self.seed} --trace"
            ) from error

    def _nat(self, side: int) -> Nat | None:
        behind = self.chances.nats[side] and (side == 0 or self.chances.rendezvous is not None)
        return Nat(forgets_after=30.0) if behind else None

    # --- what happens ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        clockwork, chances = self.network.clockwork, self.chances
        rendezvous = chances.rendezvous is not None
        for side, node in enumerate(self.nodes):
            node.mux.accepting = chances.listens or not rendezvous
            node.on_accept = lambda connection, side=side: self._use(side, connection)
        clockwork.at(0.0, self._dial, 0, rendezvous)
        if chances.rendezvous is not None:
            clockwork.at(chances.rendezvous, self._dial, 1, True)
        for node in self.nodes if chances.strangers else ():
            clockwork.at(self._rng.random() / chances.strangers, self._stranger, node)

    def _dial(self, side: int, rendezvous: bool) -> None:
        if self.sides[side] is not None:
            return  # they came before we dialled
        node, other = self.nodes[side], self.nodes[1 - side]
        self._use(side, node.mux.connect(other.address, node.now, rendezvous=rendezvous))
        node.wake()

    def _use(self, side: int, connection: UtpConnection) -> None:
        if self.sides[side] is not None:
            # Damaged or repeated SYNs make connections that nobody dialled; they must go away by themselves.
            self.nodes[side].mux.fail(connection, ConnectionLost("nobody dialled this"), self.nodes[side].now)
            return
        rng = Random(self._rng.getrandbits(64))
        plan = self.chances.plans[side]
        clockwork, node = self.network.clockwork, self.nodes[side]
        self.sides[side] = Application(clockwork, node, connection, plan, side, 1 - side, rng)

    def _stranger(self, node: Node) -> None:
        """Something arrives from anywhere: noise, or a header of a kind that exists."""
        clockwork, rng = self.network.clockwork, self._rng
        noise = rng.randbytes(rng.choice((0, 1, 19, 20, 24, 60, 500)))
        if rng.random() < 0.7:
            noise = bytes([rng.randrange(5) << 4 | 1, rng.choice((0, 0, 1, 2, 3))]) + noise
        source = rng.choice((("10.9.9.9", rng.randrange(1, 65536)), ("10.9.9.9", 1)))
        node.arrived(noise, source)
        if clockwork.now < STRANGERS_STOP:
            clockwork.after(rng.random() * 2.0 / self.chances.strangers, self._stranger, node)

    def _let_it_end(self) -> None:
        clockwork = self.network.clockwork
        while not self._over():
            if clockwork.now >= DEADLINE:
                raise Hang(f"not over after {DEADLINE} s: {self._standing()}")
            clockwork.run(min(clockwork.now + 10.0, DEADLINE))

    def _over(self) -> bool:
        first, second = self.sides
        if first is None or not first.over or (second is not None and not second.over):
            return False
        return not any(len(node.mux) for node in self.nodes)

    def _standing(self) -> str:
        return "; ".join(
            f"side {side}: {'never connected' if app is None else app}, {len(self.nodes[side].mux)} connections known"
            for side, app in enumerate(self.sides)
        )

    # --- what came of it ---------------------------------------------------------------------------------------------

    def _judged(self) -> Outcome:
        sides = [side for side in self.sides if side is not None]
        errors = [repr(side.connection.error) for side in sides if side.connection.error is not None]
        complete = len(sides) == 2 and not errors and not any(side.aborted for side in sides)
        if not self._may_lie():
            for side in sides:
                assert side.wrong is None, side.wrong
            for number, app in enumerate(self.sides):
                if app is not None:
                    self._judge(app, self.sides[1 - number])
        if self.chances.sure:
            assert complete, f"nothing justifies an error here: {errors}; {self._standing()}"
        outcome = Outcome(
            self.seed,
            complete,
            max((side.over_at or 0.0) for side in sides),
            self.network.clockwork.steps,
            sum(node.packets_sent for node in self.nodes),
            sum(side.written for side in sides),
            sum(side.connection.stats().retransmissions for side in sides),
            errors,
        )
        if self.chances.clean:
            self._judge_clean(outcome)
        return outcome

    def _may_lie(self) -> bool:
        return self.chances.there.damages or self.chances.back.damages

    @staticmethod
    def _judge(app: Application, other: Application | None) -> None:
        """What holds for one side whatever the network did: all of it and the end, or an error."""
        error = app.connection.error
        sent = 0 if other is None else other.written
        assert error is None or isinstance(error, CrustError), error
        assert app.received <= sent, f"{app.received} bytes arrived of {sent}"
        if app.saw_end:
            assert other is not None, "an end, and nobody there"
            assert other.finished, "an end that the other side did not make"
            assert app.received == sent, f"the end after {app.received} bytes of {sent}"
        elif not app.aborted:
            assert error is not None, f"closed without an error or an end, after {app.received} bytes of {sent}"

    def _judge_clean(self, outcome: Outcome) -> None:
        assert outcome.resent == 0, f"{outcome.resent} packets sent twice over links that lose nothing"
        plans = self.chances.plans
        needed = sum(plan.total // FULL_PACKET + plan.total // plan.largest_write for plan in plans)
        bound = 3 * (10 + needed) + outcome.seconds  # acknowledgements, windows, and dialling who is not there yet
        assert outcome.packets <= bound, f"{outcome.packets} packets where {needed} carry everything"


def run(seed: int, trace: Trace | None = None, chances: Chances | None = None) -> Outcome:
    """Run a seed; see `Scenario.run`."""
    return Scenario(seed, trace, chances).run()


__all__ = ["Failed", "Outcome", "Plan", "Scenario", "run"]
