"""What ``crust peer`` shows, brought up to date by events and by time. Pure; time comes in as an argument."""

from collections.abc import Iterable
from typing import Any, Final

from crust.cli.console import human_bytes, human_time
from crust.cli.peer_events import SHOWN_CHARACTERS, SHOWN_PER_SECOND, Gate, Line, Traffic, describe
from crust.cli.peer_table import Peer, PeerTable
from crust.endpoint import Endpoint
from crust.event import Event
from crust.identity import PeerId

LONELY_AFTER: Final = 5.0
"""Seconds without any peer after which it is worth saying so, as the original did."""


class View:
    """Who is connected, what came, and the lines about both. Not thread-safe: guard it.

    Args:
        on_terminal: people read the output: floods of messages and endless lines are cut short.
    """

    def __init__(self, on_terminal: bool) -> None:
        self.peers = PeerTable()
        self.traffic = Traffic()
        self.failed: set[Endpoint] = set()
        """Endpoints of connects that came to nothing, until somebody asks for them again."""
        self.unreached: set[PeerId] = set()
        """The same of peers that were sought by their ids."""
        self.infos = 0
        """How many lines were made that peers can meet this node with."""
        self._most = SHOWN_CHARACTERS if on_terminal else None
        self._gate = Gate(SHOWN_PER_SECOND if on_terminal else None)
        self._lonely_at: float | None = None

    def expect_peers(self, now: float) -> None:
        """We look for peers since ``now`` seconds."""
        self._lonely_at = now + LONELY_AFTER

    def due(self) -> float | None:
        """When time alone brings about a line, in seconds; ``None`` when only an event can."""
        moments = (self.traffic.due(), self._gate.due(), self._lonely_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def digest(self, event: object, now: float) -> list[Line]:
        """Bring everything up to date.

        Args:
            event: what the manager reported; ``None`` when only time has passed.
            now: seconds.

        Returns:
            the lines to show.
        """
        lines = [*self._gate.report(now), *self.traffic.report(now), *self._loneliness(now)]
        match event:
            case None:
                return lines
            case Event.NewMessage(_, data):
                self.traffic.received(len(data), now)
                if not self._gate.lets_through(len(data), now):
                    return lines
            case Event.ConnectionFailed(endpoints, _, peer_id):
                self.failed.update(endpoints)
                if peer_id is not None:
                    self.unreached.add(peer_id)
            case Event.ConnectionInfoPrepared():
                self.infos += 1
        if not isinstance(event, Event.NewMessage):
            lines += self._gate.report(now, early=True)
        return lines + describe(event, self.peers, self._most)

    def _loneliness(self, now: float) -> list[Line]:
        if self._lonely_at is None or (now < self._lonely_at and not len(self.peers)):
            return []
        self._lonely_at = None
        if len(self.peers):
            return []
        return [Line("No peer has answered yet; still trying. This may be the first node of its network.", "warn")]


def peer_rows(peers: Iterable[Peer], infos: Iterable[Any]) -> list[tuple[str, ...]]:
    """The cells of ``list``: number, id, address, received, sent, round trip.

    Args:
        peers: the connected peers.
        infos: what the manager knows of its connections.
    """
    known = {info.endpoint: info for info in infos}
    return [_row(peer, known.get(peer.endpoint)) for peer in peers]


def _row(peer: Peer, info: Any) -> tuple[str, ...]:
    name = (str(peer.index), str(peer.peer_id), str(peer.endpoint))
    if info is None:  # it ended between two looks
        return (*name, "-", "-", "-")
    return (
        *name,
        f"{info.messages_received:,} ({human_bytes(info.bytes_received)})",
        f"{info.messages_sent:,} ({human_bytes(info.bytes_sent)})",
        "-" if info.rtt is None else human_time(info.rtt),
    )
