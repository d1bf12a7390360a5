"""Raw streams over UDP, one way: ours, udx-native (C) and libutp, side by side: ``python -m benches.utp_speed``.

Two processes over loopback, one stream, no encryption, each written to in pieces that suit it: 1 MiB for ours, and once
more 64 KiB to show the difference; to the others their size makes none. Once more ours runs as it does where the kernel
has neither UDP_SEGMENT nor UDP_GRO. In each round every system is measured once, in an order that changes; ratios are
made within a round. System calls are counted by ``strace``, in other runs that are not timed.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches.child import Child, ChildFailed
from benches.progress import progress
from benches.report import times
from benches.summary import Figure
from crust.cli import console
from crust.cli.bench_stats import machine

SYSTEMS = {
    "crust": "crust",
    "crust-64k": "crust, writes of 64 KiB",
    "crust-plain": "crust, a call for each packet",
    "udx": "udx-native (C)",
    "libutp": "libutp (utp-native)",
    "libutp-tuned": "libutp, 4 MiB socket buffers",
}
PAYLOADS = {"crust": 1380, "crust-64k": 1380, "crust-plain": 1380, "udx": 1452, "libutp": 1382, "libutp-tuned": 1382}
"""Bytes of the stream in a full packet: ours is set to 1400 bytes with its header, the others choose."""
SETTINGS = {True: (2, 0.3), False: (7, 1.0)}  # quick or not: rounds, seconds of each measurement
FIRST_VOLUME = 64 * 1024  # bytes; then four times as much, until it takes long enough to tell the rate
WARM_UP_SECONDS = 0.3
LEAST_VOLUME = 8 * 1024 * 1024  # bytes; libutp runs, then waits for a time-out, and both must be in it
COUNTED_SECONDS = 0.5  # of the rate measured; strace makes it several times longer
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    system: str
    round: int
    rate: float
    """Bytes per second."""
    bytes: int
    cpu: float
    """Seconds of processor time, both processes with all their threads."""


class Pair:
    """Two processes with one stream from ``dialler`` to ``listener``. A context manager.

    Args:
        system: a key of `SYSTEMS`.
        counts: a directory for the counts of system calls; ``None``: they are not counted.

    Raises:
        ChildFailed: the system is not installed, or did not connect.
    """

    def __init__(self, system: str, counts: Path | None = None) -> None:
        names = ("listener", "dialler")
        files = [[] if counts is None else [str(counts / name)] for name in names]
        self._ends = [Child("benches.utp_end", system, *file) for file in files]
        try:
            listener, dialler = self._ends
            for end in self._ends:
                end.answer()
            port, back = listener.ask("listen")["port"], dialler.ask("bind")["port"]
            listener.tell("accepted", port=back)
            dialler.ask("connect", port=port)
            listener.answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End both processes."""
        for end in self._ends:
            end.close()

    def one_way(self, count: int) -> tuple[float, float]:
        """Send ``count`` bytes; seconds from the first to the last at the listener, and seconds of CPU."""
        listener, dialler = self._ends
        before = self._cpu()
        listener.tell("receive", bytes=count)
        dialler.tell("send", bytes=count)
        seconds = float(listener.answer()["seconds"])
        dialler.answer()
        return max(seconds, 1e-9), self._cpu() - before

    def _cpu(self) -> float:
        return sum(float(end.ask("state")["cpu"]) for end in self._ends)

    def warm_up(self) -> float:
        """Send growing volumes until one takes long enough; bytes per second of that one."""
        volume = FIRST_VOLUME
        while True:
            start = time.perf_counter()
            self.one_way(volume)
            taken = time.perf_counter() - start
            if taken >= WARM_UP_SECONDS:
                return volume / taken
            volume *= 4


def sample(system: str, number: int, seconds: float) -> Sample:
    """Measure a system once, in fresh processes."""
    with Pair(system) as pair:
        volume = max(LEAST_VOLUME, int(pair.warm_up() * seconds))
        taken, cpu = pair.one_way(volume)
    return Sample(system, number, volume / taken, volume, cpu)


def packets_per_call(system: str, rate: float) -> float:
    """Packets of data for each system call (sending, receiving, waiting; acks included) of both processes."""
    volume = max(LEAST_VOLUME, int(rate * COUNTED_SECONDS))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Pair(system, directory) as pair:
            pair.one_way(volume)
        calls = sum(calls_counted(file.read_text("utf-8")) for file in directory.iterdir())
    return volume / PAYLOADS[system] / max(calls, 1)


