"""A process on a terminal of its own, for tests of what people see while they type."""

import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import termios
import time
from typing import Any, Self

from tests.processes import PATIENCE, ROOT


class Terminal:
    """A Python process whose standard streams are a pseudo-terminal. Use ``with``: it is killed at the end.

    Args:
        arguments: what comes after ``python``.
    """

    def __init__(self, *arguments: str) -> None:
        self._master, self._slave = pty.openpty()
        termios.tcsetwinsize(self._slave, (24, 100))
        self._before = termios.tcgetattr(self._slave)
        self._seen = ""
        self._read_to = 0
        self._child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            # This terminal does not answer when it is asked where its cursor is.
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "NO_COLOR": "1"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait(PATIENCE)
        os.close(self._slave)
        os.close(self._master)

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until ``pattern`` is on the screen behind what was found before (escape sequences taken out)."""
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self._master, selectors.EVENT_READ)
            while not (found := re.compile(pattern).search(self._seen, self._read_to)):
                if not selector.select(deadline - time.monotonic()):
                    raise AssertionError(f"no {pattern!r} in time; the screen showed {self._seen[self._read_to :]!r}")
                fresh = os.read(self._master, 65536).decode("utf-8", "replace")
                self._seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen + fresh)
        self._read_to = found.end()
        return found

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self._child.wait(PATIENCE)

    def settings_changed(self) -> list[tuple[Any, Any]]:
        """What the process left different on the terminal."""
        after = termios.tcgetattr(self._slave)
        return [(old, new) for old, new in zip(self._before, after, strict=True) if old != new]
