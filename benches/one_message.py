"""What one small message costs at each step, alone: ``python -m benches.one_message``. Microseconds, in one thread.

It matters for round trips, where nothing can be batched: hot, one message right after the other; and cold, after a
pause, when the processor has slept and its caches hold something else, as it is where messages are rare.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

from crust.channel import channel
from crust.cli import console
from crust.cli.bench_stats import machine
from crust.endpoint import Endpoint
from crust.event import new_messages
from crust.limits import MAX_WAITING_BYTES, MAX_WAITING_EVENTS
from crust.manager.outlet import Outlet
from crust.transport.aead import supported_ciphers
from crust.transport.framing import Decoder, message_frame
from crust.transport.records import MAX_RECORD, Opener, Sealer

PAUSE = 0.001  # seconds
MESSAGE = bytes(64)
KEY = bytes(range(32))
Marks = list[tuple[str, int]]


def path() -> Callable[[], Marks]:
    """The way of one message from ``send()`` to ``get()``, without locks, threads and sockets; it marks each step."""
    cipher, endpoint, events = supported_ciphers()[0], Endpoint.tcp("192.0.2.7:5483"), channel()
    sealer, opener, decoder = Sealer(KEY, cipher), Opener(KEY, cipher), Decoder(1 << 24)
    outlet = Outlet(events, MAX_WAITING_EVENTS, MAX_WAITING_BYTES, lambda: None)
    out, routes = bytearray(MAX_RECORD), {endpoint: sealer}
    view, now = memoryview(out), time.perf_counter_ns

    def run() -> Marks:
        marks = [("", now())]
        sender = routes[endpoint]
        frame = message_frame(MESSAGE)
        marks.append(("find the connection, make the frame", now()))
        end = sender.seal_into(out, 0, frame, len(frame))
        marks.append(("seal", now()))
        room = opener.writable()
        room[:end] = view[:end]
        opener.received(end)
        marks.append(("receive", now()))
        plaintext = opener.open_next()
        marks.append(("open", now()))
        decoder.feed(plaintext or b"")
        messages, size = decoder.take_messages()
        opener.open_next()
        marks.append(("decode, look for more", now()))
        made = new_messages(endpoint, messages)
        marks.append(("make the event", now()))
        outlet.deliver(made, size + len(MESSAGE))
        marks.append(("deliver", now()))
        events.get()
        marks.append(("get", now()))
        return marks

    return run


def steps(pause: float, count: int) -> dict[str, float]:
    """Microseconds of each step, the median of ``count`` messages with ``pause`` seconds before each."""
    run = path()
    found: dict[str, list[int]] = {}
    for _ in range(count):
        if pause:
            time.sleep(pause)
        marks = run()
        for (_, before), (name, after) in pairwise(marks):
            found.setdefault(name, []).append(after - before)
    return {name: median(times) / 1000 for name, times in found.items()}


def main(arguments: list[str] | None = None) -> int:
    """Time and print."""
    parser = argparse.ArgumentParser(prog="python -m benches.one_message", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="messages (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    hot, cold = steps(0.0, args.count), steps(PAUSE, args.count)
    if args.json:
        console.say(json.dumps({"machine": machine().as_json(), "hot_us": hot, "cold_us": cold}, indent=1))
        return 0
    console.say(str(machine()), style="note")
    rows = [[name, f"{hot[name]:.1f}", f"{cold[name]:.1f}"] for name in hot]
    rows.append(["together", f"{sum(hot.values()):.1f}", f"{sum(cold.values()):.1f}"])
    console.table(["one message of 64 B", "hot, us", "cold, us"], rows, right=(1, 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
