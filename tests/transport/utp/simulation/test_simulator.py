"""The simulation itself: the same seed gives the same run, links do what they are told, and faults are found."""

from random import Random

import pytest

from crust.transport.utp import receive_buffer
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.round_trip import RoundTrip
from tests.transport.utp.simulation.application import pattern
from tests.transport.utp.simulation.batch import run_some
from tests.transport.utp.simulation.chances import draw
from tests.transport.utp.simulation.clockwork import Clockwork, Hang
from tests.transport.utp.simulation.link import IP_AND_UDP, Conditions, Link, TooBig
from tests.transport.utp.simulation.scenario import run


class Carried:
    """What came through a link."""

    def __init__(self, conditions: Conditions) -> None:
        self.arrived: list[tuple[float, bytes]] = []
        self.complaints: list[TooBig] = []
        self.clockwork = Clockwork()
        self.link = Link(
            self.clockwork,
            conditions,
            Random(1),
            lambda datagram: self.arrived.append((self.clockwork.now, datagram)),
            self.complaints.append,
        )

    def send(self, count: int, size: int = 100, dont_fragment: bool = False) -> None:
        for number in range(count):
            self.link.send(number.to_bytes(4) * (size // 4), dont_fragment, self.clockwork.now)
        self.clockwork.run(1000.0)


def test_what_is_due_runs_in_order_and_time_jumps() -> None:
    clockwork = Clockwork()
    seen: list[object] = []
    clockwork.at(2.0, seen.append, "second")
    clockwork.at(1.0, seen.append, "first")
    clockwork.at(2.0, seen.append, "third")
    clockwork.after(9.0, seen.append, "too late")
    assert not clockwork.run(5.0)
    assert seen == ["first", "second", "third"]
    assert clockwork.now == 5.0
    assert clockwork.next_due == 9.0


def test_a_storm_of_events_is_a_failure() -> None:
    clockwork = Clockwork(most_steps=100)

    def again() -> None:
        clockwork.after(0.0, again)

    again()
    with pytest.raises(Hang, match="storm"):
        clockwork.run(1.0)


def test_a_clean_link_delays() -> None:
    carried = Carried(Conditions(delay=0.25))
    carried.send(3)
    assert [at for at, _ in carried.arrived] == [0.25] * 3


def test_a_rate_queues_and_drops_the_tail() -> None:
    carried = Carried(Conditions(rate=1000.0, delay=0.0, queue=500))
    carried.send(10, size=100)
    size = 100 + IP_AND_UDP
    assert [at for at, _ in carried.arrived] == pytest.approx([size / 1000.0 * number for number in (1, 2, 3)])
    assert carried.link.counts.overflowed == 7


@pytest.mark.parametrize(
    ("conditions", "low", "high"),
    [(Conditions(loss=0.3), 640, 760), (Conditions(duplicate=0.3), 1240, 1360), (Conditions(jitter=1.0), 1000, 1000)],
)
def test_chances_are_what_they_say(conditions: Conditions, low: int, high: int) -> None:
    carried = Carried(conditions)
    carried.send(1000)
    assert low <= len(carried.arrived) <= high


def test_jitter_keeps_the_order_or_not() -> None:
    for in_order in (True, False):
        carried = Carried(Conditions(jitter=1.0, in_order=in_order))
        carried.send(100)
        data = [datagram for _, datagram in carried.arrived]
        assert (data == sorted(data)) is in_order


def test_outages_and_changes_of_rate() -> None:
    carried = Carried(Conditions(rate=1e3, delay=0.0, outages=((0.0, 1.0),), rates=((2.0, 1e6),)))
    carried.send(1)
    assert not carried.arrived
    carried.clockwork.now = 3.0
    carried.send(1, size=972)
    assert carried.arrived[0][0] == pytest.approx(3.001)


@pytest.mark.parametrize(("cuts", "passes"), [(True, 0), (False, 1)])
def test_what_does_not_fit_is_cut_or_complained_about(cuts: bool, passes: int) -> None:
    carried = Carried(Conditions(mtu=100, icmp=True))
    carried.send(1, size=200, dont_fragment=cuts)
    assert len(carried.arrived) == passes
    assert len(carried.complaints) == 1 - passes


def test_damage_changes_packets() -> None:
    for conditions in (Conditions(flip=1.0), Conditions(truncate=1.0)):
        carried = Carried(conditions)
        carried.send(50)
        assert all(datagram != number.to_bytes(4) * 25 for number, (_, datagram) in enumerate(carried.arrived))


def test_the_pattern_is_its_own_continuation() -> None:
    whole = pattern(3, 0, 200_000)
    assert pattern(3, 70_000, 130_000) == whole[70_000:]
    assert pattern(3, 199_999, 1) == whole[-1:]
    assert pattern(4, 0, 1000) != whole[:1000]


def test_the_same_seed_gives_the_same_run() -> None:
    for seed in (3, 12):
        lines: list[list[str]] = [[], []]
        outcomes = [run(seed, kept.append) for kept in lines]
        assert outcomes[0] == outcomes[1]
        assert lines[0] == lines[1]


# --- a test must be able to fail: with a fault put in, these seeds find it -------------------------------------------


def found(fault: str, seeds: range = range(60)) -> str:
    summary = run_some(seeds)
    assert summary.failures, f"nobody noticed: {fault}"
    return "\n".join(summary.failures)


def test_a_receiver_that_forgets_what_came_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = receive_buffer.ReceiveBuffer.add

    def forgetful(self: receive_buffer.ReceiveBuffer, seq_nr: int, payload: bytes | memoryview) -> object:
        arrival = original(self, seq_nr, payload)
        if arrival is receive_buffer.Arrival.EARLY and seq_nr % 7 == 0:
            self._early[seq_nr] = bytes(len(payload))
        return arrival

    monkeypatch.setattr(receive_buffer.ReceiveBuffer, "add", forgetful)
    assert "other bytes than were sent" in found("wrong bytes")


def test_an_acknowledgement_that_is_never_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = UtpConnection.receive

    def deaf(self: UtpConnection, packet: object, now: float) -> None:
        if self.stats().packets_received != 3:
            original(self, packet, now)  # type: ignore[arg-type]

    monkeypatch.setattr(UtpConnection, "receive", deaf)
    found("a connection that is deaf after three packets")


def test_needless_repetitions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(seed for seed in range(100) if draw(seed).clean and draw(seed).there.delay > 0.005)
    monkeypatch.setattr(RoundTrip, "timeout", property(lambda self: 0.005))
    assert "sent twice over links that lose nothing" in found("a timeout of 5 ms", range(seed, seed + 1))
