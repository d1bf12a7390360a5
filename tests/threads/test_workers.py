"""`crust.threads.workers`: named threads, crash reports, and a bounded pool."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust.threads import clock, workers
from crust.threads.workers import WorkerPool, start_thread, why_no_thread
from tests.together import PATIENCE, Running, until


def pool_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("crust-pool-"))


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool("pool", 3)
    yield made
    made.close()
    assert made.join(PATIENCE)
    assert pool_threads() == []


class Job:
    """Runs until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._go = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self._go.wait(PATIENCE)

    def let_go(self) -> None:
        self._go.set()


def has_begun(job: Job) -> bool:
    return job.begun.wait(PATIENCE)


# --- threads ------------------------------------------------------------------------------------------


def test_a_thread_has_a_name_and_gets_its_arguments() -> None:
    found: list[Any] = []
    thread = start_thread("test", lambda *args: found.append((threading.current_thread().name, args)), 1, "two")
    thread.join(PATIENCE)
    assert found == [("crust-test", (1, "two"))]
    assert thread.daemon, "a script that forgets stop() must be able to end"


def test_a_crash_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    def crash() -> None:
        raise ValueError("a bug")

    start_thread("test", crash).join(PATIENCE)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "test crashed; please report this"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


# --- the pool -----------------------------------------------------------------------------------------


def test_jobs_run_and_threads_are_made_as_needed(pool: WorkerPool) -> None:
    assert pool_threads() == []
    jobs = [Job() for _ in range(3)]
    for number, job in enumerate(jobs, 1):
        assert pool.submit(job)
        assert has_begun(job)
        assert pool_threads() == [f"crust-pool-{made}" for made in range(1, number + 1)]
    for job in jobs:
        job.let_go()


def test_no_more_threads_than_its_size_and_the_rest_wait_in_order(pool: WorkerPool) -> None:
    blocking = [Job() for _ in range(3)]
    for job in blocking:
        pool.submit(job)
        assert has_begun(job)
    ran: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(20):
        pool.submit(lambda number=number: ran.put(number))  # type: ignore[misc]
    assert len(pool_threads()) == 3
    assert ran.empty()
    blocking[0].let_go()
    assert [ran.get(timeout=PATIENCE) for _ in range(20)] == list(range(20))
    for job in blocking:
        job.let_go()


def test_an_idle_thread_takes_the_next_job(pool: WorkerPool) -> None:
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    for _ in range(5):
        pool.submit(lambda: names.put(threading.current_thread().name))
        assert names.get(timeout=PATIENCE) == "crust-pool-1"
        until(lambda: pool._idle == 1)
    assert pool_threads() == ["crust-pool-1"]


