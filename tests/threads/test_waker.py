"""`crust.threads.waker`: a selector returns when it should, and only then."""

import selectors
import threading
from collections.abc import Iterator

import pytest

from crust.threads.waker import Waker


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


@pytest.fixture
def selector(waker: Waker) -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as made:
        made.register(waker, selectors.EVENT_READ)
        yield made


def test_nothing_wakes_by_itself(selector: selectors.BaseSelector) -> None:
    assert not selector.select(0)


def test_a_thread_that_waits_is_woken(waker: Waker, selector: selectors.BaseSelector) -> None:
    woken = threading.Event()

    def wait() -> None:
        if selector.select(30):
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waker.wake()
    thread.join(30)
    assert woken.is_set()


def test_many_wakes_are_one_and_the_next_counts_again(waker: Waker, selector: selectors.BaseSelector) -> None:
    for _ in range(3):
        for _ in range(1000):
            assert waker.wake()
        assert selector.select(0)
        waker.clear()
        assert not selector.select(0)


def test_clearing_without_a_wake_does_nothing(waker: Waker, selector: selectors.BaseSelector) -> None:
    waker.clear()
    assert waker.wake()
    assert selector.select(0)


def test_after_the_end_nobody_is_woken(waker: Waker) -> None:
    waker.close()
    waker.close()
    assert not waker.wake()
