"""`crust.nat.outgoing`: the pure parts look alike to the thread that runs them."""

from crust.nat.outgoing import Machine, Outgoing
from crust.nat.punch import Punch
from crust.nat.punch_packet import PunchSeal
from crust.nat.punch_plan import Method, Plan
from crust.nat.survey import Survey


def test_all_machines_are_machines() -> None:
    machines: list[Machine] = [
        Survey([], (), 1, 0.0),
        Punch(Plan(Method.PROBE, (), 8.0), PunchSeal(bytes(32), True), True, 0.0),
    ]
    for machine, over in zip(machines, (True, False), strict=True):
        assert machine.over is over
        assert machine.outgoing() == []
        assert not machine.receive(b"nonsense", ("192.0.2.1", 1), 0.0, 1)


def test_most_datagrams_leave_from_the_port_of_utp() -> None:
    assert Outgoing(b"data", ("192.0.2.1", 1))[2:] == (0, None)
