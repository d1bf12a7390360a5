"""A uTP flow over a narrow link, moment by moment: ``python -m benches.utp_run FILE`` (root, Linux; a minute).

First it is alone, then a TCP flow runs beside it, then it is alone again, and in the end the link loses packets. Writes
a CSV file, a row for each tenth of a second; ``make docs`` draws the picture of img/utp_run.csv. The link is that of
`tests/lab/congestion.py`: 20 Mbit/s, 200 ms of queue, 20 ms of round trip.
"""

import argparse
import csv
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

from crust.cli import console
from tests.lab.congestion import ONE_WAY, PAYLOAD_SHARE, dumbbell
from tests.lab.flows import Transport
from tests.lab.namespaces import missing

SECONDS = 60.0
TCP_STARTS = 12.0
TCP_SECONDS = 15.0
LOSS_STARTS = 45.0
LOSS = 1  # per cent
STEP = 0.1  # seconds
COLUMNS = (
    "seconds",
    "utp_mbit",  # per second that arrived, headers included
    "tcp_mbit",
    "window_kib",
    "in_flight_kib",
    "queueing_ms",  # as the sender sees it
    "ping_ms",  # what a ping waits in the queue
    "retransmissions",  # so far
    "cuts",  # of the window because of losses, so far
    "loss_percent",  # of the link
)

_LOSSY = f"""
table inet lossy {{
  chain input {{
    type filter hook input priority filter;
    meta l4proto udp numgen random mod 100 < {LOSS} drop
  }}
}}
"""


def measure() -> list[list[str]]:
    """The rows of one run."""
    with dumbbell() as link:
        pings = link.pings()
        utp = link.flow(Transport.CRUST, SECONDS)
        _sleep_until(utp.start + TCP_STARTS)
        tcp = link.flow(Transport.CUBIC, TCP_SECONDS)
        series = [tcp.finish()]
        early, pings = pings.finish(), link.pings()  # in two parts: what they say must fit into a pipe
        _sleep_until(utp.start + LOSS_STARTS)
        link.receiver.rules(_LOSSY)
        lossy = time.monotonic() - utp.start
        series.append(utp.finish())
        late = pings.finish()
    trace = cast(list[dict[str, Any]], utp.statistics["trace"])
    rows = []
    for step in range(round(SECONDS / STEP)):
        at = utp.start + step * STEP
        rates = [each.rate(at, at + STEP) * 8 / PAYLOAD_SHARE / 1e6 for each in series]
        waits = [trip - 2 * ONE_WAY for trip in (*early(at, at + STEP), *late(at, at + STEP))]
        seen = min(trace, key=lambda entry: abs(entry["time"] - step * STEP))
        rows.append(
            [
                f"{step * STEP:.1f}",
                f"{rates[1]:.1f}",
                f"{rates[0]:.1f}",
                f"{seen['window'] / 1024:.1f}",
                f"{seen['in_flight'] / 1024:.1f}",
                f"{seen['queueing_delay'] * 1e3:.1f}",
                f"{max(statistics.median(waits), 0.0) * 1e3:.1f}" if waits else "",
                str(seen["retransmissions"]),
                str(seen["losses"]),
                str(LOSS if step * STEP >= lossy else 0),
            ]
        )
    return rows


def _sleep_until(moment: float) -> None:
    threading.Event().wait(max(0.0, moment - time.monotonic()))


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; 1 when this machine cannot."""
    parser = argparse.ArgumentParser(prog="python -m benches.utp_run", description=__doc__)
    parser.add_argument("file", type=Path, help="the CSV file to write; the pictures are drawn from img/utp_run.csv")
    args = parser.parse_args(arguments)
    if reason := missing():
        console.warn(reason)
        return 1
    rows = measure()
    with args.file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    console.say(f"{len(rows)} rows in {args.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
