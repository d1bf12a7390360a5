"""`DialBack`: verified reachability. Connected nodes try each other's endpoints from fresh sockets (docs/nat.md).

Belongs to the manager thread. What it knows of others is in `crust.reach.dial_back.service`, what it wants of them in
`crust.reach.dial_back.asker`.
"""

import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

from crust.connecting.negotiate import Node
from crust.connecting.notices import Inbox
from crust.defence.blacklist import Blacklist
from crust.endpoint import Endpoint, Protocol
from crust.errors import Malformed
from crust.links.connection import Connection
from crust.nat.ranges import is_local
from crust.reach.dial_back.asker import DialBackAsker
from crust.reach.dial_back.errand import DialledBack
from crust.reach.dial_back.notes import Answer, Bill, Payment, Request, parse_dial_back
from crust.reach.dial_back.service import DialBackService
from crust.threads.timers import Timers

log = logging.getLogger("crust.dial_back")


def _is_public(connection: Connection) -> bool:
    return not is_local(connection.endpoint.host)


class DialBack:
    """See the module's text.

    Args:
        node: for the handshakes.
        inbox: the manager's.
        timers: the manager's.
        blacklist: who is not dialled.
        on_change: called when `verdicts` have changed.
        prefers: whether a peer is known to be reachable by others; such peers are asked first.
        rng: for the choice among peers.
    """

    def __init__(
        self,
        node: Node,
        inbox: Inbox,
        timers: Timers,
        blacklist: Blacklist,
        on_change: Callable[[], None] = lambda: None,
        prefers: Callable[[Connection], bool] = _is_public,
        rng: random.Random | None = None,
    ) -> None:
        self._service = DialBackService(node, inbox, timers, blacklist.refuses_at)
        self._asker = DialBackAsker(timers, on_change, prefers, rng or random.Random())
        self.handlers: dict[type, Callable[[Any], None]] = {DialledBack: self._service.done}
        """What is to be done with notices."""

    # --- our own endpoints ----------------------------------------------------------------------------

    def claim(self, endpoints: Iterable[Endpoint]) -> None:
        """These endpoints of ours are to be verified, the most important first, and no others from now on."""
        self._asker.claim(endpoints)

    def verified(self, endpoint: Endpoint) -> bool | None:
        """Whether others reach us there: more than half of those who tried say so (or not); ``None``: nobody knows."""
        return self._asker.verdict(endpoint)

    def verdicts(self) -> dict[Endpoint, bool | None]:
        """`verified` of everything that was claimed."""
        return self._asker.verdicts()

    # --- what happens ---------------------------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """A connection has become live."""
        if _is_direct(connection):
            self._asker.came(connection)

    def went(self, connection: Connection) -> None:
        """It is so no more."""
        self._asker.went(connection)
        self._service.went(connection)

    def said(self, connection: Connection, content: object) -> None:
        """An ADDRESS frame came that is about this; what makes no sense is ignored."""
        try:
            note = parse_dial_back(content)
        except Malformed as error:
            log.debug("%s: %s", connection.endpoint, error)
            return
        if not _is_direct(connection):
            return
        match note:
            case Request():
                self._service.asked(connection, note)
            case Payment():
                self._service.paid(connection, note)
            case Bill():
                self._asker.billed(connection, note)
            case Answer():
                self._asker.told(connection, note)

    def stop(self) -> None:
        """Ask and dial nobody any more."""
        self._asker.stop()
        self._service.stop()

    def join(self, timeout: float | None) -> bool:
        """Wait for the threads; whether all ended. After `stop`."""
        return self._service.join(timeout)


def _is_direct(connection: Connection) -> bool:
    """Whether the peer is proved, and at the host that the connection names."""
    return connection.peer_id.proven and connection.endpoint.protocol in (Protocol.TCP, Protocol.UTP)
