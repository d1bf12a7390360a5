"""A UDP socket in a node that does as it is told, line by line: ``python -m tests.lab.udp_program PORT``.

send HOST PORT TEXT    -> sent
receive SECONDS        -> from HOST PORT TEXT, or nothing
dial HOST PORT SECONDS -> connected, refused or silence (over TCP)
"""

import socket
import sys
from typing import NamedTuple

from tests.lab.namespaces import Node, say

RECEIVE_TIMEOUT = 30.0  # seconds for what must come, on a busy machine
SILENCE = 0.3  # seconds in which what must not come would have come, there is next to no delay
_RECEIVE_BUFFER_FORCED = 33  # SO_RCVBUFFORCE: root may have more than others


class Datagram(NamedTuple):
    """What came, and from where."""

    host: str
    port: int
    text: str


class Udp:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, port: int) -> None:
        self._running = node.python("tests.lab.udp_program", str(port))
        self._running.line()

    def _ask(self, *words: object) -> str:
        self._running.stdin.write(" ".join(map(str, words)) + "\n")
        self._running.stdin.flush()
        return self._running.line()

    def send(self, host: str, port: int, text: str) -> None:
        self._ask("send", host, port, text)

    def receive(self, timeout: float = RECEIVE_TIMEOUT) -> Datagram | None:
        """The next datagram; None when none came in time."""
        match self._ask("receive", timeout).split(maxsplit=3):
            case ["from", host, port, text]:
                return Datagram(host, int(port), text)
        return None

    def dial(self, host: str, port: int, timeout: float) -> str:
        """What a TCP connect comes to: ``connected``, ``refused`` or ``silence``."""
        return self._ask("dial", host, port, timeout)


def _receive(udp: socket.socket, timeout: float) -> str:
    udp.settimeout(timeout)
    while True:
        try:
            data, (host, port) = udp.recvfrom(2048)
        except TimeoutError:
            return "nothing"
        except ConnectionError:  # what an earlier datagram met
            continue
        return f"from {host} {port} {data.decode()}"


def _dial(host: str, port: int, timeout: float) -> str:
    try:
        socket.create_connection((host, port), timeout).close()
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    return "connected"


def main() -> None:
    """Obey until standard input ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCED, 4 * 1024 * 1024)  # it reads only when told to
        udp.bind(("0.0.0.0", int(sys.argv[1])))
        say("ready")
        for line in sys.stdin:
            match line.split():
                case ["send", host, port, text]:
                    udp.sendto(text.encode(), (host, int(port)))
                    say("sent")
                case ["receive", seconds]:
                    say(_receive(udp, float(seconds)))
                case ["dial", host, port, seconds]:
                    say(_dial(host, int(port), float(seconds)))
                case _:
                    sys.exit(f"not understood: {line}")


if __name__ == "__main__":
    main()
