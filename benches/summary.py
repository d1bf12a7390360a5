"""From samples to the numbers that are printed. Pure.

The figure for a system is the median over all rounds and both directions. A ratio is made within a round and a
direction, of two measurements seconds apart, and the median taken afterwards: the machine's moods cancel.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benches.rounds import Sample
from benches.systems import BY_NAME

Column = int | str
"""A message size in bytes (messages per second), or "p50" or "p99" (seconds)."""
ROUND_TRIP: Final = ("p50", "p99")

KIB = 1024
MIB = 1024 * KIB
GOALS: Final[tuple[tuple[Column, str, float], ...]] = (
    (64, "curve", 1.3),
    (1 * KIB, "curve", 2.0),
    (64 * KIB, "curve", 1.8),
    (1 * MIB, "curve", 2.0),
    (1 * MIB, "raw", 0.5),
    ("p50", "curve", 2.0),
)
"""What Crust is to reach: column, beside whom, and the ratio: at least for rates, at most for times."""


def value_of(sample: Sample, column: Column) -> float | None:
    """The number of ``sample`` that belongs in ``column``, or ``None``."""
    if isinstance(column, str):
        return (sample.p50 if column == "p50" else sample.p99) if sample.p50 else None
    return sample.rate if sample.rate and sample.size == column else None


@dataclass(frozen=True, slots=True)
class Figure:
    """A median and its spread."""

    median: float
    least: float
    most: float


class Summary:
    """The numbers of one comparison."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)
        measured = {sample.system for sample in self._samples}
        self.systems = tuple(name for name in BY_NAME if name in measured)
        self.columns: tuple[Column, ...] = (
            *dict.fromkeys(sample.size for sample in self._samples if sample.rate),
            *(ROUND_TRIP if any(sample.p50 for sample in self._samples) else ()),
        )

    def figure(self, system: str, column: Column, direction: str | None = None) -> Figure | None:
        """The figure for a system, over both directions or one."""
        values = [
            value
            for sample in self._samples
            if sample.system == system and direction in (None, sample.direction)
            if (value := value_of(sample, column)) is not None
        ]
        return Figure(median(values), min(values), max(values)) if values else None

    def ratio(self, system: str, beside: str, column: Column) -> Figure | None:
        """``system`` divided by ``beside``, round by round."""
        found: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
        for sample in self._samples:
            if (value := value_of(sample, column)) is not None:
                found[sample.round, sample.direction][sample.system] = value
        values = [pair[system] / pair[beside] for pair in found.values() if system in pair and beside in pair]
        return Figure(median(values), min(values), max(values)) if values else None

    def cpu(self, system: str, size: int) -> float | None:
        """Microseconds of CPU that one message costs on both sides together, all threads; the median."""
        values = [
            1e6 * (sample.details["cpu_send"] + sample.details["cpu_receive"])
            for sample in self._samples
            if sample.system == system and sample.rate and sample.size == size and "cpu_send" in sample.details
        ]
        return median(values) if values else None

    def goals(self, system: str = "crust") -> list[tuple[Column, str, float, float, bool]]:
        """Each goal that was measured: column, beside whom, the goal, what was reached, and whether that is enough."""
        reached = []
        for column, beside, goal in GOALS:
            ratio = self.ratio(system, beside, column)
            if ratio is not None:
                enough = ratio.median <= goal if isinstance(column, str) else ratio.median >= goal
                reached.append((column, beside, goal, ratio.median, enough))
        return reached


Cells = list[list[str]]


def cells(rows: Sequence[str], columns: Sequence[Column], cell: Callable[[str, Column], str]) -> Cells:
    """The body of a table: a row for each system, its name first."""
    return [[row, *(cell(row, column) for column in columns)] for row in rows]
