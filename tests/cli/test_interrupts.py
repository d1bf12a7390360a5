import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust.cli import Terminated
from crust.cli.interrupts import Interrupts

WhenItWaits = Callable[[Callable[[], object]], None]


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    with Interrupts() as interrupts:
        yield interrupts


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_is_noted_and_raised_at_the_next_check(
    interrupts: Interrupts, number: signal.Signals, error: type[BaseException]
) -> None:
    interrupts.check()
    send(number)  # raises nothing here
    with pytest.raises(error) as caught:
        interrupts.check()
    assert caught.type is error


@pytest.fixture
def when_it_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[WhenItWaits]:
    """Has something done by another thread once the main thread has checked for signals and is about to wait."""
    wait = select.select
    threads: list[threading.Thread] = []

    def install(action: Callable[[], object]) -> None:
        def act_and_wait(*arguments: Any) -> Any:
            monkeypatch.setattr(select, "select", wait)
            threads.append(threading.Thread(target=action))
            threads[0].start()
            return wait(*arguments)

        monkeypatch.setattr(select, "select", act_and_wait)

    yield install
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("seconds", [None, 3600.0])
def test_a_signal_ends_the_wait_for_a_ring(
    interrupts: Interrupts, when_it_waits: WhenItWaits, seconds: float | None
) -> None:
    when_it_waits(lambda: send(signal.SIGTERM))
    with pytest.raises(Terminated):
        interrupts.until_rung(seconds)


def test_after_a_signal_no_wait_begins(interrupts: Interrupts) -> None:
    send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupts.until_rung(None)


def test_a_signal_ends_the_wait_for_input(interrupts: Interrupts, when_it_waits: WhenItWaits) -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        when_it_waits(lambda: send(signal.SIGTERM))
        with pytest.raises(Terminated):
            interrupts.readable(reader.fileno())


def test_a_ring_ends_the_wait_for_it(interrupts: Interrupts, when_it_waits: WhenItWaits) -> None:
    when_it_waits(interrupts.ring)
    interrupts.until_rung(None)


def test_a_ring_counts_for_the_next_wait_for_it_but_ends_no_wait_for_input(
    interrupts: Interrupts, when_it_waits: WhenItWaits
) -> None:
    for _ in range(100_000):  # more than the bell can hold
        interrupts.ring()
    interrupts.until_rung(None)
    reader, writer = socket.socketpair()
    with reader, writer:
        interrupts.ring()
        when_it_waits(lambda: writer.send(b"x"))
        interrupts.readable(reader.fileno())
        assert reader.recv(1) == b"x"


def test_the_wait_for_a_ring_has_a_limit(interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def wait(*arguments: Any) -> tuple[list[Any], list[Any], list[Any]]:
        limits.append(arguments[3])
        return [], [], []

    monkeypatch.setattr(select, "select", wait)
    interrupts.until_rung(0.25)
    interrupts.until_rung(0)
    assert limits == [0.25, 0]


def test_the_wakeup_descriptor_of_others_is_put_back(interrupts: Interrupts) -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno())
        interrupts.until_rung(0)
        assert signal.set_wakeup_fd(before) == writer.fileno()


def test_who_insists_is_heard_at_once(interrupts: Interrupts) -> None:
    send(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_the_first_signal_wakes_who_waits_elsewhere(interrupts: Interrupts) -> None:
    woken: list[bool] = []
    interrupts.wake = lambda: woken.append(True)
    send(signal.SIGTERM)
    assert woken == [True]


def test_the_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        term = signal.getsignal(signal.SIGTERM)
        with Interrupts():
            assert signal.getsignal(signal.SIGTERM) is not term
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) is term
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_failure_is_raised_where_a_signal_would_be(interrupts: Interrupts, when_it_waits: WhenItWaits) -> None:
    when_it_waits(lambda: interrupts.fail(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        interrupts.until_rung(None)
    with pytest.raises(OSError, match="no space left"):
        interrupts.check()
    send(signal.SIGTERM)
    with pytest.raises(Terminated):  # which is noted, and does not strike at once: nobody insists yet
        interrupts.check()
