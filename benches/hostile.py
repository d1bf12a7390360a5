"""How an honest peer fares while others attack: ``python -m benches.hostile``.

Three processes: a manager that echoes (the victim), an attacker (`benches.attacks`), and this one, the honest peer: it
connects again and again with new identities, and sends messages over a connection that it keeps.
"""

import argparse
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benches.attacks import ATTACKS, HALF_OPEN
from benches.child import Child, ChildFailed, obey
from benches.process_state import allow_descriptors, state
from benches.progress import progress
from crust.channel import channel
from crust.cli import console
from crust.cli.bench_stats import Latency, machine
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import CrustError
from crust.event import NewConnection, NewMessage, Stopped
from crust.threads.workers import start_thread

MESSAGE = bytes(64)
PATIENCE = 15.0  # seconds; a connect that takes longer counts as failed
CONFIG = Config(listen_addresses=("127.0.0.1",), utp_port=None, beacon_port=None, upnp=False)
NO_ATTACK = "none"


class Victim:
    """Echoes every message; whoever does not take the echo loses it."""

    def __init__(self) -> None:
        allow_descriptors(HALF_OPEN)
        self._events = channel()
        self.manager = ConnectionManager(self._events, CONFIG)
        self._thread = start_thread("victim", self._echo)

    def _echo(self) -> None:
        for event in self._events:
            if type(event) is NewMessage:
                try:
                    self.manager.send(event.endpoint, event.data)
                except CrustError:
                    continue
            elif type(event) is Stopped:
                return

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        if command["do"] == "listen":
            return {"port": self.manager.start_listening()[0].port}
        return state()

    def close(self) -> None:
        self.manager.stop(timeout=0)
        self._thread.join()


class Honest:
    """The honest peer. A context manager."""

    def __init__(self, target: Endpoint) -> None:
        self._target = target
        self._events = channel()
        self._manager = ConnectionManager(self._events, CONFIG)

    def __enter__(self) -> "Honest":
        self._manager.connect(self._target)
        self._expect(NewConnection)
        return self

    def __exit__(self, *exception: object) -> None:
        self._manager.stop(timeout=0)

    def _expect(self, kind: type) -> None:
        event = self._events.get(timeout=PATIENCE)
        if type(event) is not kind:
            raise ChildFailed(f"the honest peer was not served: {event}")

    def round_trip(self) -> float:
        """Seconds of one."""
        start = time.monotonic()
        self._manager.send(self._target, MESSAGE, timeout=PATIENCE)
        self._expect(NewMessage)
        return time.monotonic() - start

    def connect_once(self) -> float | None:
        """Seconds until a new peer is connected, or ``None`` if it could not."""
        events = channel()
        with ConnectionManager(events, CONFIG) as manager:
            start = time.monotonic()
            manager.connect(self._target)
            try:
                event = events.get(timeout=PATIENCE)
            except queue.Empty:
                return None
            return time.monotonic() - start if type(event) is NewConnection else None


def suffer(victim: Child, port: int, seconds: float) -> dict[str, Any]:
    """Be an honest peer for a while; how that went."""
    connects: list[float] = []
    trips: list[float] = []
    failed = 0
    before = victim.ask("state")
    with Honest(Endpoint.tcp(("127.0.0.1", port))) as honest:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            taken = honest.connect_once()
            failed += taken is None
            connects += [taken] if taken is not None else []
            trips += [honest.round_trip() for _ in range(10)]
    after = victim.ask("state")
    return {
        "connect": asdict(Latency.of(connects)) if connects else None,
        "round_trip": asdict(Latency.of(trips)),
        "failed": failed,
        "cpu": (after["cpu"] - before["cpu"]) / (after["clock"] - before["clock"]),
        "memory": after["resident"],
        "threads": after["threads"],
    }


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Run one attack; what the honest peer saw."""
    progress(f"attack: {name} ...")
    with Child("benches.hostile", "--victim", log=2) as victim:
        victim.answer()
        port = victim.ask("listen")["port"]
        if name == NO_ATTACK:
            return suffer(victim, port, seconds)
        with Child("benches.attacks", name, str(port), log=2) as attacker:
            attacker.answer()
            threading.Event().wait(min(seconds, HALF_OPEN / 1000))  # the attack builds up
            return {**suffer(victim, port, seconds), "attacker": attacker.ask("report")}


def _row(title: str, result: dict[str, Any]) -> list[str]:
    connect, trip = result["connect"], result["round_trip"]
    times = [connect["p50"], connect["p99"]] if connect else []
    cells = [console.human_time(value) for value in times] or ["-", "-"]
    cells += [console.human_time(trip["p50"]), console.human_time(trip["p99"])]
    cells += [f"{result['failed']} of {result['failed'] + (connect['count'] if connect else 0)}"]
    return [title, *cells, f"{result['cpu']:.0%}", console.human_bytes(result["memory"]), str(result["threads"])]


def _show(results: dict[str, dict[str, Any]]) -> None:
    console.say(str(machine()), style="note")
    headers = ["attack", "connect p50", "p99", "RTT p50", "p99", "failed", "CPU", "memory", "threads"]
    titles = {NO_ATTACK: "none", **{name: title for name, (title, _) in ATTACKS.items()}}
    console.table(headers, [_row(titles[name], result) for name, result in results.items()], right=range(1, 9))
    console.say("CPU (of one core), memory and threads are the victim's", style="note")
    for name, result in results.items():
        if "attacker" in result:
            done = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in result["attacker"].items())
            console.say(f"attacker, {name}: {done}", style="note")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when the honest peer was kept out at any time."""
    names = [NO_ATTACK, *ATTACKS]
    parser = argparse.ArgumentParser(prog="python -m benches.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="for each attack (default: 10)")
    parser.add_argument("--only", choices=names, action="append", help="this attack; may be given several times")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--victim", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.victim:
        victims: list[Victim] = []

        def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
            victims.append(Victim())
            return victims[0].do

        obey(start, lambda: victims[0].close())
        return 0
    results = {name: measure(name, args.seconds) for name in args.only or names}
    progress("")
    if args.json:
        console.say(json.dumps({"machine": machine().as_json(), "attacks": results}, indent=1))
    else:
        _show(results)
    return int(any(result["failed"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
