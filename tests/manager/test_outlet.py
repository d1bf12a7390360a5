"""`crust.manager.outlet`: every kind of events channel gets everything, in order, within its bounds."""

import logging
import queue
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from crust.channel import Channel
from crust.endpoint import Endpoint
from crust.event import AnyEvent, Event
from crust.manager import outlet as module
from crust.manager.outlet import RETRY_SECONDS, Outlet
from tests.together import Running, until

HERE = Endpoint.tcp("192.0.2.1:1")


class PutOnly:
    """Cannot tell how much waits in it."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, item: Any) -> None:
        self._items.put(item)

    def get(self, timeout: float | None = None) -> Any:
        return self._items.get(timeout=timeout)


class Refusing(PutOnly):
    """Raises ``queue.Full`` instead of waiting."""

    def __init__(self) -> None:
        self._items = queue.Queue(2)  # type: ignore[assignment]

    def put(self, item: Any) -> None:
        self._items.put(item, block=False)


class OwnPut(queue.Queue[Any]):
    """A user's queue that wants to see every item."""

    def __init__(self) -> None:
        super().__init__(3)
        self.seen = 0

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self.seen += 1


KINDS: dict[str, Callable[[], Any]] = {
    "Channel()": Channel,
    "Channel(1)": lambda: Channel(1),
    "Channel(3)": lambda: Channel(3),
    "Channel(-1)": lambda: Channel(-1),
    "Queue()": queue.Queue,
    "Queue(1)": lambda: queue.Queue(1),
    "Queue(3)": lambda: queue.Queue(3),
    "Queue(-1)": lambda: queue.Queue(-1),
    "SimpleQueue": queue.SimpleQueue,
    "OwnPut": OwnPut,
    "PutOnly": PutOnly,
    "Refusing": Refusing,
}
every_kind = pytest.mark.parametrize("kind", KINDS)
that_can_tell = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("PutOnly", "Refusing")])


def message(number: int) -> AnyEvent:
    return Event.NewMessage(HERE, b"%d" % number)


def numbers(events: Sequence[Any]) -> list[int]:
    return [int(event.data) for event in events]


class Manager:
    """An outlet, and the loop of the thread that owns it."""

    def __init__(self, events: Any, max_events: int = 100, max_bytes: int = 10**9) -> None:
        self.room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.outlet = Outlet(events, max_events, max_bytes, lambda: self.room.put(None))
        self.delivered: list[int] = []

    def deliver(self, batch: Sequence[int], weight: int = 0) -> None:
        self.outlet.deliver([message(number) for number in batch], weight, self.delivered.append)

    def pump(self) -> None:
        """Do what the manager's loop does until nothing waits."""
        while self.outlet.congested:
            retry = self.outlet.retry_after
            try:
                self.room.get(timeout=30 if retry is None else retry)
            except queue.Empty:
                assert retry is not None, "nobody told that there is room"
            self.outlet.flush()


@pytest.fixture
def managers() -> Iterator[list[Manager]]:
    """Outlets that are finished after the test, if it did not."""
    made: list[Manager] = []
    yield made
    for manager in made:
        manager.outlet._target.close()


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "crust-events-watch"]


def taken(events: Any) -> list[Any]:
    """Everything up to `Event.Stopped`."""
    found: list[Any] = []
    while not isinstance(event := events.get(timeout=30), Event.Stopped):
        found.append(event)
    return found


# --- everything, in order, within bounds ----------------------------------------------------------------


@every_kind
def test_everything_arrives_in_order_and_is_reported_once(kind: str) -> None:
    events = KINDS[kind]()
    manager = Manager(events, max_events=5, max_bytes=700)
    consuming = Running(taken, events)
    dice = random.Random(kind)
    sent, weights = 0, []
    for _ in range(20 if manager.outlet._target.must_retry else 60):
        size = dice.choice([0, 1, 1, 2, 4, 9])
        weights.append(dice.choice([0, 64, 300, 1500]))
        manager.deliver(range(sent, sent + size), weights[-1])
        sent += size
        if dice.random() < 0.4:
            manager.pump()
    manager.pump()
    assert manager.delivered == weights
    if isinstance(events, Refusing):
        until(events._items.empty)
    manager.outlet.finish(Event.Stopped())
    assert numbers(consuming.result()) == list(range(sent))
    assert not watchers()
    if isinstance(events, OwnPut):
        assert events.seen == sent + 1
    if isinstance(events, queue.Queue):
        assert events.unfinished_tasks == sent + 1
        for _ in range(sent + 1):
            events.task_done()


