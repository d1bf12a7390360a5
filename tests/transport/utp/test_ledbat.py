"""The congestion window: its rules one by one, then alone, with others, and with loss, through a simulated bottleneck.

The simulation shows roughly what the lab with real links shows in earnest, and in a second.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.constants import (
    FIRST_SLOWDOWN,
    INITIAL_WINDOW,
    LATER_SLOWDOWNS,
    MIN_WINDOW,
    SLOW_START_DELAY,
    SLOWDOWN_SHARE,
    TARGET_DELAY,
)
from crust.transport.utp.ledbat import Ledbat
from tests.transport.utp.bottleneck import PACKET, Cubic, Network

MAXIMUM = 1 << 20
LEAST = MIN_WINDOW * PACKET
RTT = 0.04
MBIT = 1e6 / 8
MANY = 100
"""Packets: more than may be lost for nothing."""


def ledbat(window: float | None = None) -> Ledbat:
    """One whose slow start is over, if a window is given."""
    found = Ledbat(PACKET, MAXIMUM)
    if window is not None:
        found.on_loss(0.0, RTT, 0.0, MANY)
        found.window = window
    return found


def ack_window(congestion: Ledbat, queueing: float, now: float = 1.0) -> float:
    """Acknowledge a window's worth of packets, and say how much was gained."""
    before = congestion.window
    for _ in range(int(before) // PACKET):
        congestion.on_ack(PACKET, int(congestion.window), queueing, RTT, now)
    return congestion.window - before


def leave_slow_start(congestion: Ledbat, now: float) -> None:
    """Acknowledge until the window no longer doubles."""
    for _ in range(20):
        if congestion.slow_start:
            ack_window(congestion, 0.0, now)


# --- the rules --------------------------------------------------------------------------------------------------------


def test_slow_start_doubles_until_packets_wait() -> None:
    congestion = ledbat()
    assert congestion.window == INITIAL_WINDOW * PACKET
    assert ack_window(congestion, 0.0) == INITIAL_WINDOW * PACKET
    assert ack_window(congestion, SLOW_START_DELAY) == 2 * INITIAL_WINDOW * PACKET
    assert congestion.slow_start
    ack_window(congestion, SLOW_START_DELAY + 0.001)
    assert not congestion.slow_start
    assert congestion.window == pytest.approx(2 * INITIAL_WINDOW * PACKET, abs=2 * PACKET)  # what made them wait


def test_with_an_empty_queue_a_packet_is_gained_each_round_trip() -> None:
    assert ack_window(ledbat(50 * PACKET), 0.0) == pytest.approx(PACKET, rel=0.02)
    assert ack_window(ledbat(50 * PACKET), TARGET_DELAY / 2) == pytest.approx(PACKET / 8, rel=0.02)
    assert ack_window(ledbat(50 * PACKET), TARGET_DELAY) == 0.0


def test_above_the_target_the_larger_window_loses_more() -> None:
    small, large = (ack_window(ledbat(window * PACKET), 1.2 * TARGET_DELAY) for window in (20, 100))
    assert large < 4 * small < 0
    assert large == pytest.approx(-0.2 * 100 * PACKET, rel=0.15)


def test_it_never_loses_more_than_half_in_a_round_trip_nor_goes_below_the_least() -> None:
    congestion = ledbat(100 * PACKET)
    assert ack_window(congestion, 50.0) >= -0.5 * 100 * PACKET
    for _ in range(20):
        ack_window(congestion, 50.0)
    assert congestion.window == LEAST


def test_a_window_that_is_not_used_does_not_grow() -> None:
    congestion = ledbat(50 * PACKET)
    congestion.on_ack(PACKET, 24 * PACKET, 0.0, RTT, 1.0)
    assert congestion.window == 50 * PACKET
    congestion.on_ack(PACKET, 26 * PACKET, 0.0, RTT, 1.0)
    assert congestion.window > 50 * PACKET


def test_the_window_has_a_maximum() -> None:
    congestion = ledbat()
    for _ in range(30):
        ack_window(congestion, 0.0)
    assert congestion.window == MAXIMUM


@pytest.mark.parametrize(
    ("queueing", "left"), [(0.0, 0.85), (TARGET_DELAY / 10, 0.675), (TARGET_DELAY / 5, 0.5), (2 * TARGET_DELAY, 0.3)]
)
def test_a_loss_costs_more_the_more_waits(queueing: float, left: float) -> None:
    congestion = ledbat(100 * PACKET)
    assert congestion.on_loss(1.0, RTT, queueing, MANY)
    assert congestion.window == pytest.approx(left * 100 * PACKET)


def test_few_losses_cost_nothing_while_the_queue_is_empty() -> None:
    congestion = ledbat(100 * PACKET)
    ack_window(congestion, 0.0)
    for second in range(1, 50):
        ack_window(congestion, 0.0, float(second))
        assert not congestion.on_loss(float(second), RTT, 0.0, 2)
    assert congestion.window > 100 * PACKET
    assert congestion.on_loss(100.0, RTT, 0.004), "a queue makes every loss count"


def test_more_than_one_in_fifty_costs() -> None:
    congestion, cuts = ledbat(100 * PACKET), 0
    for second in range(1, 50):
        for _ in range(100):
            congestion.on_ack(PACKET, int(congestion.window), 0.0, RTT, float(second))
        cuts += congestion.on_loss(float(second), RTT, 0.0, 4)
    assert cuts > 20


def test_losses_cannot_be_saved_up_for_long() -> None:
    congestion = ledbat(100 * PACKET)
    for second in range(100):
        ack_window(congestion, 0.0, float(second))
    assert congestion.on_loss(200.0, RTT, 0.0, 9)


def test_losses_within_a_round_trip_are_one() -> None:
    congestion = ledbat(100 * PACKET)
    assert congestion.on_loss(1.0, RTT, 0.0, MANY)
    assert not congestion.on_loss(1.0 + RTT / 2, RTT, 0.0)
    assert congestion.window == pytest.approx(85 * PACKET)
    assert congestion.on_loss(1.001 + RTT, RTT, 0.0)


def test_a_loss_ends_slow_start() -> None:
    congestion = ledbat()
    ack_window(congestion, 0.0)
    congestion.on_loss(1.0, RTT, 0.0, MANY)
    assert not congestion.slow_start


def test_a_time_out_begins_with_one_packet_and_doubles_to_half() -> None:
    congestion = ledbat(100 * PACKET)
    congestion.on_timeout(1.0)
    assert congestion.window == PACKET
    assert congestion.slow_start
    congestion.on_timeout(3.0)
    assert congestion.window == PACKET
    leave_slow_start(congestion, 4.0)
    assert congestion.window == pytest.approx(50 * PACKET, rel=0.02), "half of what it was before the first one"


def test_what_was_known_fades_in_silence() -> None:
    congestion = ledbat(100 * PACKET)
    congestion.on_idle(5.0, 1.0, 0.5)
    assert congestion.window == pytest.approx(25 * PACKET)
    assert congestion.slow_start
    leave_slow_start(congestion, 6.0)
    assert congestion.window == pytest.approx(75 * PACKET, rel=0.02)
    congestion.on_idle(100.0, 90.0, 0.5)
    assert congestion.window == INITIAL_WINDOW * PACKET
    small = ledbat(3 * PACKET)
    small.on_idle(100.0, 90.0, 0.5)
    assert small.window == 3 * PACKET


def test_the_pace_is_somewhat_more_than_a_window_each_round_trip() -> None:
    assert ledbat().pacing_rate(RTT) == 2.0 * INITIAL_WINDOW * PACKET / RTT
    assert ledbat(10 * PACKET).pacing_rate(RTT) == 1.25 * 10 * PACKET / RTT
    assert ledbat().pacing_rate(0.0) > 0


@given(
    st.lists(
        st.tuples(st.sampled_from("alti"), st.integers(0, 10**6), st.floats(0, 5), st.floats(0, 3), st.floats(0, 20)),
        max_size=60,
    )
)
def test_the_window_stays_within_its_bounds(happenings: list[tuple[str, int, float, float, float]]) -> None:
    congestion, now = ledbat(), 0.0
    for kind, size, queueing, rtt, later in happenings:
        now += later
        if kind == "a":
            congestion.on_ack(size, max(size, int(congestion.window)), queueing, rtt, now)
        elif kind == "l":
            congestion.on_loss(now, rtt, queueing)
        elif kind == "t":
            congestion.on_timeout(now)
        else:
            congestion.on_idle(now, later + 0.5, 0.5)
        assert PACKET <= congestion.window <= MAXIMUM
        assert congestion.pacing_rate(rtt) > 0


# --- slowdowns --------------------------------------------------------------------------------------------------------


def slowed_down(window: int = 100) -> tuple[Ledbat, float]:
    """One in the middle of a slowdown, and when."""
    congestion = ledbat()
    ack_window(congestion, SLOW_START_DELAY * 1.1, 0.0)
    congestion.window = float(window * PACKET)
    now = FIRST_SLOWDOWN + 0.01
    congestion.on_ack(PACKET, window * PACKET, 0.08, 0.12, now)
    return congestion, now


def test_a_slowdown_empties_the_way_and_goes_on_with_what_it_holds_without_a_queue() -> None:
    congestion, now = slowed_down()
    assert congestion.window == LEAST
    congestion.on_ack(50 * PACKET, 99 * PACKET, 0.05, 0.12, now + 0.06)
    assert congestion.window == LEAST, "half of it is still on its way"
    congestion.on_ack(47 * PACKET, 49 * PACKET, 0.02, 0.1, now + 0.12)
    congestion.on_ack(PACKET, 2 * PACKET, 0.02, 0.1, now + 0.13)
    assert congestion.window == LEAST, "nothing sent after it was empty has come back yet"
    congestion.on_ack(PACKET, 2 * PACKET, 0.0, 0.04, now + 0.17)
    assert congestion.window == pytest.approx(100 * PACKET * 0.04 / 0.12)
    assert not congestion.slow_start


def test_after_a_slowdown_in_which_the_queue_stays_full_it_goes_on_with_half() -> None:
    congestion, now = slowed_down()
    congestion.on_ack(98 * PACKET, 99 * PACKET, 0.06, 0.12, now + 0.12)
    congestion.on_ack(PACKET, 2 * PACKET, 0.06, 0.1, now + 0.31)
    assert congestion.window == LEAST, "the others may be about to join"
    congestion.on_ack(PACKET, 2 * PACKET, 0.06, 0.1, now + 0.33)
    assert congestion.window == pytest.approx(50 * PACKET * 0.1 / 0.12)


def growing(queueing: float) -> tuple[Ledbat, float]:
    """One that has had its first slowdown, and after it this queue; and when half of the pause has passed."""
    congestion, now = slowed_down()
    congestion.on_ack(98 * PACKET, 99 * PACKET, 0.0, 0.04, now + 0.12)
    congestion.on_ack(PACKET, 2 * PACKET, 0.0, 0.04, now + 0.2)
    for _ in range(40):
        ack_window(congestion, queueing, now + 0.3)
    return congestion, now + 0.2 + 0.2 * SLOWDOWN_SHARE / 2


def test_when_the_queue_falls_by_more_than_half_it_joins_the_slowdown_of_another() -> None:
    congestion, half = growing(0.06)
    congestion.on_ack(PACKET, int(congestion.window), 0.025, 0.065, half - 0.01)
    assert congestion.window > LEAST, "its own was just now"
    congestion.on_ack(PACKET, int(congestion.window), 0.04, 0.08, half + 0.01)
    assert congestion.window > LEAST, "two thirds of the queue are still there"
    congestion.on_ack(PACKET, int(congestion.window), 0.025, 0.065, half + 0.02)
    assert congestion.window == LEAST


def test_who_joins_gives_way_as_much_as_if_it_had_begun() -> None:
    congestion, half = growing(0.06)
    window, now = congestion.window, half + 0.01
    congestion.on_ack(PACKET, int(window), 0.02, 0.06, now)
    congestion.on_ack(int(window), int(window), 0.0, 0.04, now + 0.06)
    congestion.on_ack(PACKET, LEAST, 0.0, 0.04, now + 0.2)
    assert congestion.window == pytest.approx(window * 0.04 / 0.1, rel=0.02)


def test_a_short_queue_that_vanishes_is_no_slowdown_of_another() -> None:
    congestion, half = growing(SLOW_START_DELAY * 0.9)
    congestion.on_ack(PACKET, int(congestion.window), 0.0, 0.04, half + 0.01)
    assert congestion.window > LEAST


def test_an_answer_that_the_peer_kept_back_is_not_taken_for_a_queue() -> None:
    congestion, now = slowed_down()
    congestion.on_ack(98 * PACKET, 99 * PACKET, 0.0, 0.06, now + 0.12)
    congestion.on_ack(PACKET, 2 * PACKET, 0.0, 0.06, now + 0.2)
    assert congestion.window == pytest.approx(100 * PACKET * 0.04 / 0.12), "0.08 s were queueing"


def test_a_loss_in_a_slowdown_counts_for_what_comes_after_it() -> None:
    congestion, now = slowed_down()
    assert congestion.on_loss(now + 0.05, 0.12, 0.08)
    assert congestion.window == LEAST
    congestion.on_ack(98 * PACKET, 99 * PACKET, 0.0, 0.04, now + 0.12)
    congestion.on_ack(PACKET, 2 * PACKET, 0.0, 0.04, now + 0.2)
    assert congestion.window == pytest.approx(30 * PACKET * 0.04 / 0.12)


def test_a_time_out_or_silence_ends_a_slowdown() -> None:
    congestion, now = slowed_down()
    congestion.on_timeout(now + 1.0)
    assert congestion.window == PACKET
    leave_slow_start(congestion, now + 1.1)
    assert congestion.window == pytest.approx(50 * PACKET, rel=0.02)
    congestion, now = slowed_down()
    congestion.on_idle(now + 1.0, 0.5, 0.5)
    assert congestion.window == pytest.approx(50 * PACKET)


def test_no_slowdown_where_there_is_no_queue_or_no_window_to_speak_of() -> None:
    congestion = ledbat(100 * PACKET)
    for second in range(100):
        congestion.on_ack(PACKET, 100 * PACKET, SLOW_START_DELAY / 2, RTT, float(second))
        assert congestion.window > 99 * PACKET
    assert slowed_down(2 * MIN_WINDOW)[0].window == pytest.approx(2 * LEAST, rel=0.2)


def test_slowdowns_get_rarer_and_cost_little() -> None:
    network = Network(5 * MBIT, MBIT, RTT)
    flow = network.flow()
    network.run(60.0)
    slow = [when for when, window in flow.windows if window == LEAST]
    begins = [when for before, when in pairwise([0.0, *slow]) if when - before > 0.5]
    pauses = [later - sooner for sooner, later in pairwise(begins)]
    assert begins[0] < 3.0
    assert all(0.9 * sooner < later < 1.1 * LATER_SLOWDOWNS for sooner, later in pairwise(pauses))
    assert pauses[-1] == pytest.approx(LATER_SLOWDOWNS, rel=0.1)
    spent = sum(later - sooner for sooner, later in pairwise(slow) if later - sooner < 0.5)
    assert spent < 60.0 / SLOWDOWN_SHARE


# --- through a bottleneck ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "round_trip"), [(20, 0.04), (5, 0.01), (1, 0.04), (5, 0.15)])
def test_alone_it_fills_the_link_and_not_the_queue(rate: float, round_trip: float) -> None:
    network = Network(rate * MBIT, 0.2 * rate * MBIT, round_trip)
    flow = network.flow()
    network.run(15.0)
    assert flow.rate(3.0, 15.0) > 0.95 * rate * MBIT
    assert network.mean_queueing(3.0) < TARGET_DELAY
    assert max(waiting for when, waiting in network.queueing if when > 3.0) < 1.2 * TARGET_DELAY
    assert network.dropped == flow.cuts == flow.timeouts == 0


@pytest.mark.parametrize("tcp_first", [False, True])
def test_beside_tcp_it_yields(tcp_first: bool) -> None:
    """From when TCP has filled the queue, for which it needs a while."""
    network = Network(10 * MBIT, 2 * MBIT, RTT)
    flow = network.flow(2.0 if tcp_first else 0.0)
    tcp = network.flow(0.0 if tcp_first else 2.0, Cubic())
    network.run(30.0)
    assert tcp.rate(15.0, 30.0) > 0.9 * 10 * MBIT
    assert tcp.rate(3.0, 30.0) > 0.8 * 10 * MBIT
    assert flow.rate(15.0, 30.0) > 0


@pytest.mark.parametrize(("late", "round_trip"), [(0.0, 0.04), (5.0, 0.04), (5.0, 0.01)])
def test_two_share_alike_however_late_the_second_one_comes(late: float, round_trip: float) -> None:
    network = Network(10 * MBIT, 2 * MBIT, round_trip)
    first, second = network.flow(), network.flow(late)
    network.run(late + 25.0)
    rates = first.rate(late + 5.0, late + 25.0), second.rate(late + 5.0, late + 25.0)
    assert min(rates) > 0.4 * sum(rates)
    assert sum(rates) > 0.95 * 10 * MBIT
    assert network.mean_queueing(late + 5.0) < TARGET_DELAY


@pytest.mark.parametrize("late", [0.5, 3.3, 8.0])
def test_two_come_to_slow_down_together(late: float) -> None:
    network = Network(5 * MBIT, MBIT, RTT)
    flows = network.flow(), network.flow(late)
    network.run(late + 25.0)
    slow = [{round(when, 1) for when, window in flow.windows if window == LEAST and when > 20} for flow in flows]
    assert slow[0]
    assert slow[0] & slow[1], slow


def test_without_slowdowns_the_late_comer_would_take_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would show if nothing were done about it."""
    monkeypatch.setattr(Ledbat, "_slow_down", lambda *_: False)
    network = Network(2 * MBIT, 0.4 * MBIT, RTT)
    first, second = network.flow(), network.flow(5.0)
    network.run(30.0)
    assert first.rate(20.0, 30.0) < 0.2 * second.rate(20.0, 30.0)


@pytest.mark.parametrize("loss", [0.001, 0.01, 0.03])
def test_where_packets_are_lost_at_random_it_is_faster_than_tcp(loss: float) -> None:
    rates = []
    for congestion in (None, Cubic()):
        network = Network(20 * MBIT, 4 * MBIT, RTT, loss, seed=7)
        flow = network.flow(congestion=congestion)
        network.run(20.0)
        rates.append(flow.rate(0.0, 20.0))
    assert rates[0] > 1.2 * rates[1]


def test_a_short_queue_is_shared_with_tcp() -> None:
    """Where the queue is much shorter than the target only losses tell, and then nobody takes everything."""
    network = Network(10 * MBIT, 0.02 * 10 * MBIT, RTT)
    flow, tcp = network.flow(), network.flow(0.0, Cubic())
    network.run(40.0)
    assert 0.15 < flow.rate(5.0, 40.0) / (flow.rate(5.0, 40.0) + tcp.rate(5.0, 40.0)) < 0.5


@pytest.mark.parametrize("drift", [100e-6, -100e-6])
def test_clocks_that_drift_do_no_harm(drift: float) -> None:
    """100 ppm, as bad as clocks get, for long enough to matter."""
    network = Network(2 * MBIT, 0.4 * MBIT, RTT)
    flow = network.flow(drift=drift)
    network.run(90.0)
    assert flow.rate(3.0, 90.0) > 0.95 * 2 * MBIT
    assert network.mean_queueing(3.0) < TARGET_DELAY
