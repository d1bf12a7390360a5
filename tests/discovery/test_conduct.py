"""Offences add up, are forgiven, and are reported once."""

import pytest

from crust.discovery.conduct import (
    FORGIVEN_PER_SECOND,
    MAX_OFFENDERS,
    MUTE_TIME,
    POINTS_LIMIT,
    Conduct,
    Offence,
)
from crust.identity import PeerId

PEER, OTHER = PeerId(b"p" * 32), PeerId(b"o" * 32)


@pytest.mark.parametrize("offence", Offence)
def test_who_goes_on_is_reported_once_and_muted(offence: Offence) -> None:
    conduct = Conduct()
    needed = -(-POINTS_LIMIT // offence.points)
    for _ in range(needed - 1):
        assert conduct.offence(PEER, offence, 5.0) is None
    assert not conduct.is_muted(PEER, 5.0)
    assert conduct.offence(PEER, offence, 5.0) == f"{offence.text} ({needed} times)"
    assert conduct.is_muted(PEER, 5.0)
    assert not conduct.is_muted(OTHER, 5.0)
    for _ in range(2 * needed):
        assert conduct.offence(PEER, offence, 6.0) is None
    assert not conduct.is_muted(PEER, 5.0 + MUTE_TIME)


def test_the_reason_names_all_that_was_done() -> None:
    conduct = Conduct()
    for offence in (Offence.OLD, Offence.FORGED, Offence.FORGED, Offence.FORGED, Offence.FORGED):
        assert conduct.offence(PEER, offence, 0.0) is None
    reason = conduct.offence(PEER, Offence.FORGED, 0.0)
    assert reason == f"{Offence.FORGED.text} (5 times); {Offence.OLD.text} (1 times)"
    assert conduct.counts(PEER) == {Offence.FORGED: 5, Offence.OLD: 1}
    assert conduct.counts(OTHER) == {}


def test_time_forgives() -> None:
    """An honest peer with a slow clock or bad luck is never reported, however long it goes on."""
    conduct = Conduct()
    pause = 1.1 * Offence.STALE.points / FORGIVEN_PER_SECOND
    for number in range(10 * POINTS_LIMIT):
        assert conduct.offence(PEER, Offence.STALE, number * pause) is None


def test_a_clock_that_stands_still_forgives_nothing() -> None:
    conduct = Conduct()
    reports = [conduct.offence(PEER, Offence.STALE, 0.0) for _ in range(POINTS_LIMIT)]
    assert reports[:-1] == [None] * (POINTS_LIMIT - 1)
    assert reports[-1]


def test_few_are_remembered() -> None:
    conduct = Conduct()
    conduct.offence(PEER, Offence.FORGED, 0.0)
    for number in range(2 * MAX_OFFENDERS):
        conduct.offence(PeerId(number.to_bytes(32, "big")), Offence.FLOOD, 0.0)
        assert len(conduct) <= MAX_OFFENDERS
    assert conduct.counts(PEER) == {}
