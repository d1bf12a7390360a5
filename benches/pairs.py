"""Two worker processes with one connection between them, and the measurements made on such a pair."""

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from benches.systems import System

ROOT = Path(__file__).resolve().parent.parent
ANSWER_TIMEOUT = 60.0  # seconds; a system that needs longer for one measurement has hung


class PairFailed(Exception):
    """A system could not be measured; the text says why."""


class Worker:
    """One end: a process of `benches.worker`.

    Its answers are read by a thread, because only then can waiting for one have a limit on every platform.
    """

    def __init__(self, system: System, log: IO[bytes] | int) -> None:
        self._name = system.name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benches.worker", system.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            text=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"answers of {system.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put("")

    def tell(self, do: str, **fields: Any) -> None:
        """Give a command; `answer` has to be called before the next one."""
        if self._process.stdin is None:
            raise PairFailed("no input")
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise PairFailed(f"the process of {self._name} ended: {error}") from error

    def answer(self) -> dict[str, Any]:
        """The answer to the last command."""
        try:
            line = self._answers.get(timeout=ANSWER_TIMEOUT)
        except queue.Empty:
            raise PairFailed(f"{self._name} did not answer within {ANSWER_TIMEOUT:.0f} s") from None
        if not line:
            raise PairFailed(f"the process of {self._name} ended unexpectedly")
        fields: dict[str, Any] = json.loads(line)
        if "error" in fields:
            raise PairFailed(fields["error"])
        return fields

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """A command and its answer."""
        self.tell(do, **fields)
        return self.answer()

    def close(self) -> None:
        """End the process: in order, or by force when it does not."""
        try:
            self.ask("stop")
            self._process.wait(timeout=5)
        except (PairFailed, subprocess.TimeoutExpired):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # what we still had to say to it no longer matters


class Pair:
    """A connected pair. ``direction`` is "connector" or "acceptor": which of the two sends (or pings).

    Raises:
        PairFailed: the system is not installed or did not connect.
    """

    def __init__(self, system: System, log: IO[bytes] | int = subprocess.DEVNULL) -> None:
        self._ends: dict[str, Worker] = {}
        try:
            for end in ("acceptor", "connector"):
                self._ends[end] = Worker(system, log)
            for worker in self._ends.values():
                worker.answer()
            address = self._ends["acceptor"].ask("listen")["address"]
            self._ends["acceptor"].tell("accepted")
            self._ends["connector"].ask("connect", address=address)
            self._ends["acceptor"].answer()
        except BaseException:
            self.close()
            raise

    def _both(self, direction: str) -> tuple[Worker, Worker]:
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
    def _cpu(*workers: Worker) -> list[float]:
        return [float(worker.ask("cpu")["cpu"]) for worker in workers]

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
        for worker in self._ends.values():
            worker.close()
