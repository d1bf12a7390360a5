import os
import queue
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust.cli import Terminated
from crust.cli.heard_channel import HeardChannel
from crust.cli.interrupts import Interrupts

PATIENCE = 30.0  # seconds; nothing here takes so long
WhenItWaits = Callable[[Callable[[], object]], None]


@pytest.fixture
def channel() -> Iterator[HeardChannel[int]]:
    with Interrupts() as interrupts:
        yield HeardChannel(interrupts)


@pytest.fixture
def when_it_waits(monkeypatch: pytest.MonkeyPatch) -> WhenItWaits:
    """Has something done by another thread when the main thread is about to wait: too late for it to notice before."""
    wait = select.select

    def install(action: Callable[[], object]) -> None:
        def act_and_wait(*arguments: Any) -> Any:
            monkeypatch.setattr(select, "select", wait)
            thread = threading.Thread(target=action)
            thread.start()
            thread.join()
            return wait(*arguments)

        monkeypatch.setattr(select, "select", act_and_wait)

    return install


def test_it_is_a_channel(channel: HeardChannel[int]) -> None:
    channel.put(1)
    channel.put_many([2, 3])
    assert [channel.get(), channel.get(timeout=0.0), channel.get_nowait()] == [1, 2, 3]
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.001)
    with pytest.raises(queue.Empty):
        channel.get_nowait()


def test_an_item_that_comes_while_it_waits(channel: HeardChannel[int], when_it_waits: WhenItWaits) -> None:
    when_it_waits(lambda: channel.put(1))
    assert channel.get(timeout=PATIENCE) == 1
    when_it_waits(lambda: channel.put_many([2, 3]))
    assert [channel.get(timeout=PATIENCE), channel.get(timeout=PATIENCE)] == [2, 3]


def test_the_end_that_comes_while_it_waits(channel: HeardChannel[int], when_it_waits: WhenItWaits) -> None:
    channel.attach()
    when_it_waits(channel.detach)
    assert list(channel) == []


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_signal_is_heard_at_the_last_moment_before_it_waits(
    channel: HeardChannel[int], when_it_waits: WhenItWaits, timeout: float | None
) -> None:
    """``queue.get()`` would not hear it before something comes."""
    when_it_waits(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Terminated):
        channel.get(timeout=timeout)


def test_a_signal_is_heard_though_there_is_always_something(channel: HeardChannel[int]) -> None:
    channel.put_many(range(10))
    assert channel.get() == 0
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        channel.get()


def test_what_comes_after_the_end_harms_nobody() -> None:
    with Interrupts() as interrupts:
        channel: HeardChannel[int] = HeardChannel(interrupts)
        with pytest.raises(queue.Empty):
            channel.get(timeout=0.0)
    interrupts.ring()
    channel.put(1)
    channel.detach()
