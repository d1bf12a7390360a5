"""`Encounter`: two nodes that have each other's `ConnectionInfo` open a way through their NATs, over UDP and TCP at the
same time, and make it a connection.

Each way that opens is an attempt of one job of the dialer: so exactly one becomes a connection, and it is the peer that
was meant or nobody. TCP is favoured: uTP lets it go ahead for a moment. Belongs to the manager thread.
"""

import logging
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from crust.connecting import notices
from crust.connecting.attempts import Job, MeetingAttempt, Race
from crust.connecting.dialing import Dialer
from crust.connecting.negotiate import (
    Ask,
    Established,
    Node,
    negotiate_crossing,
    negotiate_incoming,
    negotiate_outgoing,
)
from crust.connecting.utp_ports import UtpPorts
from crust.defence.blacklist import Blacklist
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import DialFailed
from crust.identity import PeerId
from crust.nat.connection_info import ConnectionInfo
from crust.nat.errand import ERRAND_LINGER, Errand
from crust.nat.interfaces import interface_networks
from crust.nat.punch import Opened, Punch
from crust.nat.punch_packet import PunchSeal, punch_key
from crust.nat.punch_plan import PUNCH_SECONDS, make_plan
from crust.nat.tcp_errand import TcpErrand
from crust.nat.tcp_punch import TcpPunch, tcp_targets
from crust.reach.errands import Errands
from crust.threads.clock import Deadline, now
from crust.threads.timers import Timer, Timers
from crust.transport.base import Stream
from crust.transport.grip import Abortable
from crust.transport.tcp import TcpStream
from crust.transport.utp import UtpStream

log = logging.getLogger("crust.reach")

TCP_HEAD_START: Final = 0.25
"""Seconds that a way over UDP waits for one over TCP that is being tried; it is ready, so it need not be longer."""
RENDEZVOUS_SECONDS: Final = 60.0
"""For which ``rendezvous_connect()`` tries: two people do not press a key at the same moment."""

UDP_NAME: Final = "uTP hole punching"
TCP_NAME: Final = "TCP hole punching"
NOT_TRIED: Final = "not tried"


def name_of(protocol: Protocol) -> str:
    """By which method endpoints of a protocol are reached."""
    return TCP_NAME if protocol is Protocol.TCP else UDP_NAME


@dataclass(frozen=True, slots=True)
class Means:
    """What every encounter of a manager uses."""

    node: Node
    inbox: notices.Inbox
    timers: Timers
    dialer: Dialer
    utp: UtpPorts
    errands: Errands
    blacklist: Blacklist
    listening: Callable[[], dict[int, Address]]
    """Where the TCP listeners are bound, by IP version."""


