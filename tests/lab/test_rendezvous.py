"""Two peers behind routers that let nobody in meet when both dial at once."""

import pytest

from tests.lab.namespaces import Lab
from tests.lab.rendezvous_program import TIMEOUT, Meeting, Met
from tests.lab.routers import Nat, home
from tests.lab.wiring import switch

pytestmark = pytest.mark.lab


def meet(lab: Lab, nats: tuple[Nat, Nat], later: float = 0.0, timeout: float = TIMEOUT) -> tuple[Met, Met]:
    """Peers behind two routers dial each other's outside address, the second one ``later`` seconds after the first."""
    wan = switch(lab, "wan")
    first = home(lab.node("left"), wan, "11.1.1.2/24", "192.168.1", nats[0])
    second = home(lab.node("right"), wan, "11.1.1.3/24", "192.168.2", nats[1])
    meetings = (
        Meeting(first, 5001, "11.1.1.3", 5002, 0.0, timeout),
        Meeting(second, 5002, "11.1.1.2", 5001, later, timeout),
    )
    for meeting in meetings:
        meeting.go()
    return meetings[0].result(), meetings[1].result()


@pytest.mark.parametrize("later", [0.0, 0.3, 2.5])
def test_two_behind_home_routers_meet(lab: Lab, later: float) -> None:
    first, second = meet(lab, (Nat.HOME, Nat.HOME), later)
    assert (first.error, second.error) == ("", "")
    assert (first.greeting, second.greeting) == ("from 5002", "from 5001")
    assert first.initiator != second.initiator


def test_two_behind_symmetric_routers_do_not_meet_and_are_told(lab: Lab) -> None:
    first, second = meet(lab, (Nat.SYMMETRIC, Nat.SYMMETRIC), timeout=5.0)
    assert first.error
    assert second.error
