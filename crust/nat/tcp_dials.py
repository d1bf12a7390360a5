"""`Dialling`: one attempt from the port that is listened on (`crust.transport.shared_port`).

Where that is not possible it dials from a port of its own, and reaches whoever lets in everybody.
"""

import errno
import logging
import os
import socket
from typing import Final, NamedTuple

from crust.endpoint import Address
from crust.nat.tcp_punch import Outcome
from crust.transport.shared_port import TAKEN, share_port
from crust.transport.tcp import FLUSH_ON_CLOSE, RESET_ON_CLOSE, explain

log = logging.getLogger("crust.nat")

# POSIX says the one, Windows the other; both mean that it goes on.
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})
# Said at once, by this host itself: it will be the same next time. What comes later comes from routers on the way.
_NO_WAY: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.EINVAL, errno.EACCES, errno.EPERM}
)
_IN_WORDS: Final[dict[int, str]] = {
    errno.ECONNREFUSED: "refused: a router answers what comes early, or nothing listens there",
    errno.ECONNRESET: "reset by the peer or a box on the way",
    errno.ETIMEDOUT: "no answer: a router or firewall drops what we send",
}
_OURSELVES: Final = "that is the very socket that dials"
_TAKEN_IN_WORDS: Final = "there is a connection between these two ports, or was until just now"


class Ending(NamedTuple):
    """How an attempt ended, and why in words; the latter is empty where it connected."""

    outcome: Outcome
    why: str = ""


class Dialling:
    """One attempt. Belongs to one thread; nothing blocks. Who makes it closes it, or takes its socket with `release`.

    Args:
        local: where the listener is bound; ``None`` for any port.
        to: where to.

    Raises:
        OSError: the system has no more sockets to give.
    """

    def __init__(self, local: Address | None, to: Address) -> None:
        self.to = to
        self.problem = ""
        """Why the port of the listener is not used; empty if it is."""
        self._sock = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._sock.setblocking(False)
            # It leaves nothing behind, for whatever reason it is closed: the next attempt needs the same addresses.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._bind(local)
        except OSError:
            self._sock.close()
            raise

    def _bind(self, local: Address | None) -> None:
        if local is None:
            self.problem = "no port of that family is listened on"
            return
        self.problem = share_port(self._sock, local)

    def fileno(self) -> int:
        """For selectors: when it can be written to, `ending` says what came of it."""
        return self._sock.fileno()

    def begin(self) -> Ending | None:
        """Begin; how it ended if that is known at once."""
        code = self._sock.connect_ex(self.to)
        return None if code in _UNDER_WAY else self._ending(code, at_once=True)

    def ending(self) -> Ending:
        """How it ended; for when the selector says that it did."""
        return self._ending(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), at_once=False)

    def _ending(self, code: int, at_once: bool) -> Ending:
        if code:
            if code in TAKEN:
                return Ending(Outcome.TAKEN, _TAKEN_IN_WORDS)
            why = _IN_WORDS.get(code) or explain(OSError(code, os.strerror(code)))
            return Ending(Outcome.UNREACHABLE if at_once and code in _NO_WAY else Outcome.REFUSED, why)
        try:
            if self._sock.getsockname() == self._sock.getpeername():
                return Ending(Outcome.UNREACHABLE, _OURSELVES)
        except OSError as error:  # it was over again at once
            return Ending(Outcome.REFUSED, explain(error))
        return Ending(Outcome.CONNECTED)

    def release(self) -> socket.socket:
        """The connected socket, which is the caller's from now on: as any other, but that it does not block.

        Raises:
            OSError: it broke at once; it is closed.
        """
        sock = self._sock
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FLUSH_ON_CLOSE)
        except OSError:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """End it without a trace. Idempotent; not after `release`."""
        self._sock.close()