@that_can_tell
@pytest.mark.parametrize("max_events", [1, 2, 10])
def test_no_more_wait_than_may(kind: str, max_events: int, managers: list[Manager]) -> None:
    events = KINDS[kind]()
    maxsize = getattr(events, "maxsize", 0)
    bound = min(max_events, maxsize) if maxsize > 0 else max_events
    manager = Manager(events, max_events)
    managers.append(manager)
    for batch in (range(4), range(4, 12), range(12, 13)):
        manager.deliver(batch)
        assert events.qsize() <= bound
    assert manager.outlet.congested
    found: list[AnyEvent] = []
    while len(found) < 13:
        found.append(events.get(timeout=0))
        manager.outlet.flush()
        assert events.qsize() <= bound
    assert numbers(found) == list(range(13))
    assert not manager.outlet.congested
    assert manager.delivered == [0, 0, 0]


@that_can_tell
def test_no_more_bytes_wait_than_may(kind: str, managers: list[Manager]) -> None:
    """A batch goes as long as the bound is not reached, so one batch may go past it."""
    events = KINDS[kind]()
    manager = Manager(events, max_bytes=1000)
    managers.append(manager)
    if 0 < getattr(events, "maxsize", 0) < 3:
        return
    for number, weight in enumerate([400, 500, 600, 0, 5000]):
        manager.deliver([number], weight)
    assert events.qsize() == 3
    assert manager.delivered == [400, 500, 600]
    events.get()
    manager.outlet.flush()
    assert manager.delivered == [400, 500, 600], "1100 bytes still wait"
    events.get()
    manager.outlet.flush()
    assert manager.delivered == [400, 500, 600, 0, 5000]
    manager.deliver([5], 1)
    assert manager.outlet.waiting == 1
    assert numbers([events.get() for _ in range(3)]) == [2, 3, 4]
    manager.outlet.flush()
    assert manager.delivered[-1] == 1


def test_an_object_with_put_alone_gets_everything_at_once() -> None:
    events = PutOnly()
    manager = Manager(events, max_events=1, max_bytes=1)
    manager.deliver(range(1000), 10**6)
    manager.deliver(range(1000, 2000), 10**6)
    assert not manager.outlet.congested
    assert manager.outlet.retry_after is None
    assert manager.delivered == [10**6, 10**6]
    assert numbers([events.get(0) for _ in range(2000)]) == list(range(2000))


def test_a_queue_that_cannot_tell_its_size_is_as_one_with_put_alone() -> None:
    class NoSize(PutOnly):
        def qsize(self) -> int:
            raise NotImplementedError

    manager = Manager(NoSize(), max_events=1)
    manager.deliver(range(10))
    assert manager.delivered == [0]


@every_kind
def test_a_part_of_a_batch_is_not_a_delivered_batch(kind: str, managers: list[Manager]) -> None:
    events = KINDS[kind]()
    manager = Manager(events, max_events=2)
    managers.append(manager)
    manager.deliver(range(3), 7)
    if kind == "PutOnly":
        assert manager.delivered == [7]
        return
    assert manager.delivered == []
    manager.deliver([3], 8)
    found = []
    while manager.outlet.congested:
        found.append(events.get(timeout=5))
        manager.outlet.flush()
    assert manager.delivered == [7, 8]
    while len(found) < 4:
        found.append(events.get(timeout=5))
    assert numbers(found) == [0, 1, 2, 3]


