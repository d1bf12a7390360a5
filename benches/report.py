"""Tables of a comparison, for terminals and for the README."""

import subprocess
from collections.abc import Iterable, Sequence
from importlib import metadata

from benches.child import ROOT
from benches.rounds import DIRECTIONS
from benches.summary import Cells, Column, Figure, Summary, cells
from benches.systems import BASELINE, BY_NAME
from crust.cli import console
from crust.cli.bench_stats import rate_name, size_name

PACKAGES = ("crust-p2p", "pynacl", "pyzmq", "libp2p")


def versions() -> dict[str, str]:
    """The versions of what is compared, and the commit that is checked out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    try:
        describe = ["git", "describe", "--always", "--dirty"]
        found["commit"] = subprocess.run(describe, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass  # not a checkout
    return found


def column_name(column: Column) -> str:
    """The head of a column."""
    return size_name(column) if isinstance(column, int) else f"RTT {column}"


def number(figure: Figure | None, column: Column) -> str:
    """A rate or a time, short."""
    if figure is None:
        return "-"
    return f"{figure.median * 1e6:.0f} us" if isinstance(column, str) else rate_name(figure.median)


def times(figure: Figure | None) -> str:
    """A ratio with its spread over the rounds."""
    if figure is None:
        return "-"
    decimals = 2 if figure.median >= 0.1 else 3
    return f"{figure.median:.{decimals}f} ({figure.least:.{decimals}f}-{figure.most:.{decimals}f})"


def title(system: str) -> str:
    """What tables call a system."""
    return BY_NAME[system].title


def _figures(summary: Summary, direction: str | None = None) -> Cells:
    return cells(
        summary.systems, summary.columns, lambda name, column: number(summary.figure(name, column, direction), column)
    )


def _named(rows: Cells) -> Cells:
    return [[title(name), *rest] for name, *rest in rows]


def _table(summary: Summary, head: str, rows: Cells, columns: Sequence[Column]) -> None:
    console.say(f"\n{head}", style="strong")
    console.table(["", *map(column_name, columns)], rows, right=range(1, len(columns) + 1))


def show(summary: Summary, failed: dict[str, str]) -> None:
    """Print everything about a comparison."""
    columns, systems = summary.columns, summary.systems
    sizes = [column for column in columns if isinstance(column, int)]
    rows = _figures(summary)
    _table(
        summary,
        "messages per second, and round trips of 64 B (median of all rounds, both directions)",
        _named(rows),
        columns,
    )
    for direction in DIRECTIONS:
        rows = _figures(summary, direction)
        _table(summary, f"the same, sent from the {direction}", _named(rows), columns)
    if BASELINE in systems:
        rows = cells(systems, columns, lambda name, column: times(summary.ratio(name, BASELINE, column)))
        _table(summary, f"divided by {title(BASELINE)}, round by round (least-most)", _named(rows), columns)
    rows = cells(systems, sizes, lambda name, size: _microseconds(summary.cpu(name, int(size))))
    _table(summary, "microseconds of CPU per message, both processes together", _named(rows), sizes)
    for line in goal_lines(summary):
        console.say(line, style="good" if line.endswith("reached") else "warn")
    for name, reason in failed.items():
        console.warn(f"{title(name)}: {reason}")


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def goal_lines(summary: Summary) -> list[str]:
    """For each goal a line that ends in "reached" or "missed"."""
    lines = []
    for column, beside, goal, ratio, enough in summary.goals():
        limit = "at most" if isinstance(column, str) else "at least"
        verdict = "reached" if enough else "missed"
        name = column_name(column)
        lines.append(f"goal: {name}: {limit} {goal:g} x {title(beside)}; measured {ratio:.2f} x: {verdict}")
    return lines


def markdown(summary: Summary, about: str, failed: dict[str, str]) -> str:
    """A table for the README, with what it was measured on and how."""
    columns = summary.columns
    rows = _figures(summary)
    lines = [_markdown_row(["messages per second", *map(column_name, columns)])]
    lines.append(_markdown_row(["---", *("---:" for _ in columns)]))
    lines += [_markdown_row([_emphasis(row[0]), *row[1:]]) for row in rows]
    for beside in (BASELINE, "raw"):
        if "crust" in summary.systems and beside in summary.systems:
            ratios = [summary.ratio("crust", beside, column) for column in columns]
            bold = [f"**{ratio.median:.2f} x**" if ratio else "-" for ratio in ratios]
            lines.append(_markdown_row([f"crust / {title(beside)}", *bold]))
    missing = [f"\n{title(name)} was not measured: {reason}." for name, reason in failed.items()]
    how = "Median of all rounds and both directions; ratios are made within each round. Made by `make bench`"
    return "\n".join([*lines, "", f"{how} on {about}.", *missing]) + "\n"


def _emphasis(name: str) -> str:
    system = BY_NAME[name]
    return f"{system.title}{'' if system.secure else ' (clear text)'}"


def _markdown_row(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"
