"""`crust.channel`: the contract of ``queue.Queue``, batches, the end of iteration, and wake-ups that are never lost."""

import itertools
import queue
import random
import signal
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

import crust
from crust.channel import Channel, channel
from tests.together import Running, until

AnyQueue = Any
both = pytest.mark.parametrize("kind", [queue.Queue, Channel])
SOON = 0.01  # seconds; a timeout that is meant to pass


def waiting(items: AnyQueue, count: int, what: str) -> Callable[[], bool]:
    """Whether so many threads wait in ``get`` or ``put`` of a queue of either kind."""
    if isinstance(items, Channel):
        return lambda: (items._getters if what == "get" else items._putters) == count
    condition = items.not_empty if what == "get" else items.not_full
    return lambda: len(condition._waiters) == count


# --- what a queue.Queue does --------------------------------------------------------------------------


@both
def test_first_in_first_out(kind: Callable[..., AnyQueue]) -> None:
    items = kind()
    for number in range(1000):
        items.put(number)
    assert (items.qsize(), items.empty(), items.full()) == (1000, False, False)
    assert [items.get() for _ in range(500)] == list(range(500))
    assert [items.get_nowait() for _ in range(500)] == list(range(500, 1000))
    assert (items.qsize(), items.empty()) == (0, True)


@both
@pytest.mark.parametrize("maxsize", [0, -1])
def test_without_a_bound_it_is_never_full(kind: Callable[..., AnyQueue], maxsize: int) -> None:
    items = kind(maxsize)
    for number in range(100):
        items.put(number, block=False)
    assert not items.full()
    assert items.maxsize == maxsize


@both
def test_nothing_is_there(kind: Callable[..., AnyQueue]) -> None:
    items = kind()
    attempts: list[Callable[[], object]] = [
        items.get_nowait,
        lambda: items.get(False),
        lambda: items.get(block=False, timeout=100.0),
        lambda: items.get(block=False, timeout=-1),
        lambda: items.get(timeout=0),
        lambda: items.get(True, SOON),
    ]
    for get in attempts:
        with pytest.raises(queue.Empty):
            get()
    with pytest.raises(ValueError, match="non-negative"):
        items.get(timeout=-1)
    items.put(1)
    with pytest.raises(ValueError, match="non-negative"):
        items.get(timeout=-1)  # also when something is there


@both
@pytest.mark.parametrize("maxsize", [1, 3])
def test_it_is_full(kind: Callable[..., AnyQueue], maxsize: int) -> None:
    items = kind(maxsize)
    for number in range(maxsize):
        assert not items.full()
        items.put_nowait(number)
    assert items.full()
    attempts: list[Callable[[], object]] = [
        lambda: items.put_nowait("x"),
        lambda: items.put("x", False),
        lambda: items.put("x", block=False, timeout=-1),
        lambda: items.put("x", timeout=0),
        lambda: items.put("x", True, SOON),
    ]
    for put in attempts:
        with pytest.raises(queue.Full):
            put()
    with pytest.raises(ValueError, match="non-negative"):
        items.put("x", timeout=-1)
    assert [items.get() for _ in range(maxsize)] == list(range(maxsize))
    items.put_nowait("again")


@both
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_get_waits_for_an_item(kind: Callable[..., AnyQueue], timeout: float | None) -> None:
    items = kind()
    getting = Running(items.get, timeout=timeout)
    until(waiting(items, 1, "get"))
    items.put("item")
    assert getting.result() == "item"


@both
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_put_waits_for_room(kind: Callable[..., AnyQueue], timeout: float | None) -> None:
    items = kind(1)
    items.put("first")
    putting = Running(items.put, "second", timeout=timeout)
    until(waiting(items, 1, "put"))
    assert items.get() == "first"
    putting.result()
    assert items.get(timeout=0) == "second"


@both
def test_each_item_wakes_one_of_those_who_wait(kind: Callable[..., AnyQueue]) -> None:
    items = kind()
    getting = [Running(items.get) for _ in range(5)]
    until(waiting(items, 5, "get"))
    for number in range(5):
        items.put(number)
    assert sorted(each.result() for each in getting) == list(range(5))


