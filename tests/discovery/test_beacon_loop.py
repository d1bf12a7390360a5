"""`crust.discovery.beacon_loop`: it goes on whatever happens, follows the interfaces, and sleeps when idle."""

import queue
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from crust.discovery import beacon_loop
from crust.discovery.beacon_core import Found
from crust.discovery.beacon_links import Link
from crust.discovery.beacon_loop import BeaconLoop, Wishes
from crust.discovery.beacon_packet import Announcement, Seal
from crust.threads.workers import start_thread
from crust.transport.masking import network_keys
from tests.discovery.beacon_loopback import LOOPBACK, PATIENCE, free_port, only_loopback, some_node

SEAL = Seal(network_keys("beacon test", None))


class Running:
    """A loop on a thread, and what can be done to it."""

    def __init__(self, port: int) -> None:
        self.about = some_node()
        self.own_fails = 0
        self.links: Any = only_loopback
        self.found: queue.SimpleQueue[Found] = queue.SimpleQueue()
        self.turns = 0
        self._stop = self._seek = False
        self.loop = BeaconLoop(port, port, SEAL, self._own, self.found.put, self._wishes, lambda: self.links())

    def _own(self) -> Announcement:
        if self.own_fails:
            self.own_fails -= 1
            raise ZeroDivisionError
        return self.about

    def _wishes(self) -> Wishes:
        self.turns += 1
        seek, self._seek = self._seek, False
        return Wishes(self._stop, seek)

    def start(self) -> None:
        self.loop.open()
        self.thread = start_thread("test-beacon", self.loop.run)

    def seek(self) -> None:
        self._seek = True
        self.loop.wake()

    def stop(self) -> None:
        self._stop = True
        self.loop.wake()
        self.thread.join()
        self.loop.close()

    def next(self) -> Found:
        return self.found.get(timeout=PATIENCE)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Running]]:
    """Two loops on one port, not started."""
    monkeypatch.setattr(beacon_loop, "_PAUSE_AFTER_ERROR", 0.01)
    port = free_port()
    both = Running(port), Running(port)
    yield both
    for each in both:
        if hasattr(each, "thread"):
            each.stop()
        else:
            each.loop.close()


def without_watch(monkeypatch: pytest.MonkeyPatch, interval: float) -> None:
    """As on systems that do not tell of changes."""

    def no_watch() -> None:
        raise OSError("this system does not tell")

    monkeypatch.setattr(beacon_loop, "LinkWatch", no_watch)
    monkeypatch.setattr(beacon_loop, "RESCAN_INTERVAL", interval)


def test_they_find_each_other(two: tuple[Running, Running]) -> None:
    for each in two:
        each.start()
    assert two[0].next().about == two[1].about
    assert two[1].next().about == two[0].about


def test_what_tells_of_us_may_fail(two: tuple[Running, Running], caplog: pytest.LogCaptureFixture) -> None:
    """TRAPS T-67: an error kills it."""
    ours, other = two
    ours.own_fails = 3
    ours.start()
    other.start()
    assert ours.next().about == other.about
    assert "ZeroDivisionError" in caplog.text


def test_the_interfaces_may_not_be_known_at_first(
    two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> list[Link]:
        ours.links = only_loopback
        raise OSError("not now")

    without_watch(monkeypatch, 0.05)
    ours, other = two
    ours.links = fail
    ours.start()
    other.start()
    assert ours.next().about == other.about
    assert "not now" in caplog.text


def test_where_nothing_tells_of_changes_they_are_looked_for(
    two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_watch(monkeypatch, 0.05)
    ours, other = two
    ours.links = list
    ours.start()
    other.start()
    ours.links = lambda: [LOOPBACK]
    assert ours.next().about == other.about


def test_a_flood_costs_a_bounded_share_and_does_not_deafen(
    two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = two
    ours.loop._flood._burst = ours.loop._flood._left = 50
    ours.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(500):
            stranger.sendto(b"flood", ("127.0.0.1", ours.loop.sockets.port))
    other.start()
    assert ours.next().about == other.about
    assert 0 < ours.loop.core.counters["floods"] < 100
    assert ours.turns < 200  # it sleeps although more could be read


@pytest.mark.slow
def test_an_idle_one_sleeps(two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """No polling: between a round of asking and an announcement nothing happens at all."""
    ours, _ = two
    if sys.platform == "linux":  # the system tells of changes, so they are not looked for
        monkeypatch.setattr(beacon_loop, "RESCAN_INTERVAL", 0.01)
    ours.start()
    if not ours.loop.sockets.complete:
        pytest.skip("IPv6 is switched off here, and a beacon looks from time to time whether it still is: switch it on")
    for _ in range(5):  # the round is over after two seconds, or later where the machine is busy
        threading.Event().wait(2.0)
        before = ours.turns
        threading.Event().wait(1.0)
        turns = ours.turns - before
        if turns <= 2:
            break
    assert turns <= 2  # this machine's interfaces may change just now


def test_waking_it_often_neither_blocks_nor_fails(two: tuple[Running, Running]) -> None:
    for _ in range(100_000):
        two[0].loop.wake()
    two[0].start()
