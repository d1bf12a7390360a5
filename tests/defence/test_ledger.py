"""`crust.defence.ledger`: what comes from an address, over all of its connections, at times that the test says."""

import pytest

from crust import Config
from crust.defence import ledger
from crust.defence.ledger import ADDRESS_FACTOR, Ledger
from crust.defence.metering import BURST_SECONDS, BYTES, CONTROLS, FAILURES, FINE, HANDSHAKES, PATIENCE_FACTOR
from tests.hand_clock import HandClock

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr(ledger, "now", made)
    return made


def test_all_connections_of_an_address_count_together() -> None:
    book = Ledger(Config(max_bytes_per_second=1000))
    allowed = int(1000 * ADDRESS_FACTOR * BURST_SECONDS[BYTES])
    for _ in range(10):
        assert book.traffic(HERE, {BYTES: allowed // 10}) == FINE
    (alert,) = book.traffic(HERE, {BYTES: 1}).alerts
    assert (alert.kind, alert.limit) == (BYTES, 1000 * ADDRESS_FACTOR)
    assert book.traffic(THERE, {BYTES: allowed}) == FINE


def test_a_network_of_ipv6_is_one_address() -> None:
    book = Ledger(Config(max_controls_per_second=1))
    for number in range(200):
        last = book.traffic(f"2001:db8::{number:x}", {CONTROLS: 1})
    assert last.pause
    assert book.traffic("2001:db8:0:1::1", {CONTROLS: 1}) == FINE


def test_handshakes_of_strangers_are_told_and_then_let_in_as_slowly_as_the_limit(clock: HandClock) -> None:
    """However often they come: to go away at once, before the end of the handshake, gains nothing."""
    book = Ledger(Config(max_handshakes_per_second=5))
    fine = int(5 * BURST_SECONDS[HANDSHAKES])
    assert [book.knock(HERE) for _ in range(fine)] == [FINE] * fine
    told = book.knock(HERE)
    assert [alert.kind for alert in told.alerts] == [HANDSHAKES]
    assert not told.over
    let_in = 0
    for _ in range(1000):
        clock.time += 0.01
        judgement = book.knock(HERE)
        let_in += not judgement.over
        assert not judgement.alerts
    assert let_in == pytest.approx(5 * 10, abs=2)
    assert book.knock(THERE) == FINE


def test_where_a_peer_is_known_handshakes_are_told_slowed_and_then_refused(clock: HandClock) -> None:
    book = Ledger(Config(max_handshakes_per_second=1))
    book.proved(HERE)
    fine = int(BURST_SECONDS[HANDSHAKES])
    assert [book.knock(HERE) for _ in range(fine)] == [FINE] * fine
    assert book.knock(HERE).alerts
    slowed = [book.knock(HERE) for _ in range(int(PATIENCE_FACTOR * fine))]
    assert all(judgement.pause and not judgement.alerts and not judgement.over for judgement in slowed[:-1])
    assert all(book.knock(HERE).over for _ in range(1000))
    clock.time += 2.0
    assert not book.knock(HERE).over, "who was not let in did not count"
    assert book.knock(THERE) == FINE


def test_failures_keep_strangers_out_but_nobody_where_a_peer_is_known() -> None:
    book = Ledger(Config())
    burst = int(BURST_SECONDS[FAILURES])
    alerts = [alert for _ in range(int((PATIENCE_FACTOR + 1) * burst) + 1) for alert in book.failed(HERE).alerts]
    assert [alert.kind for alert in alerts] == [FAILURES]
    assert book.knock(HERE).over
    assert not book.knows(HERE)
    book.proved(HERE)
    assert book.knows(HERE)
    assert book.knock(HERE) == FINE


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_KNOWN", 2)
    monkeypatch.setattr(ledger, "MAX_ADDRESSES", 2)
    book = Ledger(Config())
    for number in range(5):
        book.proved(f"192.0.2.{number}")
        book.knock(f"192.0.2.{number}")
        book.failed(f"192.0.2.{number}")
        book.traffic(f"192.0.2.{number}", {CONTROLS: 1})
    assert [book.knows(f"192.0.2.{number}") for number in range(5)] == [False] * 3 + [True] * 2
    assert [len(meters) for meters in (book._handshakes, book._failures, book._traffic)] == [2, 2, 2]


def test_without_limits_nothing_is_ever_too_much() -> None:
    book = Ledger(Config(max_controls_per_second=0, max_handshakes_per_second=0, max_failures_per_second=0))
    for _ in range(10_000):
        assert book.knock(HERE) == book.failed(HERE) == book.traffic(HERE, {CONTROLS: 1000}) == FINE


def test_who_only_claims_to_be_somebody_is_counted_apart() -> None:
    """What comes over tracer connections is not held against proven peers at the same address."""
    config = Config(max_handshakes_per_second=1, max_failures_per_second=1, max_controls_per_second=1)
    book = Ledger(config)
    for _ in range(10_000):
        book.knock(HERE, claimed=True)
        book.failed(HERE, claimed=True)
        book.traffic(HERE, {CONTROLS: 1000}, claimed=True)
    assert book.knock(HERE) == book.failed(HERE) == book.traffic(HERE, {CONTROLS: 1}) == FINE
    book.proved(HERE)
    assert book.knock(HERE, claimed=True).over, "and a proof of somebody there is none of theirs"