@dataclass(slots=True, eq=False)
class Encounter:
    """See the module's text. `begin` it once.

    Args:
        means: of the manager.
        peer_id: who is met.
        ours, theirs: what was exchanged.
        start: when both begin, as `crust.threads.clock.now` counts.
        vouched: where others see the peer; ``None``: the user answers for what it says.
        ended: called once when it is over: with reasons by method, or with none where a connection was made.
        seconds: for how long plain probes and dials go on.
    """

    means: Means
    peer_id: PeerId
    ours: ConnectionInfo
    theirs: ConnectionInfo
    start: float
    vouched: Collection[str] | None
    ended: Callable[[dict[str, str]], None]
    seconds: float = PUNCH_SECONDS
    reasons: dict[str, str] = field(default_factory=dict)
    over: bool = False
    _job: Job | None = None
    _udp: Errand | None = None
    _tcp: TcpErrand | None = None
    _udp_tries: bool = False
    _tcp_tries: bool = False
    _timer: Timer | None = None

    def begin(self) -> None:
        """Wait for the moment, then try."""
        self._timer = self.means.timers.at(self.start, self._try)

    def satisfied(self) -> None:
        """There is a connection with the peer, whoever made it: stop trying."""
        self._finish({})

    def superseded(self) -> None:
        """Another encounter with the peer begins: open no further ways. But what is already open goes on: the peer may
        have chosen it, and would lose a connection."""
        self._finish({}, give_up=False)

    # --- both ways ------------------------------------------------------------------------------------

    def _try(self) -> None:
        self._job = self.means.dialer.hold(Race(1), self._on_job_ended)
        networks = interface_networks()
        self._punch_tcp(networks)
        self._punch_udp(networks)
        self._let_go_if_done()

    def _on_job_ended(self, job: Job) -> None:
        for endpoint, reason in job.reasons().items():
            self.reasons[name_of(endpoint.protocol)] = f"{endpoint}: {reason}"
        self._finish({} if job.connected else self.reasons)

    def _finish(self, reasons: dict[str, str], give_up: bool = True) -> None:
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._udp is not None:
            # Not at once: the peer may have to hear once more which path it is.
            self.means.timers.at(now() + ERRAND_LINGER, self._udp.cancel)
        if self._tcp is not None:
            self._tcp.cancel()
        if self._job is not None and not self._job.done:
            end = self.means.dialer.give_up if give_up else self.means.dialer.let_go
            end(self._job)
        self.ended(reasons)

    def cancel(self) -> None:
        """The manager stops: no event, no calls."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()

    def _let_go_if_done(self) -> None:
        job = self._job
        if job is not None and job.held and not self._udp_tries and not self._tcp_tries:
            self.means.dialer.let_go(job)

    def _join_in(
        self,
        target: Endpoint,
        opening: Callable[[Deadline, Callable[[Abortable | None], None]], Stream],
        negotiation: Callable[[Stream, Node, Deadline, Ask], Established],
        discard: Callable[[], None] = lambda: None,
    ) -> None:
        job = self._job
        if job is None or job.done or self.means.blacklist.refuses_at(target):
            discard()
            return
        self.means.dialer.join_in(MeetingAttempt(job, target, self.peer_id, opening, negotiation, discard))

    # --- UDP ------------------------------------------------------------------------------------------

    def _punch_udp(self, networks: list[str]) -> None:
        means = self.means
        plan = make_plan(self.ours, self.theirs, networks, self.vouched, self.seconds)
        plan = plan.without(lambda address: means.blacklist.refuses_at(Endpoint.utp(address)))
        chooses = bytes(self.ours.peer_id) > bytes(self.peer_id)
        seal = PunchSeal(punch_key(means.node.identity, self.ours, self.theirs, means.node.keys), chooses)
        found = {version: means.utp.to_meet_at(version) for version in (4, 6)}
        ports = {version: sock for version, sock in found.items() if sock is not None}
        if not ports:
            self.reasons[UDP_NAME] = "no UDP port is open here (utp_port)"
            return
        punch = Punch(plan, seal, chooses, now())
        try:
            self._udp = Errand(ports, punch, lambda: means.inbox.put(notices.Do(lambda: self._on_punched(punch))))
        except (RuntimeError, OSError) as error:
            self.reasons[UDP_NAME] = f"{error}: raise the limits of threads and descriptors (ulimit -u, ulimit -n)"
            return
        means.errands.add(self._udp)
        self._udp_tries = True

    def _on_punched(self, punch: Punch) -> None:
        if punch.opened is None:
            self.reasons[UDP_NAME] = punch.failure
            self._udp_tries = False
            self._let_go_if_done()
            return
        wait = TCP_HEAD_START if self._tcp_tries else 0.0
        opened = punch.opened
        self.means.timers.at(now() + wait, lambda: self._use_path(opened))

    def _use_path(self, opened: Opened) -> None:
        if not self.over:
            self._join_in(Endpoint.utp(opened.address), partial(self._rendezvous, opened), _as_it_came)
        self._udp_tries = False
        self._let_go_if_done()

    def _rendezvous(self, opened: Opened, deadline: Deadline, hold: Callable[[Abortable | None], None]) -> Stream:
        """On the attempt's thread."""
        version = 6 if ":" in opened.address[0] else 4
        sock = self.means.utp.to_meet_at(version)
        if opened.socket and self._udp is not None:
            port = self._udp.local_port(opened.socket, version)
            self._udp.stop()
            sock = None if port is None else self.means.utp.also(version, port)
        if sock is None:
            raise DialFailed("the UDP port of the path is gone")
        return sock.connect(opened.address, deadline.remaining() or 0.0, rendezvous=True, started=hold)

    # --- TCP ------------------------------------------------------------------------------------------

    def _punch_tcp(self, networks: list[str]) -> None:
        means, listening = self.means, self.means.listening()
        targets = tcp_targets(self.ours, self.theirs, networks, self.vouched)
        targets = [each for each in targets if not means.blacklist.refuses_at(Endpoint.tcp(each.address))]
        if not listening:
            self.reasons[TCP_NAME] = "no TCP port is open here (tcp_port)"
            return
        punch = TcpPunch(targets, now(), seconds=self.seconds)
        try:
            self._tcp = TcpErrand(listening, punch, self._tcp_opened, self._tcp_done)
        except (RuntimeError, OSError) as error:
            self.reasons[TCP_NAME] = f"{error}: raise the limits of threads and descriptors (ulimit -u, ulimit -n)"
            return
        means.errands.add(self._tcp)
        self._tcp_tries = True

    def _tcp_opened(self, sock: socket.socket, address: Address) -> bool:
        """On the errand's thread."""
        self.means.inbox.put(notices.Do(lambda: self._use_socket(sock, address)))
        return False

    def _tcp_done(self) -> None:
        """On the errand's thread."""
        self.means.inbox.put(notices.Do(self._on_tcp_over))

    def _use_socket(self, sock: socket.socket, address: Address) -> None:
        target = Endpoint.tcp(address)
        if self.over:
            sock.close()
            return
        self._join_in(target, lambda deadline, hold: TcpStream(sock, target), negotiate_crossing, sock.close)

    def _on_tcp_over(self) -> None:
        if self._tcp is not None:
            told = [f"{Endpoint.tcp(address)}: {reason}" for address, reason in self._tcp.reasons().items()]
            self.reasons.setdefault(TCP_NAME, "; ".join(told) or "the peer has no TCP address that may be dialled")
        self._tcp_tries = False
        self._let_go_if_done()


def _as_it_came(stream: Stream, node: Node, deadline: Deadline, ask: Ask) -> Established:
    """Of a rendezvous, one side counts as the one that dialled."""
    assert isinstance(stream, UtpStream)
    negotiate = negotiate_outgoing if stream.initiator else negotiate_incoming
    return negotiate(stream, node, deadline, ask)
