"""One connection: its reader thread, its writer thread, and what the manager thread needs to know of them.

The reader turns records into batches of events and hands each batch to the manager's inbox; the writer drains the
`Outbox` into records. Neither knows the connection table; how a connection ends is the manager's business: it calls
`finish` (in order) or `abort` (at once), sees `ReaderEnded` and `WriterEnded` come in, and then calls `release`.
"""

import queue
import threading
from typing import Any, Final

from crust.config import Config
from crust.defence.ledger import Ledger
from crust.defence.toll import Toll
from crust.endpoint import Endpoint
from crust.errors import CrustError, PeerMisbehaved
from crust.event import new_messages
from crust.identity import PeerId
from crust.limits import MESSAGE_OVERHEAD, MIB
from crust.links import connection_news as news
from crust.links.outbox import Outbox
from crust.links.peers import Candidate
from crust.links.pings import Pings
from crust.threads.clock import Deadline, now
from crust.threads.workers import start_thread
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
    encode_messages,
    message_frame,
    number_in,
)
from crust.transport.link import Link
from crust.transport.relay.channels import Channels, hear_relay_note, take_relayed
from crust.transport.utp import UtpStream

READ_AHEAD: Final = 1 * MIB
"""Bytes handed to the manager and not delivered to the user yet, after which the reader pauses."""
HAND_OVER_BYTES: Final = 256 * 1024
"""Bytes, of messages or in all, after which the reader hands over what it has, even when more waits in the network."""
MAX_WAITING_CONTACTS: Final = 32
"""CONTACTS frames of a connection that wait for the manager thread; what comes meanwhile is dropped. An exchange of
gossip has up to 20."""

MAX_WAITING_TOLD: Final = 32
"""The same for frames about addresses, meetings and relayed connections: a meeting has three."""


