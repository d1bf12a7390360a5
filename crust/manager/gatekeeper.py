"""`Gatekeeper`: ends connections with those who have become unwelcome. Belongs to the manager thread."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from crust.connecting import notices
from crust.connecting.choice import REFUSALS, part
from crust.connecting.connections import Connections
from crust.connecting.negotiate import Established
from crust.defence.blacklist import Blacklist, Rules
from crust.defence.blacklist_file import FILE_CHECK, BlacklistFile
from crust.links.peers import Verdict
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers
from crust.threads.workers import start_thread, why_no_thread

log = logging.getLogger("crust.blacklist")

REASON: Final = "this node does not talk to that peer any more (blacklist, or allow_only)"
"""Why a connection ends that was there before."""
END_OF_READING: Final = 1.0
"""Seconds that the end of a manager waits for its thread that reads the file: longer only where the disk does not
answer."""


class Gatekeeper:
    """See the module's text.

    Args:
        blacklist: who is unwelcome.
        file: where some of them stand, if anywhere.
        timers: the manager's.
        connections: the manager's.
        inbox: the manager's, for what stands in the file.
        cast_out: ends handshakes with those who have become unwelcome; otherwise they are refused at the end of it.
    """

    def __init__(
        self,
        blacklist: Blacklist,
        file: BlacklistFile | None,
        timers: Timers,
        connections: Connections,
        inbox: notices.Inbox,
        cast_out: Callable[[], None] | None = None,
    ) -> None:
        self._blacklist = blacklist
        self._file = file
        self._timers = timers
        self._connections = connections
        self._inbox = inbox
        self._cast_out = cast_out
        self._reading: threading.Thread | None = None
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
        candidate, link = established.candidate, established.link
        if not self._blacklist.refuses(link.stream.remote, candidate.peer_id):
            return False
        self._connections.forsake(candidate)
        part(link, *REFUSALS[Verdict.REFUSED])
        return True

    def stop(self) -> None:
        """Look at the file no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None and self._file is not None:
            self._file.give_up()
            self._reading.join(END_OF_READING)

    def _look_later(self) -> None:
        if self._file is not None:
            self._timer = self._timers.at(now() + FILE_CHECK, self._look_at_file)

    def _look_at_file(self) -> None:
        """On a thread of its own, if there is something to read: a long list takes seconds."""
        self._look_later()
        if self._reading is None and self._file is not None and self._file.has_changed:
            try:
                self._reading = start_thread("blacklist", self._read, self._file)
            except RuntimeError as error:
                log.error("the blacklist_file has changed and is not read yet: %s", why_no_thread(error))

    def _read(self, file: BlacklistFile) -> None:
        rules = None
        try:
            rules = file.news()
        finally:
            self._inbox.put(notices.Do(lambda: self._on_read(rules)))

    def _on_read(self, rules: Rules | None) -> None:
        if self._reading is not None:
            self._reading.join()
            self._reading = None
        if rules is not None:
            self._blacklist.replace_file(rules)
            self.look()
