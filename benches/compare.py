"""Crust beside raw sockets, pyzmq and py-libp2p: ``python -m benches.compare`` (``make bench``). See README.md here."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benches import plot, report
from benches.progress import progress
from benches.rounds import Comparison, Plan, Sample
from benches.summary import Summary
from benches.systems import BY_NAME, SYSTEMS
from crust.cli import console
from crust.cli.bench_stats import machine, parse_size

SIZES = (64, 1024, 64 * 1024, 1024 * 1024)
SETTINGS = {True: (2, 0.2), False: (5, 1.0)}  # quick or not: rounds, seconds of each measurement


def _sizes(text: str) -> list[int]:
    return [parse_size(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in BY_NAME:
            raise argparse.ArgumentTypeError(f"there is no system {name!r}; there are {', '.join(BY_NAME)}")
    return names


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benches.compare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute instead of several; the numbers are rough")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, help="how long one measurement takes, about")
    parser.add_argument("--only", type=_names, metavar="NAMES", help=f"some of: {','.join(BY_NAME)}")
    parser.add_argument("--size", type=_sizes, default=list(SIZES), metavar="SIZES", help="such as 64,1KiB,1MiB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the README's table to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture (PNG) to FILE; needs matplotlib")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing: take a --json FILE")
    args = parser.parse_args(arguments)
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if args.seconds is not None and not 0.01 <= args.seconds <= 30:
        parser.error("--seconds must be from 0.01 to 30")
    return args


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the comparison; everything about it as plain values."""
    rounds, seconds = SETTINGS[args.quick]
    systems = [system for system in SYSTEMS if args.only is None or system.name in args.only]
    plan = Plan(systems, args.size, args.rounds or rounds, args.seconds or seconds)
    comparison = Comparison(plan, progress)
    comparison.run()
    progress("")
    return {"machine": machine().as_json(), "versions": report.versions(), **comparison.as_json()}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for; 1 when nothing could be measured."""
    args = parse(arguments)
    results = json.loads(args.source.read_text("utf-8")) if args.source else measure(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    host = results["machine"]
    about = f"{host['cpu']}, {host['cores']} cores, {host['system']}, Python {host['python']} ({versions})"
    plan = results["plan"]
    console.say(f"{about}\n{plan['rounds']} rounds of about {plan['seconds']:g} s for each measurement")
    summary = Summary(Sample(**sample) for sample in results["samples"])
    report.show(summary, results["failed"])
    if args.markdown:
        args.markdown.write_text(report.markdown(summary, about, results["failed"]), "utf-8")
    if args.plot:
        plot.draw(summary, args.plot, about)
    return 0 if results["samples"] else 1


if __name__ == "__main__":
    sys.exit(main())
