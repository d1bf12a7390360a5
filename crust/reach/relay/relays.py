"""`Relays`: connections that another peer carries, at their two ends (docs/nat.md, Relays). Belongs to the manager
thread.

Such a connection is a whole one, with its handshake and its records, over a `RelayStream`: an attempt of a job like any
other. The middle is `crust.reach.relay.desk`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from crust.connecting.attempts import Job, MeetingAttempt, Race
from crust.connecting.ground import Ground
from crust.connecting.negotiate import negotiate_incoming, negotiate_outgoing
from crust.defence.allowance import Allowances
from crust.endpoint import Endpoint, Protocol
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.links.connection_news import RelaySaid
from crust.reach.relay.desk import RelayDesk
from crust.threads.clock import now
from crust.threads.timers import Timer
from crust.transport.framing import RELAY, control_frame
from crust.transport.relay.carried import RELAY_WINDOW
from crust.transport.relay.channels import Channels
from crust.transport.relay.notes import Acceptance, Note, Opening, Refusal
from crust.transport.relay.stream import RelayStream

log = logging.getLogger("crust.reach")

RELAY_TIMEOUT: Final = 10.0
"""Seconds for the one in the middle to accept or refuse; it waits itself for the other end."""
MAX_RELAYED_HALF_OPEN: Final = 8
"""Relayed connections that others have begun and whose handshake is not done. Each has a thread of the dialer's."""
CARRIER_BURST: Final = 16
CARRIER_INTERVAL: Final = 2.0
"""Relayed connections that one peer may bring at once, and seconds for each further one."""
KNOWN_CARRIERS: Final = 1024
"""Peers whose allowance is remembered."""
_LAST_NUMBER: Final = 65_535


@dataclass(slots=True, eq=False)
class _Sought:
    """A connection that we ask for."""

    via: Connection
    stream: RelayStream
    peer_id: PeerId
    job: Job
    failed: Callable[[str], None]
    timer: Timer