class Connection:
    """See the module's text.

    Args:
        candidate: the entry of the peer table.
        link: the established link; the connection owns its stream from now on.
        endpoint: the name of the connection in events and calls.
        inbox: where batches ``(connection, events, weight)`` and notices go.
        config: for the bounds and intervals.
        since: seconds since the epoch.
        rtt: seconds that the handshake's question took, where known.
        ledger: what comes from each address, if that is limited.
    """

    def __init__(
        self,
        candidate: Candidate,
        link: Link,
        endpoint: Endpoint,
        inbox: "queue.SimpleQueue[Any]",
        config: Config,
        since: float,
        rtt: float | None,
        ledger: Ledger | None = None,
    ) -> None:
        self.candidate = candidate
        self.endpoint = endpoint
        self.relayed = candidate.relayed
        """Whether another peer carries it."""
        self.aliases: set[Endpoint] = set()  # other endpoints that lead here; the manager's
        self.outbox = Outbox(str(endpoint), config.send_queue_bytes, self._send_now)
        # The manager's own:
        self.announced = False  # New... was emitted, and LostConnection is still owed
        self.wanted = True  # messages are still to be delivered
        self.threads_left = 0  # threads that have not reported their end
        self.rtt = rtt
        self.channels: Channels | None = None  # of relayed connections, once there was one
        self.farewell = "the peer closed the connection"  # what our BYE says
        self.doubt = ""  # what makes us think that it may be cut off
        self._link = link
        self._inbox = inbox
        self._decoder = Decoder(config.max_message_size)
        self._toll = Toll(config, candidate.address, ledger, claimed=not candidate.peer_id.proven)
        self._since = since
        self._keepalive = config.keepalive_interval
        self._dead_after = config.dead_after
        self._threads: list[threading.Thread] = []
        # Written by one thread each, read by others: single values, so no lock.
        self._last_received = self._last_sent = now()
        self._messages_received = self._messages_sent = 0
        self._goodbye: str | None = None
        self._refused = False
        self._ending = False
        self._pings = Pings()
        # How far the reader is ahead of the user: the reader adds, the manager takes away.
        self._read_ahead = min(READ_AHEAD, config.max_waiting_bytes)
        self._handed = 0
        self._delivered = 0
        self._paused = False
        self._resume: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._contacts_handed = 0  # the reader's
        self.contacts_taken = 0  # the manager's
        self._told_handed = 0  # the same for what is told of addresses, meetings and relayed connections
        self.told_taken = 0

    @property
    def peer_id(self) -> PeerId:
        """Who the peer proved to be."""
        return self.candidate.peer_id

    @property
    def local(self) -> Endpoint:
        """Our own end."""
        return self._link.stream.local

    def start(self) -> None:
        """Start the two threads. The manager's, after the connection is in its table and announced.

        Raises:
            RuntimeError: the system has no more threads; what was started will end by itself.
        """
        name = str(self.endpoint)
        for kind, target in (("reader", self._read_thread), ("writer", self._write_thread)):
            self._threads.append(start_thread(f"{kind} {name}", target))
            self.threads_left += 1

    def info(self) -> news.ConnectionInfo:
        """A snapshot; any thread may call."""
        stream = self._link.stream
        return news.ConnectionInfo(
            endpoint=self.endpoint,
            peer_id=self.peer_id,
            messages_sent=self._messages_sent,
            messages_received=self._messages_received,
            bytes_sent=self._link.writer.bytes_written,
            bytes_received=self._link.reader.bytes_read,
            waiting_bytes=self.outbox.waiting_bytes,
            rtt=self.rtt,
            since=self._since,
            records_received=self._toll.records,
            controls_received=self._decoder.controls_seen,
            utp=stream.stats() if isinstance(stream, UtpStream) else None,
        )

    # --- the manager thread -----------------------------------------------------------------------

    def delivered(self, weight: int) -> None:
        """``weight`` bytes that the reader handed over are with the user: it may read on."""
        self._delivered += weight
        if self._paused:
            self._resume.put(None)

    def finish(self) -> None:
        """End in order: what is queued goes out, then BYE; the peer ends its side. Wakes the writer; idempotent."""
        self._ending = True
        self.outbox.close()
        self._resume.put(None)

    def abort(self) -> None:
        """End at once: both threads wake and end. Idempotent."""
        self._ending = True
        self.outbox.close(discard=True)
        self._link.stream.abort()
        self._resume.put(None)

    def retire(self) -> None:
        """Say goodbye but read on, no further ahead of the user than ever: the peer has given this connection up, and
        what it sent before is due. Without a goodbye the peer would think us gone and send no more of it."""
        self.outbox.close()

    def silence(self, at: float) -> float:
        """Seconds since the last byte was received; 0 while we do not listen ourselves."""
        return 0.0 if self._paused else at - self._last_received

    @property
    def started(self) -> bool:
        """Whether it has threads (which may have ended)."""
        return bool(self._threads)

    def release(self) -> None:
        """Join both threads and free the stream; when both have reported their end, or after `abort`."""
        for thread in self._threads:
            thread.join()
        self._link.stream.close()

    def check(self, at: float) -> float | None:
        """Keep-alive: ask the peer for a sign of life when it is time.

        Returns:
            When to check again, or ``None`` when the peer has been silent for too long.
        """
        if self._paused:
            self._last_received = at  # we do not listen just now: its silence means nothing
        if at - self._last_received >= self._dead_after:
            return None
        if at - self._last_sent >= self._keepalive and not self._ending:
            self.ping(at)
        due = min(self._last_sent + self._keepalive, self._last_received + self._dead_after)
        return max(due, at + min(self._keepalive, self._dead_after) / 4)

    def ping(self, at: float) -> None:
        """Ask for a PONG; the answer sets `rtt`."""
        self.outbox.put_control(self._pings.ask(at))

    # --- the reader thread ------------------------------------------------------------------------

    def _read_thread(self) -> None:
        misbehaved = False
        try:
            reason = self._read()
        except CrustError as error:
            reason = str(error)
            misbehaved = isinstance(error, PeerMisbehaved)
        except Exception as error:
            self._inbox.put(news.ReaderEnded(self, f"an internal error: {error!r}", False))
            raise
        finally:
            if self.channels is not None:
                self.channels.end("the connection with the peer in the middle has ended")
        self._inbox.put(news.ReaderEnded(self, reason, self._goodbye is not None, self._refused, misbehaved))

    def _read(self) -> str:
        reader = self._link.reader
        pending = True  # the handshake may have read the first records already
        while pending or reader.fill():
            pending = False
            self._last_received = now()
            try:
                self._gather()
            finally:
                self._hand_over()  # what was whole and genuine counts, even when the next byte is not
            if self._decoder.has_relayed:
                take_relayed(self.channels, self._decoder.take_relayed())
            if self._decoder.has_controls:
                self._handle_controls()
                if self._goodbye is not None:
                    return self._goodbye
            too_much = self._pay()
            if too_much is not None:
                return too_much
        return "the peer ended without a goodbye (it crashed, was killed, or the network was cut)"

    def _gather(self) -> None:
        """Decode what was read. When much comes in, more is read before anybody is woken: a wake-up costs more than a
        message."""
        reader, decoder = self._link.reader, self._decoder
        most = reader.bytes_read + HAND_OVER_BYTES  # empty messages and control frames do not count as waiting bytes
        self._decode()
        while decoder.waiting_bytes < HAND_OVER_BYTES and reader.bytes_read < most and not decoder.has_controls:
            if not reader.fill_waiting():
                return
            self._decode()

    def _decode(self) -> None:
        reader, decoder = self._link.reader, self._decoder
        records = 0
        try:
            while (plaintext := reader.next()) is not None:
                records += 1
                decoder.feed(plaintext)
        finally:
            self._toll.records += records

    def _pay(self) -> str | None:
        """Count what came. Who sends more than they may is left alone for a while; who goes on all the same has to go,
        and this says why."""
        read, messages, controls = self._link.reader.bytes_read, self._messages_received, self._decoder.controls_seen
        judgement = self._toll.charge(read, messages, controls)
        for alert in judgement.alerts:
            self._inbox.put(news.Flooded(self, alert))
        if judgement.over is not None:
            kind, rate, limit = judgement.over
            return f"it sent {rate:.0f} {kind} a second, where {limit:g} are allowed, and did not slow down"
        if judgement.pause:
            self._wait(judgement.pause)
        return None

    def _wait(self, seconds: float) -> None:
        """Leave what comes in the network for a while."""
        self._paused = True
        deadline = Deadline(seconds)
        while not (self._ending or deadline.expired):
            try:
                self._resume.get(timeout=deadline.remaining())
            except queue.Empty:
                break
        self._paused = False

    def _hand_over(self) -> None:
        messages, size = self._decoder.take_messages()
        if not messages:
            return
        self._messages_received += len(messages)
        weight = size + MESSAGE_OVERHEAD * len(messages)
        self._handed += weight
        self._inbox.put((self, new_messages(self.endpoint, messages), weight))
        self.outbox.express = True  # an answer may follow
        if self._handed - self._delivered > self._read_ahead:
            self._pause()

    def _pause(self) -> None:
        """Wait until the user has taken enough; what the peer sends meanwhile stays in the network."""
        self._paused = True
        # Looked at after saying so: the manager either sees that we pause or we see what it delivered.
        while self._handed - self._delivered > self._read_ahead and not self._ending:
            self._resume.get()
        self._paused = False

    def _handle_controls(self) -> None:
        for kind, content in self._decoder.take_controls():
            if kind == PING:
                self.outbox.put_control(control_frame(PONG, {"t": number_in(content, "t")}))
            elif kind == PONG:
                took = self._pings.answered(number_in(content, "t"), now())
                self.rtt = self.rtt if took is None else took
            elif kind == BYE:
                self._goodbye = news.goodbye_text(content)
                self._refused = content.get("reason") in ("full", "refused") and not self._messages_received
                return
            elif kind in (CHOOSE, CHOSEN):
                self._inbox.put(news.PeerSaid(self, kind, number_in(content, "serial")))
            elif kind == CONTACTS and self._contacts_handed - self.contacts_taken < MAX_WAITING_CONTACTS:
                self._contacts_handed += 1
                self._inbox.put(news.Gossiped(self, content))
            elif kind in (ADDRESS, PUNCH):
                self._tell(news.Told(self, kind, content))
            elif kind == RELAY and (note := hear_relay_note(self.channels, content)):
                self._tell(news.RelaySaid(self, note))
            # Others belong to a later version. They go no further: nothing would bound them in the inbox.

    def _tell(self, notice: news.Told | news.RelaySaid) -> None:
        if self._told_handed - self.told_taken < MAX_WAITING_TOLD:
            self._told_handed += 1
            self._inbox.put(notice)

    # --- the writer thread, or who stands in for it ---------------------------------------------------

    def _write_thread(self) -> None:
        error: str | None = None
        try:
            self._write()
        except CrustError as failure:
            error = str(failure)
            self.outbox.close(discard=True)
        except Exception as failure:
            self._inbox.put(news.WriterEnded(self, f"an internal error: {failure!r}"))
            raise
        self._inbox.put(news.WriterEnded(self, error))

    def _send_now(self, message: bytes) -> bool:
        """The express lane of the outbox: one message, without blocking."""
        writer = self._link.writer
        writer.add(message_frame(message))
        self._messages_sent += 1
        self._last_sent = now()
        return writer.flush_waiting()

    def _write(self) -> None:
        outbox, writer = self.outbox, self._link.writer
        while (work := outbox.take()) is not None:
            controls, messages = work
            for frame in controls:
                writer.add(frame)
            weight = 0
            for pieces, count, size in encode_messages(messages):
                self._messages_sent += count
                weight += size + count * MESSAGE_OVERHEAD
                if writer.add(b"".join(pieces)):
                    self._last_sent = now()
                    outbox.sent(weight)
                    weight = 0
                for frame in outbox.take_controls():
                    writer.add(frame)
            writer.flush()
            self._last_sent = now()
            if weight:
                outbox.sent(weight)
            work = controls = messages = None  # type: ignore[assignment]  # not kept alive while we wait for more
        if not outbox.discarded:
            writer.add(control_frame(BYE, {"reason": "bye", "text": self.farewell}))
            writer.flush()
        self._link.stream.finish_sending()
