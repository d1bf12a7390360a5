"""`crust.links.pace`: a reader waits for the user, and for nobody else."""

from collections.abc import Callable

import pytest

from crust.links.connection_news import ReaderEnded, WriterEnded
from crust.links.pace import Pace
from tests.links.connection_bench import Bench, Make, idle_connection, live_connection
from tests.together import PATIENCE, Running, until

idle = pytest.fixture(idle_connection)
live = pytest.fixture(live_connection)


def test_who_is_not_too_far_ahead_does_not_wait() -> None:
    pace = Pace(100)
    for _ in range(5):
        pace.handed_over(100)
        pace.delivered(100)
    assert not pace.paused


def test_who_is_too_far_ahead_waits_until_enough_has_arrived() -> None:
    pace = Pace(100)
    waiting = Running(pace.handed_over, 301)
    until(lambda: pace.paused)
    for _ in range(2):
        pace.delivered(100)
        assert pace.paused
    pace.delivered(1)
    waiting.result()
    assert not pace.paused


def test_nobody_waits_after_the_end() -> None:
    pace = Pace(100)
    pace.end()
    pace.handed_over(1_000)
    pace.wait(PATIENCE)
    assert not pace.paused


@pytest.mark.parametrize("waits", [lambda pace: pace.handed_over(1_000), lambda pace: pace.wait(1_000.0)])
def test_who_waits_wakes_for_the_end(waits: Callable[[Pace], None]) -> None:
    pace = Pace(100)
    waiting = Running(waits, pace)
    until(lambda: pace.paused)
    pace.end()
    waiting.result()
    assert not pace.paused


def test_a_while_ends_by_itself() -> None:
    pace = Pace(100)
    Running(pace.wait, 0.01).result()
    assert not pace.paused


# --- with a connection ----------------------------------------------------------------------------------


@pytest.fixture
def paused(live: Make) -> Bench:
    """A connection whose reader has handed over more than the user has taken."""
    bench = live(max_waiting_bytes=1_000)
    bench.peer.send_messages(bytes(2_000))
    until(lambda: bench.connection.pace.paused)
    return bench


def test_reading_pauses_until_the_user_has_taken(paused: Bench) -> None:
    bench = paused
    _, _, weight = bench.next()
    bench.peer.send_messages(b"waits")
    bench.connection.delivered(weight - 1_001)  # still one byte too much
    assert bench.connection.pace.paused
    received = bench.connection.info().bytes_received
    assert bench.inbox.empty()
    bench.connection.delivered(1_001)
    assert bench.batch() == [b"waits"]
    assert bench.connection.info().bytes_received > received


@pytest.mark.parametrize("end", ["finish", "abort"])
def test_a_paused_reader_wakes_for_the_end(paused: Bench, end: str) -> None:
    paused.next()
    getattr(paused.connection, end)()
    paused.peer.sock.close()
    ended = {type(paused.next()), type(paused.next())}
    assert ended == {ReaderEnded, WriterEnded}
