"""`Wishes`: the peers that the user wants to be connected to, and how far that has come.

What is known of a peer is dialled first; a little later a meeting is sought; a while after that, or as soon as it is
clear that nothing else can work, a peer in common is asked to carry the connection. The first way that works makes the
connection. If that is a relayed one, the direct ways go on, and are tried again from time to time: a direct connection
takes its place. Belongs to the manager thread.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from crust.connecting.attempts import Job, Race
from crust.connecting.connections import Connections
from crust.connecting.dialing import Dialer
from crust.endpoint import Endpoint
from crust.event import AnyEvent, ConnectionFailed
from crust.finding.finder import Finder
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.nat.interfaces import interface_networks
from crust.nat.ranges import is_in, is_local
from crust.reach.meetings import Meetings
from crust.reach.relay.relays import Relays
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers

log = logging.getLogger("crust.reach")

MEETING_AFTER: Final = 0.25
"""Seconds that dialling has to itself, before a meeting is sought as well: who can be dialled answers sooner (RFC 8305
section 5 has the same number, for the same question)."""
RELAY_AFTER: Final = 3.0
"""Seconds from then, after which somebody is asked to carry the connection. What can be opened without the birthday
method is open by then, and nobody likes to wait for half a minute."""
RELAY_CARRIERS: Final = 32
"""Peers that are asked for that, one after the other: few volunteer, and who does not says so within a round trip. (Who
says nothing takes long; but a wish has its end.)"""
DIRECT_AGAIN: Final = 300.0
DIRECT_AGAIN_LATEST: Final = 3600.0
"""Seconds until a direct way is sought again while a connection is relayed, and the most: it doubles each time. A
meeting may cost 2,000 packets, and NATs seldom change."""
WISH_SECONDS: Final = 90.0
"""After which a peer is given up, whatever is still under way: dialling, a meeting and the longest way to punch take 60
together."""
MAX_WISHES: Final = 256
"""Peers that are sought at a time; each may cost a dozen sockets."""

MEETING_NAME: Final = "meeting"
RELAY_NAME: Final = "relay"


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
    arranged_by: PeerId | None = None
    """Who arranged a meeting, and so is connected to the peer."""
    carriers: deque[Connection] | None = None
    """Who may still be asked to carry the connection; ``None``: nobody was yet."""
    refusals: dict[str, list[PeerId]] = field(default_factory=dict)
    """Why it was not carried, and by whom."""
    relay_job: Job | None = None
    relayed: bool = False
    """Whether there is a relayed connection."""
    resting: bool = False
    """Whether all direct ways were tried in vain, and are to be tried again later."""
    pause: float = DIRECT_AGAIN
    timers: list[Timer] = field(default_factory=list)


class Wishes:
    """See the module's text.

    Args:
        timers: the manager's.
        dialer: the manager's.
        connections: the manager's.
        finder: who knows where peers are.
        meetings: who arranges meetings.
        relays: who has connections carried.
        is_met: whether a meeting with a peer is under way already.
        emit: gives an event to the user.
    """

    def __init__(
        self,
        timers: Timers,
        dialer: Dialer,
        connections: Connections,
        finder: Finder,
        meetings: Meetings,
        relays: Relays,
        is_met: Callable[[PeerId], bool],
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._timers = timers
        self._dialer = dialer
        self._connections = connections
        self._finder = finder
        self._meetings = meetings
        self._relays = relays
        self._is_met = is_met
        self._emit = emit
        self._wishes: dict[PeerId, _Wish] = {}
        self._stopped = False

    def __len__(self) -> int:
        """How many are open."""
        return len(self._wishes)

    # --- what the user wants --------------------------------------------------------------------------

    def connect_peer(self, peer_id: PeerId) -> None:
        """Reach a peer, wherever it is."""
        connection, known = self._connections.with_peer(peer_id), self._wishes.get(peer_id)
        if self._stopped or (connection is not None and not connection.relayed):
            return
        if known is not None:
            if known.resting and (known.job is None or known.job.done):  # who asks may know why it is worth while now
                self._go_directly_again(known)
            return
        wish = _Wish(peer_id, tuple(filter(_in_sight, self._finder.endpoints_of(peer_id))))
        wish.relayed = connection is not None
        if self._enter(wish):
            self._go_directly(wish)

    def instead(self, job: Job) -> bool:
        """A ``connect()`` has come to nothing: try to meet the peer that it was for, if it is known; whether it is."""
        peer_id = self._finder.peer_at(job.endpoints)
        if self._stopped or peer_id is None or peer_id in self._wishes or not self._meetings.possible(peer_id):
            return False
        if self._connections.with_peer(peer_id) is not None:
            return False  # it is there, and known by another name
        wish = _Wish(peer_id, job.endpoints, job.reasons(), dialled=True)
        if self._enter(wish):
            self._seek(wish)
        return True

    def _enter(self, wish: _Wish) -> bool:
        if len(self._wishes) >= MAX_WISHES:
            wish.methods[MEETING_NAME] = f"{MAX_WISHES} peers are being reached; wait for their events first"
            self._fail(wish)
            return False
        self._wishes[wish.peer_id] = wish
        self._later(wish, WISH_SECONDS, self._give_up)
        return True

    def _later(self, wish: _Wish, seconds: float, call: Callable[[_Wish], None]) -> None:
        def due() -> None:
            if self._wishes.get(wish.peer_id) is wish:
                call(wish)

        wish.timers = [timer for timer in wish.timers if timer.pending]
        wish.timers.append(self._timers.at(now() + seconds, due))

    def stop(self) -> None:
        """Look for nobody any more."""
        self._stopped = True
        wishes = list(self._wishes.values())
        self._wishes.clear()  # first: whose dialling ends is not to be met instead
        for wish in wishes:
            self._end(wish)

    # --- what happens ---------------------------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """There is a connection."""
        wish = self._wishes.get(connection.peer_id)
        if wish is None:
            return
        if connection.relayed:
            wish.relayed = True
            self._fail_if_hopeless(wish)
        else:
            del self._wishes[wish.peer_id]
            self._end(wish)

    def went(self, connection: Connection) -> None:
        """It is over."""
        wish = self._wishes.get(connection.peer_id)
        if wish is not None and wish.relayed and connection.relayed:
            del self._wishes[wish.peer_id]
            self._end(wish)
        for one in self._wishes.values():
            if one.carriers is not None and connection in one.carriers:
                one.carriers.remove(connection)

    def arranged(self, peer_id: PeerId, carrier: PeerId) -> None:
        """A meeting is arranged, by who is connected to both."""
        wish = self._wishes.get(peer_id)
        if wish is not None:
            wish.arranged_by = carrier

    def hopeless(self, peer_id: PeerId) -> None:
        """It shows that no direct way can be opened: do not wait for it."""
        wish = self._wishes.get(peer_id)
        if wish is not None:
            self._relay(wish)

    def not_met(self, peer_id: PeerId, reasons: dict[str, str]) -> None:
        """A meeting has come to nothing."""
        wish = self._wishes.get(peer_id)
        if wish is not None:
            self._not_met(wish, reasons)

    # --- directly -------------------------------------------------------------------------------------

    def _go_directly(self, wish: _Wish) -> None:
        wish.sought = wish.met = False
        wish.dialled = not wish.endpoints
        if wish.endpoints:
            self._later(wish, MEETING_AFTER, self._seek)
            wish.job = self._dialer.connect(wish.endpoints, Race(1), lambda job: self._dialled(wish, job))
        else:
            self._seek(wish)

    def _dialled(self, wish: _Wish, job: Job) -> None:
        wish.dialled = True
        wish.reasons = job.reasons()
        if self._wishes.get(wish.peer_id) is wish:  # else it is there, or nobody wants it any more
            self._seek(wish)
            self._fail_if_hopeless(wish)

    def _seek(self, wish: _Wish) -> None:
        if not wish.sought:
            wish.sought = True
            self._later(wish, RELAY_AFTER, self._relay)
            if not self._is_met(wish.peer_id):  # or it has come to us
                self._meetings.seek(wish.peer_id, lambda reason: self._not_met(wish, {MEETING_NAME: reason}))

    def _not_met(self, wish: _Wish, reasons: dict[str, str]) -> None:
        if self._wishes.get(wish.peer_id) is wish:
            wish.met = True
            wish.methods.update(reasons)
            self._relay(wish)
            self._fail_if_hopeless(wish)

    def _again(self, wish: _Wish) -> None:
        """It is relayed, and would be better off without."""
        wish.pause = min(2 * wish.pause, DIRECT_AGAIN_LATEST)
        self._go_directly_again(wish)

    def _go_directly_again(self, wish: _Wish) -> None:
        wish.resting = False
        for timer in wish.timers:
            timer.cancel()
        self._meetings.give_up(wish.peer_id)
        wish.endpoints = tuple(filter(_in_sight, self._finder.endpoints_of(wish.peer_id)))
        self._go_directly(wish)

    # --- through others -------------------------------------------------------------------------------

    def _relay(self, wish: _Wish) -> None:
        """Ask somebody to carry the connection, unless that was done."""
        if wish.carriers is None and not wish.relayed:
            live = [one for one in reversed(self._connections.live) if one.peer_id.proven and not one.relayed]
            live.sort(key=lambda one: one.peer_id != wish.arranged_by)  # who is known to know the peer, then the latest
            wish.carriers = deque(live[:RELAY_CARRIERS])
            wish.relay_job = self._dialer.hold(Race(1), lambda job: self._carried(wish, job))
            self._ask_next(wish)

    def _ask_next(self, wish: _Wish) -> None:
        job = wish.relay_job
        if job is None or job.done:
            return
        if wish.carriers:
            via = wish.carriers.popleft()
            self._relays.open(wish.peer_id, via, job, lambda reason: self._not_carried(wish, via, reason))
        else:
            self._dialer.let_go(job)

    def _not_carried(self, wish: _Wish, via: Connection, reason: str) -> None:
        wish.refusals.setdefault(reason, []).append(via.peer_id)
        told = [f"{', '.join(map(str, who))}: {why}" for why, who in wish.refusals.items()]
        wish.methods[RELAY_NAME] = "; ".join(told)
        self._ask_next(wish)

    def _carried(self, wish: _Wish, job: Job) -> None:
        """An attempt to have it carried is over, for better or worse."""
        for reason in job.reasons().values():
            wish.methods[RELAY_NAME] = reason
        wish.relay_job = None
        if self._wishes.get(wish.peer_id) is wish:
            self._fail_if_hopeless(wish)

    # --- the end --------------------------------------------------------------------------------------

    def _fail_if_hopeless(self, wish: _Wish) -> None:
        if not (wish.dialled and wish.met) or self._wishes.get(wish.peer_id) is not wish:
            return
        if wish.relayed:
            self._rest(wish)
        elif wish.relay_job is None and wish.carriers is not None:
            self._fail(wish)

    def _rest(self, wish: _Wish) -> None:
        """No direct way could be opened, but it is connected: later, maybe."""
        for timer in wish.timers:
            timer.cancel()
        wish.resting = True
        self._later(wish, wish.pause, self._again)

    def _give_up(self, wish: _Wish) -> None:
        if wish.relayed:
            self._rest(wish)
        else:
            self._fail(wish)

    def _fail(self, wish: _Wish) -> None:
        self._wishes.pop(wish.peer_id, None)
        self._end(wish)
        reasons = {endpoint: wish.reasons.get(endpoint, "not answered yet") for endpoint in wish.endpoints}
        self._emit(ConnectionFailed(wish.endpoints, reasons, wish.peer_id, wish.methods))

    def _end(self, wish: _Wish) -> None:
        """It is over, for better or worse."""
        for timer in wish.timers:
            timer.cancel()
        self._meetings.give_up(wish.peer_id)
        for job in (wish.job, wish.relay_job):
            if job is not None and not job.done:
                self._dialer.give_up(job)


def _in_sight(endpoint: Endpoint) -> bool:
    """Whether an endpoint that others tell of means the same node here: private addresses do in our networks."""
    return endpoint.is_name or not is_local(endpoint.host) or is_in(endpoint.host, interface_networks())
