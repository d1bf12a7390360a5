"""`Gatekeeper`: ends connections with those who have become unwelcome. Belongs to the manager thread."""

from collections.abc import Callable
from typing import Final

from crust.connecting import notices
from crust.connecting.connections import Connections
from crust.connecting.negotiate import Established
from crust.defence.blacklist import Blacklist
from crust.defence.blacklist_file import FILE_CHECK, BlacklistFile
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers

REASON: Final = "this node does not talk to that peer any more (blacklist, or allow_only)"
"""Why a connection ends that was there before."""


class Gatekeeper:
    """See the module's text.

    Args:
        blacklist: who is unwelcome.
        file: where some of them stand, if anywhere.
        timers: the manager's.
        connections: the manager's.
        cast_out: ends handshakes with those who have become unwelcome; otherwise they are refused at the end of it.
    """

    def __init__(
        self,
        blacklist: Blacklist,
        file: BlacklistFile | None,
        timers: Timers,
        connections: Connections,
        cast_out: Callable[[], None] | None = None,
    ) -> None:
        self._blacklist = blacklist
        self._file = file
        self._timers = timers
        self._connections = connections
        self._cast_out = cast_out
        self._timer: Timer | None = None
        self.handlers: dict[type, Callable[[notices.Unwelcome], None]] = {notices.Unwelcome: lambda _: self.look()}
        self._look_later()

    def look(self) -> None:
        """End the connections with those who are not welcome now."""
        self._connections.cast_out(self._blacklist.refuses, REASON)
        if self._cast_out is not None:
            self._cast_out()

    def turns_away(self, established: Established) -> bool:
        """Whether a connection that was about to begin is unwelcome by now; if so, it is over."""
        candidate, stream = established.candidate, established.link.stream
        if not self._blacklist.refuses(stream.remote, candidate.peer_id):
            return False
        self._connections.forsake(candidate)
        stream.abort()
        stream.close()
        return True

    def stop(self) -> None:
        """Look at the file no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        if self._file is not None:
            self._timer = self._timers.at(now() + FILE_CHECK, self._look_at_file)

    def _look_at_file(self) -> None:
        self._look_later()
        assert self._file is not None
        rules = self._file.news()
        if rules is not None:
            self._blacklist.replace_file(rules)
            self.look()
