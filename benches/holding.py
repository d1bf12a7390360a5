"""The command line of benchmarks whose measured process holds many connections and does what it is told."""

import argparse
import json
from collections.abc import Callable
from typing import Any, Protocol

from benches.child import obey
from crust.cli import console
from crust.cli.bench_stats import machine


class Holder(Protocol):
    """The measured process, as the other one sees it."""

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        ...

    def close(self) -> None:
        """End everything."""
        ...


def main(
    name: str,
    text: str | None,
    idle: float,
    holder: Callable[[int], Holder],
    measure: Callable[[int, float], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
    arguments: list[str] | None,
) -> int:
    """Measure and print, or become the measured process; 1 when a connection was lost.

    Args:
        name: of the benchmark's module.
        text: what it is about.
        idle: seconds to be idle where the command line does not say.
        holder: makes the measured process's part for so many connections.
        measure: measures so many connections, idle for so many seconds; the result has a key ``lost``.
        show: prints a result as a table.
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=text)
    parser.add_argument("--count", type=int, default=1000, help="connections (default: 1000)")
    parser.add_argument("--idle", type=float, default=idle, metavar="S", help=f"seconds to be idle (default: {idle:g})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--hold", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.count < 1:
        parser.error("--count must be at least 1")
    if args.hold is not None:
        hold(holder, args.hold)
        return 0
    result = measure(args.count, args.idle)
    if args.json:
        console.say(json.dumps({"machine": machine().as_json(), **result}, indent=1))
    else:
        console.say(str(machine()), style="note")
        show(result)
    return int(result["lost"] > 0)


def hold(holder: Callable[[int], Holder], count: int) -> None:
    """Be the measured process until the other one ends."""
    holders: list[Holder] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        holders.append(holder(count))
        return holders[0].do

    obey(start, lambda: holders[0].close())