def can_count() -> bool:
    """Whether strace is there and may trace."""
    try:
        return subprocess.run(["strace", "-c", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def calls_counted(summary: str) -> int:
    """The sum of all calls in a summary that strace wrote: lines of a name and a number."""
    rows = [line.split() for line in summary.splitlines()]
    return sum(int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total")


def measure(systems: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Run everything; plain values."""
    samples: list[Sample] = []
    failed: dict[str, str] = {}
    for number in range(rounds):
        order = [system for system in systems if system not in failed]
        random.Random(number).shuffle(order)
        for system in order:
            progress(f"round {number + 1} of {rounds}: {SYSTEMS[system]}")
            try:
                samples.append(sample(system, number, seconds))
            except ChildFailed as error:
                failed[system] = str(error)
    calls: dict[str, float] = {}
    measured = {one.system: one.rate for one in samples if one.system not in failed}
    for system, rate in measured.items() if can_count() else ():
        progress(f"counting system calls: {SYSTEMS[system]}")
        try:
            calls[system] = packets_per_call(system, rate)
        except ChildFailed as error:
            console.warn(f"{SYSTEMS[system]}: system calls were not counted: {error}")
    progress("")
    plan = {"rounds": rounds, "seconds": seconds}
    return {"plan": plan, "samples": [asdict(one) for one in samples], "packets_per_call": calls, "failed": failed}


def figure(values: list[float]) -> Figure | None:
    """Median and spread."""
    return Figure(median(values), min(values), max(values)) if values else None


def ratio(samples: list[Sample], system: str, beside: str) -> Figure | None:
    """``system`` divided by ``beside``, round by round."""
    rates = {(one.system, one.round): one.rate for one in samples}
    pairs = [(rates.get((system, number)), rates.get((beside, number))) for number in {one.round for one in samples}]
    return figure([own / other for own, other in pairs if own and other])


def row(samples: list[Sample], system: str, calls: dict[str, float]) -> list[str]:
    """One line of the table."""
    own = [one for one in samples if one.system == system]
    rate = figure([one.rate / MB for one in own])
    packets = median(one.rate / PAYLOADS[system] for one in own)
    cpu = median(one.cpu / one.bytes * PAYLOADS[system] * 1e6 for one in own)
    speed = f"{rate.median:.0f} ({rate.least:.0f}-{rate.most:.0f})" if rate and rate.median >= 10 else ""
    speed = speed or (f"{rate.median:.1f} ({rate.least:.1f}-{rate.most:.1f})" if rate else "-")
    per_call = f"{calls[system]:.1f}" if system in calls else "-"
    beside = [times(ratio(samples, system, other)) for other in ("udx", "libutp")]
    return [
        SYSTEMS[system],
        speed,
        *beside,
        str(PAYLOADS[system]),
        f"{packets / 1000:,.0f} k",
        f"{cpu:.2f} us",
        per_call,
    ]


def goals(samples: list[Sample], calls: dict[str, float]) -> list[str]:
    """For each goal that was measured a line that ends in "reached" or "missed"."""
    rate = figure([one.rate / MB for one in samples if one.system == "crust"])
    beside = ratio(samples, "crust", "udx")
    reached = [
        ("MB/s", 400.0, rate.median if rate else None),
        ("x udx-native", 2.0, beside.median if beside else None),
        ("packets per system call", 5.0, calls.get("crust")),
    ]
    lines = []
    for name, goal, value in reached:
        if value is not None:
            verdict = "reached" if value >= goal else "missed"
            lines.append(f"goal: at least {goal:g} {name}; measured {value:.3g}: {verdict}")
    return lines


HEAD = ["one stream, one way", "MB/s", "/ udx", "/ libutp", "B/packet", "packets/s", "CPU/packet", "packets/call"]


def rows(samples: list[Sample], calls: dict[str, float]) -> list[list[str]]:
    """The table below `HEAD`."""
    return [row(samples, name, calls) for name in SYSTEMS if any(one.system == name for one in samples)]


def show_markdown(results: dict[str, Any]) -> None:
    """Print the table for docs/utp.md."""
    lines = [HEAD, ["---"] + ["---:"] * (len(HEAD) - 1)]
    lines += rows([Sample(**one) for one in results["samples"]], results["packets_per_call"])
    for line in lines:
        console.say(f"| {' | '.join(line)} |")


def show(results: dict[str, Any]) -> None:
    """Print the table and the goals."""
    samples = [Sample(**one) for one in results["samples"]]
    calls, plan = results["packets_per_call"], results["plan"]
    console.say(f"{plan['rounds']} rounds of about {plan['seconds']:g} s; median (least-most)", style="note")
    console.table(HEAD, rows(samples, calls), right=range(1, len(HEAD)))
    for line in goals(samples, calls):
        console.say(line, style="good" if line.endswith("reached") else "warn")
    for name, reason in results["failed"].items():
        console.warn(f"{SYSTEMS[name]}: {reason}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benches.utp_speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some seconds; the numbers are rough")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, help="how long one measurement takes, about")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="some of the systems")
    parser.add_argument("--markdown", action="store_true", help="print the table as the documentation has it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    args = parser.parse_args(arguments)
    rounds, seconds = SETTINGS[args.quick]
    console.say(str(machine()), style="note")
    results = measure(args.only, args.rounds or rounds, args.seconds or seconds)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine().as_json(), **results}, indent=1) + "\n", "utf-8")
    (show_markdown if args.markdown else show)(results)
    return 0 if results["samples"] else 1


if __name__ == "__main__":
    sys.exit(main())
