"""``crust bench`` over uTP: the figures, and the trace; without a network."""

import csv
import threading
from pathlib import Path

import pytest

from crust.cli.bench_utp import COLUMNS, Packets, Trace
from crust.transport.utp import UtpStats

BEFORE = UtpStats(1_000, 50, 10, 5, 1, 0, 0, 0, 0.010, 4_096, 65_536, 0, 0.0, 1_472)
AFTER = UtpStats(5_001_000, 1_050, 3_010, 205, 8, 2, 1, 0, 0.025, 262_144, 65_536, 131_072, 0.0125, 1_472)


def test_what_went_over_the_network_meanwhile() -> None:
    assert Packets.between(BEFORE, AFTER, 2.0) == Packets(
        seconds=2.0,
        sent=3_000,
        received=200,
        bytes_sent=5_000_000,
        bytes_received=1_000,
        retransmissions=7,
        window=262_144,
        round_trip=0.025,
    )


@pytest.mark.parametrize(
    ("before", "after", "seconds"), [(None, AFTER, 1.0), (BEFORE, None, 1.0), (BEFORE, AFTER, 0.0)]
)
def test_over_tcp_there_is_nothing_to_tell(before: UtpStats | None, after: UtpStats | None, seconds: float) -> None:
    assert Packets.between(before, after, seconds) is None


def test_a_trace_is_a_table_of_what_the_connection_says(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    trace = Trace(file, lambda: None)
    with trace:
        trace.write(0.25, AFTER)
    header, line = list(csv.reader(file.read_text("ascii").splitlines()))
    assert tuple(header) == COLUMNS
    assert dict(zip(header, line, strict=True)) == {
        "seconds": "0.250",
        "window_kib": "256.0",
        "in_flight_kib": "128.0",
        "queueing_ms": "12.50",
        "rtt_ms": "25.00",
        "retransmissions": "8",
        "cuts": "1",
        "sent_mb": "5.001",
        "received_mb": "0.001",
    }


def test_a_trace_looks_again_and_again_until_it_is_over(tmp_path: Path) -> None:
    looked = threading.Semaphore(0)

    def look() -> UtpStats:
        looked.release()
        return AFTER

    with Trace(tmp_path / "trace.csv", look):
        for _ in range(3):
            assert looked.acquire(timeout=30.0)
    lines = list(csv.DictReader((tmp_path / "trace.csv").read_text("ascii").splitlines()))
    assert len(lines) >= 2
    times = [float(line["seconds"]) for line in lines]
    assert times == sorted(times)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Trace(tmp_path / "nowhere" / "trace.csv", lambda: None)
