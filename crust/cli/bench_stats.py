"""Numbers of measurements: sizes as people write them, percentiles, and the machine. All pure but `machine`."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

_UNITS: Final = {"": 1, "b": 1, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2, "g": 1024**3, "gib": 1024**3}
_SIZE = re.compile(r"\s*(\d{1,10})\s*([a-z]*)\s*\Z", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Bytes of ``64``, ``64B``, ``1KiB``, ``1k``, ``2 MiB`` or ``2M``.

    Raises:
        ValueError: not a size; the message shows a right one.
    """
    match = _SIZE.match(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or not int(match[1]):
        raise ValueError(f"{text!r} is not a size: write bytes as 64, 64B, 1KiB, 1MiB or 1GiB, and 1 at least")
    return int(match[1]) * unit


def size_name(size: int) -> str:
    """``64 B``, ``1 KiB``, ``1 MiB``: exact, in the largest unit that divides it."""
    for unit, name in ((1024**2, "MiB"), (1024, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def rate_name(per_second: float) -> str:
    """A rate with three figures: ``12.3 M``, ``812 k``, ``45.1``."""
    unit, name = (1e6, " M") if per_second >= 999_500 else (1e3, " k") if per_second >= 999.5 else (1.0, "")
    scaled = per_second / unit
    decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{decimals}f}{name}"


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of 100 values do not exceed (nearest rank); ``ordered`` ascends and is not empty."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of a set of times, in seconds."""

    count: int
    p50: float
    p90: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        """Those of ``seconds``, which is not empty."""
        ordered = sorted(seconds)
        return cls(len(ordered), *(percentile(ordered, percent) for percent in (50, 90, 99, 100)))


@dataclass(frozen=True, slots=True)
class Machine:
    """What the numbers depend on."""

    cpu: str
    cores: int
    system: str
    python: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.system}, Python {self.python}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def cpu_model(cpuinfo: str) -> str:
    """The model named in the text of ``/proc/cpuinfo``, or nothing."""
    match = re.search(r"^model name\s*:\s*(.+?)\s*$", cpuinfo, re.MULTILINE)
    return match[1] if match else ""


def machine() -> Machine:
    """This machine."""
    try:
        model = cpu_model(Path("/proc/cpuinfo").read_text("utf-8", "replace"))
    except OSError:  # not Linux
        model = ""
    cpu = model or platform.processor() or platform.machine()
    system = f"{platform.system()} {platform.release()}"
    return Machine(cpu, os.cpu_count() or 1, system, platform.python_version())
