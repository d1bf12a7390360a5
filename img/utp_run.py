"""A run of uTP over a narrow link, drawn from utp_run.csv (by ``python -m benches.utp_run img/utp_run.csv``)."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from svg import GREY, Drawing

from crust.transport.utp.constants import TARGET_DELAY

RUN: Final = Path(__file__).with_name("utp_run.csv")
_SMOOTHED: Final = 5  # rows of which a rate is the mean: who is woken late gets the packets of two rows in one
_BLUE, _BROWN, _LIGHT, _RED = "#1f6f8b", "#b7791f", "#8ab6c6", "#a3305f"
_LEFT, _WIDTH, _HEIGHT, _GAP, _TOP = 76, 860, 120, 52, 54

Row = dict[str, float]


class Line(NamedTuple):
    """A curve: which column, and how it is drawn."""

    column: str
    name: str
    colour: str
    smoothed: bool = False


class Panel(NamedTuple):
    """One of the plots above each other, over the same time."""

    title: str
    most: float
    step: float
    lines: Sequence[Line]


PANELS: Final = (
    Panel(
        "rate in Mbit/s, of 20",
        24,
        10,
        [Line("utp_mbit", "uTP", _BLUE, True), Line("tcp_mbit", "TCP (CUBIC)", _BROWN, True)],
    ),
    Panel(
        "bytes in KiB",
        240,
        100,
        [Line("window_kib", "congestion window", _BLUE), Line("in_flight_kib", "on their way", _LIGHT)],
    ),
    Panel(
        "queueing delay in ms",
        240,
        100,
        [Line("ping_ms", "as a ping meets it", _LIGHT), Line("queueing_ms", "as uTP sees it", _BLUE)],
    ),
    Panel("packets sent again in a second", 40, 20, [Line("retransmissions", "", _RED)]),
)


def load() -> list[Row]:
    """The rows of the file; a ping that is missing is left out of its row."""
    with RUN.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def draw() -> str:
    """The picture as SVG."""
    rows = load()
    height = _TOP + len(PANELS) * (_HEIGHT + _GAP) + 10
    picture = Drawing(_LEFT + _WIDTH + 24, height, "uTP over a link of 20 Mbit/s: alone, beside TCP, and with losses")
    end = rows[-1]["seconds"]

    def across(seconds: float) -> float:
        return _LEFT + seconds / end * _WIDTH

    for name, begin, stop in _phases(rows):
        picture.box(across(begin), _TOP - 30, across(stop) - across(begin), height - _TOP - 12, "area")
        picture.words(across((begin + stop) / 2), _TOP - 36, name)
    for number, panel in enumerate(PANELS):
        _panel(picture, panel, rows, across, _TOP + number * (_HEIGHT + _GAP))
    for second in range(0, round(end) + 1, 10):
        picture.words(across(second), height - 22, f"{second} s")
    return picture.text()


def _phases(rows: list[Row]) -> list[tuple[str, float, float]]:
    """What was special, from when to when."""
    beside = [row["seconds"] for row in rows if row["tcp_mbit"] > 0]
    lossy = [row["seconds"] for row in rows if row["loss_percent"] > 0]
    percent = rows[-1]["loss_percent"]
    return [
        ("a TCP flow runs as well", beside[0], beside[-1]),
        (f"the link loses {percent:g} % of the packets", lossy[0], lossy[-1]),
    ]


def _panel(picture: Drawing, panel: Panel, rows: list[Row], across: Callable[[float], float], top: float) -> None:
    bottom = top + _HEIGHT

    def up(value: float) -> float:
        return bottom - min(value / panel.most, 1.0) * _HEIGHT

    picture.words(_LEFT, top - 8, panel.title, bold=True, anchor="start")
    value = 0.0
    while value <= panel.most:
        picture.curve([(_LEFT, up(value)), (_LEFT + _WIDTH, up(value))], "#d0d7de", width=1)
        picture.words(_LEFT - 8, up(value) + 4, f"{value:g}", anchor="end")
        value += panel.step
    if "ms" in panel.title.split():
        picture.curve([(_LEFT, up(TARGET_DELAY * 1e3)), (_LEFT + _WIDTH, up(TARGET_DELAY * 1e3))], GREY, dash="5 4")
        picture.words(_LEFT + _WIDTH, up(TARGET_DELAY * 1e3) - 5, "target", anchor="end")
    right = float(_LEFT + _WIDTH)
    for line in reversed(panel.lines):
        if line.name:
            picture.words(right, top - 8, line.name, anchor="end", colour=line.colour)
            right -= 8 * len(line.name) + 12
    for line in panel.lines:
        points = _values(line, rows)
        picture.curve([(across(seconds), up(value)) for seconds, value in points], line.colour)


def _values(line: Line, rows: list[Row]) -> list[tuple[float, float]]:
    """What is drawn of a column: times and values."""
    if line.column == "retransmissions":
        per_second = zip(rows[:-10], rows[10:], strict=True)
        return [(late["seconds"], late[line.column] - early[line.column]) for early, late in per_second]
    points = [(row["seconds"], row[line.column]) for row in rows if line.column in row]
    if not line.smoothed:
        return points
    means = []
    for number, (seconds, _) in enumerate(points):
        near = points[max(number - _SMOOTHED // 2, 0) : number + _SMOOTHED // 2 + 1]
        means.append((seconds, sum(value for _, value in near) / len(near)))
    return means
