"""One of two that punch over TCP, as often as it is told: ``python -m tests.lab.tcp_punch_program NAME``.

For each line of JSON (`Order`) it listens on a port, punches from it at that moment, and looks whether bytes go both
ways on what was opened; meanwhile others dial its port all the time. Then it says as JSON what came of it (`Result`).
"""

import json
import socket
import sys
import threading
from contextlib import suppress
from typing import NamedTuple

from crust.endpoint import Address
from crust.nat.punch_plan import Target
from crust.nat.tcp_errand import TcpErrand
from crust.nat.tcp_punch import TCP_ATTEMPTS, TCP_PUNCH_SECONDS, TcpPunch
from crust.threads import clock
from crust.transport.tcp import listen
from tests.lab.namespaces import Node, say

HERE = "127.0.0.1"
PATIENCE = 5.0  # seconds for what is opened at the last moment
VISIT_INTERVAL = 0.05  # seconds between those who dial the listening port


class Order(NamedTuple):
    """What to do."""

    port: int
    start: float  # on the clock that all processes of a machine share
    targets: list[Address]
    seconds: float = TCP_PUNCH_SECONDS  # for how long


class Result(NamedTuple):
    """What came of it, on one side."""

    seconds: float  # from the start until bytes have gone both ways
    way: str  # "dialled" or "accepted"
    attempts: int
    visits: int  # of those who dialled the listening port
    missed: int  # of those, the ones that were not accepted
    reasons: list[str]
    error: str


class Peer:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node) -> None:
        self._running = node.python("tests.lab.tcp_punch_program", node.name)
        self._running.line()

    def begin(self, order: Order) -> None:
        self._running.stdin.write(json.dumps(order) + "\n")
        self._running.stdin.flush()

    def result(self) -> Result:
        return Result(*json.loads(self._running.line()))


class Try:
    """One punch, with its listener and connections."""

    def __init__(self, name: str, order: Order) -> None:
        self._name = name
        self._order = order
        self._listener = listen("0.0.0.0", order.port)
        self._listener.setblocking(True)
        self._sockets: list[socket.socket] = []
        self._met = threading.Event()
        self._settled = threading.Event()  # it has met, or nothing was opened
        self._over = threading.Event()
        self._way = ""
        self._seconds = 0.0
        self._visits = self._missed = 0

    def run(self) -> Result:
        """Do it all."""
        order, error = self._order, ""
        accepting, visiting = (threading.Thread(target=each) for each in (self._accept, self._visit))
        accepting.start()
        visiting.start()
        targets = [Target(address, TCP_ATTEMPTS) for address in order.targets]
        punch = TcpPunch(targets, order.start, seconds=order.seconds)
        errand = TcpErrand({4: ("0.0.0.0", order.port)}, punch, self._opened, self._done)
        self._settled.wait(order.start - clock.now() + order.seconds + PATIENCE)
        if not self._met.is_set():
            error = punch.failure or "nothing came of it"
        errand.stop()
        self._over.set()
        visiting.join()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        accepting.join()
        reasons = [f"{host}:{port}: {why}" for (host, port), why in errand.reasons().items()]
        return Result(self._seconds, self._way, punch.attempts, self._visits, self._missed, reasons, error)

    def close(self) -> None:
        """Close what the other side had time to read from."""
        self._listener.close()
        for sock in self._sockets:
            sock.close()

    def _opened(self, sock: socket.socket, address: Address) -> bool:
        self._begin(sock, "dialled")
        return False

    def _done(self) -> None:
        if not self._sockets:
            self._settled.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, (host, _) = self._listener.accept()
                if host == HERE:
                    sock.sendall(b"x")
                    sock.close()
                else:
                    self._begin(sock, "accepted")

    def _begin(self, sock: socket.socket, way: str) -> None:
        self._sockets.append(sock)
        sock.settimeout(PATIENCE)
        threading.Thread(target=self._talk, args=(sock, way), daemon=True).start()

    def _talk(self, sock: socket.socket, way: str) -> None:
        """Say a name, confirm the other's, and wait for both."""
        with suppress(OSError), sock.makefile() as file:
            sock.sendall(f"{self._name}\n".encode())
            name = file.readline()
            sock.sendall(f"heard {name}".encode())
            if name and file.readline() == f"heard {self._name}\n" and not self._met.is_set():
                self._way, self._seconds = way, clock.now() - self._order.start
                self._met.set()
                self._settled.set()

    def _visit(self) -> None:
        while not self._over.wait(VISIT_INTERVAL):
            self._visits += 1
            try:
                with socket.create_connection((HERE, self._order.port), timeout=PATIENCE) as sock:
                    self._missed += sock.recv(1) != b"x"
            except OSError:
                self._missed += 1


def main(name: str) -> None:
    """Do as told; connections live until the next order."""
    say("ready")
    last: Try | None = None
    for line in sys.stdin:
        port, start, targets, seconds = json.loads(line)
        if last is not None:
            last.close()
        last = Try(name, Order(port, start, [(host, number) for host, number in targets], seconds))
        say(json.dumps(last.run()))


if __name__ == "__main__":
    main(*sys.argv[1:])