@both
def test_each_place_wakes_one_of_those_who_wait(kind: Callable[..., AnyQueue]) -> None:
    items = kind(2)
    items.put("a")
    items.put("b")
    putting = [Running(items.put, number) for number in range(5)]
    until(waiting(items, 5, "put"))
    assert [items.get(), items.get()] == ["a", "b"]
    assert sorted(items.get(timeout=30) for _ in range(5)) == list(range(5))
    for each in putting:
        each.result()
    assert items.empty()


@both
def test_who_gives_up_takes_nobodys_item(kind: Callable[..., AnyQueue]) -> None:
    items = kind(1)
    with pytest.raises(queue.Empty):
        items.get(timeout=SOON)
    getting = Running(items.get)
    until(waiting(items, 1, "get"))
    with pytest.raises(queue.Empty):
        items.get(timeout=SOON)
    items.put(1)
    assert getting.result() == 1
    items.put(2)
    putting = Running(items.put, 3)
    until(waiting(items, 1, "put"))
    with pytest.raises(queue.Full):
        items.put(4, timeout=SOON)
    assert items.get() == 2
    putting.result()
    assert items.get() == 3


@both
@pytest.mark.parametrize(("maxsize", "producers", "consumers"), [(0, 3, 3), (1, 3, 3), (1, 1, 4), (1, 4, 1), (3, 4, 4)])
def test_everything_arrives_once_and_in_order(
    kind: Callable[..., AnyQueue], maxsize: int, producers: int, consumers: int
) -> None:
    """Also with timeouts that pass all the time: a wake-up that was meant for one who left must reach another."""
    each = 300
    items = kind(maxsize)

    def produce(name: int) -> None:
        dice = random.Random(name)
        for number in range(each):
            while True:
                try:
                    items.put((name, number), timeout=dice.choice([None, 0.0, 0.0001]))
                    break
                except queue.Full:
                    continue

    def consume(name: int) -> list[tuple[int, int]]:
        dice = random.Random(name)
        found: list[tuple[int, int]] = []
        while True:
            try:
                item = items.get(timeout=dice.choice([None, 0.0, 0.0001]))
            except queue.Empty:
                continue
            if item is None:
                return found
            found.append(item)

    consuming = [Running(consume, name) for name in range(consumers)]
    producing = [Running(produce, name) for name in range(producers)]
    for one in producing:
        one.result()
    for _ in range(consumers):
        items.put(None)
    found = [one.result() for one in consuming]
    assert sorted(itertools.chain(*found)) == [(name, number) for name in range(producers) for number in range(each)]
    for by_one in found:
        for name in range(producers):
            numbers = [number for whose, number in by_one if whose == name]
            assert numbers == sorted(numbers)
    assert items.empty()
    if isinstance(items, Channel):
        assert (items._getters, items._get_tokens.qsize()) == (0, 0), "nobody waits"
        assert (items._putters, items._put_tokens.qsize()) == (0, 0), "nobody waits"


# --- batches ------------------------------------------------------------------------------------------


def test_a_batch_stays_together_and_wakes_everybody_it_can_serve() -> None:
    items: Channel[int] = Channel()
    getting = [Running(items.get) for _ in range(3)]
    until(waiting(items, 3, "get"))
    items.put_many(range(5))
    assert sorted(each.result() for each in getting) == [0, 1, 2]
    assert [items.get(), items.get()] == [3, 4]
    items.put_many([])
    items.put_many(iter([6, 7]))
    assert [items.get(), items.get()] == [6, 7]
    assert items.empty()


def test_a_batch_wakes_enough_when_others_take_items_meanwhile() -> None:
    """Those who take what was there before must not make the batch look smaller than it is."""
    items: Channel[str] = Channel()
    getting = [Running(items.get) for _ in range(5)]
    until(waiting(items, 5, "get"))
    items._items.extend(["old"] * 3)  # put, and their wake-ups on the way

    class Batch(list[str]):
        def __iter__(self) -> Any:
            yield from super().__iter__()
            for _ in range(3):
                items._items.popleft()

    items.put_many(Batch(["new"] * 5))
    assert [each.result() for each in getting] == ["new"] * 5


