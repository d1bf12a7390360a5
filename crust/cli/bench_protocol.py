"""What two ends of ``crust bench`` say to each other, and the state of the end that serves. Pure.

Every message between them begins with one byte::

    0x00  bulk       filler, counted
    0x01  ping       sent back as a pong
    0x02  pong
    0x03  control    a JSON object of at most 1 KiB

Requests (client to server) and replies::

    {"do": "hello", "version": 1}                 {"ok": "hello", "version": 1}
    {"do": "count"}                               {"ok": "count"}: bulk messages from here on are counted
    {"do": "total"}                               {"ok": "total", "messages": n, "bytes": n, "seconds": first to now}
    {"do": "flood", "size": n, "seconds": s}      bulk messages, then {"ok": "flood", "messages": n}
                                                  or {"error": "why not"}

Whoever has the network's name or key may ask, so nothing here lets a stranger take more than a bounded share: a few
numbers for each connection, one flood at a time for all together, limits on its size and length, and whoever sends
what it must not, or does not take its replies, is dropped.
"""

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from crust.errors import Malformed

VERSION: Final = 1
BULK, PING, PONG, CONTROL = b"\x00", b"\x01", b"\x02", b"\x03"
MAX_CONTROL: Final = 1024
"""Bytes of a control message: the longest that is needed has about a hundred."""
MAX_PING: Final = 64 * 1024
"""Bytes of a ping: what is sent back waits in our send queue."""
MAX_FLOOD_SECONDS: Final = 60.0
"""The longest that a client can have us send."""

Peer = TypeVar("Peer", bound=Hashable)


def bulk(size: int) -> bytes:
    """A bulk message of ``size`` bytes (at least 1) that does not compress to nothing."""
    return BULK + (bytes(range(256)) * (size // 256 + 1))[: size - 1]


def control(**fields: Any) -> bytes:
    """A control message."""
    return CONTROL + json.dumps(fields).encode("ascii")


def parse_control(data: bytes) -> dict[str, Any]:
    """The fields of a control message.

    Raises:
        Malformed: it is not one.
    """
    if data[:1] != CONTROL or len(data) > MAX_CONTROL:
        raise Malformed("not a message of crust bench")
    try:
        fields = json.loads(data[1:])
    except (ValueError, RecursionError):
        raise Malformed("a control message of crust bench that is not JSON") from None
    if not isinstance(fields, dict):
        raise Malformed("a control message of crust bench that is not an object")
    return fields


def number(fields: dict[str, Any], key: str, least: float, most: float) -> float:
    """A number of a control message.

    Raises:
        Malformed: it is missing, not a number, or out of bounds.
    """
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Malformed(f"{key!r} is {value!r:.40} but has to be a number from {least:g} to {most:g}")
    return value


@dataclass(frozen=True, slots=True)
class Reply(Generic[Peer]):
    """Send ``data`` to the peer."""

    peer: Peer
    data: bytes


@dataclass(frozen=True, slots=True)
class Flood(Generic[Peer]):
    """Send bulk messages of ``size`` bytes for ``seconds``, then call `Server.flooded`."""

    peer: Peer
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Drop(Generic[Peer]):
    """End the connection: the peer did what no client of ours does."""

    peer: Peer
    reason: str


Action: TypeAlias = Reply[Peer] | Flood[Peer] | Drop[Peer]


@dataclass(slots=True)
class Tally:
    """What was counted of one peer."""

    messages: int = 0
    size: int = 0
    """Bytes."""
    first: float = 0.0
    """When the first one came, in seconds of any clock."""


class Server(Generic[Peer]):
    """The state of the serving end. One thread calls.

    Args:
        max_size: bytes of the largest message that can be asked for.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._tallies: dict[Peer, Tally] = {}
        self._flooding: Peer | None = None

    @property
    def peers(self) -> int:
        """How many are connected."""
        return len(self._tallies)

    def joined(self, peer: Peer) -> None:
        """A peer has connected."""
        self._tallies[peer] = Tally()

    def left(self, peer: Peer) -> None:
        """A peer is gone, by itself or dropped."""
        self._tallies.pop(peer, None)

    def message(self, peer: Peer, data: bytes, now: float) -> Action[Peer] | None:
        """A message came; what to do about it."""
        tally = self._tallies.get(peer)
        if tally is None:
            return None  # still on its way when the peer was dropped
        kind = data[:1]
        if kind == BULK:
            if not tally.messages:
                tally.first = now
            tally.messages += 1
            tally.size += len(data)
            return None
        try:
            if kind == PING:
                return self._pong(peer, data)
            return self._request(peer, tally, parse_control(data), now)
        except Malformed as error:
            return Drop(peer, str(error))

    def _pong(self, peer: Peer, data: bytes) -> Action[Peer]:
        if len(data) > MAX_PING:
            raise Malformed(f"a ping of {len(data)} bytes; {MAX_PING} is the most")
        return Reply(peer, PONG + data[1:])

    def _request(self, peer: Peer, tally: Tally, fields: dict[str, Any], now: float) -> Action[Peer]:
        match fields.get("do"):
            case "hello":
                return Reply(peer, control(ok="hello", version=VERSION))
            case "count":
                self._tallies[peer] = Tally()
                return Reply(peer, control(ok="count"))
            case "total":
                seconds = now - tally.first if tally.messages else 0.0
                return Reply(peer, control(ok="total", messages=tally.messages, bytes=tally.size, seconds=seconds))
            case "flood":
                return self._flood(peer, fields)
            case other:
                return Reply(peer, control(error=f"this version cannot do {other!r:.40}"))

    def _flood(self, peer: Peer, fields: dict[str, Any]) -> Action[Peer]:
        size = int(number(fields, "size", 1, self._max_size))
        seconds = float(number(fields, "seconds", 0, MAX_FLOOD_SECONDS))
        if self._flooding is not None:
            return Reply(peer, control(error="busy with another measurement; try again in a minute"))
        self._flooding = peer
        return Flood(peer, size, seconds)

    def flooded(self, messages: int) -> Reply[Peer] | None:
        """A `Flood` is over; what to tell its peer, which may have left."""
        peer, self._flooding = self._flooding, None
        return (
            None if peer is None or peer not in self._tallies else Reply(peer, control(ok="flood", messages=messages))
        )