@that_can_tell
def test_others_may_use_the_queue_as_well(kind: str, managers: list[Manager]) -> None:
    """What others put counts against the bound, and never makes the outlet believe that there is more room."""
    events = KINDS[kind]()
    if 0 < getattr(events, "maxsize", 0) < 3:
        return
    events.put("theirs")
    manager = Manager(events, max_events=3)
    managers.append(manager)
    manager.deliver(range(2))
    manager.deliver([2])
    assert events.qsize() == 3
    assert events.get() == "theirs"
    manager.outlet.flush()
    assert numbers([events.get() for _ in range(3)]) == [0, 1, 2]


# --- who calls when there is room -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith(("Channel", "Queue"))])
@pytest.mark.parametrize("max_events", [1, 4])
def test_a_call_comes_when_the_user_has_taken_enough(kind: str, max_events: int, managers: list[Manager]) -> None:
    events = KINDS[kind]()
    manager = Manager(events, max_events)
    managers.append(manager)
    manager.deliver(range(20))
    assert manager.outlet.retry_after is None, "no polling"
    waiting = events.qsize()
    for _ in range((waiting + 1) // 2):
        assert manager.room.empty()
        events.get(timeout=0)
    manager.room.get(timeout=30)
    assert manager.room.empty()


@pytest.mark.parametrize("kind", ["SimpleQueue", "OwnPut", "Refusing"])
def test_queues_that_cannot_call_are_looked_at_again(kind: str) -> None:
    events = KINDS[kind]()
    manager = Manager(events, max_events=2)
    assert manager.outlet.retry_after is None
    manager.deliver(range(3))
    assert manager.outlet.retry_after == RETRY_SECONDS
    events.get(timeout=0)
    manager.pump()
    assert manager.outlet.retry_after is None
    assert not watchers()


def test_a_thread_watches_only_when_events_have_had_to_wait(managers: list[Manager]) -> None:
    events: queue.Queue[Any] = queue.Queue()
    manager = Manager(events, max_events=2)
    managers.append(manager)
    manager.deliver(range(2))
    assert not watchers()
    manager.deliver([2])
    assert len(watchers()) == 1
    for number in range(3, 6):
        events.get(timeout=0)
        manager.pump()
        manager.deliver([number])
        assert manager.outlet.congested
        assert len(watchers()) == 1


def test_asking_again_does_not_pile_up(managers: list[Manager]) -> None:
    """The manager flushes whenever a timer wakes it; a user who reads nothing for an hour must cost nothing."""
    events: queue.Queue[Any] = queue.Queue()
    manager = Manager(events, max_events=2)
    managers.append(manager)
    manager.deliver(range(3))
    for _ in range(50):
        manager.outlet.flush()
    events.get()
    events.get()
    manager.room.get(timeout=30)
    target = manager.outlet._target
    assert isinstance(target, module._QueueTarget)
    assert target._wanted.empty()
    assert manager.room.empty()


def test_who_waits_to_put_is_not_robbed_of_its_wake_up(managers: list[Manager]) -> None:
    """The watcher waits on the same condition, and is woken first; one ``get()`` must still make room for the other."""
    events: queue.Queue[Any] = queue.Queue(4)
    manager = Manager(events)
    managers.append(manager)
    manager.deliver(range(6))
    until(lambda: len(events.not_full._waiters) == 1)  # type: ignore[attr-defined]
    putting = Running(events.put, "theirs")
    until(lambda: len(events.not_full._waiters) == 2)  # type: ignore[attr-defined]
    events.get(timeout=0)
    putting.result()


def test_others_who_keep_the_queue_full_do_not_starve_the_outlet(managers: list[Manager]) -> None:
    events: queue.Queue[Any] = queue.Queue(4)
    manager = Manager(events)
    managers.append(manager)
    manager.deliver(range(6))
    for _ in range(2):  # it never gets down to half
        until(lambda: len(events.not_full._waiters) == 1)  # type: ignore[attr-defined]
        events.get()
        events.put_nowait("theirs")
    manager.room.get(timeout=30)


@pytest.mark.parametrize("kind", ["Channel()", "Queue()", "Queue(3)"])
def test_a_batch_wakes_as_many_as_it_can_serve(kind: str) -> None:
    events = KINDS[kind]()
    manager = Manager(events)
    getting = [Running(events.get) for _ in range(3)]
    until(lambda: (events._getters if kind == "Channel()" else len(events.not_empty._waiters)) == 3)
    manager.deliver(range(3))
    assert sorted(numbers([each.result() for each in getting])) == [0, 1, 2]


def test_two_outlets_on_one_queue_do_not_keep_each_other_awake() -> None:
    """Only one of them watches; the other looks again now and then."""
    events: queue.Queue[Any] = queue.Queue(4)
    first, second = Manager(events), Manager(events)
    first.deliver(range(6))
    second.deliver(range(6))
    assert first.outlet.retry_after is None
    assert second.outlet.retry_after == RETRY_SECONDS
    assert len(watchers()) == 1
    consuming = Running(lambda: [events.get(timeout=30) for _ in range(12)])
    pumping = Running(first.pump)
    second.pump()
    pumping.result()
    found = numbers(consuming.result())
    assert sorted(found) == sorted([*range(6), *range(6)])
    first.outlet.finish(Event.Stopped())
    second.outlet.finish(Event.Stopped())
    assert not watchers()
    third = Manager(events, max_events=1)
    third.deliver(range(2))
    assert third.outlet.retry_after is None, "the place is free again"
    third.outlet.finish(Event.Stopped())


def test_without_a_thread_the_queue_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "start_thread", no_thread)
    events: queue.Queue[Any] = queue.Queue()
    manager = Manager(events, max_events=1)
    manager.deliver(range(2))
    assert manager.outlet.retry_after == RETRY_SECONDS
    assert "it is polled instead" in caplog.text
    events.get()
    manager.pump()
    manager.outlet.finish(Event.Stopped())
    assert not module._watched


