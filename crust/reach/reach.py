"""`Reach`: how a manager is reached, and reaches peers that cannot simply be dialled. It brings mapped ports, STUN,
meetings and hole punching together (docs/nat.md).

Belongs to the manager thread.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from crust import notices
from crust.attempts import Job, Race
from crust.blacklist import Blacklist
from crust.clock import now
from crust.config import Config
from crust.connection import Connection
from crust.connection_news import Told
from crust.connections import Connections
from crust.dialing import Dialer
from crust.endpoint import Address, Endpoint, Protocol
from crust.event import AnyEvent, ConnectionFailed, ConnectionInfoPrepared
from crust.finder import Finder
from crust.identity import PeerId
from crust.nat.connection_info import ConnectionInfo
from crust.nat.interfaces import interface_addresses, interface_networks, own_endpoints
from crust.nat.punch_gate import PunchGate
from crust.nat.punch_plan import PUNCH_SECONDS, Method, method_for
from crust.nat.ranges import is_in, is_local
from crust.negotiate import Node
from crust.reach.encounter import RENDEZVOUS_SECONDS, UDP_NAME, Encounter, Means
from crust.reach.errands import Errands
from crust.reach.meetings import Arranged, Meetings
from crust.reach.nat_status import NatStatus
from crust.reach.outside import Outside
from crust.timers import Timer, Timers
from crust.transport.framing import ADDRESS, PUNCH
from crust.utp_ports import UtpPorts

log = logging.getLogger("crust.reach")

MEETING_AFTER: Final = 0.25
"""Seconds that dialling has to itself, before a meeting is sought as well: who can be dialled answers sooner (RFC 8305
section 5 has the same number, for the same question)."""
WISH_SECONDS: Final = 90.0
"""After which a peer is given up, whatever is still under way: dialling, a meeting and the longest way to punch take 60
together."""
MAX_WISHES: Final = 256
"""Peers that are sought at a time; each may cost a dozen sockets."""
PREPARED_INFOS: Final = 8
"""Of ``prepare_connection_info()``, the latest, one of which the peer has."""

MEETING_NAME: Final = "meeting"
_ERRAND_GRACE: Final = 2.0  # seconds for threads of errands to end, which takes none


@dataclass(slots=True, eq=False)
class _Wish:
    """A peer that the user wants to be connected to."""

    peer_id: PeerId
    endpoints: tuple[Endpoint, ...] = ()
    reasons: dict[Endpoint, str] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    job: Job | None = None
    dialled: bool = False
    """Whether dialling is over."""
    sought: bool = False
    met: bool = False
    """Whether the meeting is over, too."""
    timers: list[Timer] = field(default_factory=list)


class Reach:
    """See the module's text.

    Args:
        node: identity and keys.
        config: settings.
        inbox: the manager's.
        timers: the manager's.
        dialer: the manager's.
        connections: the manager's.
        blacklist: who is not talked to.
        utp: the UDP sockets.
        finder: who knows where peers are.
        emit: gives an event to the user.
    """

    def __init__(
        self,
        node: Node,
        config: Config,
        inbox: notices.Inbox,
        timers: Timers,
        dialer: Dialer,
        connections: Connections,
        blacklist: Blacklist,
        utp: UtpPorts,
        finder: Finder,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._config = config
        self._timers = timers
        self._dialer = dialer
        self._connections = connections
        self._finder = finder
        self._emit = emit
        self._bound: list[Endpoint] = []
        self._errands = Errands()
        self._gate = PunchGate()
        self.outside = Outside(
            node.identity.peer_id, config, inbox, utp, self._errands, finder.utp_addresses, emit, self._moved
        )
        self._meetings = Meetings(
            node.identity.peer_id, timers, connections, self.outside, blacklist, self._gate, self._arranged
        )
        self._means = Means(node, inbox, timers, dialer, utp, self._errands, blacklist, self._tcp_listening)
        self._wishes: dict[PeerId, _Wish] = {}
        self._encounters: dict[PeerId, Encounter] = {}
        self._prepared: deque[ConnectionInfo] = deque(maxlen=PREPARED_INFOS)
        self._stopped = False
        finder.on_move = self.outside.addresses_changed
        dialer.tcp_source = self._tcp_source
        self.handlers: dict[type, Callable[[Any], None]] = {
            Told: self._told,
            notices.Do: lambda notice: notice.call(),
            notices.ConnectPeer: lambda notice: self.connect_peer(notice.peer_id),
            notices.PrepareInfo: self._prepare,
            notices.Rendezvous: self._rendezvous,
            notices.NatStatusAsked: lambda notice: notice.answer.put(self._status()),
        }

    # --- what happens ---------------------------------------------------------------------------------

    def listening(self, bound: list[Endpoint]) -> None:
        """``start_listening()`` was called; where its sockets are bound."""
        self._bound = bound
        if bound:
            self.outside.listening(bound)

    def came(self, connection: Connection) -> None:
        """There is a connection."""
        self.outside.came(connection)
        wish = self._wishes.pop(connection.peer_id, None)
        if wish is not None:
            self._drop(wish)
        encounter = self._encounters.get(connection.peer_id)
        if encounter is not None:
            encounter.satisfied()

    def went(self, connection: Connection) -> None:
        """It is over."""
        self.outside.went(connection)

    def stop(self) -> None:
        """Look for nobody any more, and begin to end what was begun."""
        self._stopped = True
        wishes = list(self._wishes.values())
        self._wishes.clear()  # first: whose dialling ends is not to be met instead
        for wish in wishes:
            self._drop(wish)
        self._meetings.stop()
        for encounter in self._encounters.values():
            encounter.cancel()
        self._encounters.clear()
        self._errands.cancel()
        self.outside.stop()

    def close(self) -> None:
        """Wait for what `stop` has begun."""
        self._errands.join(_ERRAND_GRACE)
        self.outside.join(_ERRAND_GRACE)

    def _moved(self) -> None:
        self._finder.reachable_at(self.outside.external)

    def _told(self, notice: Told) -> None:
        connection = notice.connection
        connection.told_taken += 1
        if self._stopped or self._connections.with_peer(connection.peer_id) is not connection:
            return
        if notice.kind == ADDRESS and "seen" in notice.content:
            self.outside.told(connection, notice.content)
        elif notice.kind == PUNCH:
            self._meetings.letter(connection, notice.content)

    def _tcp_listening(self) -> dict[int, Address]:
        found: dict[int, Address] = {}
        for endpoint in self._bound:
            if endpoint.protocol is Protocol.TCP:
                found.setdefault(6 if ":" in endpoint.host else 4, endpoint.address)
        return found

    def _tcp_source(self, target: Endpoint) -> Address | None:
        """Behind a NAT one dials whoever is outside from the listening port: the peer then sees, and tells, the address
        at which the NAT has that port; and the NAT keeps it for as long as the connection lives."""
        if target.is_name or is_local(target.host) or not self.outside.translated(target):
            return None
        return self._tcp_listening().get(6 if ":" in target.host else 4)

    def _in_sight(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint that others tell of means the same node here: private addresses do in our networks."""
        return endpoint.is_name or not is_local(endpoint.host) or is_in(endpoint.host, interface_networks())

    # --- reaching a peer ------------------------------------------------------------------------------

    def connect_peer(self, peer_id: PeerId) -> None:
        """Reach a peer, wherever it is: dial what is known of it, and meet it."""
        if self._stopped or self._connections.with_peer(peer_id) is not None or peer_id in self._wishes:
            return
        endpoints = tuple(filter(self._in_sight, self._finder.endpoints_of(peer_id)))
        wish = self._wish(_Wish(peer_id, endpoints))
        if wish is None:
            return
        if endpoints:
            wish.timers.append(self._timers.at(now() + MEETING_AFTER, lambda: self._seek(wish)))
            wish.job = self._dialer.connect(endpoints, Race(1), lambda job: self._dialled(wish, job))
        else:
            wish.dialled = True
            self._seek(wish)

    def instead(self, job: Job) -> bool:
        """A ``connect()`` has come to nothing: try to meet the peer that it was for, if it is known; whether it is."""
        peer_id = self._finder.peer_at(job.endpoints)
        if self._stopped or peer_id is None or peer_id in self._wishes or not self._meetings.possible(peer_id):
            return False
        if self._connections.with_peer(peer_id) is not None:
            return False  # it is there, and known by another name
        wish = self._wish(_Wish(peer_id, job.endpoints, job.reasons(), dialled=True))
        if wish is not None:
            self._seek(wish)
        return True

    def _wish(self, wish: _Wish) -> _Wish | None:
        if len(self._wishes) >= MAX_WISHES:
            wish.methods[MEETING_NAME] = f"{MAX_WISHES} peers are being reached; wait for their events first"
            self._fail(wish)
            return None
        self._wishes[wish.peer_id] = wish
        wish.timers.append(self._timers.at(now() + WISH_SECONDS, lambda: self._fail(wish)))
        return wish

    def _dialled(self, wish: _Wish, job: Job) -> None:
        wish.dialled = True
        wish.reasons = job.reasons()
        if self._wishes.get(wish.peer_id) is wish:  # else it is there, or nobody wants it any more
            self._seek(wish)
            self._fail_if_hopeless(wish)

    def _seek(self, wish: _Wish) -> None:
        if self._wishes.get(wish.peer_id) is wish and not wish.sought:
            wish.sought = True
            if wish.peer_id not in self._encounters:  # or it has come to us
                self._meetings.seek(wish.peer_id, lambda reason: self._not_met(wish, {MEETING_NAME: reason}))

    def _not_met(self, wish: _Wish, reasons: dict[str, str]) -> None:
        wish.met = True
        wish.methods.update(reasons)
        self._fail_if_hopeless(wish)

    def _fail_if_hopeless(self, wish: _Wish) -> None:
        if wish.dialled and wish.met and self._wishes.get(wish.peer_id) is wish:
            self._fail(wish)

    def _fail(self, wish: _Wish) -> None:
        self._wishes.pop(wish.peer_id, None)
        self._drop(wish)
        endpoints = wish.endpoints
        reasons = {endpoint: wish.reasons.get(endpoint, "not answered yet") for endpoint in endpoints}
        self._emit(ConnectionFailed(endpoints, reasons, wish.peer_id, wish.methods))

    def _drop(self, wish: _Wish) -> None:
        """It is over, for better or worse."""
        for timer in wish.timers:
            timer.cancel()
        self._meetings.give_up(wish.peer_id)
        if wish.job is not None and not wish.job.done:
            self._dialer.give_up(wish.job)

    # --- meeting it -----------------------------------------------------------------------------------

    def _arranged(self, arranged: Arranged) -> None:
        method = method_for(arranged.ours.behaviour, arranged.theirs.behaviour)
        birthday = method in (Method.OPEN_MANY, Method.SEARCH)
        if arranged.sought and birthday and not self._gate.admit_birthday(now()):
            self._met(arranged, {UDP_NAME: "the birthday method was used just now; try again in a minute"})
            return
        self._meet(
            Encounter(
                self._means,
                arranged.peer_id,
                arranged.ours,
                arranged.theirs,
                arranged.start,
                set(arranged.vouched),
                lambda reasons: self._met(arranged, reasons),
            )
        )

    def _meet(self, encounter: Encounter) -> None:
        older = self._encounters.get(encounter.peer_id)
        if older is not None:
            older.satisfied()
        self._encounters[encounter.peer_id] = encounter
        encounter.begin()

    def _met(self, arranged: Arranged, reasons: dict[str, str]) -> None:
        self._encounters.pop(arranged.peer_id, None)
        if not arranged.sought:
            self._gate.ended()
        wish = self._wishes.get(arranged.peer_id)
        if wish is not None and reasons:
            self._not_met(wish, reasons)

    # --- out of band ----------------------------------------------------------------------------------

    def _prepare(self, notice: notices.PrepareInfo) -> None:
        def prepared(info: ConnectionInfo) -> None:
            self._prepared.append(info)
            self._emit(ConnectionInfoPrepared(notice.token, info))

        if not self._stopped:
            self.outside.prepare(prepared)

    def _rendezvous(self, notice: notices.Rendezvous) -> None:
        theirs = notice.theirs
        if self._stopped or self._connections.with_peer(theirs.peer_id) is not None:
            return
        endpoints = tuple(candidate.endpoint for candidate in theirs.candidates)
        ours = notice.ours or (self._prepared[-1] if self._prepared else None)
        if ours is None:
            reason = "prepare_connection_info() comes first: the peer needs our info as we need theirs"
            self._emit(ConnectionFailed(endpoints, {}, theirs.peer_id, {MEETING_NAME: reason}))
            return
        self._meet(
            Encounter(
                self._means,
                theirs.peer_id,
                ours,
                theirs,
                now(),
                None,
                lambda reasons: self._rendezvous_over(theirs.peer_id, endpoints, reasons),
                max(RENDEZVOUS_SECONDS, PUNCH_SECONDS),
            )
        )

    def _rendezvous_over(self, peer_id: PeerId, endpoints: tuple[Endpoint, ...], reasons: dict[str, str]) -> None:
        self._encounters.pop(peer_id, None)
        if reasons:
            self._emit(ConnectionFailed(endpoints, {}, peer_id, reasons))

    # --- for people -----------------------------------------------------------------------------------

    def _status(self) -> NatStatus:
        return NatStatus(
            own=tuple(own_endpoints(self._bound, interface_addresses())),
            external=self.outside.external,
            mappings=self.outside.mapping_report(),
            nat=self.outside.report(),
            relays=self._config.relay,
        )
