"""One of two that punch, or the server that both ask: ``python -m tests.lab.punch_program peer HOST PORT SERVER``.

The peer surveys its NAT and says its line; it is told the line of the other, and begins on the word; then it meets the
other over uTP on the path that was opened, and says as JSON what came of it.
"""

import json
import queue
import selectors
import socket
import sys
import threading
from contextlib import ExitStack
from typing import Any, NamedTuple

from crust.endpoint import Address, Endpoint
from crust.errors import CrustError
from crust.identity import Identity
from crust.nat.connection_info import ConnectionInfo, sendable
from crust.nat.errand import Errand
from crust.nat.punch import Punch
from crust.nat.punch_packet import PunchSeal, punch_key
from crust.nat.punch_plan import candidates_for, make_plan
from crust.nat.stun_server import Corners, StunServer
from crust.nat.survey import Survey
from crust.threads import clock
from crust.transport.masking import network_keys
from crust.transport.utp import UtpSocket
from tests.lab.namespaces import Node, Running, say

NETWORK = network_keys("lab", None)
PORTS = 3478, 3479
TIMEOUT = 60.0  # seconds
MEETING_TIMEOUT = 20.0  # seconds, where it takes milliseconds


class Punched(NamedTuple):
    """What came of it, on one side."""

    mapping: str
    filtering: str
    method: str
    seconds: float  # until the path was open
    sent: int  # probes
    greeting: str  # what the peer said
    error: str


class Peer:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, host: str, port: int, server: str) -> None:
        self._running: Running = node.python("tests.lab.punch_program", "peer", host, str(port), server)

    def line(self) -> str:
        return self._running.line()

    def tell(self, line: str) -> None:
        self._running.stdin.write(f"{line}\n")
        self._running.stdin.flush()

    def result(self) -> Punched:
        return Punched(**json.loads(self._running.line()))


def serve_in(node: Node, *hosts: str) -> None:
    """Run the server in a node that has these two addresses."""
    node.python("tests.lab.punch_program", "server", *hosts).line()


def _serve(hosts: tuple[str, str]) -> None:
    corners = Corners(hosts, PORTS)
    server = StunServer(corners=corners)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        sockets = {}
        for host in hosts:
            for port in PORTS:
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sock.bind((host, port))
                sockets[host, port] = sock
                selector.register(sock, selectors.EVENT_READ, (host, port))
        say("ready")
        while True:
            for key, _ in selector.select():
                data, source = sockets[key.data].recvfrom(4096)
                answer = server.answer(data, source, clock.now(), key.data)
                if answer is not None:
                    sockets[answer.origin or key.data].sendto(answer.data, source)


def _run(sock: UtpSocket, machine: Any) -> Errand:
    done: queue.SimpleQueue[None] = queue.SimpleQueue()
    errand = Errand({4: sock}, machine, lambda: done.put(None), linger=1.0)
    done.get(timeout=TIMEOUT)
    return errand


def _punch(sock: UtpSocket, host: str, server: Address) -> Punched:
    survey = Survey([server], {host}, sock.local_address[1], clock.now())
    _run(sock, survey).stop()
    assert survey.findings is not None
    behaviour, identity = survey.findings.behaviour, Identity()
    outer = [Endpoint.utp(survey.findings.sightings[-1].seen)]
    own = Endpoint.utp((host, sock.local_address[1]))
    ours = ConnectionInfo(identity.peer_id, sendable(candidates_for([own], [], outer)), behaviour)
    say(ours.encode())
    theirs = ConnectionInfo.parse(sys.stdin.readline())
    greater = ours.peer_id > theirs.peer_id
    seal = PunchSeal(punch_key(identity, ours, theirs, NETWORK), greater)
    plan = make_plan(ours, theirs, [f"{host}/24"])
    began = clock.now()
    punch = Punch(plan, seal, greater, began)
    errand = _run(sock, punch)
    seconds = clock.now() - began
    greeting, error = "", punch.failure
    if punch.opened is not None:
        port = None if punch.opened.socket == 0 else errand.local_port(punch.opened.socket)
        greeting, error = _meet(sock, port, errand, punch.opened.address, host)
    errand.stop()
    names = behaviour.mapping.name, behaviour.filtering.name, plan.method.name
    return Punched(*names, seconds, punch.counters["sent"], greeting, error)


def _meet(sock: UtpSocket, port: int | None, errand: Errand, address: Address, own: str) -> tuple[str, str]:
    """Use the path with uTP, from the port that it was opened from."""
    with ExitStack() as stack:
        if port is not None:
            errand.stop()
            sock = stack.enter_context(UtpSocket(("0.0.0.0", port)))
        try:
            stream = sock.rendezvous(address, timeout=MEETING_TIMEOUT)
            stream.sendall(own.encode())
            stream.shutdown()
            greeting = b""
            while data := stream.recv(64, timeout=MEETING_TIMEOUT):
                greeting += data
            stream.close()
            return greeting.decode(), ""
        except CrustError as failure:
            return "", str(failure)


def main(role: str, *words: str) -> None:
    """Do it."""
    if role == "server":
        _serve((words[0], words[1]))
    host, port, server = words[0], int(words[1]), words[2]
    with UtpSocket(("0.0.0.0", port), accepting=False) as sock:
        say(json.dumps(_punch(sock, host, (server, PORTS[0]))._asdict()))
        threading.Event().wait(0.5)  # what was said last arrives


if __name__ == "__main__":
    main(*sys.argv[1:])
