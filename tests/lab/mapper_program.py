"""A port mapper in a node that obeys line by line: ``python -m tests.lab.mapper_program METHODS PORT LEASE``.

Behind the mapped port something accepts over TCP, and sends back what comes over UDP. METHODS are names of `Method`,
with commas. With a LEASE in seconds, that and a quick renewal are asked for instead of what a node asks for; 0 leaves
it.

mapped N SECONDS -> what is known, once there are N mappings and nothing to wait for, or the time is over
reached ENDPOINT SECONDS -> yes or no: whether there is a mapping to it within that time
refresh          -> ok
stop SECONDS     -> ok, once it has stopped; it takes no longer
"""

import json
import selectors
import socket
import sys
import threading
from typing import Any

from crust import Port
from crust.nat import lease_keeper, upnp_keeper
from crust.nat.mapping_report import MappingReport, Method
from crust.nat.port_mapper import PortMapper
from crust.threads import clock
from tests.lab.namespaces import Node, Running, say

PATIENCE = 40.0  # seconds for what takes one at most, on a busy machine


class Remote:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, *methods: Method, port: int = 5483, lease: int = 0) -> None:
        names = ",".join(method.name for method in methods or tuple(Method))
        self.running: Running = node.python("tests.lab.mapper_program", names, str(port), str(lease))
        self.running.line()

    def ask(self, *words: object) -> Any:
        """Tell it something; what it answers."""
        self.running.stdin.write(" ".join(map(str, words)) + "\n")
        self.running.stdin.flush()
        return json.loads(self.running.line())

    def mapped(self, count: int = 2, seconds: float = PATIENCE) -> Any:
        """What is known once there are so many mappings."""
        report = self.ask("mapped", count, seconds)
        assert len(report["externals"]) == count, report
        return report


class Obeying:
    """The far end of `Remote`."""

    def __init__(self, methods: str, port: int, lease: int) -> None:
        if lease:
            for module in (lease_keeper, upnp_keeper):
                vars(module).update(LEASE=lease, MIN_RENEWAL=1.0)
        self._changed = threading.Condition()
        self._report = MappingReport()
        self._began = clock.now()
        self._when = 0.0
        ports = [Port.tcp(port), Port.utp(port)]
        chosen = [Method[name] for name in methods.split(",")]
        self.mapper = PortMapper(lambda: ports, self._take, methods=chosen)
        threading.Thread(target=self._serve, args=[port], daemon=True).start()
        self.mapper.start()

    def _take(self, report: MappingReport) -> None:
        with self._changed:
            self._report, self._when = report, clock.now()
            self._changed.notify_all()

    def _serve(self, port: int) -> None:
        with selectors.DefaultSelector() as selector:
            for family in (socket.AF_INET, socket.AF_INET6):
                tcp, udp = socket.socket(family), socket.socket(family, socket.SOCK_DGRAM)
                for sock in (tcp, udp):
                    if family == socket.AF_INET6:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    sock.bind(("", port))
                    selector.register(sock, selectors.EVENT_READ)
                tcp.listen()
            while True:
                for key, _ in selector.select():
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock.type is socket.SOCK_STREAM:
                        sock.accept()[0].close()
                    else:
                        data, address = sock.recvfrom(2048)
                        sock.sendto(data, address)

    def _externals(self) -> list[str]:
        return [str(mapping.external) for gateway in self._report.gateways for mapping in gateway.mappings]

    def _mapped(self, count: int, seconds: float) -> dict[str, Any]:
        def enough() -> bool:
            mappings = sum(len(gateway.mappings) for gateway in self._report.gateways)
            return mappings == count and self._report.settled

        with self._changed:
            self._changed.wait_for(enough, seconds)
            gateways = self._report.gateways
            return {
                "methods": sorted({gateway.method.name for gateway in gateways if gateway.method}),
                "externals": self._externals(),
                "leases": [mapping.lease for gateway in gateways for mapping in gateway.mappings],
                "warnings": [warning for gateway in gateways for warning in gateway.warnings],
                "endpoints": [str(endpoint) for endpoint in self._report.endpoints],
                "seconds": round(self._when - self._began, 3),
            }

    def do(self, words: list[str]) -> Any:
        match words:
            case ["mapped", count, seconds]:
                return self._mapped(int(count), float(seconds))
            case ["reached", endpoint, seconds]:
                with self._changed:
                    there = self._changed.wait_for(lambda: endpoint in self._externals(), float(seconds))
                return "yes" if there else "no"
            case ["refresh"]:
                self.mapper.refresh()
                return "ok"
            case ["stop", seconds]:
                self.mapper.stop(timeout=float(seconds))
                return "ok"
        sys.exit(f"not understood: {words}")


def main() -> None:
    """Obey until standard input ends."""
    obeying = Obeying(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    say("ready")
    for line in sys.stdin:
        say(json.dumps(obeying.do(line.split())))
    obeying.mapper.stop()


if __name__ == "__main__":
    main()