def test_idle_threads_end_and_new_ones_are_made(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_WORKER_SECONDS", 0.01)
    for _ in range(3):
        jobs = [Job() for _ in range(3)]
        for job in jobs:
            pool.submit(job)
            assert has_begun(job)
        assert len(pool._threads) == 3
        for job in jobs:
            job.let_go()
        until(lambda: not pool._threads)
        until(lambda: not pool_threads())
    assert pool._idle == 0


def test_no_job_is_lost_when_threads_keep_going_idle(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that comes in the moment in which the last thread gives up waiting."""
    monkeypatch.setattr(workers, "IDLE_WORKER_SECONDS", 0.0002)
    done: queue.SimpleQueue[None] = queue.SimpleQueue()
    pause = threading.Event()
    for number in range(300):
        assert pool.submit(lambda: done.put(None))
        done.get(timeout=PATIENCE)
        pause.wait(number % 7 * 0.0001)
    until(lambda: not pool._threads)
    assert pool._idle == 0
    assert pool._wake.empty()


def test_many_submit_at_once(pool: WorkerPool) -> None:
    ran: queue.SimpleQueue[int] = queue.SimpleQueue()
    for submitting in [Running(lambda: [pool.submit(lambda: ran.put(1)) for _ in range(100)]) for _ in range(4)]:
        assert all(submitting.result())
    for _ in range(400):
        ran.get(timeout=PATIENCE)
    assert len(pool_threads()) <= 3


def test_a_job_that_crashes_is_logged_and_costs_no_thread(pool: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    def crash() -> None:
        raise ValueError("a bug")

    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    pool.submit(crash)
    pool.submit(lambda: names.put(threading.current_thread().name))
    assert names.get(timeout=PATIENCE)
    until(lambda: any(record.exc_info for record in caplog.records))
    assert "a job of pool crashed; please report this" in caplog.text
    assert "a bug" in caplog.text
    assert 1 <= len(pool_threads()) <= 2


def test_a_finished_job_is_forgotten(pool: WorkerPool) -> None:
    """An idle thread must not keep what its last job held."""
    import weakref

    class Held:
        pass

    held = Held()
    reference = weakref.ref(held)
    pool.submit(lambda held=held: None)  # type: ignore[misc]
    until(lambda: pool._idle == 1)
    del held
    until(lambda: reference() is None)


# --- its end ------------------------------------------------------------------------------------------


def test_closing_returns_what_nobody_has_begun() -> None:
    pool = WorkerPool("pool", 1)
    running, waiting = Job(), [Job(), Job()]
    for job in (running, *waiting):
        pool.submit(job)
    assert has_begun(running)
    assert pool.close() == waiting
    assert pool.close() == []
    assert not pool.submit(Job())
    assert not pool.join(0.001), "one still runs"
    running.let_go()
    assert pool.join(PATIENCE)
    assert not any(job.begun.is_set() for job in waiting)
    assert pool_threads() == []


def test_joining_takes_one_timeout_however_many_threads_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool("pool", 3)
    jobs = [Job() for _ in range(3)]
    for job in jobs:
        pool.submit(job)
        assert has_begun(job)
    pool.close()
    hand, given = 1000.0, []

    def hang(_: threading.Thread, timeout: float | None = None) -> None:
        nonlocal hand
        given.append(timeout)
        hand += timeout or 0.0

    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: hand)
        patch.setattr(threading.Thread, "join", hang)
        assert not pool.join(5.0)
    assert given == [5.0, 0.0, 0.0]
    for job in jobs:
        job.let_go()
    assert pool.join(PATIENCE)


def test_closing_wakes_idle_threads() -> None:
    pool = WorkerPool("pool", 3)
    jobs = [Job() for _ in range(3)]
    for job in jobs:
        pool.submit(job)
        assert has_begun(job)
    for job in jobs:
        job.let_go()
    until(lambda: pool._idle == 3)
    pool.close()
    assert pool.join(workers.IDLE_WORKER_SECONDS / 2), "without waiting for them to get tired"


def test_a_pool_that_was_never_used_closes() -> None:
    pool = WorkerPool("pool", 3)
    assert pool.close() == []
    assert pool.join(0)


def test_closing_while_others_submit_loses_no_job() -> None:
    """Each job ran, or was refused, or was given back."""
    for _ in range(20):
        pool = WorkerPool("pool", 2)
        ran: queue.SimpleQueue[int] = queue.SimpleQueue()

        def submit(pool: WorkerPool = pool, ran: "queue.SimpleQueue[int]" = ran) -> int:
            return sum(pool.submit(lambda: ran.put(1)) for _ in range(50))

        submitting = [Running(submit) for _ in range(2)]
        until(lambda ran=ran: not ran.empty())  # type: ignore[misc]
        given_back = len(pool.close())
        accepted = sum(each.result() for each in submitting)
        assert pool.join(PATIENCE)
        assert accepted == ran.qsize() + given_back


# --- no threads to be had --------------------------------------------------------------------------------


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets the system run out of threads, and have some again."""
    start = threading.Thread.start
    out = False

    def maybe(thread: threading.Thread) -> None:
        if out and thread.name.startswith("crust-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    def switch(to: bool) -> None:
        nonlocal out
        out = to

    monkeypatch.setattr(threading.Thread, "start", maybe)
    return switch


def test_the_first_thread_cannot_be_made(pool: WorkerPool, no_more_threads: Callable[[bool], None]) -> None:
    no_more_threads(True)
    job = Job()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        pool.submit(job)
    no_more_threads(False)
    other = Job()
    other.let_go()
    assert pool.submit(other)
    assert has_begun(other)
    until(lambda: pool._idle == 1)
    assert not job.begun.is_set(), "it was refused, so it must not run later"


def test_without_another_thread_the_job_waits_for_one(
    pool: WorkerPool, no_more_threads: Callable[[bool], None]
) -> None:
    running, waiting = Job(), Job()
    pool.submit(running)
    assert has_begun(running)
    no_more_threads(True)
    assert pool.submit(waiting)
    assert len(pool._threads) == 1
    waiting.let_go()
    running.let_go()
    assert has_begun(waiting)


def test_why_there_is_no_thread_and_what_to_do() -> None:
    assert why_no_thread(RuntimeError("can't start new thread"), " or wait") == (
        "can't start new thread: raise the limit of threads (ulimit -u) or wait"
    )
    ends = "can't create new thread at interpreter shutdown"  # no limit was met
    assert why_no_thread(RuntimeError(ends), " or wait") == f"{ends}: the program ends"
