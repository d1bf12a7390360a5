"""The UDP sockets of a manager: those that it listens on, and where it does not listen, one of each family to dial
from.

All uTP connections of a manager share them. One dials from the port that one listens on, because what a peer or a NAT
learns about that port then holds for both directions.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from crust.config import Config
from crust.endpoint import Endpoint
from crust.errors import CrustError, DialFailed, ListenFailed
from crust.nat.source_address import listener_for_strangers, listener_towards
from crust.threads.clock import Deadline
from crust.transport.tcp import explain
from crust.transport.utp import UtpSettings, UtpSocket, UtpStream

log = logging.getLogger("crust.utp")

MAX_OTHERS: Final = 16
"""Sockets on ports that are not listened on; each is for one peer behind a NAT with random ports, and has a thread."""

_ANY: Final = {4: "0.0.0.0", 6: "::"}


def utp_settings(config: Config) -> UtpSettings:
    """Bounds of the transport that leave the decisions to the manager: it knows who is alive and who may connect."""
    usual = UtpSettings()
    return UtpSettings(
        idle_timeout=max(usual.idle_timeout, 2 * config.dead_after),
        dead_timeout=max(usual.dead_timeout, config.dead_after),
        max_connections=config.max_connections + config.max_half_open + config.max_dials,
        half_open=max(usual.half_open, config.max_half_open),
        half_open_per_host=max(usual.half_open_per_host, config.max_half_open_per_address),
    )


class UtpPorts:
    """See the module's text. Methods are for any thread. Making one opens nothing.

    Args:
        config: for addresses and bounds.
        refuses: whether an address is not welcome; the sockets ask before they keep anything of a stranger.
    """

    def __init__(self, config: Config, refuses: Callable[[str], bool]) -> None:
        self._config = config
        self._refuses = refuses
        self._lock = threading.Lock()  # held while sockets are opened, which takes no time worth mentioning
        self._listening: list[UtpSocket] = []
        self._dialling: dict[int, UtpSocket] = {}
        self._others: list[UtpSocket] = []
        self._closed = False

    @property
    def sockets(self) -> list[UtpSocket]:
        """All that are open."""
        with self._lock:
            return [*self._listening, *self._dialling.values(), *self._others]

    @property
    def listening(self) -> list[UtpSocket]:
        """Those that are listened on."""
        with self._lock:
            return list(self._listening)

    def to_meet_at(self, version: int) -> UtpSocket | None:
        """The socket that peers anywhere meet us at, over IPv4 or IPv6 (4 or 6): one that is listened on, or else the
        one to dial from; ``None`` where there is none. Of several, the one on the way to everybody; one for this
        machine alone will do where there is no other."""
        try:
            with self._lock:
                if not self._listening:
                    return self._to_dial_from(version)
                return self._listening_at(listener_for_strangers(self._hosts(), version))
        except CrustError:
            return None

    def listen(self, port: int, favourite: int = 0, failed: dict[str, str] | None = None) -> list[UtpSocket]:
        """Open a socket on every listening address of the configuration; nobody is let in yet.

        Args:
            port: the "live port", tried first, and a free one where that is busy; 0 for any.
            favourite: what to try first when any will do: the number that people know already (unless the beacon needs
                it, which shares it with other nodes of this host).
            failed: where addresses are entered that cannot be listened on, and why.

        Raises:
            ListenFailed: no address at all can be listened on.
        """
        failures: list[str] = []
        if favourite == self._config.beacon_port:
            favourite = 0
        with self._lock:
            for host in self._config.listen_addresses:
                wanted = self._listening[0].local_address[1] if self._listening else port or favourite
                for candidate in dict.fromkeys((wanted, 0)):
                    try:
                        self._listening.append(self._open(host, candidate))
                        break
                    except ListenFailed as error:
                        failures.append(str(error))
                        if failed is not None and not candidate:
                            failed[host] = str(error)
                        log.info("%s%s", error, "; trying a free port" if candidate else "")
            if not self._listening:
                raise ListenFailed("; ".join(failures) or "there is no address to listen on")
            return list(self._listening)

    def also(self, version: int, port: int) -> UtpSocket | None:
        """A socket on one port more, on which a path was opened; ``None`` where it cannot be had.

        It is closed when another one is asked for and nobody is connected to it any more, at the latest with the rest.
        """
        with self._lock:
            idle = [sock for sock in self._others if not len(sock)]
            self._others = [sock for sock in self._others if sock not in idle]
            if len(self._others) >= MAX_OTHERS:
                return None
            made: UtpSocket | None = None
            try:
                made = self._open(_ANY[version], port)
                self._others.append(made)
            except ListenFailed as error:
                log.warning("the port of a path that was opened cannot be used: %s", error)
        for one in idle:
            one.close(0.0)
        return made

    def dial(self, target: Endpoint, deadline: Deadline, started: Callable[[UtpStream], None]) -> UtpStream:
        """Connect to an address (not a name).

        Args:
            target: where to.
            deadline: when to give up.
            started: called with the stream, whose ``abort()`` ends the attempt, before anything can block.

        Raises:
            DialFailed: nobody answered there; the message says what to do.
        """
        remaining = deadline.remaining()
        if remaining is None:
            raise ValueError("an attempt needs a deadline")
        return self._socket_towards(target).connect(target.address, remaining, started=started)

    def _socket_towards(self, target: Endpoint) -> UtpSocket:
        with self._lock:
            sock = self._listening_at(listener_towards(self._hosts(), target))
            return self._to_dial_from(6 if ":" in target.host else 4) if sock is None else sock

    def _hosts(self) -> list[str]:
        return [sock.local_address[0] for sock in self._listening]

    def _listening_at(self, host: str | None) -> UtpSocket | None:
        return next((sock for sock in self._listening if sock.local_address[0] == host), None)

    def _to_dial_from(self, version: int) -> UtpSocket:
        sock = self._dialling.get(version)
        if sock is None:
            try:
                sock = self._dialling[version] = self._open(_ANY[version], 0)
            except ListenFailed as error:
                raise DialFailed(f"no UDP socket can be opened here: {error}") from error
        return sock

    def _open(self, host: str, port: int) -> UtpSocket:
        if self._closed:
            raise ListenFailed("this node is stopping")
        settings = utp_settings(self._config)
        try:
            return UtpSocket((host, port), settings=settings, accepting=False, refuses=self._refuses)
        except RuntimeError as error:
            raise ListenFailed(f"{error}: raise the limit of threads (ulimit -u)") from error
        except OSError as error:
            raise ListenFailed(f"cannot serve UDP: {explain(error)}") from error

    def close(self, deadline: Deadline) -> None:
        """Close every socket and join their threads, once what was sent has arrived. Idempotent.

        Args:
            deadline: how long that may take.
        """
        with self._lock:
            self._closed = True
        for sock in self.sockets:
            sock.close(deadline.remaining() or 0.0)
