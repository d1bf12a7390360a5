"""A `Datagrams` in a node that obeys line by line: ``python -m tests.lab.datagram_program HOST PORT WAY``.

WAY is "offload" or "plain".

send HOST PORT COUNT SIZE     -> the packets taken, numbered on
probe HOST PORT SIZE          -> the same, but no router may fragment it
receive COUNT SECONDS         -> the numbers of the packets that came until there were so many
errors SECONDS                -> [errno, mtu] of each; waits so long for the first
writable SECONDS              -> whether there is room, or was in time
counters
"""

import dataclasses
import json
import select
import socket
import sys
from typing import Any

from crust.threads.clock import Deadline
from crust.transport.utp.datagrams import Datagrams
from tests.lab.namespaces import Node, say
from tests.transport.utp.udp import burst, split

SEND_BUFFER = 200_000  # bytes, so that it can be filled


class Remote:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, host: str, port: int, way: str) -> None:
        self._running = node.python("tests.lab.datagram_program", host, str(port), way)
        self._running.line()

    def ask(self, *words: object) -> Any:
        """Tell it something; what it answers."""
        self._running.stdin.write(" ".join(map(str, words)) + "\n")
        self._running.stdin.flush()
        return json.loads(self._running.line())


class Obeying:
    """The far end of `Remote`."""

    def __init__(self, host: str, port: int, way: str) -> None:
        self.sock = Datagrams(host, port, offload=None if way == "offload" else False)
        self.sock._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._next = 0

    def send(self, host: str, port: int, count: int, size: int, probe: bool = False) -> int:
        contents = [(self._next + number).to_bytes(4, "big") + bytes(size - 4) for number in range(count)]
        taken = self.sock.send(burst((host, port), contents, probe))
        self._next += taken
        return taken

    def receive(self, count: int, seconds: float) -> list[int]:
        deadline, found = Deadline(seconds), list[int]()
        while len(found) < count and select.select([self.sock], [], [], deadline.remaining())[0]:
            while received := self.sock.receive():
                found += [int.from_bytes(content[:4], "big") for content in split(received)]
        return found

    def errors(self, seconds: float) -> list[tuple[int, int | None]]:
        if not self.sock.errors_waiting:
            select.select([self.sock], [], [], seconds)
        return [(error.error, error.mtu) for error in self.sock.errors()]

    def do(self, words: list[str]) -> Any:
        match words:
            case ["send", host, port, count, size]:
                return self.send(host, int(port), int(count), int(size))
            case ["probe", host, port, size]:
                return self.send(host, int(port), 1, int(size), probe=True)
            case ["receive", count, seconds]:
                return self.receive(int(count), float(seconds))
            case ["errors", seconds]:
                return self.errors(float(seconds))
            case ["writable", seconds]:
                return bool(select.select([], [self.sock], [], float(seconds))[1])
            case ["counters"]:
                return dataclasses.asdict(self.sock.counters)
        sys.exit(f"not understood: {words}")


def main() -> None:
    """Obey until standard input ends."""
    obeying = Obeying(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    say("ready")
    for line in sys.stdin:
        say(json.dumps(obeying.do(line.split())))
    obeying.sock.close()


if __name__ == "__main__":
    main()
