"""Runs seeds, or one seed again with every packet; see the package."""

import argparse
import sys

from tests.transport.utp.simulation.batch import Summary, run_all
from tests.transport.utp.simulation.chances import draw
from tests.transport.utp.simulation.scenario import Failed, run


def main() -> int:
    """Run what the command line says; 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.transport.utp.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one, or the only one (default: 0)")
    parser.add_argument("--count", type=int, default=1, help="how many seeds (default: 1)")
    parser.add_argument("--processes", type=int, default=1, help="that share them (default: 1)")
    parser.add_argument("--trace", action="store_true", help="show each packet of one seed")
    arguments = parser.parse_args()
    if arguments.count > 1:
        return _many(arguments.seed, arguments.count, arguments.processes)
    sys.stdout.write(f"{draw(arguments.seed)}\n")
    try:
        outcome = run(arguments.seed, _line if arguments.trace else None)
    except Failed as error:
        cause = error.__cause__
        sys.stdout.write(f"{error}\n")
        if cause is not None and not isinstance(cause, AssertionError):
            raise
        return 1
    sys.stdout.write(f"{outcome}\n")
    return 0


def _many(first: int, count: int, processes: int) -> int:
    summary: Summary = run_all(range(first, first + count), processes)
    sys.stdout.write(f"{summary}\n")
    return 1 if summary.failures else 0


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
