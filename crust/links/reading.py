"""`Reading`: the reader thread of a connection, which turns records into batches of events for the manager's inbox."""

import queue
from typing import Any, Final

from crust.config import Config
from crust.defence.ledger import Ledger
from crust.defence.toll import Toll
from crust.errors import CrustError, PeerMisbehaved
from crust.event import new_messages
from crust.limits import MESSAGE_OVERHEAD
from crust.links import connection_news as news
from crust.links.connection import MAX_TEXT, Connection
from crust.threads.clock import now
from crust.transport.framing import (
    ADDRESS,
    BYE,
    CHOOSE,
    CHOSEN,
    CONTACTS,
    PING,
    PONG,
    PUNCH,
    RELAY,
    Decoder,
    control_frame,
    number_in,
)
from crust.transport.relay.channels import hear_relay_note, take_relayed

HAND_OVER_BYTES: Final = 256 * 1024
"""Bytes, of messages or in all, after which the reader hands over what it has, even when more waits in the network."""
MAX_WAITING_CONTACTS: Final = 32
"""CONTACTS frames of a connection that wait for the manager thread; what comes meanwhile is dropped. An exchange of
gossip has up to 20."""
MAX_WAITING_TOLD: Final = 32
"""The same for frames about addresses, meetings and relayed connections: a meeting has three."""


class Reading:
    """See the module's text. `run` is the thread.

    Args:
        connection: whose records are read.
        inbox: where batches ``(connection, events, weight)`` and notices go.
        config: for the bounds.
        ledger: what comes from each address, if that is limited.
    """

    def __init__(
        self, connection: Connection, inbox: "queue.SimpleQueue[Any]", config: Config, ledger: Ledger | None
    ) -> None:
        self._connection = connection
        self._reader = connection.link.reader
        self._traffic = connection.traffic
        self._inbox = inbox
        self._decoder = Decoder(config.max_message_size)
        candidate = connection.candidate
        self._toll = Toll(config, candidate.address, ledger, claimed=not candidate.peer_id.proven)
        self._goodbye: str | None = None
        self._refused = False
        self._excess = False
        self._contacts_handed = 0
        self._told_handed = 0

    def run(self) -> None:
        """Read to the end, and tell how it ended."""
        misbehaved = False
        connection = self._connection
        try:
            reason = self._read()
        except CrustError as error:
            reason = str(error)
            misbehaved = isinstance(error, PeerMisbehaved)
        except Exception as error:
            self._inbox.put(news.ReaderEnded(connection, f"an internal error: {error!r}", False))
            raise
        finally:
            if connection.channels is not None:
                connection.channels.end("the connection with the peer in the middle has ended")
        goodbye = self._goodbye is not None
        self._inbox.put(news.ReaderEnded(connection, reason, goodbye, self._refused, misbehaved, self._excess))

    def _read(self) -> str:
        pending = True  # the handshake may have read the first records already
        while pending or self._reader.fill():
            pending = False
            self._traffic.last_received = now()
            try:
                self._gather()
            finally:
                self._hand_over()  # what was whole and genuine counts, even when the next byte is not
            if self._decoder.has_relayed:
                take_relayed(self._connection.channels, self._decoder.take_relayed())
            if self._decoder.has_controls:
                self._handle_controls()
                if self._goodbye is not None:
                    return self._goodbye
            too_much = self._pay()
            if too_much is not None:
                self._excess = True
                return too_much
        return "the peer ended without a goodbye (it crashed, was killed, or the network was cut)"

    # --- a batch ----------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Decode what was read. When much comes in, more is read before anybody is woken: a wake-up costs more than a
        message."""
        reader, decoder = self._reader, self._decoder
        most = reader.bytes_read + HAND_OVER_BYTES  # empty messages and control frames do not count as waiting bytes
        self._decode()
        while decoder.waiting_bytes < HAND_OVER_BYTES and reader.bytes_read < most and not decoder.has_controls:
            if not reader.fill_waiting():
                return
            self._decode()

    def _decode(self) -> None:
        reader, decoder = self._reader, self._decoder
        records = 0
        try:
            while (plaintext := reader.next()) is not None:
                records += 1
                decoder.feed(plaintext)
        finally:
            self._traffic.records_received += records
            self._traffic.controls_received = decoder.controls_seen

    def _hand_over(self) -> None:
        messages, size = self._decoder.take_messages()
        if not messages:
            return
        connection = self._connection
        self._traffic.messages_received += len(messages)
        weight = size + MESSAGE_OVERHEAD * len(messages)
        self._inbox.put((connection, new_messages(connection.endpoint, messages), weight))
        connection.outbox.express = True  # an answer may follow
        connection.pace.handed_over(weight)

    def _pay(self) -> str | None:
        """Count what came. Who sends more than they may is left alone for a while; who goes on all the same has to go,
        and this says why."""
        traffic = self._traffic
        judgement = self._toll.charge(
            self._reader.bytes_read, traffic.messages_received, traffic.records_received, traffic.controls_received
        )
        for alert in judgement.alerts:
            self._inbox.put(news.Flooded(self._connection, alert))
        if judgement.over is not None:
            kind, rate, limit = judgement.over
            return f"it sent {rate:.0f} {kind} a second, where {limit:g} are allowed, and did not slow down"
        if judgement.pause:
            self._connection.pace.wait(judgement.pause)
        return None

    # --- control frames ---------------------------------------------------------------------------

    def _handle_controls(self) -> None:
        connection = self._connection
        for kind, content in self._decoder.take_controls():
            if kind == PING:
                connection.outbox.put_control(control_frame(PONG, {"t": number_in(content, "t")}))
            elif kind == PONG:
                took = connection.pings.answered(number_in(content, "t"), now())
                connection.rtt = connection.rtt if took is None else took
            elif kind == BYE:
                self._goodbye = _goodbye_text(content)
                self._refused = content.get("reason") in ("full", "refused") and not self._traffic.messages_received
                return
            elif kind in (CHOOSE, CHOSEN):
                self._inbox.put(news.PeerSaid(connection, kind, number_in(content, "serial")))
            elif kind == CONTACTS and self._contacts_handed - connection.contacts_taken < MAX_WAITING_CONTACTS:
                self._contacts_handed += 1
                self._inbox.put(news.Gossiped(connection, content))
            elif kind in (ADDRESS, PUNCH):
                self._tell(news.Told(connection, kind, content))
            elif kind == RELAY and (note := hear_relay_note(connection.channels, content)):
                self._tell(news.RelaySaid(connection, note))
            # Others belong to a later version. They go no further: nothing would bound them in the inbox.

    def _tell(self, notice: news.Told | news.RelaySaid) -> None:
        if self._told_handed - self._connection.told_taken < MAX_WAITING_TOLD:
            self._told_handed += 1
            self._inbox.put(notice)


def _goodbye_text(content: dict[str, Any]) -> str:
    """What a BYE says, fit for a log: it comes from a stranger."""
    text = content.get("text")
    if not isinstance(text, str):
        return "the peer closed the connection"
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])
