"""`Parts`: what a manager is made of, put together. Nothing of it runs yet; the manager thread owns it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crust.config import Config
from crust.connecting import notices
from crust.connecting.acceptor import Acceptor
from crust.connecting.connections import Connections
from crust.connecting.dialing import Dialer
from crust.connecting.ground import Ground
from crust.connecting.negotiate import Node
from crust.connecting.notices import Inbox
from crust.connecting.utp_ports import UtpPorts
from crust.defence.blacklist import Blacklist
from crust.defence.blacklist_file import BlacklistFile
from crust.defence.ledger import Ledger
from crust.endpoint import Endpoint
from crust.event import AnyEvent, Flood, Misbehaviour
from crust.finding.finder import Finder
from crust.links.connection import Connection
from crust.links.peers import Candidate, Verdict
from crust.manager.gatekeeper import Gatekeeper
from crust.manager.outlet import Outlet
from crust.reach.reach import Reach
from crust.threads.timers import Timers


@dataclass(frozen=True, slots=True)
class Orders:
    """What a manager was made with.

    Args:
        node: identity and keys.
        config: settings.
        events: the user's queue.
        blacklist: who is not talked to.
        fallback: contacts for ``bootstrap()``, beside those of the configuration.
        blacklist_file: the file of the blacklist, if it has one.
    """

    node: Node
    config: Config
    events: Any
    blacklist: Blacklist
    fallback: tuple[Endpoint, ...] = ()
    blacklist_file: BlacklistFile | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the parts ask of the manager thread."""

    emit: Callable[[AnyEvent], None]
    """Give an event to the user."""
    alert: Callable[[Flood | Misbehaviour], None]
    """The same for those about somebody who means harm."""
    decide: Callable[[Candidate], Verdict]
    """What becomes of an authenticated connection."""
    came: Callable[[Connection], None]
    """A connection has become live."""
    went: Callable[[Connection], None]
    """It is so no more."""


@dataclass(frozen=True, slots=True)
class Parts:
    """See the module's text."""

    timers: Timers
    outlet: Outlet
    connections: Connections
    utp: UtpPorts
    acceptor: Acceptor
    dialer: Dialer
    finder: Finder
    reach: Reach
    gate: Gatekeeper


def make_parts(orders: Orders, inbox: Inbox, hooks: Hooks) -> Parts:
    """Put them together."""
    node, config, blacklist = orders.node, orders.config, orders.blacklist
    timers, ledger = Timers(), Ledger(config)
    utp = UtpPorts(config, blacklist.has_address)
    outlet = Outlet(
        orders.events, config.max_waiting_events, config.max_waiting_bytes, lambda: inbox.put(notices.RoomMade())
    )
    connections = Connections(
        node.identity.peer_id, config, inbox, timers, hooks.emit, ledger, came=hooks.came, went=hooks.went
    )
    acceptor = Acceptor(node, config, inbox, blacklist.refuses_at, ledger)
    dialer = Dialer(
        node,
        config,
        inbox,
        timers,
        decide=hooks.decide,
        connection_with=connections.with_peer,
        add_aliases=connections.add_aliases,
        refuses=blacklist.why_not_at,
        utp=utp,
    )
    ground = Ground(node, config, inbox, timers, connections, dialer, blacklist, hooks.emit)
    finder = Finder(ground, orders.fallback, hooks.alert)
    reach = Reach(ground, utp, finder)
    gate = Gatekeeper(blacklist, orders.blacklist_file, timers, connections, inbox, acceptor.cast_out)
    return Parts(timers, outlet, connections, utp, acceptor, dialer, finder, reach, gate)
