"""Thousands of random networks and applications. A failure names its seed, and how to have it again."""

import os

import pytest

from tests.transport.utp.simulation.batch import Summary, run_all

QUICK = 200
SLOW = 4_000
LONG = 24_000  # the package's command runs any number
FIRST_SLOW = 1_000_000  # other seeds than the quick ones


def judged(summary: Summary, runs: int) -> None:
    assert summary.runs == runs
    assert not summary.failures, str(summary)
    # In one of ten somebody gives up or gets damaged packets; all but a few of the others end as they should, though
    # half of the links lose packets, up to three in ten.
    assert summary.complete >= runs * 0.85, str(summary)


def test_random_networks() -> None:
    judged(run_all(range(QUICK)), QUICK)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_random_networks() -> None:
    judged(run_all(range(FIRST_SLOW, FIRST_SLOW + SLOW), processes=os.cpu_count() or 1), SLOW)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_very_many_random_networks() -> None:
    judged(run_all(range(FIRST_SLOW, FIRST_SLOW + LONG), processes=os.cpu_count() or 1), LONG)