class Relays:
    """See the module's text.

    Args:
        ground: of the manager.
    """

    def __init__(self, ground: Ground) -> None:
        self._own_id = ground.own_id
        self._timers = ground.timers
        self._connections = ground.connections
        self._dialer = ground.dialer
        self._blacklist = ground.blacklist
        self.desk = RelayDesk(ground.config, ground.inbox, ground.timers, ground.connections, self._channels_of)
        self._sought: dict[tuple[Connection, int], _Sought] = {}
        self._half_open = 0
        self._carriers = Allowances(KNOWN_CARRIERS, CARRIER_BURST, 1 / CARRIER_INTERVAL)
        self._latest_name = 0
        self._stopped = False
        self.handlers: dict[type, Callable[[Any], None]] = {RelaySaid: self._said}

    # --- what the manager does --------------------------------------------------------------------------

    def open(self, peer_id: PeerId, via: Connection, job: Job, failed: Callable[[str], None]) -> None:
        """Have ``via`` carry a connection with a peer: an attempt joins the job when the two others have agreed.

        Args:
            peer_id: whom to reach.
            via: a live, direct connection with a proven peer.
            job: held (`Dialer.hold`); it is not let go here.
            failed: called once if no attempt could join, with the reason; maybe at once.
        """
        if self._stopped or via.relayed or not via.peer_id.proven or not self._is_live(via):
            failed("only a direct connection with a proven peer can carry another one")
            return
        stream = self._stream(via, self._channels_of(via).new_number())
        timer = self._timers.at(now() + RELAY_TIMEOUT, lambda: self._give_up(via, stream, "it did not answer"))
        self._sought[via, stream.number] = _Sought(via, stream, peer_id, job, failed, timer)
        if not self._enter(via, stream) or not _tell(via, Opening(stream.number, peer_id, RELAY_WINDOW)):
            self._give_up(via, stream, "it takes no more requests")

    def went(self, connection: Connection) -> None:
        """A connection is live no more: nor is what it carried; but at the end of the manager that goes on until all
        has been said."""
        for one in [one for one in self._sought.values() if one.via is connection]:
            self._give_up(connection, one.stream, "the connection with it has ended")
        if connection.channels is not None and not self._stopped:
            connection.channels.end("the connection with the peer in the middle has ended")

    def stop(self) -> None:
        """Carry nothing any more, and begin nothing."""
        self._stopped = True
        self.desk.stop()
        for one in list(self._sought.values()):
            one.timer.cancel()
            one.stream.abort()
        self._sought.clear()

    def _is_live(self, connection: Connection) -> bool:
        return self._connections.with_peer(connection.peer_id) is connection

    def _channels_of(self, connection: Connection) -> Channels:
        if connection.channels is None:
            connection.channels = Channels(odd=bytes(self._own_id) > bytes(connection.peer_id))
        return connection.channels

    def _stream(self, via: Connection, number: int) -> RelayStream:
        name = self._new_name(via.endpoint.host)
        local = Endpoint(Protocol.RELAYED, via.local.host, name.port)
        return RelayStream(via.outbox, self._channels_of(via), number, local, name)

    def _new_name(self, host: str) -> Endpoint:
        """One that no connection has."""
        while True:
            self._latest_name = self._latest_name % _LAST_NUMBER + 1
            name = Endpoint(Protocol.RELAYED, host, self._latest_name)
            if name not in self._connections.routes:
                return name

    def _enter(self, via: Connection, stream: RelayStream) -> bool:
        return self._channels_of(via).add(stream.number, stream)

    # --- what peers say -----------------------------------------------------------------------------------

    def _said(self, notice: RelaySaid) -> None:
        connection, note = notice.connection, notice.note
        connection.told_taken += 1
        if self._stopped or not self._is_live(connection) or not connection.peer_id.proven:
            return
        if isinstance(note, Opening):
            if not self._channels_of(connection).opened(note.channel):
                self._connections.cut_off(
                    connection, f"it opened a relayed channel with the wrong number {note.channel}"
                )
            elif note.passed_on:
                self._offered(connection, note)
            else:
                self.desk.asked(connection, note)
        elif isinstance(note, Acceptance):
            if not self.desk.accepted(connection, note):
                self._accepted(connection, note)
        elif isinstance(note, Refusal) and not self.desk.refused(connection, note):
            self._refused(connection, note)

    # --- we ask for one -------------------------------------------------------------------------------------

    def _accepted(self, via: Connection, note: Acceptance) -> None:
        one = self._sought.pop((via, note.channel), None)
        if one is None:
            return  # too late: it was told so
        one.timer.cancel()
        if one.job.done:
            one.stream.abort()
            return
        stream = one.stream
        stream.credited(note.credit)
        self._dialer.join_in(
            MeetingAttempt(
                one.job, stream.remote, one.peer_id, lambda deadline, hold: stream, negotiate_outgoing, stream.abort
            )
        )

    def _refused(self, via: Connection, note: Refusal) -> None:
        one = self._sought.get((via, note.channel))
        if one is not None:
            one.stream.ended("refused")  # there is nobody to tell
            self._give_up(via, one.stream, note.text)

    def _give_up(self, via: Connection, stream: RelayStream, reason: str) -> None:
        one = self._sought.pop((via, stream.number), None)
        if one is not None:
            one.timer.cancel()
            stream.abort()
            one.failed(reason)

    # --- others ask for one -----------------------------------------------------------------------------------

    def _offered(self, via: Connection, note: Opening) -> None:
        """Somebody wants a connection with us, through ``via``."""
        reason = self._objection(via, note.peer)
        if reason:
            _tell(via, Refusal(note.channel, reason))
            return
        stream = self._stream(via, note.channel)
        if self._blacklist.refuses(stream.remote, note.peer):
            stream.ended("refused")
            _tell(via, Refusal(note.channel, "no"))
            return
        if not self._enter(via, stream) or not _tell(via, Acceptance(note.channel, RELAY_WINDOW)):
            stream.abort()
            return
        stream.credited(note.credit)
        self._half_open += 1
        job = self._dialer.hold(Race(1), self._negotiated)
        self._dialer.join_in(
            MeetingAttempt(
                job, stream.remote, note.peer, lambda deadline, hold: stream, negotiate_incoming, stream.abort
            )
        )
        self._dialer.let_go(job)

    def _objection(self, via: Connection, peer_id: PeerId) -> str:
        """Why not, as a word; or nothing."""
        if via.relayed:
            return "relayed"
        if peer_id == self._own_id or self._blacklist.has_peer(peer_id):
            return "no"
        if self._half_open >= MAX_RELAYED_HALF_OPEN or not self._carriers.take(via.peer_id, now()):
            return "busy"
        return ""

    def _negotiated(self, job: Job) -> None:
        self._half_open -= 1
        for endpoint, reason in job.reasons().items():
            log.debug("%s: %s", endpoint, reason)


def _tell(connection: Connection, note: Note) -> bool:
    return connection.outbox.put_control(control_frame(RELAY, note.content()))
