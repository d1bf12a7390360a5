"""`DialBackErrand`: the dials of one request of a peer, one after the other, on a thread of a pool.

Each comes from a socket of its own and a port that nobody has sent to, so that no NAT and no firewall has reason to
take it for an answer. It goes as far as the second message of the handshake: that one proves who is there. Nothing is
said of who we are, and no connection is made.
"""

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from crust.connecting.negotiate import Node, negotiate_outgoing
from crust.connecting.notices import Inbox
from crust.endpoint import Endpoint, Protocol
from crust.errors import CrustError, HandshakeFailed, ListenFailed
from crust.links.connection import Connection
from crust.links.peers import Candidate, Verdict
from crust.reach.dial_back.notes import Request, Result
from crust.threads.clock import Deadline
from crust.transport.base import Stream
from crust.transport.grip import Abortable, Grip
from crust.transport.tcp import OUT_OF_RESOURCES, dial
from crust.transport.utp import UtpSettings, UtpSocket

log = logging.getLogger("crust.dial_back")

DIAL_BACK_SECONDS: Final = 5.0
"""For one endpoint, from the first packet to the second message of the handshake. One that is not reached always takes
as long, so that the time says nothing of what is there."""

_OURS: Final = OUT_OF_RESOURCES | {
    errno.ENETUNREACH,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EINVAL,
    errno.EACCES,
    errno.EPERM,
}
"""What says that we cannot try it, and nothing about whoever asked."""
_ANY: Final = {4: "0.0.0.0", 6: "::"}


class _Seen(HandshakeFailed):
    """We know who is there, and want no more."""


@dataclass(slots=True, eq=False)
class DialledBack:
    """Notice: an errand is done."""

    errand: "DialBackErrand"


@dataclass(slots=True, eq=False)
class DialBackErrand:
    """See the module's text."""

    connection: Connection
    """Who asked."""
    request: Request
    results: list[Result | None]
    """For each endpoint; ``None`` for those that are to be dialled. Its thread's, until it is done."""
    _grip: Grip = field(default_factory=Grip)

    def abort(self) -> None:
        """Dial no more; it will still say that it is done. Any thread may call."""
        self._grip.abort()

    def run(self, node: Node, inbox: Inbox) -> None:
        """Do it; on a thread of the pool. Puts one `DialledBack` into the inbox."""
        try:
            for number, endpoint in enumerate(self.request.endpoints):
                if self.results[number] is None:
                    self.results[number] = self._try(endpoint, node)
        finally:
            inbox.put(DialledBack(self))

    def _try(self, endpoint: Endpoint, node: Node) -> Result:
        deadline = Deadline(DIAL_BACK_SECONDS)
        result = Result.NOT_TRIED if self._grip.aborted.is_set() else self._dial(endpoint, node, deadline)
        if result is not Result.REACHABLE:
            # Whether a port is closed, silent or another program's is nobody's business: no oracle for scans.
            self._grip.aborted.wait(deadline.remaining())
        return Result.NOT_TRIED if self._grip.aborted.is_set() else result

    def _dial(self, endpoint: Endpoint, node: Node, deadline: Deadline) -> Result:
        seen: list[Candidate] = []

        def look(candidate: Candidate) -> Verdict:
            seen.append(candidate)
            raise _Seen("that is all that we wanted to know")

        try:
            _look_for_a_way(endpoint)
            with _stream_to(endpoint, deadline, self._grip.hold) as stream:
                negotiate_outgoing(stream, node, deadline, look)
        except (CrustError, OSError) as error:
            log.debug("%s, for %s: %s", endpoint, self.connection.peer_id, error)
            if _is_ours(error):
                return Result.NOT_TRIED
        finally:
            self._grip.hold(None)
        there = any(candidate.peer_id == self.connection.peer_id for candidate in seen)
        return Result.REACHABLE if there else Result.UNREACHABLE


def _look_for_a_way(endpoint: Endpoint) -> None:
    """Whether this machine can send there at all: it may have no IPv6. Sends nothing.

    Raises:
        OSError: it cannot.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(endpoint.address)


@contextmanager
def _stream_to(endpoint: Endpoint, deadline: Deadline, hold: Callable[[Abortable | None], None]) -> Iterator[Stream]:
    """A stream from a socket of its own. At the end nothing of it is left, nor is anything sent for it any more."""
    if endpoint.protocol is Protocol.TCP:
        stream = dial(endpoint, deadline, hold)
        hold(stream)
        try:
            yield stream
        finally:
            stream.abort()  # close() alone would have the kernel repeat what was not acknowledged, for minutes
            stream.close()
        return
    sock = _fresh_utp_socket(_ANY[6 if ":" in endpoint.host else 4])
    try:
        utp_stream = sock.connect(endpoint.address, deadline.remaining() or 0.0, started=hold)
        try:
            yield utp_stream
        finally:
            utp_stream.abort()
    finally:
        sock.close(0.0)


def _fresh_utp_socket(host: str) -> UtpSocket:
    settings = UtpSettings(max_connections=1)
    try:
        return UtpSocket((host, 0), settings=settings, accepting=False, refuses=lambda _: True, name="utp-dial-back")
    except RuntimeError as error:
        raise ListenFailed(f"{error}: raise the limit of threads (ulimit -u)") from error


def _is_ours(error: Exception) -> bool:
    """Whether it was this machine that could not."""
    if isinstance(error, ListenFailed):
        return True
    cause = error if isinstance(error, OSError) and error.errno else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _OURS
