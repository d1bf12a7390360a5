"""One connection, as the manager thread and users of the connection see it.

Two threads work for it: the reader (`crust.links.reading`) turns records into batches of events, the writer
(`crust.links.writing`) drains the `Outbox` into records. How a connection ends is the manager's business: it calls
`finish` (in order) or `abort` (at once), hears from both threads that they have ended, and then calls `release`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crust.config import Config
from crust.endpoint import Endpoint
from crust.identity import PeerId
from crust.links.connection_info import ConnectionInfo
from crust.links.outbox import Outbox
from crust.links.pace import READ_AHEAD, Pace
from crust.links.peers import Candidate
from crust.links.pings import Pings
from crust.threads.clock import now
from crust.threads.workers import start_thread
from crust.transport.framing import message_frame
from crust.transport.link import Link
from crust.transport.relay.channels import Channels
from crust.transport.utp import UtpStream

MAX_TEXT: Final = 200
"""Characters of the text of a BYE that are said, and shown."""


@dataclass(slots=True)
class Traffic:
    """What went over a connection. Each field is written by one thread and a single value, so there is no lock."""

    last_received: float
    last_sent: float
    messages_received: int = 0
    messages_sent: int = 0
    records_received: int = 0
    controls_received: int = 0


class Connection:
    """See the module's text.

    Args:
        candidate: the entry of the peer table.
        link: the established link; the connection owns its stream from now on.
        endpoint: the name of the connection in events and calls.
        config: for the bounds and intervals.
        since: seconds since the epoch.
        rtt: seconds that the handshake's question took, where known.
    """

    def __init__(
        self, candidate: Candidate, link: Link, endpoint: Endpoint, config: Config, since: float, rtt: float | None
    ) -> None:
        self.candidate = candidate
        self.endpoint = endpoint
        self.link = link
        """Its two threads' own."""
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
        self.farewell = "the peer closed the connection"  # what our BYE says to people
        self.parting_word = "bye"  # and to the other program
        self.doubt = ""  # what makes us think that it may be cut off
        self.contacts_taken = 0  # of what the reader handed over
        self.told_taken = 0  # the same for what is told of addresses, meetings and relayed connections
        # Of all threads:
        self.traffic = Traffic(now(), now())
        self.pings = Pings()
        self.pace = Pace(min(READ_AHEAD, config.max_waiting_bytes))
        self._since = since
        self._keepalive = config.keepalive_interval
        self._dead_after = config.dead_after
        self._ending = False
        self._threads: list[threading.Thread] = []

    @property
    def peer_id(self) -> PeerId:
        """Who the peer proved to be."""
        return self.candidate.peer_id

    @property
    def local(self) -> Endpoint:
        """Our own end."""
        return self.link.stream.local

    def info(self) -> ConnectionInfo:
        """A snapshot; any thread may call."""
        stream, traffic = self.link.stream, self.traffic
        return ConnectionInfo(
            endpoint=self.endpoint,
            peer_id=self.peer_id,
            messages_sent=traffic.messages_sent,
            messages_received=traffic.messages_received,
            bytes_sent=self.link.writer.bytes_written,
            bytes_received=self.link.reader.bytes_read,
            waiting_bytes=self.outbox.waiting_bytes,
            rtt=self.rtt,
            since=self._since,
            records_received=traffic.records_received,
            controls_received=traffic.controls_received,
            utp=stream.stats() if isinstance(stream, UtpStream) else None,
        )

    def _send_now(self, message: bytes) -> bool:
        """The express lane of the outbox, for the thread that has a message: it goes out without blocking."""
        writer = self.link.writer
        writer.add(message_frame(message))
        self.traffic.messages_sent += 1
        self.traffic.last_sent = now()
        return writer.flush_waiting()

    # --- its life ---------------------------------------------------------------------------------

    def start(self, read: Callable[[], None], write: Callable[[], None]) -> None:
        """Start the two threads. The manager's, after the connection is in its table.

        Raises:
            RuntimeError: the system has no more threads; what was started will end by itself.
        """
        for kind, target in (("reader", read), ("writer", write)):
            self._threads.append(start_thread(f"{kind} {self.endpoint}", target))
            self.threads_left += 1

    @property
    def started(self) -> bool:
        """Whether it has threads (which may have ended)."""
        return bool(self._threads)

    def finish(self) -> None:
        """End in order: what is queued goes out, then BYE; the peer ends its side. Wakes the writer; idempotent."""
        self._ending = True
        self.outbox.close()
        self.pace.end()

    def abort(self) -> None:
        """End at once: both threads wake and end. Idempotent."""
        self._ending = True
        self.outbox.close(discard=True)
        self.link.stream.abort()
        self.pace.end()

    def cut_off(self, word: str, text: str) -> None:
        """End now, whatever is queued, but let the writer say why. The manager's; `abort` has to follow, since the peer
        need not read.

        Args:
            word: the reason, for the other program.
            text: the same for people.
        """
        self.parting_word, self.farewell = word, text[:MAX_TEXT]
        self._ending = True
        self.outbox.close(discard=True, goodbye=True)
        self.pace.end()

    def retire(self) -> None:
        """Say goodbye but read on, no further ahead of the user than ever: the peer has given this connection up, and
        what it sent before is due. Without a goodbye the peer would think us gone and send no more of it."""
        self.outbox.close()

    def release(self) -> None:
        """Join both threads and free the stream; when both have reported their end, or after `abort`."""
        for thread in self._threads:
            thread.join()
        self.link.stream.close()

    # --- while it lives ---------------------------------------------------------------------------

    def delivered(self, weight: int) -> None:
        """``weight`` bytes that the reader handed over are with the user: it may read on."""
        self.pace.delivered(weight)

    def silence(self, at: float) -> float:
        """Seconds since the last byte was received; 0 while we do not listen ourselves."""
        return 0.0 if self.pace.paused else at - self.traffic.last_received

    def check(self, at: float) -> float | None:
        """Keep-alive: ask the peer for a sign of life when it is time.

        Returns:
            When to check again, or ``None`` when the peer has been silent for too long.
        """
        traffic = self.traffic
        if self.pace.paused:
            traffic.last_received = at  # we do not listen just now: its silence means nothing
        if at - traffic.last_received >= self._dead_after:
            return None
        if at - traffic.last_sent >= self._keepalive and not self._ending:
            self.ping(at)
        due = min(traffic.last_sent + self._keepalive, traffic.last_received + self._dead_after)
        return max(due, at + min(self._keepalive, self._dead_after) / 4)

    def ping(self, at: float) -> None:
        """Ask for a PONG; the answer sets `rtt`."""
        self.outbox.put_control(self.pings.ask(at))
