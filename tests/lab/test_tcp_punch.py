"""TCP hole punching through NATs of the Linux kernel: one try each; `tests.lab.tcp_punch_figures` does many."""

import pytest

from tests.lab.attempts import attempts
from tests.lab.namespaces import Lab
from tests.lab.routers import Nat
from tests.lab.tcp_punch_figures import CASES, Pair

pytestmark = pytest.mark.lab

SOON = 3.0  # seconds after the later start


def meet(pair: Pair, late: float = 0.0) -> None:
    """Bytes go both ways, and everybody else who dials the listening ports is accepted all the time."""
    for attempt in attempts():
        met = pair.meet(late)
        assert not met.error, met
        assert [side.missed for side in met.sides] == [0, 0], met
        assert {side.way for side in met.sides} <= {"dialled", "accepted"}
        with attempt:
            assert met.seconds < SOON, met


PAIRS = [(Nat.NONE, Nat.HOME), (Nat.HOME, Nat.HOME), (Nat.HOME, Nat.ANSWERING), (Nat.ANSWERING, Nat.ANSWERING)]


@pytest.mark.parametrize("nats", PAIRS)
def test_a_connection_opens(lab: Lab, nats: tuple[Nat, Nat]) -> None:
    """With a round trip of 80 ms; whether both begin at the same time or not."""
    pair = Pair(lab, nats, 0.04)
    lates = [late for first, second, late in CASES.values() if (first, second) == nats]
    assert lates
    for late in lates:
        meet(pair, late)


def test_two_that_answer_and_are_next_to_each_other(lab: Lab) -> None:
    """With next to no time on the way, the moment in which both have a SYN there is short."""
    pair = Pair(lab, (Nat.ANSWERING, Nat.ANSWERING))
    meet(pair, 0.3)
    meet(pair)


def test_random_ports_are_not_passed(lab: Lab) -> None:
    """And it is said how each address fared."""
    met = Pair(lab, (Nat.SYMMETRIC, Nat.SYMMETRIC)).meet(seconds=1.2)
    for side in met.sides:
        assert side.error == "1 attempts at 1 addresses, 0 of them refused; nobody came through"
        assert [each.partition(": ")[2] for each in side.reasons] == [
            "no answer within 1.2 s: a router or firewall drops what we send"
        ]
        assert side.missed == 0
