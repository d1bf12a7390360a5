"""`OwnAddresses`: where this machine is, looked at again and again. Belongs to the manager thread."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from crust.connecting.connections import Connections
from crust.endpoint import Endpoint
from crust.finding.moves import Moves
from crust.nat.interfaces import all_own_endpoints, interface_addresses, own_endpoints
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers

log = logging.getLogger("crust.finder")

ADDRESS_CHECK: Final = 30.0
"""Seconds between looks at this machine's addresses, where the system does not tell of changes."""
SETTLE: Final = 0.05
"""Seconds from a sign of a change to a look: most changes come in groups."""


@dataclass(frozen=True, slots=True)
class Interest:
    """Who wants to know what of it."""

    ours: Callable[[Collection[Endpoint]], None]
    """Called at each look with every endpoint that leads to this node."""
    changed: Callable[[tuple[Endpoint, ...]], None]
    """Called with this node's endpoints when they are others than before."""
    arrived: Callable[[], None]
    """Called when there is an address that was not there before: the network may be another one. After `changed`."""


class OwnAddresses:
    """See the module's text.

    Args:
        timers: the manager's.
        connections: the manager's.
        interest: who wants to know what.
    """

    def __init__(self, timers: Timers, connections: Connections, interest: Interest) -> None:
        self._timers = timers
        self._interest = interest
        self._bound: list[Endpoint] = []
        self._check_timer: Timer | None = None
        self._soon: Timer | None = None
        self.moves = Moves(timers, connections, lambda: interface_addresses())
        """What becomes of connections when addresses go."""
        self.endpoints: tuple[Endpoint, ...] = ()
        """This machine's addresses with the ports that are listened on."""

    def listening(self, bound: list[Endpoint]) -> None:
        """``start_listening()`` was called; where its sockets are bound."""
        self._bound = bound
        addresses = self._take()
        self.moves.look(addresses)
        self.endpoints = tuple(own_endpoints(bound, addresses))
        self._check_later()

    def watch(self) -> None:
        """Look from now on, also for a node that does not listen. Idempotent."""
        if self._check_timer is None:
            self._check_timer = self._timers.at(now(), self._check)

    def check_soon(self) -> None:
        """There is a sign of a change."""
        if self._soon is None or not self._soon.pending:
            self._soon = self._timers.at(now() + SETTLE, self._check)

    def stop(self) -> None:
        """Look no more."""
        self.moves.stop()
        for timer in (self._check_timer, self._soon):
            if timer is not None:
                timer.cancel()

    def _take(self) -> list[str]:
        addresses = interface_addresses()
        self._interest.ours(all_own_endpoints(self._bound, addresses))
        return addresses

    def _check_later(self) -> None:
        if self._check_timer is not None:
            self._check_timer.cancel()
        self._check_timer = self._timers.at(now() + ADDRESS_CHECK, self._check)

    def _check(self) -> None:
        self._check_later()
        addresses = self._take()
        arrived = bool(self.moves.look(addresses))
        own = tuple(own_endpoints(self._bound, addresses))
        if self._bound:
            arrived = bool(set(own) - set(self.endpoints))
        if set(own) != set(self.endpoints):
            log.info("this node's endpoints have changed: %s", ", ".join(map(str, own)) or "none")
            self.endpoints = own
            self._interest.changed(own)
        if arrived:
            self._interest.arrived()
