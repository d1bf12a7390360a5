"""The search for the largest packet that passes, along paths that swallow, tell, change or lose."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.constants import BLACK_HOLE_PAUSE, PROBE_AGAIN, PROBE_GAP, PROBE_TRIES
from crust.transport.utp.path_mtu import HEADERS_IPV4, HEADERS_IPV6, PathMtu

FLOOR, CEILING = 548, 1472


def search(path: PathMtu, limit: int, *, tells: bool = False, now: float = 0.0, rng: Random | None = None) -> list[int]:
    """Probe until the search is over, along a path that passes ``limit`` bytes; the sizes probed."""
    probed = []
    while (size := path.probe(now)) is not None:
        probed.append(size)
        path.probe_sent(size, now)
        assert path.probe(now) is None, "one probe at a time"
        if rng is not None and rng.random() < 0.2:
            path.probe_lost(now)
        elif size <= limit:
            path.probe_acked(now)
        elif tells:
            path.too_big(limit + HEADERS_IPV4, now)
        else:
            path.probe_lost(now)
        assert len(probed) < 100
    return probed


def test_a_path_as_wide_as_the_network_takes_one_probe() -> None:
    path = PathMtu(FLOOR, CEILING)
    assert path.size == FLOOR
    assert search(path, 1500) == [CEILING]
    assert path.size == CEILING


@given(limit=st.integers(FLOOR, CEILING), start=st.integers(0, 2000))
def test_the_size_found_passes_and_is_close_to_the_limit(limit: int, start: int) -> None:
    path = PathMtu(FLOOR, CEILING, start if start <= limit else None)
    probed = search(path, limit)
    assert limit - PROBE_GAP < path.size <= limit
    assert all(FLOOR < size <= CEILING for size in probed)
    assert len(probed) <= PROBE_TRIES * 7


@given(limit=st.integers(FLOOR, CEILING))
def test_a_path_that_tells_is_found_at_once(limit: int) -> None:
    path = PathMtu(FLOOR, CEILING)
    assert len(search(path, limit, tells=True)) <= 2
    assert path.size == limit


def test_a_probe_counts_as_too_large_when_it_was_lost_often_enough() -> None:
    path = PathMtu(FLOOR, CEILING)
    for _ in range(PROBE_TRIES - 1):
        path.probe_sent(CEILING, 0.0)
        path.probe_lost(0.0)
        assert path.probe(0.0) == CEILING
    path.probe_sent(CEILING, 0.0)
    path.probe_lost(0.0)
    assert path.probe(0.0) == (FLOOR + CEILING) // 2


@given(seed=st.integers(0, 2**32), limit=st.integers(FLOOR, CEILING))
def test_random_loss_never_leads_above_the_limit(seed: int, limit: int) -> None:
    path = PathMtu(FLOOR, CEILING)
    search(path, limit, rng=Random(seed))
    assert FLOOR <= path.size <= limit


def test_the_search_is_repeated() -> None:
    path = PathMtu(FLOOR, CEILING)
    search(path, 1000)
    assert path.probe(PROBE_AGAIN - 1) is None
    search(path, CEILING, now=PROBE_AGAIN + 1)
    assert path.size == CEILING
    assert path.probe(3 * PROBE_AGAIN) is None, "there is nothing above the ceiling"


def test_a_black_hole() -> None:
    path = PathMtu(FLOOR, CEILING)
    search(path, CEILING)
    assert path.black_hole(100.0)
    assert path.size == FLOOR
    assert not path.black_hole(101.0), "the floor is the floor"
    assert path.probe(100.0 + BLACK_HOLE_PAUSE - 1) is None
    search(path, 1300, now=100.0 + BLACK_HOLE_PAUSE)
    assert 1300 - PROBE_GAP < path.size <= 1300


@pytest.mark.parametrize("forged", [0, -5, 68, FLOOR - 1])
def test_less_than_the_floor_is_not_believed(forged: int) -> None:
    path = PathMtu(FLOOR, CEILING)
    search(path, CEILING)
    path.too_big(forged, 1.0)
    assert path.size == FLOOR
    search(path, CEILING, now=PROBE_AGAIN + 2)
    assert path.size == CEILING


def test_a_path_that_became_narrower_and_tells() -> None:
    path = PathMtu(FLOOR, CEILING)
    search(path, CEILING)
    path.too_big(1280 + HEADERS_IPV4, 5.0)
    assert path.size == 1280
    assert path.probe(6.0) is None
    path.too_big(1400 + HEADERS_IPV4, 7.0)
    assert path.size == 1280, "what is larger than what we send is no news"


def test_too_big_without_a_size() -> None:
    path = PathMtu(FLOOR, CEILING)
    path.probe_sent(CEILING, 0.0)
    path.too_big(None, 0.0)
    assert path.size == FLOOR
    assert path.probe(0.0) == (FLOOR + CEILING) // 2
    search(path, 1200)
    path.too_big(None, 1.0)
    assert path.size == FLOOR, "ordinary packets were too large, and nobody says how much"


def test_a_message_that_says_that_the_probe_would_pass_is_about_its_size_all_the_same() -> None:
    path = PathMtu(FLOOR, CEILING)
    path.probe_sent(1000, 0.0)
    path.too_big(1200, 0.0)
    size = path.probe(0.0)
    assert size is not None
    assert size < 1000


def test_answers_without_a_probe_change_nothing() -> None:
    path = PathMtu(FLOOR, CEILING)
    path.probe_acked(0.0)
    for _ in range(PROBE_TRIES):
        path.probe_lost(0.0)
    assert path.size == FLOOR
    assert path.probe(0.0) == CEILING


def test_a_floor_that_is_the_ceiling_is_not_searched() -> None:
    path = PathMtu(1300, 1200)
    assert path.size == 1300
    assert path.probe(1e6) is None


def test_the_headers_of_ipv6_are_longer() -> None:
    path = PathMtu(1232, 1452, headers=HEADERS_IPV6)
    path.probe_sent(1452, 0.0)
    path.too_big(1400, 0.0)
    assert path.probe(0.0) == 1352
