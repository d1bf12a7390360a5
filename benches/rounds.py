"""The measurements of `benches.compare`: in every round every system, one after the other, so that noise meets all."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from benches.child import ChildFailed
from benches.pairs import Pair
from benches.systems import System

DIRECTIONS = ("connector", "acceptor")
ROUND_TRIP_SIZE = 64  # bytes
CALIBRATION_SECONDS = 0.05  # a volume that takes at least this long tells the rate well enough
WARM_UP = 0.15  # of the measured volume, sent before it
LEAST_MESSAGES = 30
MOST_ROUND_TRIPS = 20_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    system: str
    round: int
    direction: str
    """Who sent, or pinged: "connector" or "acceptor"."""
    size: int
    """Bytes of each message."""
    rate: float = 0.0
    """Messages per second; 0 for round trips."""
    p50: float = 0.0
    """Seconds; 0 for one way, as `p99`."""
    p99: float = 0.0
    details: dict[str, float] = field(default_factory=dict)


@dataclass
class Plan:
    """What to measure."""

    systems: Sequence[System]
    sizes: Sequence[int]
    rounds: int
    seconds: float
    """That one measurement takes, about."""


class Comparison:
    """Runs a plan. ``say`` gets a line about what is going on."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._pairs: dict[str, Pair] = {}
        self._rates: dict[tuple[str, str, int], float] = {}  # messages (or round trips) per second, to plan volumes
        self.samples: list[Sample] = []
        self.failed: dict[str, str] = {}
        """Systems that could not be measured (to the end), and why."""

    def run(self) -> None:
        """Measure everything."""
        for number in range(self._plan.rounds):
            try:
                self._start(number)
                for size in self._plan.sizes:
                    self._sweep(number, f"{size} B one way", partial(self._one_way, size))
                self._sweep(number, "round trips", self._round_trips)
            finally:
                for pair in self._pairs.values():
                    pair.close()
                self._pairs.clear()

    def _start(self, number: int) -> None:
        for system in self._plan.systems:
            if system.name in self.failed:
                continue
            self._say(f"round {number + 1}: starting {system.title}")
            try:
                self._pairs[system.name] = Pair(system)
            except ChildFailed as error:
                self.failed[system.name] = str(error)

    def _sweep(self, number: int, what: str, measure: Callable[[int, str, str], None]) -> None:
        """Measure one thing with every system, both ways, in an order that differs from round to round."""
        names = list(self._pairs)
        random.Random(f"{number} {what}").shuffle(names)
        for direction in DIRECTIONS:
            for name in names:
                if name not in self._pairs:
                    continue
                self._say(f"round {number + 1} of {self._plan.rounds}: {what}, {name}, from the {direction}")
                try:
                    measure(number, name, direction)
                except ChildFailed as error:
                    self.failed[name] = f"{what}: {error}"
                    self._pairs.pop(name).close()

    def _one_way(self, size: int, number: int, name: str, direction: str) -> None:
        pair = self._pairs[name]
        rate = self._rates.get((name, "one way", size)) or self._calibrate(pair, direction, size)
        count = max(LEAST_MESSAGES, int(rate * self._plan.seconds))
        pair.one_way(direction, size, max(LEAST_MESSAGES, int(count * WARM_UP)))
        result = pair.one_way(direction, size, count)
        self._rates[name, "one way", size] = result["rate"]
        details = {key: value for key, value in result.items() if key != "rate"}
        self.samples.append(Sample(name, number, direction, size, rate=result["rate"], details=details))

    def _calibrate(self, pair: Pair, direction: str, size: int) -> float:
        """A first idea of the rate, from growing volumes. By the wall clock: tiny volumes may arrive all at once."""
        count = LEAST_MESSAGES
        while True:
            start = time.perf_counter()
            pair.one_way(direction, size, count)
            taken = time.perf_counter() - start
            if taken >= CALIBRATION_SECONDS:
                return count / taken
            count *= 4

    def _round_trips(self, number: int, name: str, direction: str) -> None:
        pair = self._pairs[name]
        times = pair.round_trips(direction, ROUND_TRIP_SIZE, 50)
        wanted = self._plan.seconds * 0.5 / (sorted(times)[len(times) // 2] / 1e9)
        count = max(50, min(MOST_ROUND_TRIPS, int(wanted)))
        pair.round_trips(direction, ROUND_TRIP_SIZE, int(count * WARM_UP))
        ordered = sorted(pair.round_trips(direction, ROUND_TRIP_SIZE, count))
        p50, p99 = (ordered[min(int(count * part), count - 1)] / 1e9 for part in (0.5, 0.99))
        self.samples.append(Sample(name, number, direction, ROUND_TRIP_SIZE, p50=p50, p99=p99))

    def as_json(self) -> dict[str, Any]:
        """Everything measured, as plain values."""
        plan = {"sizes": list(self._plan.sizes), "rounds": self._plan.rounds, "seconds": self._plan.seconds}
        return {"plan": plan, "failed": self.failed, "samples": [asdict(sample) for sample in self.samples]}
