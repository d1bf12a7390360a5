"""One of two that meet: ``python -m tests.lab.rendezvous_program PORT HOST PEER_PORT DELAY TIMEOUT``.

Opens the port, says ``ready``, waits for a line, then for ``DELAY`` seconds; dials its peer, which dials it; and
exchanges a greeting. Says what came of it, as JSON. It waits ``TIMEOUT`` seconds for each.
"""

import json
import sys
import threading
from typing import NamedTuple

from crust.errors import CrustError
from crust.transport.utp import UtpSocket
from tests.lab.namespaces import Node, Running, say

TIMEOUT = 20.0  # seconds


class Met(NamedTuple):
    """What came of it, on one side."""

    greeting: str  # what the peer said
    initiator: bool
    error: str


class Meeting:
    """The program in a node, as seen from the test."""

    def __init__(
        self, node: Node, port: int, host: str, peer_port: int, delay: float = 0.0, timeout: float = TIMEOUT
    ) -> None:
        words = map(str, (port, host, peer_port, delay, timeout))
        self._running: Running = node.python("tests.lab.rendezvous_program", *words)
        self._running.line()

    def go(self) -> None:
        self._running.stdin.write("go\n")
        self._running.stdin.flush()

    def result(self) -> Met:
        return Met(**json.loads(self._running.line()))


def _meet(sock: UtpSocket, host: str, port: int, own: str, timeout: float) -> Met:
    try:
        stream = sock.rendezvous((host, port), timeout=timeout)
        stream.sendall(own.encode())
        stream.shutdown()
        greeting = b""
        while data := stream.recv(64, timeout=timeout):
            greeting += data
        stream.close()
        return Met(greeting.decode(), stream.initiator, "")
    except CrustError as error:
        return Met("", False, str(error))


def main(port: int, host: str, peer_port: int, delay: float, timeout: float) -> None:
    """Wait for the word, and meet."""
    with UtpSocket(("0.0.0.0", port)) as sock:
        say("ready")
        sys.stdin.readline()
        threading.Event().wait(delay)
        say(json.dumps(_meet(sock, host, peer_port, f"from {port}", timeout)._asdict()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:]))
