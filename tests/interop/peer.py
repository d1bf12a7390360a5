"""A libutp peer in its own process (``utp_peer.js``), and what it says."""

import hashlib
import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

from tests.interop.node import node

PROGRAM = Path(__file__).with_name("utp_peer.js")
PATIENCE = 60.0  # seconds; a loaded machine is slow, a peer that hangs never gets there


def content(length: int, stream: int = 0) -> bytes:
    """The bytes that the peer sends on a stream; no two places in them look alike."""
    return hashlib.shake_256(f"libutp {stream}".encode("ascii")).digest(length)


class Peer:
    """A process that serves or dials. Use ``with``: it is killed at the end.

    Args:
        modules: the directory ``node_modules`` with libutp in it.
        arguments: of ``utp_peer.js``: ``"serve", plan, size`` or ``"dial", port, plan, size, streams``.
    """

    def __init__(self, modules: Path, *arguments: object) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seen: list[dict[str, Any]] = []
        command = [node(), str(PROGRAM), str(modules), *map(str, arguments)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, name="test-peer-reader")
        self._reader.start()
        self.port = int(self._next()["port"]) if arguments[0] == "serve" else 0

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"the libutp peer said nothing more; before: {self._seen}") from None
        assert line.startswith("{"), f"the libutp peer failed: {line}{self._rest()}\nbefore: {self._seen}"
        fields: dict[str, Any] = json.loads(line)
        self._seen.append(fields)
        return fields

    def _rest(self) -> str:
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return "".join(lines)

    def expect(self, event: str) -> dict[str, Any]:
        """Wait for the next line about ``event``, skipping those about others."""
        while (fields := self._next()).get("event") != event:
            pass
        return fields

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(PATIENCE)
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """End the process at once: from now on its port is closed."""
        self._child.kill()
        self._child.wait(PATIENCE)
