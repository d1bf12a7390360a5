"""How uTP shares a narrow link, beside libutp and the kernel's TCP: ``python -m benches.congestion`` (root, Linux).

The experiments are those of `tests/lab/congestion.py`, in network namespaces that live and die with them: 20 Mbit/s,
200 ms of queue, 20 ms of round trip (40 ms where packets are lost). In each all transports run at the same time, each
on a link of its own.
"""

import argparse
import functools
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.progress import progress
from crust.cli import console
from crust.cli.bench_stats import machine
from tests.lab import congestion
from tests.lab.flows import Transport, unavailable
from tests.lab.namespaces import missing

LATE = 10.0  # seconds after which the second of two flows starts
TOGETHER = 50.0  # seconds that both run
SETTLED = 20.0  # seconds of these that are not looked at: how it ends counts
NAMES = {
    Transport.CRUST: "Crust",
    Transport.LIBUTP: "libutp",
    Transport.CUBIC: "TCP (CUBIC)",
    Transport.BBR: "TCP (BBR)",
}
FIGURES = {
    "alone: of the link": "{:.1%}",
    "alone: queueing, median": "{:.0f} ms",
    "alone: queueing, 95 %": "{:.0f} ms",
    "CUBIC beside it keeps": "{:.1%}",
    "BBR beside it keeps": "{:.1%}",
    "two at once: the second has": "{:.1%}",
    "10 s later: the second has, at first": "{:.1%}",
    "10 s later: the second has, in the end": "{:.1%}",
    "1 % loss: of the link": "{:.1%}",
}


def _alone(transport: Transport) -> dict[str, float]:
    found = congestion.alone(transport)
    return {
        "alone: of the link": found.filled,
        "alone: queueing, median": found.queueing * 1e3,
        "alone: queueing, 95 %": found.queueing_95 * 1e3,
    }


def _beside(tcp: Transport, name: str) -> Callable[[Transport], dict[str, float]]:
    return lambda transport: {name: congestion.beside_tcp(transport, tcp).kept}


def _at_once(transport: Transport) -> dict[str, float]:
    return {"two at once: the second has": congestion.shared(transport).second_of_both}


def _late(transport: Transport) -> dict[str, float]:
    found = congestion.shared(transport, later=LATE, seconds=TOGETHER, settle=SETTLED)
    return {
        "10 s later: the second has, at first": found.second_at_first,
        "10 s later: the second has, in the end": found.second_of_both,
    }


def _lossy(transport: Transport, seed: int) -> dict[str, float]:
    return {"1 % loss: of the link": congestion.lossy(transport, seed=seed).filled}


def _experiments(number: int) -> list[Callable[[Transport], dict[str, float]]]:
    beside = [
        _beside(tcp, name)
        for tcp, name in ((Transport.CUBIC, "CUBIC beside it keeps"), (Transport.BBR, "BBR beside it keeps"))
        if not unavailable(tcp)
    ]
    return [_alone, *beside, _at_once, _late, lambda transport: _lossy(transport, number)]


def measure(transports: list[Transport], rounds: int) -> dict[str, dict[str, list[float]]]:
    """All figures of all rounds, by transport and figure."""
    found: dict[str, dict[str, list[float]]] = {transport.value: {} for transport in transports}
    for number in range(1, rounds + 1):
        experiments = _experiments(number)
        for step, experiment in enumerate(experiments, start=1):
            progress(f"round {number} of {rounds}, experiment {step} of {len(experiments)} ...")
            results = congestion.at_once(*(functools.partial(experiment, transport) for transport in transports))
            for transport, result in zip(transports, results, strict=True):
                for figure, value in result.items():
                    found[transport.value].setdefault(figure, []).append(value)
    progress("")
    return found


def table(found: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    """The rows of the table, the head first."""
    rows = [["", *(NAMES[Transport(transport)] for transport in found)]]
    rows += [
        [figure, *(_cell(figures.get(figure, []), form) for figures in found.values())]
        for figure, form in FIGURES.items()
    ]
    return rows


def replace(page: str, rows: list[list[str]], about: str) -> str:
    """A page of the documentation with another table in its place.

    Raises:
        ValueError: it has no place for the table.
    """
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    lines = [head, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *others, "", about]
    begin, end = "<!-- congestion:begin -->\n", "<!-- congestion:end -->"
    replaced, count = re.subn(f"{begin}.*?{end}", lambda _: "\n".join([begin, *lines, "", end]), page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"there must be one place for the table, between {begin.strip()} and {end}, not {count}")
    return replaced


def _cell(values: list[float], form: str) -> str:
    if not values:
        return "-"
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))} - {form.format(max(values))})"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when this machine cannot."""
    parser = argparse.ArgumentParser(prog="python -m benches.congestion", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3; five minutes each)")
    parser.add_argument("--only", nargs="+", choices=[each.value for each in Transport], help="not all transports")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table in its place in FILE, docs/utp.md")
    args = parser.parse_args(arguments)
    if reason := missing():
        console.warn(reason)
        return 1
    transports = []
    for transport in map(Transport, args.only or [each.value for each in Transport]):
        if reason := unavailable(transport):
            console.say(f"{transport.value} is left out: {reason}", style="note")
        else:
            transports.append(transport)
    found = measure(transports, args.rounds)
    if args.json:
        result: dict[str, Any] = {"machine": machine().as_json(), "figures": found}
        console.say(json.dumps(result, indent=1))
    else:
        head, *rows = table(found)
        console.say(str(machine()), style="note")
        console.table(head, rows, right=range(1, len(head)))
    if args.page:
        rounds = "one round" if args.rounds == 1 else f"median of {args.rounds} rounds (least - most)"
        page = replace(args.page.read_text("utf-8"), table(found), f"{machine()}; {rounds}.")
        args.page.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
