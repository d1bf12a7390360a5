"""What many connections cost the process that holds them: ``python -m benches.many``.

The measured process is one manager that listens. All its peers are managers of their own, in one other process: three
threads each, so that process works harder than the measured one, and connects per second are a lower bound.
"""

import dataclasses
import queue
import sys
import time
from collections.abc import Callable
from typing import Any

from benches import holding
from benches.child import Child
from benches.process_state import allow_descriptors, state
from benches.progress import progress
from crust.channel import channel
from crust.cli import console
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.event import LostConnection, NewConnection, NewMessage

AT_A_TIME = 24
"""Connects in progress; fewer than the half-open connections that a manager allows one address."""
SPARE_DESCRIPTORS = 100
CONNECT_TIMEOUT = 60.0  # seconds
MESSAGE = bytes(256 * 1024)
CONFIG = Config(listen_addresses=("127.0.0.1",), utp_port=None, beacon_port=None, upnp=False)


class Holder:
    """The measured process."""

    def __init__(self, count: int) -> None:
        allow_descriptors(count + SPARE_DESCRIPTORS)
        config = dataclasses.replace(CONFIG, max_connections=count, max_connections_per_address=count)
        self._events = channel()
        self.manager = ConnectionManager(self._events, config)

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        match command["do"]:
            case "listen":
                return {"port": self.manager.start_listening()[0].port}
            case "state":
                return {**state(), "connections": len(self.manager.connections()), "events": self._count_events()}
        raise ValueError(f"no such command: {command}")

    def close(self) -> None:
        """Stop the manager."""
        self.manager.stop(timeout=0)

    def _count_events(self) -> dict[str, int]:
        """How many events of each kind have come since the last time."""
        counts: dict[str, int] = {}
        while True:
            try:
                name = type(self._events.get_nowait()).__name__
            except queue.Empty:
                return counts
            counts[name] = counts.get(name, 0) + 1


class Peers:
    """All the others, in this process."""

    def __init__(self, target: Endpoint) -> None:
        self._target = target
        self._events = channel()
        self.managers: list[ConnectionManager] = []

    def connect(self, count: int) -> float:
        """Connect ``count`` peers, some at a time; seconds."""
        start = time.monotonic()
        pending = 0
        for _ in range(count):
            manager = ConnectionManager(self._events, CONFIG)
            self.managers.append(manager)
            manager.connect(self._target)
            pending += 1
            if pending >= AT_A_TIME:
                self._one()
                pending -= 1
        for _ in range(pending):
            self._one()
        return time.monotonic() - start

    def _one(self) -> None:
        event = self._events.get(timeout=CONNECT_TIMEOUT)
        if type(event) is not NewConnection:
            raise RuntimeError(f"a connect failed: {event}")

    def send(self, data: bytes, first: int) -> int:
        """Some of the peers, from the one with the number ``first``, send one message each; how many do."""
        some = self.managers[first : first + AT_A_TIME]
        for manager in some:
            manager.send(self._target, data)
        return len(some)

    def lost(self) -> int:
        """How many connections were lost since the start."""
        return sum(type(self._events.get_nowait()) is LostConnection for _ in range(self._events.qsize()))

    def close(self) -> None:
        for manager in self.managers:
            manager.stop(timeout=0)


def _settled(holder: Child, done: Callable[..., bool]) -> dict[str, Any]:
    """Ask for the state until it is as wanted."""
    deadline = time.monotonic() + CONNECT_TIMEOUT
    counts: dict[str, int] = {}
    while time.monotonic() < deadline:
        now = holder.ask("state")
        for name, count in now["events"].items():
            counts[name] = counts.get(name, 0) + count
        if done({**now, "events": counts}):
            return now
        time.sleep(0.05)
    raise TimeoutError("the measured process did not get there in time")


def _talk(holder: Child, peers: Peers, count: int) -> dict[str, Any]:
    """Every peer sends a message, some at a time; the state afterwards."""
    for first in range(0, count, AT_A_TIME):
        progress(f"a message from each, {first} of {count} ...")
        sent = peers.send(MESSAGE, first)
        _settled(holder, lambda now, sent=sent: bool(now["events"].get(NewMessage.__name__, 0) == sent))
    return holder.ask("state")


def measure(count: int, idle_seconds: float) -> dict[str, Any]:
    """Hold ``count`` connections; everything about it."""
    allow_descriptors(count + SPARE_DESCRIPTORS)
    with Child("benches.many", "--hold", str(count), log=2) as holder:
        holder.answer()
        port = holder.ask("listen")["port"]
        empty = holder.ask("state")
        peers = Peers(Endpoint.tcp(("127.0.0.1", port)))
        try:
            progress(f"connecting {count} peers ...")
            seconds = peers.connect(count)
            full = _settled(holder, lambda now: now["connections"] == count)
            progress(f"idle for {idle_seconds:g} s ...")
            time.sleep(idle_seconds)
            idle = holder.ask("state")
            after = _talk(holder, peers, count)
            lost = peers.lost()
        finally:
            progress(f"stopping {len(peers.managers)} peers ...")
            peers.close()
            progress("")
    return {
        "connections": count,
        "memory_per_connection": (full["resident"] - empty["resident"]) / count,
        "memory_after_a_message": (after["resident"] - empty["resident"]) / count,
        "threads": full["threads"],
        "threads_per_connection": (full["threads"] - empty["threads"]) / count,
        "idle_cpu": (idle["cpu"] - full["cpu"]) / (idle["clock"] - full["clock"]),
        "connects_per_second": count / seconds,
        "cpu_per_connect": (full["cpu"] - empty["cpu"]) / count,
        "lost": lost,
    }


def _show(result: dict[str, Any]) -> None:
    rows = [
        ["connections held", f"{result['connections']:,}"],
        ["memory per connection, idle", console.human_bytes(result["memory_per_connection"])],
        [
            f"memory per connection, after {console.human_bytes(len(MESSAGE))} from each",
            console.human_bytes(result["memory_after_a_message"]),
        ],
        ["threads", f"{result['threads']:,} ({result['threads_per_connection']:.2f} per connection)"],
        ["idle CPU of one core", f"{result['idle_cpu']:.2%}"],
        ["connects per second", f"{result['connects_per_second']:.0f}"],
        ["CPU per accepted connection", console.human_time(result["cpu_per_connect"])],
        ["connections lost", f"{result['lost']:,}"],
    ]
    console.table(["one process", ""], rows, right=[1])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when a connection was lost."""
    return holding.main("benches.many", __doc__, 10.0, Holder, measure, _show, arguments)


if __name__ == "__main__":
    sys.exit(main())