def test_a_batch_may_go_past_the_bound() -> None:
    items: Channel[int] = Channel(2)
    items.put_many(range(4))
    assert items.full()
    putting = Running(items.put, 4)
    until(waiting(items, 1, "put"))
    assert [items.get(timeout=0) for _ in range(3)] == [0, 1, 2]
    putting.result()
    assert [items.get(), items.get()] == [3, 4]


def test_many_batches_to_many_consumers() -> None:
    items: Channel[int] = Channel()
    items.attach()
    consuming = [Running(lambda: sum(1 for _ in items)) for _ in range(3)]

    def produce(seed: int) -> int:
        dice, total = random.Random(seed), 0
        for _ in range(200):
            size = dice.randrange(4)
            items.put_many([0] * size)
            total += size
        return total

    producing = [Running(produce, seed) for seed in range(3)]
    total = sum(each.result() for each in producing)
    items.detach()
    assert sum(each.result() for each in consuming) == total


# --- iteration ----------------------------------------------------------------------------------------


def test_iteration_ends_when_the_last_producer_has_left_and_all_is_taken() -> None:
    items: Channel[int] = Channel()
    items.attach()
    items.attach()
    iterating: Running[list[int]] = Running(list, items)
    until(waiting(items, 1, "get"))
    items.put(1)
    items.detach()
    until(waiting(items, 1, "get"))
    assert not iterating.ended
    items.put_many([2, 3])
    items.detach()
    assert iterating.result() == [1, 2, 3]
    assert list(items) == []


def test_all_who_iterate_are_told_of_the_end() -> None:
    items: Channel[int] = Channel()
    items.attach()
    iterating: list[Running[list[int]]] = [Running(list, items) for _ in range(4)]
    until(waiting(items, 4, "get"))
    items.detach()
    assert [each.result() for each in iterating] == [[]] * 4


def test_iteration_waits_for_the_first_producer_and_goes_on_with_the_next() -> None:
    items: Channel[int] = Channel()
    iterating: Running[list[int]] = Running(list, items)
    until(waiting(items, 1, "get"))
    items.attach()
    items.put(1)
    items.detach()
    assert iterating.result() == [1]
    items.attach()
    items.put(2)
    iterating = Running(list, items)
    items.detach()
    assert iterating.result() == [2]


def test_the_end_of_iteration_is_no_end_for_get() -> None:
    items: Channel[int] = Channel()
    items.attach()
    items.detach()
    with pytest.raises(queue.Empty):
        items.get(timeout=SOON)
    getting = Running(items.get)
    until(waiting(items, 1, "get"))
    items.put(1)
    assert getting.result() == 1


def test_iteration_makes_room() -> None:
    items: Channel[int] = Channel(1)
    items.attach()
    iterating: Running[list[int]] = Running(list, items)
    for number in range(50):
        items.put(number, timeout=30)
    items.detach()
    assert iterating.result() == list(range(50))


class Sly(deque[Any]):
    """Items among which something happens at the worst moment: once, between a look at them and what follows."""

    meanwhile: Callable[[], None] | None = None

    def _happens(self) -> None:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()

    def __len__(self) -> int:
        length = super().__len__()
        self._happens()
        return length

    def popleft(self) -> Any:
        try:
            return super().popleft()
        except IndexError:
            self._happens()
            raise


def test_room_made_while_a_putter_looks_is_not_missed() -> None:
    items: Channel[int] = Channel(1)
    items._items = sly = Sly([1])
    sly.meanwhile = sly.popleft
    items.put(2, timeout=5)
    assert items.get(timeout=0) == 2


def test_an_item_that_comes_while_a_consumer_looks_is_not_missed() -> None:
    items: Channel[int] = Channel()
    items._items = sly = Sly()
    sly.meanwhile = lambda: items.put(1)
    assert items.get(timeout=5) == 1
    with pytest.raises(queue.Empty):
        items.get(block=False)


