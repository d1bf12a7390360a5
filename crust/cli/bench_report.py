"""What ``crust bench`` prints, writes and draws."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crust._version import __version__
from crust.cli import console
from crust.cli.bench_client import FROM_PEER, TO_PEER, OneWay
from crust.cli.bench_stats import Latency, Machine, rate_name, size_name
from crust.cli.bench_utp import Packets

PACKET_HEADERS: Final = (
    "over uTP",
    "packets/s out",
    "bytes/s out",
    "packets/s in",
    "bytes/s in",
    "RTT",
    "resent",
    "window",
)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured."""

    peer: str
    machine: Machine
    seconds: float
    """Of each measurement."""
    one_way: Sequence[OneWay]
    round_trip: Latency
    connect: Latency
    connects_per_second: float

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; rates are per second, times in seconds, sizes in bytes."""
        one_way = [
            {
                **dataclasses.asdict(way),
                "messages_per_second": way.messages_per_second,
                "bytes_per_second": way.bytes_per_second,
            }
            for way in self.one_way
        ]
        return {
            "crust": __version__,
            "machine": self.machine.as_json(),
            "peer": self.peer,
            "seconds": self.seconds,
            "one_way": one_way,
            "round_trip": dataclasses.asdict(self.round_trip),
            "connect": {**dataclasses.asdict(self.connect), "per_second": self.connects_per_second},
        }

    def show(self) -> None:
        """Print it as tables."""
        console.say(f"{self.machine}, with {self.peer}", style="note")
        headers = ["message", *(f"{what} {way}" for way in (TO_PEER, FROM_PEER) for what in ("msg/s", "bytes/s"))]
        console.table(headers, self._rows(), right=range(1, 5))
        packets = self._packet_rows()
        if packets:
            console.table(PACKET_HEADERS, packets, right=range(1, len(PACKET_HEADERS)))
        times = [
            ["round trip of 64 B", *_times(self.round_trip)],
            ["connect, until it can be used", *_times(self.connect)],
        ]
        console.table(["", "p50", "p90", "p99", "most", "measured"], times, right=range(1, 6))
        console.say(f"{rate_name(self.connects_per_second)} connects per second, one after the other")

    def _packet_rows(self) -> list[list[str]]:
        return [
            [f"{size_name(way.size)} {way.direction}", *_on_the_wire(way.packets)]
            for way in self.one_way
            if way.packets
        ]

    def _rows(self) -> list[list[str]]:
        found = {(way.size, way.direction): way for way in self.one_way}
        rows = []
        for size in dict.fromkeys(way.size for way in self.one_way):
            ways = [found.get((size, direction)) for direction in (TO_PEER, FROM_PEER)]
            rows.append([size_name(size), *(cell for way in ways for cell in _rates(way))])
        return rows


def _rates(way: OneWay | None) -> list[str]:
    if way is None:
        return ["-", "-"]
    return [rate_name(way.messages_per_second), f"{console.human_bytes(way.bytes_per_second)}/s"]


def _on_the_wire(packets: Packets) -> list[str]:
    cells = []
    for count, size in ((packets.sent, packets.bytes_sent), (packets.received, packets.bytes_received)):
        cells += [rate_name(count / packets.seconds), f"{console.human_bytes(size / packets.seconds)}/s"]
    trip = "-" if packets.round_trip is None else console.human_time(packets.round_trip)
    return [*cells, trip, f"{packets.retransmissions:,}", console.human_bytes(packets.window)]


def _times(latency: Latency) -> list[str]:
    times = (latency.p50, latency.p90, latency.p99, latency.most)
    return [*(console.human_time(time) for time in times), f"{latency.count:,}"]


def draw(report: Report, path: Path) -> None:
    """Draw the report into an image; raises ``ModuleNotFoundError`` without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (messages, volume) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained", dpi=130)
    sizes = list(dict.fromkeys(way.size for way in report.one_way))
    for offset, direction, colour in ((-0.2, TO_PEER, "#1f6f8b"), (0.2, FROM_PEER, "#d98e4a")):
        ways = [way for way in report.one_way if way.direction == direction]
        where = [sizes.index(way.size) + offset for way in ways]
        messages.bar(where, [way.messages_per_second for way in ways], 0.38, color=colour, label=direction)
        volume.bar(where, [way.bytes_per_second / 1e6 for way in ways], 0.38, color=colour, label=direction)
    messages.set_yscale("log")
    for axes, label in ((messages, "messages per second (log scale)"), (volume, "MB per second")):
        axes.set_xticks(range(len(sizes)), [size_name(size) for size in sizes])
        axes.set_ylabel(label)
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.25)
        axes.legend(frameon=False)
    trip = report.round_trip
    figure.suptitle(
        f"crust bench: round trip p50 {console.human_time(trip.p50)}, p99 {console.human_time(trip.p99)}; "
        f"{rate_name(report.connects_per_second)} connects per second",
        fontsize=11,
    )
    figure.supxlabel(f"{report.machine}, with {report.peer}", fontsize=7, color="#555555")
    figure.savefig(path)
    pyplot.close(figure)
