"""Opening the listening sockets of a manager, as its configuration wants them."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from crust.config import Config
from crust.connecting.utp_ports import UtpPorts
from crust.endpoint import Endpoint, Port
from crust.errors import ListenFailed
from crust.transport.tcp import listen_everywhere
from crust.transport.utp import UtpSocket

WILDCARDS: Final = ("0.0.0.0", "::")
"""What stands for all addresses, as many as there are."""


@dataclass(slots=True)
class Listeners:
    """Sockets that are bound, and those that could not be."""

    tcp: list[socket.socket] = field(default_factory=list)
    utp: list[UtpSocket] = field(default_factory=list)
    tracer: list[socket.socket] = field(default_factory=list)
    failures: dict[Port, str] = field(default_factory=dict)
    """Why, for each port of the configuration that none of its kind was opened for, and for each that is not open on
    all addresses."""

    @property
    def bound(self) -> list[Endpoint]:
        """Where they are."""
        return [
            *(Endpoint.tcp(sock.getsockname()) for sock in self.tcp),
            *(Endpoint.utp(sock.local_address) for sock in self.utp),
            *(Endpoint.tracer(sock.getsockname()) for sock in self.tracer),
        ]

    def close_tcp(self) -> None:
        """Close those of TCP, tracer ones too: those of uTP belong to the UDP ports of the manager. Idempotent."""
        for sock in (*self.tcp, *self.tracer):
            sock.close()

    @property
    def tcp_port(self) -> int:
        """The number of the first TCP port; 0 for none."""
        return int(self.tcp[0].getsockname()[1]) if self.tcp else 0

    @property
    def utp_port(self) -> int:
        """The number of the first uTP port; 0 for none."""
        return self.utp[0].local_address[1] if self.utp else 0


def open_listeners(config: Config, utp_ports: UtpPorts) -> Listeners:
    """Bind everything that the configuration wants; nobody is accepted yet.

    Where any uTP port will do, the number of the TCP port is tried first.

    Raises:
        ListenFailed: something was wanted, and nothing could be opened.
    """
    made = Listeners()
    if config.tcp_port is not None:
        made.tcp = _listen(config, Port.tcp(config.tcp_port), made.failures, Port.tcp)
    if config.utp_port is not None:
        try:
            failed: dict[str, str] = {}
            made.utp = utp_ports.listen(config.utp_port, favourite=made.tcp_port, failed=failed)
            _say_what_failed(failed, Port.utp(made.utp_port), made.failures)
        except ListenFailed as error:
            made.failures[Port.utp(config.utp_port)] = str(error)
    if config.tracer_port is not None:
        made.tracer = _listen(config, Port.tracer(config.tracer_port), made.failures, Port.tracer)
    if made.failures and not (made.tcp or made.utp or made.tracer):
        raise ListenFailed("; ".join(made.failures.values()))
    return made


def _listen(
    config: Config, wanted: Port, failures: dict[Port, str], kind: Callable[[int], Port]
) -> list[socket.socket]:
    failed: dict[str, str] = {}
    try:
        opened = listen_everywhere(config.listen_addresses, wanted.port, failed)
    except ListenFailed as error:
        failures[wanted] = str(error)
        return []
    _say_what_failed(failed, kind(opened[0].getsockname()[1]), failures)
    return opened


def _say_what_failed(failed: dict[str, str], port: Port, failures: dict[Port, str]) -> None:
    """Of a port that is open: where it is not. That a machine has no IPv6, say, is no news where all is wanted."""
    reasons = [reason for host, reason in failed.items() if host not in WILDCARDS]
    if reasons:
        failures[port] = "; ".join(reasons)
