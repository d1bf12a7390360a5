"""How many round trips of the network until the first message arrives: ``python -m benches.first_data``.

Two managers talk over a line with a delay (`benches.delay`), each sends as soon as it hears of the connection. Counted
from the ``connect()`` call, TCP's own round trip included, for both cases of the choice between duplicates.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benches.delay import DelayLine
from crust.channel import Channel
from crust.cli import console
from crust.cli.bench_stats import machine
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.event import NewConnection, NewMessage
from crust.identity import Identity

GOAL = 3.0
"""Round trips, at most, to the first data."""
TOLERANCE = 0.1
"""Round trips that our own computing (a few milliseconds) may add."""
TIMEOUT = 30.0  # seconds
CONFIG = Config(listen_addresses=("127.0.0.1",), utp_port=None, beacon_port=None, upnp=False)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from ``connect()``, of one attempt."""

    connector_ready: float
    """The connector hears of the connection."""
    acceptor_ready: float
    at_acceptor: float
    """The connector's first message is at the acceptor."""
    at_connector: float
    """The acceptor's first message is at the connector."""

    @property
    def first(self) -> float:
        """The first message, whichever that is."""
        return min(self.at_acceptor, self.at_connector)


class _End:
    """One manager and a thread that sends once as soon as it can, and notes when things happen."""

    def __init__(self, identity: Identity) -> None:
        self._events: Channel[object] = Channel()
        self.manager = ConnectionManager(self._events, CONFIG, identity=identity)
        self.ready = self.received = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def watch(self) -> None:
        self._thread.start()

    def _watch(self) -> None:
        while not (self.ready and self.received):
            match self._events.get(timeout=TIMEOUT):
                case NewConnection(endpoint):
                    self.manager.send(endpoint, b"first")
                    self.ready = time.monotonic()
                case NewMessage():
                    self.received = time.monotonic()
                case other:
                    raise RuntimeError(f"unexpected: {other}")

    def wait(self) -> None:
        self._thread.join(TIMEOUT)
        if not self.received:
            raise TimeoutError("no message arrived")


def attempt(delay: float, connector_is_greater: bool) -> Times:
    """Connect once over a line with ``delay`` seconds each way."""
    lesser, greater = sorted((Identity(), Identity()), key=lambda identity: identity.peer_id)
    connector = _End(greater if connector_is_greater else lesser)
    acceptor = _End(lesser if connector_is_greater else greater)
    with connector.manager, acceptor.manager:
        port = acceptor.manager.start_listening()[0].port
        with DelayLine(("127.0.0.1", port), delay) as line:
            for end in (connector, acceptor):
                end.watch()
            start = time.monotonic()
            connector.manager.connect(Endpoint.tcp(line.address))
            for end in (connector, acceptor):
                end.wait()
            for end in (connector, acceptor):
                end.manager.stop(timeout=0)
    return Times(*(at - start for at in (connector.ready, acceptor.ready, acceptor.received, connector.received)))


def in_round_trips(times: Sequence[Times], delay: float) -> Times:
    """The median of several attempts, in round trips of the line."""
    rows = [tuple(asdict(one).values()) for one in times]
    return Times(*(median(column) / (2 * delay) for column in zip(*rows, strict=True)))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benches.first_data", description=__doc__)
    parser.add_argument("--delay", type=float, default=50.0, metavar="MS", help="milliseconds each way (default: 50)")
    parser.add_argument("--attempts", type=int, default=5, help="of which the median counts (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    delay = args.delay / 1000
    results = {}
    for greater, name in ((True, "greater"), (False, "lesser")):
        results[name] = in_round_trips([attempt(delay, greater) for _ in range(args.attempts)], delay)
    if args.json:
        rows = {name: asdict(trips) for name, trips in results.items()}
        console.say(json.dumps({"machine": machine().as_json(), "delay_ms": args.delay, "round_trips": rows}, indent=1))
    else:
        _show(results, args.delay, args.attempts)
    return int(any(trips.first > GOAL + TOLERANCE for trips in results.values()))


def _show(results: dict[str, Times], delay_ms: float, attempts: int) -> None:
    console.say(f"{machine()}; {delay_ms:g} ms each way, median of {attempts}", style="note")
    headers = ["connector has the ... id", "connector ready", "acceptor ready", "its first message", "the acceptor's"]
    rows = [[name, *(f"{value:.2f}" for value in asdict(trips).values())] for name, trips in results.items()]
    console.table(headers, rows, right=range(1, 5))
    console.say("round trips of the network from connect(), until it is there", style="note")
    for name, trips in results.items():
        verdict = "reached" if trips.first <= GOAL + TOLERANCE else "missed"
        console.say(f"goal: first data after at most {GOAL:g} round trips, {name} id: {trips.first:.2f}: {verdict}")


if __name__ == "__main__":
    sys.exit(main())
