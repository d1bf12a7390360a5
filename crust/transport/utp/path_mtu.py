"""The largest packet that passes the path (RFC 8899, "packetization layer path MTU discovery"; libutp's search).

A probe is an ordinary data packet of the size to be tried, sent with fragmenting forbidden. Acknowledged, it passed;
lost `PROBE_TRIES` times, that size is too large. Between the largest that passed and the smallest that did not the
search halves until they are `PROBE_GAP` apart. Unlike libutp's, it begins with the ceiling, which most paths pass: then
it is over after one round trip. No sockets and no clock: times are seconds, sizes are bytes of UDP payload.
"""

from typing import Final

from crust.transport.utp.constants import BLACK_HOLE_PAUSE, PROBE_AGAIN, PROBE_GAP, PROBE_TRIES

HEADERS_IPV4: Final = 28
"""Bytes of the headers of IPv4 and UDP."""
HEADERS_IPV6: Final = 48
"""Bytes of the headers of IPv6 and UDP."""


class PathMtu:
    """The search along the path of one connection. Not thread-safe: it belongs to whoever owns the connection.

    Args:
        floor: what passes everywhere; packets are never smaller because of the path.
        ceiling: what the network at hand passes.
        start: what to send before anything was found out; the floor by default.
        headers: bytes between a size here and the MTU that ICMP tells.
    """

    __slots__ = ("_bad", "_ceiling", "_floor", "_good", "_headers", "_hint", "_losses", "_not_before", "_probing")

    def __init__(self, floor: int, ceiling: int, start: int | None = None, headers: int = HEADERS_IPV4) -> None:
        self._floor = floor
        self._ceiling = max(ceiling, floor)
        self._headers = headers
        self._good = floor if start is None else min(max(start, floor), self._ceiling)
        self._bad = self._ceiling + 1
        self._hint = self._ceiling if self._good < self._ceiling else None  # what to try before anything else
        self._probing: int | None = None
        self._losses = 0
        self._not_before = 0.0

    @property
    def size(self) -> int:
        """Bytes of UDP payload of an ordinary full packet."""
        return self._good

    def probe(self, now: float) -> int | None:
        """The size that the next full packet should have as a probe; ``None``: it should be an ordinary one.

        There is one probe on the way at a time, so that between two of them at least one round trip passes. When the
        search is over, the next one begins `PROBE_AGAIN` seconds later.
        """
        if self._probing is not None or now < self._not_before:
            return None
        if self._hint is not None:
            return self._hint
        if self._bad - self._good <= PROBE_GAP:
            if self._bad > self._ceiling:
                return None
            self._bad, self._hint = self._ceiling + 1, self._ceiling
            return self._hint
        return (self._good + self._bad) // 2

    def probe_sent(self, size: int, now: float) -> None:
        """The probe is on its way."""
        self._probing = size

    def probe_acked(self, now: float) -> None:
        """It passed."""
        if self._probing is not None:
            self._good = max(self._good, self._probing)
            self._bad = max(self._bad, self._good + 1)
            self._settled(now)

    def probe_lost(self, now: float) -> None:
        """It did not, or was lost like any packet can be: no sign of congestion, whatever it was."""
        if self._probing is None:
            return
        self._losses += 1
        if self._losses < PROBE_TRIES:
            self._probing = None
        else:
            self._bad = self._probing
            self._settled(now)

    def too_big(self, mtu: int | None, now: float) -> None:
        """A router (ICMP) or the system (``EMSGSIZE``) says that a packet was too large.

        Args:
            mtu: bytes of the largest IP packet that would pass, if that was told. Less than the floor is not believed:
                anybody may have sent it.
            now: seconds.
        """
        passes = None if mtu is None else max(mtu - self._headers, self._floor)
        tried = self._good if self._probing is None else self._probing
        if passes is not None and self._probing is None and passes >= tried:
            self._bad = min(self._bad, passes + 1)  # it was about an earlier probe
            return
        if passes is None or passes >= tried:
            self._bad, hint = tried, None
        else:
            self._bad, hint = passes + 1, passes
        if self._bad <= self._good:
            self._good = self._floor if hint is None else hint
        self._bad = max(self._bad, self._good + 1)
        self._settled(now, hint)

    def black_hole(self, now: float) -> bool:
        """Packet after packet timed out: perhaps the path stopped passing large ones, and nobody says so.

        Returns:
            Whether packets are smaller from now on; the search begins anew after `BLACK_HOLE_PAUSE`.
        """
        self._probing = None
        if self._good <= self._floor:
            return False
        self._good, self._bad, self._hint, self._losses = self._floor, self._ceiling + 1, self._ceiling, 0
        self._not_before = now + BLACK_HOLE_PAUSE
        return True

    def _settled(self, now: float, hint: int | None = None) -> None:
        """What was known about one size is known."""
        self._probing, self._losses = None, 0
        self._hint = hint if hint is not None and self._good < hint < self._bad else None
        if self._bad - self._good <= PROBE_GAP and self._hint is None:
            self._not_before = now + PROBE_AGAIN
