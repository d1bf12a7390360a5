"""`Gossiping`: gossip over the connections of a manager, and as many of these as the configuration wants.

Belongs to the manager thread. What is said, and who is dialled, is decided by the pure `Gossip` and `TargetConnections`
(docs/discovery.md, "Gossip").
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from crust.config import Config
from crust.connecting.attempts import Job, Race
from crust.connecting.connections import Connections
from crust.connecting.dialing import Dialer
from crust.discovery.contact import Contact
from crust.discovery.gossip import Gossip, Learned, Outcome, Reported, Send
from crust.discovery.reach import on_this_machine_only
from crust.discovery.target_connections import TargetConnections
from crust.endpoint import Endpoint
from crust.event import Misbehaviour
from crust.identity import Identity, PeerId
from crust.links.connection import Connection
from crust.links.connection_news import Gossiped
from crust.threads.clock import now, wall_time
from crust.threads.timers import Timer, Timers
from crust.transport.framing import CONTACTS, control_frame
from crust.transport.masking import NetworkKeys

log = logging.getLogger("crust.gossip")

PLAN_DELAY: Final = 0.02
"""Seconds from a reason to look for more connections to the look: contacts come by the dozen."""


class Gossiping:
    """See the module's text.

    Args:
        identity: ours.
        keys: of the network.
        config: for ``target_connections``, ``override_default_bootstrap`` and ``listen_addresses``.
        timers: the manager's.
        dialer: the manager's.
        connections: the manager's.
        learned: called with each contact that was not known before.
        alert: gives an event about somebody who means harm to the user.
        others: contacts that came from elsewhere, of nodes that can be dialled as well.
        wanted: whether a contact may be dialled.
    """

    def __init__(
        self,
        identity: Identity,
        keys: NetworkKeys,
        config: Config,
        timers: Timers,
        dialer: Dialer,
        connections: Connections,
        *,
        learned: Callable[[Contact], None],
        alert: Callable[[Misbehaviour], None],
        others: Callable[[], Iterable[Contact]],
        wanted: Callable[[Contact], bool],
    ) -> None:
        self._timers = timers
        self._dialer = dialer
        self._connections = connections
        self._learned = learned
        self._alert = alert
        self._others = others
        self._wanted = wanted
        local = on_this_machine_only(config.listen_addresses)
        self._gossip = Gossip(identity, keys, random=random.Random(), allow_loopback=local)
        # With an override, only those whom the configuration lists are dialled: by `Bootstrapper`.
        target = 0 if config.override_default_bootstrap else config.target_connections
        self._target = TargetConnections(target, random.Random())
        self._timer: Timer | None = None
        self._plan_timer: Timer | None = None
        self._looking = False
        self._stopped = False

    @property
    def known(self) -> int:
        """Other nodes that are known by gossip."""
        return len(self._gossip) - (self._gossip.record is not None)

    def contacts(self) -> Iterator[Contact]:
        """Those that may be dialled, in an order of chance."""
        return (contact for contact in self._gossip.contacts(wall_time()) if self._wanted(contact))

    # --- what happens ---------------------------------------------------------------------------------

    def publish(self, endpoints: Iterable[Endpoint]) -> None:
        """Say where this node can be reached."""
        self._gossip.publish(endpoints, now(), wall_time())
        self._set_timer()

    def came(self, connection: Connection) -> None:
        """There is a connection."""
        if connection.peer_id.proven:
            self._gossip.connected(connection.peer_id, now())
            self._target.came(connection.peer_id, now())
            self._count()

    def went(self, connection: Connection) -> None:
        """It is over."""
        if connection.peer_id.proven and not self._stopped:
            self._gossip.lost(connection.peer_id)
            if connection.peer_id not in self._peers():  # else another one has taken its place
                self._target.lost(connection.peer_id, now())
            self._count()

    def said(self, notice: Gossiped) -> None:
        """A peer said something."""
        connection = notice.connection
        connection.contacts_taken += 1
        if connection.peer_id.proven and not self._stopped:
            self._carry_out(self._gossip.receive(connection.peer_id, notice.content, now(), wall_time()))

    def news(self) -> None:
        """There are contacts that were not known before, from elsewhere."""
        self._plan_soon()

    def look(self) -> None:
        """From now on there are to be as many connections as the configuration wants."""
        self._looking = True
        self._count()

    def stop(self) -> None:
        """Say and dial nothing more."""
        self._stopped = True
        for timer in (self._timer, self._plan_timer):
            if timer is not None:
                timer.cancel()

    # --- gossip ---------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        due = None if self._stopped else self._gossip.next_timer()
        timer = self._timer
        if due is None or (timer is not None and timer.pending and timer.when <= due):
            return  # too early does no harm, and a new timer for each message would fill the heap
        if timer is not None:
            timer.cancel()
        self._timer = self._timers.at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._carry_out(self._gossip.handle_timer(now(), wall_time()))

    def _carry_out(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Send(peer, content):
                    connection = self._connections.with_peer(peer)
                    if connection is not None:
                        connection.outbox.put_control(control_frame(CONTACTS, content))
                case Learned(contact, _):
                    if self._wanted(contact) and contact.peer_id is not None:
                        self._target.forgive(contact.peer_id)
                        self._learned(contact)
                        self._plan_soon()
                case Reported(peer, reason):
                    self._report(peer, reason)
        self._set_timer()

    def _report(self, peer: PeerId, reason: str) -> None:
        connection = self._connections.with_peer(peer)
        if connection is not None and connection.announced:
            text = f"it breaks the rules of gossip and is ignored in it for a while: {reason}"
            self._alert(Misbehaviour(connection.endpoint, peer, text))

    # --- enough connections -----------------------------------------------------------------------------

    def _count(self) -> None:
        missing = self._looking and len(self._peers()) < self._target.target
        self._gossip.want_more(missing, now())
        self._set_timer()
        self._plan_soon()

    def _live(self) -> list[Connection]:
        return [connection for connection in self._connections.live if connection.peer_id.proven]

    def _peers(self) -> set[PeerId]:
        return {connection.peer_id for connection in self._live()}

    def _plan_soon(self) -> None:
        if self._looking and self._target.target and not self._stopped:
            self._plan_at(now() + PLAN_DELAY)

    def _plan_at(self, when: float) -> None:
        timer = self._plan_timer
        if timer is not None and timer.pending:
            if timer.when <= when:
                return
            timer.cancel()
        self._plan_timer = self._timers.at(when, self._plan)

    def _plan(self) -> None:
        peers = self._peers()
        near = [connection.endpoint for connection in self._live()]
        for contact in self._target.plan(peers, near, chain(self._others(), self.contacts()), now()):
            assert contact.peer_id is not None
            log.info("dialling %s: %d of %d connections", contact.peer_id, len(peers), self._target.target)
            self._dial(contact, contact.peer_id)
        again = self._target.next_timer(len(peers), now())
        if again is not None:
            self._plan_at(again)

    def _dial(self, contact: Contact, peer: PeerId) -> None:
        def ended(job: Job) -> None:
            self._target.ended(peer, job.connected, now())
            self._plan_soon()

        self._dialer.connect(contact.endpoints, Race(1), ended)
