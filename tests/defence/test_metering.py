"""`crust.defence.metering`: two limits, at times that the test says."""

import pytest

from crust.defence.metering import (
    BURST_SECONDS,
    BYTES,
    CONTROLS,
    FAILURES,
    FINE,
    HANDSHAKES,
    HELD_BACK,
    LONGEST_FLOOD,
    MESSAGES,
    PATIENCE_FACTOR,
    READ_PAUSE,
    Alert,
    Bucket,
    Judgement,
    Limit,
    Meter,
    Meters,
)

RATE = 50.0
BURST = RATE * BURST_SECONDS[CONTROLS]


@pytest.fixture
def bucket() -> Bucket:
    made = Bucket(Limit(CONTROLS, RATE))
    assert made.charge(0, 1000.0) == FINE
    return made


def test_within_the_limit_nothing_follows(bucket: Bucket) -> None:
    for second in range(1000):
        assert bucket.charge(RATE, 1000.0 + second) == FINE


def test_a_burst_is_within_it(bucket: Bucket) -> None:
    assert bucket.charge(BURST, 1000.0) == FINE
    assert bucket.charge(1, 1000.0).alerts


def test_an_episode_is_reported_once_and_ends_when_the_bucket_is_full(bucket: Bucket) -> None:
    bucket.charge(BURST, 1000.0)
    (alert,) = bucket.charge(100, 1001.0).alerts
    assert alert == Alert(CONTROLS, BURST + 100, RATE)
    assert bucket.charge(60, 1002.0).alerts == ()
    assert bucket.charge(BURST, 1008.0).alerts == (), "it never was full again"
    assert bucket.charge(BURST + 1, 1100.0).alerts == (Alert(CONTROLS, BURST + 1, RATE),)


def test_the_pause_brings_the_rate_down_to_the_limit() -> None:
    """Whoever can be held back is, and then it never ends: a fast sender of bytes is slowed, not thrown out."""
    bucket = Bucket(Limit(BYTES, 1_000_000))
    now, total = 1000.0, 0
    bucket.charge(0, now)
    while total < 100_000_000:
        total += 300_000
        verdict = bucket.charge(300_000, now)
        assert verdict.over is None
        now += verdict.pause
    assert total / (now - 1000.0) == pytest.approx(1_111_111, rel=0.01)  # and ten seconds' worth at once


def batches(bucket: Bucket, amount: float, until: float) -> tuple[float, float]:
    """A sender that fills the network while we pause: each look finds so much. From 1000.0 until that moment.

    Returns: how much came, and when it was over, or ``until``.
    """
    now, total = 1000.0, 0.0
    bucket.charge(0, now)
    while now < until:
        total += amount
        verdict = bucket.charge(amount, now)
        if verdict.over is not None:
            return total, now
        now += max(verdict.pause, 0.001)
    return total, now


@pytest.mark.parametrize("kind", sorted(HELD_BACK))
@pytest.mark.parametrize(("limit", "batch"), [(200, 27_000), (10_000, 400_000), (200_000, 400_000), (200_000, 3_000)])
def test_who_fills_the_network_all_the_time_is_held_to_the_limit_and_stays(kind: str, limit: int, batch: int) -> None:
    """Whatever comes with one look, much or little: how much that is, is not for the sender to choose."""
    end = 1000.0 + LONGEST_FLOOD / 2
    total, now = batches(Bucket(Limit(kind, limit)), batch, end)
    assert now >= end
    assert total <= limit * (now - 1000.0 + BURST_SECONDS[kind]) + batch
    assert total >= limit * (now - 1000.0)


@pytest.mark.parametrize("kind", sorted(HELD_BACK))
@pytest.mark.parametrize(("limit", "batch"), [(200, 27_000), (200_000, 100_000)])
def test_who_has_to_be_held_back_for_too_long_has_to_go(kind: str, limit: int, batch: int) -> None:
    _, now = batches(Bucket(Limit(kind, limit)), batch, 1e9)
    assert LONGEST_FLOOD <= now - 1000.0 <= LONGEST_FLOOD + BURST_SECONDS[kind] + 2 * batch / limit


