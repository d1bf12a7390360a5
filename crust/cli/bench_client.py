"""``crust bench``: the end that asks and measures."""

import dataclasses
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from crust.channel import channel
from crust.cli.bench_protocol import BULK, CONTROL, PING, PONG, VERSION, bulk, control, number, parse_control
from crust.cli.bench_stats import Latency
from crust.cli.bench_utp import Packets
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, CrustError, DialFailed, PeerMisbehaved, TimedOut
from crust.event import ConnectionFailed, LostConnection, NewConnection, NewMessage, Stopped
from crust.threads.clock import Deadline, now
from crust.transport.utp import UtpStats

REPLY_TIMEOUT: Final = 15.0
"""Seconds that a reply may take; what was queued before it has to arrive first."""
HELLO_TIMEOUT: Final = 5.0
"""Seconds for the first reply: whoever does not give one is not a serving peer."""
PING_SIZE: Final = 64  # bytes
WARM_UP: Final = 0.2  # of the time of a measurement, spent before it
TO_PEER, FROM_PEER = "to peer", "from peer"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OneWay:
    """Throughput of one message size in one direction, timed at the receiver."""

    size: int
    """Bytes of a message."""
    direction: str
    messages: int
    seconds: float
    packets: Packets | None = None
    """What that was on the network, at this end; ``None`` over TCP."""

    @property
    def messages_per_second(self) -> float:
        """From the first message to the last, so the first is not counted."""
        return (self.messages - 1) / self.seconds if self.messages > 1 and self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Content only."""
        return self.messages_per_second * self.size


class BenchClient:
    """One connection to a serving peer. Use it from one thread, as a context manager.

    Args:
        config: of the manager; it does not listen.
        peer: where ``crust bench --serve`` is.

    Raises:
        DialFailed: nobody could be reached there.
        TimedOut, PeerMisbehaved: somebody could, but it does not serve.
    """

    def __init__(self, config: Config, peer: Endpoint) -> None:
        self._events = channel()
        self._manager = ConnectionManager(self._events, config)
        try:
            self._peer = connect(self._manager, self._events, peer, config.dial_timeout)
            reply = self._ask(HELLO_TIMEOUT, do="hello", version=VERSION)
            if reply.get("version") != VERSION:
                raise PeerMisbehaved(f"the peer speaks another version of crust bench: {reply.get('version')!r:.20}")
        except BaseException:
            self._manager.stop()
            raise

    def __enter__(self) -> "BenchClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self._manager.stop()

    def figures(self) -> UtpStats | None:
        """What uTP counts of the connection; ``None`` over TCP, or when it has ended. Any thread may call."""
        return next((info.utp for info in self._manager.connections()), None)

    def _next(self, deadline: Deadline) -> bytes:
        """The next message of the peer."""
        try:
            event = self._events.get(timeout=deadline.remaining())
        except queue.Empty:
            raise TimedOut("the peer does not answer; is it running: crust bench --serve ?") from None
        if type(event) is NewMessage:
            return event.data
        raise _ended(event)

    def _ask(self, timeout: float = REPLY_TIMEOUT, **fields: Any) -> dict[str, Any]:
        self._manager.send(self._peer, control(**fields), timeout=timeout)
        return self._reply(Deadline(timeout))

    def _reply(self, deadline: Deadline) -> dict[str, Any]:
        while (data := self._next(deadline))[:1] != CONTROL:
            if data[:1] not in (BULK, PONG):
                raise PeerMisbehaved("the peer speaks, but not crust bench; run there: crust bench --serve")
        fields = parse_control(data)
        if "error" in fields:
            raise PeerMisbehaved(f"the peer refused: {fields['error']!s:.200}")
        return fields

    def to_peer(self, size: int, seconds: float) -> OneWay:
        """Send messages for ``seconds``; the peer counts."""
        self._send_for(size, seconds * WARM_UP)
        return self._send_for(size, seconds)

    def _send_for(self, size: int, seconds: float) -> OneWay:
        message, send, peer = bulk(size), self._manager.send, self._peer
        self._ask(do="count")
        before, began = self.figures(), now()
        sent, end = 0, now() + seconds
        while now() < end or not sent:
            send(peer, message, timeout=REPLY_TIMEOUT)
            sent += 1
        total = self._ask(do="total")
        if number(total, "messages", 0, 2**63) != sent or number(total, "bytes", 0, 2**63) != sent * size:
            raise PeerMisbehaved(f"{sent} messages were sent, but the peer says that it received {total}")
        packets = Packets.between(before, self.figures(), now() - began)
        return OneWay(size, TO_PEER, sent, float(number(total, "seconds", 0, 2**31)), packets)

    def from_peer(self, size: int, seconds: float) -> OneWay:
        """Have the peer send messages for ``seconds``, and count."""
        self._flood(size, seconds * WARM_UP)
        return self._flood(size, seconds)

    def _flood(self, size: int, seconds: float) -> OneWay:
        self._manager.send(self._peer, control(do="flood", size=size, seconds=seconds), timeout=REPLY_TIMEOUT)
        before, began = self.figures(), now()
        deadline = Deadline(seconds + REPLY_TIMEOUT)
        count, first, last = 0, 0.0, b""
        for event in self._events:
            if type(event) is not NewMessage:
                raise _ended(event)
            last = event.data
            if len(last) != size or last[:1] != BULK:
                break
            if not count:
                first = now()
            count += 1
            if not count & 0xFFF and deadline.expired:
                raise TimedOut("the peer goes on sending after its time")
        taken = now() - first
        fields = parse_control(last)
        if "error" in fields:
            raise PeerMisbehaved(f"the peer refused: {fields['error']!s:.200}")
        if fields.get("messages") != count:
            raise PeerMisbehaved(
                f"{count} messages came, but the peer says that it sent {fields.get('messages')!r:.40}"
            )
        return OneWay(size, FROM_PEER, count, taken, Packets.between(before, self.figures(), now() - began))

    def round_trips(self, seconds: float) -> Latency:
        """Ping for ``seconds``."""
        self._pings(seconds * WARM_UP)
        return Latency.of(self._pings(seconds))

    def _pings(self, seconds: float) -> list[float]:
        message = PING + bytes(PING_SIZE - 1)
        send, peer, deadline = self._manager.send, self._peer, Deadline(seconds + REPLY_TIMEOUT)
        times: list[float] = []
        start, end = now(), now() + seconds
        while start < end or not times:
            send(peer, message, timeout=REPLY_TIMEOUT)
            pong = self._next(deadline)
            done = now()
            if pong[:1] != PONG or len(pong) != PING_SIZE:
                raise PeerMisbehaved("the peer sent something else than a pong")
            times.append(done - start)
            start = done
        return times


def connect(manager: ConnectionManager, events: Any, peer: Endpoint, timeout: float) -> Endpoint:
    """Connect and wait for it; the name of the connection."""
    manager.connect(peer)
    try:
        event = events.get(timeout=timeout + REPLY_TIMEOUT)
    except queue.Empty:
        raise TimedOut(f"{peer} did not answer in time") from None
    if type(event) is NewConnection:
        return event.endpoint
    raise _ended(event)


def _ended(event: object) -> CrustError:
    match event:
        case ConnectionFailed(_, reason):
            return DialFailed("; ".join(f"{endpoint}: {why}" for endpoint, why in reason.items()))
        case LostConnection(endpoint, _, why):
            return ConnectionLost(f"the connection to {endpoint} ended: {why}")
        case Stopped():
            return ConnectionLost("the manager was stopped")
        case other:
            return PeerMisbehaved(f"unexpected: {other!r:.200}")


def connects(config: Config, peer: Endpoint, seconds: float) -> tuple[Latency, float]:
    """Connect and end, one after the other, for ``seconds``, each time with a new identity.

    A new identity, because a node has only one connection with another, and reconnecting would wait for its end.

    Returns:
        the times from ``connect()`` to the event, and how many a second were made and ended.
    """
    config = dataclasses.replace(config, identity_file=None)
    times: list[float] = []
    begin = now()
    while now() < begin + seconds or not times:
        events = channel()
        with ConnectionManager(events, config) as manager:
            start = now()
            connect(manager, events, peer, config.dial_timeout)
            times.append(now() - start)
    return Latency.of(times), len(times) / (now() - begin)
