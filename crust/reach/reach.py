"""`Reach`: how a manager is reached, and reaches peers that cannot simply be dialled. It brings mapped ports, STUN,
meetings and hole punching together (docs/nat.md).

Belongs to the manager thread.
"""

import enum
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from crust.connecting import notices
from crust.connecting.ground import Ground
from crust.connecting.utp_ports import UtpPorts
from crust.endpoint import Address, Endpoint, Protocol
from crust.event import ConnectionFailed, ConnectionInfoPrepared
from crust.finding.finder import Finder
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.links.connection_news import Told
from crust.nat.connection_info import ConnectionInfo
from crust.nat.interfaces import interface_addresses, own_endpoints
from crust.nat.nat_status import NatStatus
from crust.nat.punch_gate import PunchGate
from crust.nat.punch_plan import PUNCH_SECONDS, Method, method_for
from crust.nat.ranges import is_local
from crust.nat.source_address import listener_for_strangers, listener_towards
from crust.reach.dial_back.dial_back import DialBack
from crust.reach.encounter import NOT_TRIED, RENDEZVOUS_SECONDS, UDP_NAME, Encounter, Means, name_of
from crust.reach.errands import Errands
from crust.reach.meetings import Arranged, Meetings
from crust.reach.outside import Outside
from crust.reach.relay.relays import Relays
from crust.reach.sounder import Sounder
from crust.reach.surveyor import GLANCE_LIFETIME
from crust.reach.wishes import MEETING_NAME, Wishes
from crust.threads.clock import now
from crust.threads.timers import Timer
from crust.transport.framing import ADDRESS, PUNCH

log = logging.getLogger("crust.reach")

PREPARED_INFOS: Final = 8
"""Of ``prepare_connection_info()``, the latest, one of which the peer has."""

INFO_KEPT: Final = 300.0
"""Seconds for which the NAT is kept from forgetting the uTP port after one was prepared: people copy and paste."""
KEEP_INTERVAL: Final = GLANCE_LIFETIME
"""Seconds between the questions that do that, one to each of three servers."""
_ERRAND_GRACE: Final = 2.0  # seconds for threads of errands to end, which takes none


class _Sake(enum.Enum):
    """For whose sake a peer is met. A meeting takes the place of an earlier one of the same sake only: what others ask
    for, who need not be who they say, ends nothing that the user waits for."""

    WISH = enum.auto()
    """Of the user, who named the peer."""
    OTHERS = enum.auto()
    LINE = enum.auto()
    """Of the user, who brought the peer's line."""