# --- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("Refusing", "OwnPut")])
def test_the_end_puts_everything_whatever_the_bounds(kind: str) -> None:
    events = KINDS[kind]()
    manager = Manager(events, max_events=2, max_bytes=1)
    for number in range(0, 12, 3):
        manager.deliver(range(number, number + 3), number)
    manager.outlet.finish(Event.Stopped())
    assert manager.delivered == [0, 3, 6, 9]
    assert not manager.outlet.congested
    assert numbers(taken(events)) == list(range(12))
    assert not watchers()
    if isinstance(events, Channel):
        assert list(events) == []


def test_the_end_of_a_queue_that_refuses_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = Refusing()
    manager = Manager(events)
    manager.deliver(range(5))
    manager.outlet.finish(Event.Stopped())
    lost = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lost == [f"the events channel is full: {count} of the last events are lost" for count in (3, 1)]


def test_the_end_wakes_consumers_and_the_watcher() -> None:
    events: queue.Queue[Any] = queue.Queue(1)
    manager = Manager(events)
    manager.deliver(range(2))
    until(lambda: len(events.not_full._waiters) == 1)  # type: ignore[attr-defined]
    consuming = Running(taken, events)
    manager.outlet.finish(Event.Stopped())
    assert numbers(consuming.result()) == [0, 1]
    assert not watchers()


# --- users' queues that raise --------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["put", "_put"])
def test_a_put_that_raises_costs_that_event_only(where: str, caplog: pytest.LogCaptureFixture) -> None:
    class Picky(queue.Queue[Any]):
        pass

    def picky(self: Any, item: Any, *rest: Any) -> None:
        if getattr(item, "data", b"") == b"2":
            raise TypeError("not this one")
        getattr(super(Picky, self), where)(item, *rest)

    setattr(Picky, where, picky)
    events = Picky()
    manager = Manager(events)
    manager.deliver(range(4), 5)
    manager.deliver(range(4, 6), 6)
    assert manager.delivered == [5, 6]
    manager.outlet.finish(Event.Stopped())
    assert numbers(taken(events)) == [0, 1, 3, 4, 5]
    assert events.unfinished_tasks == 6
    assert "this event is lost" in caplog.text
    assert "not this one" in caplog.text
