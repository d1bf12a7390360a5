"""`Liveness`: how long each side of a connection has been silent, and what follows from it."""

from crust.errors import ConnectionLost, CrustError
from crust.transport.utp import constants as c
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import State


class Liveness:
    """The clock of one connection that both sides know of.

    Args:
        settings: the times.
        now: seconds.
    """

    __slots__ = ("_orphan_since", "_settings", "_unreachable", "changed_at", "heard_at", "sent_at")

    def __init__(self, settings: UtpSettings, now: float) -> None:
        self._settings = settings
        self.sent_at = self.heard_at = self.changed_at = now
        self._unreachable: float | None = None
        self._orphan_since: float | None = None

    def heard(self, now: float) -> None:
        """A packet came that makes sense."""
        self.heard_at = now
        self._unreachable = None

    def unreachable(self, now: float) -> None:
        """The network says that the peer's port is closed; anybody may have said it, so only silence confirms it."""
        if self._unreachable is None:
            self._unreachable = now

    def keepalive_due(self, now: float) -> bool:
        """Whether the NAT's mapping needs a packet."""
        return now >= self.sent_at + self._settings.keepalive

    def waiting_since(
        self, on_its_way: float | None, window: int, progress_at: float, orphan: bool, now: float
    ) -> float | None:
        """Since when there was no news of something that we wait for; ``None``: we wait for nothing.

        Args:
            on_its_way: when something on its way was last acknowledged, or sent; ``None``: nothing is.
            window: bytes for which the peer has room.
            progress_at: when anything was last acknowledged.
            orphan: whether nobody uses the connection here any more, and its end has not arrived there.
            now: seconds.
        """
        if orphan:
            # Nobody is left here who could lose patience with a peer that is there, and never reads.
            if self._orphan_since is None:
                self._orphan_since = now
            since = max(self._orphan_since, progress_at)
            return min(since, on_its_way) if window and on_its_way is not None else since
        # A peer whose window is closed lets nothing arrive; as long as it says so, it is there.
        return on_its_way if window or on_its_way is None else max(on_its_way, self.heard_at)

    def _patience_ends(self, waiting: float | None) -> float:
        idle = self.heard_at + self._settings.idle_timeout
        return idle if waiting is None else min(idle, waiting + self._settings.dead_timeout)

    def deadline(self, state: State, waiting: float | None, orphan: bool) -> float:
        """When the next packet is due, or the connection is over.

        Args:
            state: of the connection.
            waiting: since when there was no news of something that is on its way; ``None``: nothing is.
            orphan: whether nobody uses the connection here any more.
        """
        at = min(self.sent_at + self._settings.keepalive, self._patience_ends(waiting))
        if state is State.LINGER:
            at = min(at, max(self.changed_at, self.heard_at) + c.LINGER)
        elif state is State.FIN_ACKED and orphan:
            at = min(at, self.changed_at + c.ORPHAN_TIMEOUT)
        if self._unreachable is not None:
            at = min(at, self._unreachable + c.UNREACHABLE)
        return at

    def lingered(self, state: State, now: float) -> bool:
        """Whether a connection that is over was silent for long enough."""
        return state is State.LINGER and now >= max(self.changed_at, self.heard_at) + c.LINGER

    def verdict(self, state: State, waiting: float | None, orphan: bool, now: float) -> CrustError | None:
        """Why the connection must count as lost; ``None``: it need not. The arguments are those of `deadline`."""
        if state is State.FIN_ACKED and orphan and now >= self.changed_at + c.ORPHAN_TIMEOUT:
            return ConnectionLost("the peer did not end its half of the connection")
        if self._unreachable is not None and now >= self._unreachable + c.UNREACHABLE:
            return ConnectionLost("the peer's port is closed: its program ended, or its address changed")
        if now >= self._patience_ends(waiting):
            if now >= self.heard_at + min(self._settings.idle_timeout, self._settings.dead_timeout):
                return ConnectionLost(f"nothing was heard from the peer for {now - self.heard_at:.0f} s")
            return ConnectionLost("what was sent does not arrive, though the peer is heard: is a firewall in between?")
        return None


def syn_pause(syns: int, rendezvous: bool) -> float:
    """Seconds until a SYN, or the answer to one, is repeated.

    Args:
        syns: how many were sent.
        rendezvous: both sides dial.
    """
    if rendezvous:
        return c.RENDEZVOUS_INTERVAL if syns < c.RENDEZVOUS_QUICK else c.RENDEZVOUS_LATER
    return c.SYN_INTERVAL * 2.0 ** min(syns - 1, 4)
