"""Both sides dial: SYNs that cross, that come late, that a NAT keeps out, and always one connection in the end."""

from random import Random

import pytest

from crust.transport.utp.packet import PacketType
from crust.transport.utp.states import State
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.network import Nat
from tests.transport.utp.simulation.pair import End, Pair, of_kind, only_once


@pytest.fixture(params=[False, True], ids=["not listening", "listening"])
def listens(request: pytest.FixtureRequest) -> bool:
    """Whether the sides would also accept anybody who dials them: it must make no difference."""
    return bool(request.param)


def met(pair: Pair, listens: bool, late: float = 0.0, patience: float = 30.0) -> tuple[End, End]:
    """Both dial, the second one so much later; bytes go both ways, and nobody else appears."""
    pair.first.mux.accepting = pair.second.mux.accepting = listens
    pair.second.on_accept = None
    first = pair.dial(pair.first, rendezvous=True, salt=1)
    pair.pass_time(late)
    second = pair.dial(pair.second, rendezvous=True, salt=2)
    first.send(10_000)
    second.send(10_000)
    pair.until(lambda: len(first.received) == 10_000 and len(second.received) == 10_000, patience)
    assert bytes(second.received) == first.sent
    assert bytes(first.received) == second.sent
    assert first.connection.state is State.CONNECTED
    assert second.connection.state is State.CONNECTED
    assert not pair.first.mux.accepted, "the one connection is the one that was dialled"
    assert not pair.second.mux.accepted
    assert len(pair.first.mux) == len(pair.second.mux) == 1
    return first, second


def parted(pair: Pair, first: End, second: End) -> None:
    first.finish()
    second.finish()
    pair.until(lambda: pair.closed(first, second) and pair.forgotten)
    assert first.connection.error is None
    assert second.connection.error is None


@pytest.mark.parametrize("late", [0.0, 0.003, 0.009, 0.011, 0.021, 0.3, 2.0])
def test_both_dial(late: float, listens: bool) -> None:
    pair = Pair(Conditions(delay=0.010))
    parted(pair, *met(pair, listens, late))


@pytest.mark.parametrize("late", [0.0, 0.05, 0.25, 1.0, 3.0])
def test_both_dial_behind_nats(late: float, listens: bool) -> None:
    """What comes before the own side has sent is kept out."""
    pair = Pair(Conditions(delay=0.05), nats=(Nat(), Nat()))
    begun = pair.clockwork.now
    first, second = met(pair, listens, late)
    assert pair.clockwork.now - begun - late < 1.5, "it takes a few round trips once both have begun"
    parted(pair, first, second)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("late", [0.0, 0.04, 1.0])
def test_only_one_is_behind_a_nat(which: int, late: float, listens: bool) -> None:
    pair = Pair(Conditions(delay=0.05), nats=(Nat() if which == 0 else None, Nat() if which == 1 else None))
    parted(pair, *met(pair, listens, late))


@pytest.mark.parametrize("seed", range(40))
def test_whoever_has_the_greater_numbers(seed: int, listens: bool) -> None:
    """Which side plays which part follows from numbers drawn at random; all must work."""
    pair = Pair(Conditions(delay=0.02), seed=seed)
    parted(pair, *met(pair, listens, Random(seed).choice((0.0, 0.01, 0.03))))


@pytest.mark.parametrize("side", ["there", "back"])
@pytest.mark.parametrize("kind", [PacketType.SYN, PacketType.STATE, PacketType.DATA])
@pytest.mark.parametrize("lost", [1, 2])
def test_packets_of_a_rendezvous_are_lost(side: str, kind: PacketType, lost: int, listens: bool) -> None:
    pair = Pair(Conditions(delay=0.02))
    link = pair.there if side == "there" else pair.back
    link.drop = only_once(of_kind(kind), lost)
    parted(pair, *met(pair, listens))
    assert link.counts.dropped <= lost


@pytest.mark.parametrize("seed", range(20))
def test_a_rendezvous_over_bad_links(seed: int, listens: bool) -> None:
    bad = Conditions(delay=0.03, jitter=0.05, in_order=False, loss=0.2, duplicate=0.1)
    pair = Pair(bad, seed=seed, nats=(Nat(), Nat()))
    met(pair, listens, late=Random(seed).random(), patience=120.0)


class EqualAtFirst(Random):
    """The same first numbers, whatever the seed."""

    def getrandbits(self, bits: int, /) -> int:
        """Four times 77, then at random."""
        self.left: int = getattr(self, "left", 4) - 1
        return 77 if self.left >= 0 else super().getrandbits(bits)


def test_a_rendezvous_with_equal_numbers(listens: bool) -> None:
    """Both drew the same id and the same first number: the choice must still be the same on both sides."""
    pair = Pair(Conditions(delay=0.02), rngs=(EqualAtFirst(1), EqualAtFirst(2)))
    parted(pair, *met(pair, listens))


def test_the_other_side_dials_as_usual() -> None:
    """A SYN that comes to a side that waits for a rendezvous with that address is the rendezvous."""
    pair = Pair(Conditions(delay=0.02))
    first = pair.dial(pair.first, rendezvous=True, salt=1)
    second = pair.dial(pair.second, rendezvous=False, salt=2)
    first.send(1000)
    second.send(1000)
    pair.until(lambda: len(first.received) + sum(len(end.received) for end in pair.accepted) >= 1000, patience=20.0)


def test_a_rendezvous_that_the_other_side_never_keeps() -> None:
    pair = Pair(nats=(Nat(), Nat()))
    first = pair.dial(rendezvous=True)
    pair.until(lambda: pair.closed(first))
    assert first.connection.error is not None
    assert pair.forgotten
    assert len(pair.packets(PacketType.SYN)) < 500
