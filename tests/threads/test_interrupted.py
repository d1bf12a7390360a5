"""`crust.threads.interrupted`: what a signal handler finds further up the stack."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust.channel import Channel
from crust.links.outbox import Outbox
from crust.threads import interrupted
from crust.threads.interrupted import must_not_wait
from tests.together import PATIENCE, Running


class Amid(list[Any]):
    """Stands for a collection of somebody's; notes what is found while something is put there."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[bool] = []

    def append(self, _: object) -> None:
        self.found.append(must_not_wait())


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupted, "TRY", 0.05)


def test_nothing_is_interrupted() -> None:
    assert not must_not_wait()


def amid_a_queue(amid: Any) -> None:
    items: queue.Queue[int] = queue.Queue()
    items.queue = amid
    items.put(1)


def amid_an_outbox(amid: Any) -> None:
    outbox = Outbox("a peer", 100)
    outbox._messages = amid
    outbox.put(b"message")


def amid_a_channel_with_a_bound(amid: Any) -> None:
    items: Channel[int] = Channel(1)
    items._items = amid
    items.put(1)


@pytest.mark.parametrize("work", [amid_a_queue, amid_an_outbox, amid_a_channel_with_a_bound])
def test_a_call_that_holds_a_lock(work: Callable[[Any], None]) -> None:
    amid = Amid()
    work(amid)
    assert amid.found == [True]


def test_a_call_that_holds_none() -> None:
    items: Channel[int] = Channel()
    amid = Amid()
    items._items = amid  # type: ignore[assignment]
    items.put(1)
    assert amid.found == [False]


def test_a_call_that_has_given_its_lock_back_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """``get()`` of a ``queue.Queue``: that is where most programs are when Ctrl-C comes."""
    items: queue.Queue[int] = queue.Queue()
    found: list[bool] = []

    def wait(timeout: float | None = None) -> bool:
        items.mutex.release()
        found.append(must_not_wait())
        items.mutex.acquire()
        items.queue.append(1)
        return True

    monkeypatch.setattr(items.not_empty, "wait", wait)
    assert items.get() == 1
    assert found == [False]


def test_no_handler_runs_on_other_threads() -> None:
    amid = Amid()
    Running(amid_an_outbox, amid).result()
    assert amid.found == [False]


def test_a_lock_that_another_thread_holds_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupted, "TRY", PATIENCE)
    lock = threading.Lock()
    tries: list[float] = []

    class Busy:
        """A lock that is free after a moment."""

        def acquire(self, timeout: float) -> bool:
            tries.append(timeout)
            return lock.acquire()

        def release(self) -> None:
            lock.release()

    def locks(_: object) -> Iterator[Any]:
        busy = Busy()
        yield busy
        yield busy

    monkeypatch.setattr(interrupted, "_locks_above", locks)
    assert not must_not_wait()
    assert tries == [PATIENCE], "each is tried once"
    assert not lock.locked()
