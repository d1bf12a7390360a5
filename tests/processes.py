"""Real processes for tests: their lines come with a deadline, and none outlives its test."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
PATIENCE = 90.0  # seconds; a loaded machine is slow, a hanging process never gets there


class Process:
    """A Python process whose output (both streams) is read line by line. Use ``with``: it is killed at the end.

    Args:
        arguments: what comes after ``python``.
        env: variables beside those of this process.
    """

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._name = " ".join(Path(word).name for word in arguments)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[str] = []
        self._child = subprocess.Popen(
            [sys.executable, "-X", "dev", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
        )
        self._reader = threading.Thread(target=self._read, name="test-reader")
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def expect(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Read on to a line in which ``pattern`` is found."""
        while True:
            try:
                line = self._lines.get(timeout=patience)
            except queue.Empty:
                raise AssertionError(f"{self._name}: no line like {pattern!r} in time; it said {self.seen}") from None
            if line is None:
                raise AssertionError(f"{self._name}: ended without a line like {pattern!r}; it said {self.seen}")
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found

    def type(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def close_input(self) -> None:
        """The input ends."""
        assert self._child.stdin is not None
        self._child.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def interrupt_until(self, pattern: str) -> None:
        """Press Ctrl-C, up to three times, until the process says ``pattern``.

        CPython may miss one: it waits for its lock on the way into a blocking call, and what comes then is noticed only
        when that call returns.
        """
        for _ in range(2):
            self.signal(signal.SIGINT)
            try:
                self.expect(pattern, PATIENCE / 9)
                return
            except AssertionError:
                pass
        self.signal(signal.SIGINT)
        self.expect(pattern)

    def end(self) -> tuple[int, Sequence[str]]:
        """Wait for its end; the exit code and every line that it printed."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        return self._child.wait(PATIENCE), self.seen
