import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from crust.cli import Terminated
from crust.cli.interrupts import Interrupts


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


def test_a_signal_ends_a_sleep(interrupts: Interrupts) -> None:
    killer = threading.Timer(0.1, send, (signal.SIGTERM,))
    killer.start()
    with pytest.raises(Terminated):
        interrupts.sleep(60)
    killer.join()


def test_a_signal_of_before_lets_no_sleep_begin(interrupts: Interrupts) -> None:
    send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupts.sleep(None)


def test_a_signal_ends_the_wait_for_input(interrupts: Interrupts) -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        killer = threading.Timer(0.1, send, (signal.SIGTERM,))
        killer.start()
        with pytest.raises(Terminated):
            interrupts.readable(reader.fileno())
        killer.join()


def test_a_ring_ends_a_sleep_now_or_later_but_no_wait_for_input(interrupts: Interrupts) -> None:
    for _ in range(100_000):  # more than the bell can hold
        interrupts.ring()
    interrupts.sleep(None)
    reader, writer = socket.socketpair()
    with reader, writer:
        interrupts.ring()
        ringer = threading.Timer(0.1, writer.send, (b"x",))
        ringer.start()
        interrupts.readable(reader.fileno())
        assert reader.recv(1) == b"x"
        ringer.join()


def test_a_sleep_ends_in_time(interrupts: Interrupts) -> None:
    interrupts.sleep(0.01)


def test_the_wakeup_descriptor_of_others_is_put_back(interrupts: Interrupts) -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno())
        interrupts.sleep(0)
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