class Reach:
    """See the module's text.

    Args:
        ground: of the manager.
        utp: the UDP sockets.
        finder: who knows where peers are.
    """

    def __init__(self, ground: Ground, utp: UtpPorts, finder: Finder) -> None:
        node, inbox, timers, dialer = ground.node, ground.inbox, ground.timers, ground.dialer
        self._config = ground.config
        self._timers = timers
        self._dialer = dialer
        self._connections = ground.connections
        self._finder = finder
        self._emit = ground.emit
        self._bound: list[Endpoint] = []
        self._errands = Errands()
        self._gate = PunchGate()
        self.outside = Outside(
            ground.own_id,
            ground.config,
            inbox,
            timers,
            utp,
            self._errands,
            finder.utp_addresses,
            ground.emit,
            self._moved,
            Sounder(node, inbox, finder.tcp_endpoints),
        )
        self._meetings = Meetings(
            ground.own_id, timers, ground.connections, self.outside, ground.blacklist, self._gate, self._arranged
        )
        self._means = Means(node, inbox, timers, dialer, utp, self._errands, ground.blacklist, self._tcp_listening)
        self.relays = Relays(ground)
        self._dial_back = DialBack(node, inbox, timers, ground.blacklist, self.outside.reconsider)
        self.outside.refuted = lambda endpoint: self._dial_back.verified(endpoint) is False
        self.wishes = Wishes(
            timers,
            dialer,
            ground.connections,
            finder,
            self._meetings,
            self.relays,
            self._is_met,
            ground.emit,
        )
        self._encounters: dict[tuple[PeerId, _Sake], Encounter] = {}
        self._prepared: deque[ConnectionInfo] = deque(maxlen=PREPARED_INFOS)
        self._kept_until = 0.0
        self._keeping: Timer | None = None
        self._stopped = False
        finder.on_move = self._addresses_changed
        finder.on_learned = self.outside.look
        dialer.tcp_source = self._tcp_source
        self.handlers: dict[type, Callable[[Any], None]] = {
            Told: self._told,
            notices.Do: lambda notice: notice.call(),
            notices.ConnectPeer: lambda notice: self.wishes.connect_peer(notice.peer_id),
            notices.PrepareInfo: self._prepare,
            notices.Rendezvous: self._rendezvous,
            notices.NatStatusAsked: lambda notice: notice.answer.put(self._status()),
            **self.relays.handlers,
            **self._dial_back.handlers,
        }

    # --- what happens ---------------------------------------------------------------------------------

    def listening(self, bound: list[Endpoint]) -> None:
        """``start_listening()`` was called; where its sockets are bound."""
        self._bound = bound
        if bound:
            self.outside.listening(bound)
            self._claim()

    def came(self, connection: Connection) -> None:
        """There is a connection."""
        self.outside.came(connection)
        self._dial_back.came(connection)
        self.wishes.came(connection)
        for sake in _Sake:
            encounter = self._encounters.get((connection.peer_id, sake))
            if encounter is not None and not connection.relayed:
                encounter.satisfied()

    def went(self, connection: Connection) -> None:
        """It is over."""
        self.outside.went(connection)
        self._dial_back.went(connection)
        self.wishes.went(connection)
        self.relays.went(connection)

    def stop(self) -> None:
        """Look for nobody any more, and begin to end what was begun."""
        self._stopped = True
        self.wishes.stop()
        self._meetings.stop()
        self.relays.stop()
        for encounter in self._encounters.values():
            encounter.cancel()
        self._encounters.clear()
        self._errands.cancel()
        self._dial_back.stop()
        self.outside.stop()

    def close(self) -> None:
        """Wait for what `stop` has begun."""
        self._errands.join(_ERRAND_GRACE)
        self._dial_back.join(_ERRAND_GRACE)
        self.outside.join(_ERRAND_GRACE)

    def _addresses_changed(self) -> None:
        self.outside.addresses_changed()
        self._claim()

    def _moved(self) -> None:
        self._finder.reachable_at(self.outside.external)
        self._claim()

    def _claim(self) -> None:
        """Have others try where they may reach us, by addresses that mean the same to all."""
        own = own_endpoints(self._bound, interface_addresses())
        public = [each for each in (*self.outside.claims, *own) if not is_local(each.host)]
        self._dial_back.claim(each for each in dict.fromkeys(public) if each.protocol is not Protocol.TRACER)

    def _told(self, notice: Told) -> None:
        connection = notice.connection
        connection.told_taken += 1
        if self._stopped or self._connections.with_peer(connection.peer_id) is not connection:
            return
        if notice.kind == ADDRESS and "seen" in notice.content:
            self.outside.told(connection, notice.content)
        elif notice.kind == ADDRESS:
            self._dial_back.said(connection, notice.content)
        elif notice.kind == PUNCH:
            self._meetings.letter(connection, notice.content)

    def _tcp_bound(self) -> dict[str, Address]:
        return {each.host: each.address for each in self._bound if each.protocol is Protocol.TCP}

    def _tcp_listening(self) -> dict[int, Address]:
        bound = self._tcp_bound()
        found = {version: listener_for_strangers(bound, version) for version in (4, 6)}
        return {version: bound[host] for version, host in found.items() if host is not None}

    def _tcp_source(self, target: Endpoint) -> Address | None:
        """Behind a NAT one dials whoever is outside from the listening port: the peer then sees, and tells, the address
        at which the NAT has that port; and the NAT keeps it for as long as the connection lives."""
        if target.is_name or is_local(target.host) or not self.outside.translated(target):
            return None
        bound = self._tcp_bound()
        host = listener_towards(bound, target)
        return None if host is None else bound[host]

    # --- meeting it -----------------------------------------------------------------------------------

    def _arranged(self, arranged: Arranged) -> None:
        self.wishes.arranged(arranged.peer_id, arranged.carrier)
        method = method_for(arranged.ours.behaviour, arranged.theirs.behaviour)
        birthday = method in (Method.OPEN_MANY, Method.SEARCH)
        if method is Method.NONE:
            self.wishes.hopeless(arranged.peer_id)
        if arranged.sought and birthday and not self._gate.admit_birthday(now()):
            self._not_met(arranged.peer_id, {UDP_NAME: "the birthday method was used just now; try again in a minute"})
            return
        vouched = set(arranged.vouched) if arranged.sought else self._gate.vouched(arranged.vouched, now())
        self._meet(
            Encounter(
                self._means,
                arranged.peer_id,
                arranged.ours,
                arranged.theirs,
                arranged.start,
                vouched,
                lambda reasons: self._met(arranged, reasons),
            ),
            _sake(arranged),
        )

    def _meet(self, encounter: Encounter, sake: _Sake) -> None:
        key = encounter.peer_id, sake
        older = self._encounters.get(key)
        if older is not None:
            older.superseded()
        self._encounters[key] = encounter
        encounter.begin()

    def _is_met(self, peer_id: PeerId) -> bool:
        """Whether a meeting that somebody arranged is under way; what comes of it is told to `wishes`."""
        return (peer_id, _Sake.WISH) in self._encounters or (peer_id, _Sake.OTHERS) in self._encounters

    def _met(self, arranged: Arranged, reasons: dict[str, str]) -> None:
        self._encounters.pop((arranged.peer_id, _sake(arranged)), None)
        if not arranged.sought:
            self._gate.ended()
        if reasons:
            self._not_met(arranged.peer_id, reasons)

    def _not_met(self, peer_id: PeerId, reasons: dict[str, str]) -> None:
        if not self._is_met(peer_id):  # else it is not over yet
            self.wishes.not_met(peer_id, reasons)

    # --- out of band ----------------------------------------------------------------------------------

    def _prepare(self, notice: notices.PrepareInfo) -> None:
        def prepared(info: ConnectionInfo) -> None:
            self._prepared.append(info)
            self._emit(ConnectionInfoPrepared(notice.token, info))
            self._kept_until = now() + INFO_KEPT
            if self._keeping is None or not self._keeping.pending:
                self._keeping = self._timers.at(now() + KEEP_INTERVAL, self._keep_open)

        if not self._stopped:
            self.outside.prepare(prepared)

    def _keep_open(self) -> None:
        """Until the peer has the info, the NAT must not forget where it has our port."""
        if not self._stopped and now() < self._kept_until:
            self.outside.prepare(lambda _: None)
            self._keeping = self._timers.at(now() + KEEP_INTERVAL, self._keep_open)

    def _rendezvous(self, notice: notices.Rendezvous) -> None:
        theirs = notice.theirs
        connection = self._connections.with_peer(theirs.peer_id)
        if self._stopped or (connection is not None and not connection.relayed):
            return
        endpoints = tuple(candidate.endpoint for candidate in theirs.candidates)
        ours = notice.ours or (self._prepared[-1] if self._prepared else None)
        if ours is None:
            reason = "prepare_connection_info() comes first: the peer needs our info as we need theirs"
            tried = dict.fromkeys(endpoints, NOT_TRIED)
            self._emit(ConnectionFailed(endpoints, tried, theirs.peer_id, {MEETING_NAME: reason}))
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
            ),
            _Sake.LINE,
        )

    def _rendezvous_over(self, peer_id: PeerId, endpoints: tuple[Endpoint, ...], reasons: dict[str, str]) -> None:
        self._encounters.pop((peer_id, _Sake.LINE), None)
        if reasons:
            tried = {each: reasons.get(name_of(each.protocol), NOT_TRIED) for each in endpoints}
            self._emit(ConnectionFailed(endpoints, tried, peer_id, reasons))

    # --- for people -----------------------------------------------------------------------------------

    def _status(self) -> NatStatus:
        return NatStatus(
            own=tuple(own_endpoints(self._bound, interface_addresses())),
            external=self.outside.external,
            mappings=self.outside.mapping_report(),
            nat=self.outside.report(),
            verified=self._dial_back.verdicts(),
            relays=self._config.relay,
            listening=bool(self._bound) and not self._stopped,
        )


def _sake(arranged: Arranged) -> _Sake:
    return _Sake.WISH if arranged.sought else _Sake.OTHERS