def test_the_last_item_and_the_end_may_come_while_a_consumer_looks() -> None:
    items: Channel[int] = Channel()
    items._items = sly = Sly()
    items.attach()

    def last() -> None:
        items.put_many([1, 2])
        items.detach()

    def first_look() -> None:
        sly.meanwhile = last  # at the second look, when it is counted among those who wait

    sly.meanwhile = first_look
    assert list(items) == [1, 2]


# --- being told that items were taken --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["get", "iterate"])
def test_a_call_comes_once_when_few_enough_wait(how: str) -> None:
    items: Channel[int] = Channel()
    items.put_many(range(5))
    calls: list[int] = []
    items.call_when_taken(2, lambda: calls.append(items.qsize()))
    take = items.get if how == "get" else iter(items).__next__
    for expected in ([], [], [2], [2], [2]):
        take()
        assert calls == expected


def test_a_call_comes_at_once_when_few_enough_wait_already() -> None:
    items: Channel[int] = Channel(1)
    calls: list[str] = []
    items.call_when_taken(0, lambda: calls.append("now"))
    assert calls == ["now"]
    items.put(1)
    items.get()
    assert calls == ["now"]


def test_who_asks_again_is_called_once_where_it_asked_last() -> None:
    items: Channel[int] = Channel()
    items.put_many(range(3))
    sizes: list[int] = []

    def call() -> None:
        sizes.append(items.qsize())

    items.call_when_taken(0, call)
    items.call_when_taken(1, call)
    for _ in range(3):
        items.get()
    assert sizes == [1]


def test_each_producer_that_waits_for_room_is_called() -> None:
    """Two managers may share a channel: none must starve because another one asked after it."""
    items: Channel[int] = Channel()
    items.put_many(range(4))
    calls: list[str] = []
    for low, name in ((2, "first"), (0, "second"), (2, "third")):
        items.call_when_taken(low, lambda name=name: calls.append(name))  # type: ignore[misc]
    seen = []
    for _ in range(4):
        items.get()
        seen.append(list(calls))
    assert seen == [[], ["first", "third"], ["first", "third"], ["first", "third", "second"]]
    assert not items._watched


def test_a_call_may_use_the_channel() -> None:
    items: Channel[int] = Channel(1)
    items.put(1)
    items.call_when_taken(0, lambda: items.put_many([2, 3]))
    assert [items.get(timeout=0) for _ in range(3)] == [1, 2, 3]


def test_callers_and_putters_are_both_told() -> None:
    items: Channel[int] = Channel(1)
    called: queue.SimpleQueue[None] = queue.SimpleQueue()
    items.put(0)
    putting = Running(items.put, 1)
    until(waiting(items, 1, "put"))
    items.call_when_taken(0, lambda: called.put(None))
    items.get()
    called.get(timeout=30)
    putting.result()
    assert items.get(timeout=0) == 1


def test_no_call_is_lost_while_items_come_and_go() -> None:
    """A producer that fills up and asks to be told, against a consumer that takes whatever it finds."""
    items: Channel[int] = Channel()
    room: queue.SimpleQueue[None] = queue.SimpleQueue()
    rounds, size = 500, 4

    def consume() -> int:
        return sum(items.get() for _ in range(rounds * size))

    consuming = Running(consume)
    for number in range(rounds):
        items.put_many([1] * size)
        items.call_when_taken(number % size, lambda: room.put(None))
        room.get(timeout=30)
    assert consuming.result() == rounds * size


# --- the rest -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
def test_an_interrupt_of_a_consumer_leaves_no_lock_taken() -> None:
    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    items: Channel[int] = Channel(1)
    try:
        for number in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0003 + number % 29 * 1e-6)
                while True:
                    try:
                        items.get(timeout=0)
                    except queue.Empty:
                        items.put(1)
            except Interrupt:
                pass
            assert not items._lock.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    while not items.empty():
        items.get()
    getting = Running(items.get)
    items.put(7)
    assert getting.result() == 7


def test_channel_makes_one() -> None:
    made = channel(3)
    assert isinstance(made, Channel)
    assert made.maxsize == 3
    assert crust.channel is channel
