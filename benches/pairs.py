"""Two worker processes with one connection between them, and the measurements made on such a pair."""

import subprocess
from typing import IO

from benches.child import Child
from benches.systems import System


class Pair:
    """A connected pair. ``direction`` is "connector" or "acceptor": which of the two sends (or pings).

    Raises:
        ChildFailed: the system is not installed or did not connect.
    """

    def __init__(self, system: System, log: IO[bytes] | int = subprocess.DEVNULL) -> None:
        self._ends: dict[str, Child] = {}
        try:
            for end in ("acceptor", "connector"):
                self._ends[end] = Child("benches.worker", system.name, log=log)
            for child in self._ends.values():
                child.answer()
            address = self._ends["acceptor"].ask("listen")["address"]
            self._ends["acceptor"].tell("accepted")
            self._ends["connector"].ask("connect", address=address)
            self._ends["acceptor"].answer()
        except BaseException:
            self.close()
            raise

    def _both(self, direction: str) -> tuple[Child, Child]:
        other = "acceptor" if direction == "connector" else "connector"
        return self._ends[direction], self._ends[other]

    def one_way(self, direction: str, size: int, count: int) -> dict[str, float]:
        """Send ``count`` messages; messages per second, and CPU seconds of each process (all threads) per message."""
        sender, receiver = self._both(direction)
        before = self._cpu(sender, receiver)
        receiver.tell("receive", size=size, count=count)
        sender.tell("send", size=size, count=count)
        seconds = max(receiver.answer()["seconds"], 1e-9)
        sender.answer()
        spent = [(now - then) / count for now, then in zip(self._cpu(sender, receiver), before, strict=True)]
        cpu = {"cpu_send": spent[0], "cpu_receive": spent[1]}
        return {"rate": (count - 1) / seconds, "seconds": seconds, "count": count, **cpu}

    @staticmethod
    def _cpu(*children: Child) -> list[float]:
        return [float(child.ask("cpu")["cpu"]) for child in children]

    def round_trips(self, direction: str, size: int, count: int) -> list[int]:
        """Ping ``count`` times; the nanoseconds of each."""
        pinger, echoer = self._both(direction)
        echoer.tell("echo", size=size, count=count)
        pinger.tell("ping", size=size, count=count)
        times: list[int] = pinger.answer()["ns"]
        echoer.answer()
        return times

    def close(self) -> None:
        """End both processes."""
        for child in self._ends.values():
            child.close()