def test_who_falls_silent_in_between_may_go_on() -> None:
    """Each time until the bucket is full again: that is the end of an episode."""
    bucket, limit = Bucket(Limit(MESSAGES, 200)), 200
    for start in (0.0, 1e6, 2e6):
        bucket.charge(limit * BURST_SECONDS[MESSAGES] + limit * LONGEST_FLOOD, start)
        assert bucket.charge(1, start + LONGEST_FLOOD - 1.0).over is None


def test_who_is_seldom_above_the_limit_is_not_held_back_for_long() -> None:
    """What counts is the time in debt, not that of the episode, which lasts until the bucket is full."""
    bucket, limit = Bucket(Limit(MESSAGES, 200)), 200
    bucket.charge(limit * BURST_SECONDS[MESSAGES] + limit, 0.0)
    for second in range(2, 10_000):
        assert bucket.charge(limit, float(second)).over is None


def test_who_cannot_be_held_back_gets_into_debt_and_out(bucket: Bucket) -> None:
    now, seen = 1000.0, []
    while not seen or seen[-1].over is None:
        seen.append(bucket.charge(1000, now))
        now += seen[-1].pause
        assert len(seen) < 10
    assert [len(verdict.alerts) for verdict in seen] == [1, 0, 0, 0]
    assert [verdict.pause for verdict in seen] == [READ_PAUSE] * 4
    assert seen[-1].over is not None
    assert seen[-1].over.kind == CONTROLS


def test_however_much_comes_at_once_it_is_not_over_yet(bucket: Bucket) -> None:
    first = bucket.charge(100 * PATIENCE_FACTOR * BURST, 1000.0)
    assert (first.over, first.pause) == (None, READ_PAUSE)
    assert bucket.charge(1, 1000.0).over is not None


def test_looking_costs_nothing(bucket: Bucket) -> None:
    assert bucket.judge(1000.0) == FINE
    bucket.charge(100 * BURST, 1000.0)
    for _ in range(3):
        assert bucket.judge(1000.0).over is not None
    assert bucket.judge(1000.0 + 97 * BURST / RATE).pause == READ_PAUSE
    assert bucket.judge(1000.0 + 97 * BURST / RATE).over is None
    assert bucket.judge(1000.0 + 97 * BURST / RATE, 0.0).over is not None, "without patience"
    assert bucket.judge(1000.0 + 99 * BURST / RATE, 0.0) == FINE


def test_a_clock_that_stands_still_or_goes_back_gives_nothing(bucket: Bucket) -> None:
    bucket.charge(BURST + 1, 1000.0)
    assert bucket.charge(1, 900.0).pause == pytest.approx(2 / RATE)


def test_a_meter_has_what_is_limited() -> None:
    meter = Meter([Limit(BYTES, 0), Limit(MESSAGES, 10), Limit(CONTROLS, 1)])
    assert meter.kinds == {MESSAGES, CONTROLS}
    assert meter.charge({BYTES: 10**12, MESSAGES: 1}, 1000.0) == FINE
    both = meter.charge({MESSAGES: 1000, CONTROLS: 1000}, 1000.0)
    assert {alert.kind for alert in both.alerts} == {MESSAGES, CONTROLS}
    assert both.pause == pytest.approx(90.1), "the longer one: that of the kind that is held back"


def test_judgements_together() -> None:
    alert, other = Alert(BYTES, 2, 1), Alert(CONTROLS, 3, 1)
    assert FINE | FINE == FINE
    assert Judgement(1.0, (alert,), None) | Judgement(2.0, (other,), other) == Judgement(2.0, (alert, other), other)


def test_each_has_a_meter_and_old_ones_are_forgotten() -> None:
    meters = Meters([Limit(HANDSHAKES, 1)], most=2)
    for who in ("first", "second", "third"):
        assert meters.charge(who, {HANDSHAKES: 1}, 1000.0) == FINE
        assert meters.charge(who, {HANDSHAKES: 40}, 1000.0).alerts
    assert len(meters) == 2
    assert meters.judge("third", 1000.0).pause
    assert meters.judge("first", 1000.0) == FINE


def test_every_kind_has_a_burst() -> None:
    for kind, seconds in BURST_SECONDS.items():
        assert Bucket(Limit(kind, 100)).charge(100 * seconds, 1000.0) == FINE
    assert BURST_SECONDS[FAILURES] >= 1
