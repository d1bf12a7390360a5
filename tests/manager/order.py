"""A judge of event streams: what one manager tells its user must make sense from the first event to the last."""

from collections.abc import Iterable

from crust import Endpoint, Event, PeerId
from crust.event import AnyEvent


class OrderJudge:
    """Takes the events of one manager in the order in which its user gets them, and notes what must not be.

    The rules: New... before anything else of a connection; messages only while it lives; `LostConnection` once, and
    nothing after it; at most one live connection with a peer; ``Stopped`` once and last; never a connection with
    oneself.
    """

    def __init__(self, own_id: PeerId) -> None:
        self._own_id = own_id
        self._live: dict[Endpoint, PeerId] = {}
        self._dropped: dict[Endpoint, PeerId] = {}
        self._doomed: set[Endpoint] = set()
        self._stopped = False
        self.problems: list[str] = []

    def dropped(self, endpoint: Endpoint) -> None:
        """The user calls ``drop_node(endpoint)``: from now on a `LostConnection` is not owed."""
        peer_id = self._live.pop(endpoint, None)
        if peer_id is not None:
            self._dropped[endpoint] = peer_id
        else:
            self._doomed.add(endpoint)  # its New... event may still wait to be taken

    def take_all(self, events: Iterable[AnyEvent]) -> None:
        """Look at several events."""
        for event in events:
            self.take(event)

    def take(self, event: AnyEvent) -> None:
        """Look at the next event."""
        if self._stopped:
            self._object(event, "after Stopped")
        match event:
            case Event.NewConnection(endpoint, peer_id) | Event.NewBootstrapConnection(endpoint, peer_id):
                self._new(event, endpoint, peer_id)
            case Event.NewMessage(endpoint, _):
                if endpoint not in self._live and endpoint not in self._dropped:
                    self._object(event, "on a connection that does not live")
            case Event.LostConnection(endpoint, peer_id, _):
                self._lost(event, endpoint, peer_id)
            case Event.Stopped():
                self._stopped = True

    def _new(self, event: AnyEvent, endpoint: Endpoint, peer_id: PeerId) -> None:
        if peer_id == self._own_id:
            self._object(event, "with oneself")
        if endpoint in self._live:
            self._object(event, "under the name of a connection that lives")
        if peer_id in self._live.values():
            self._object(event, "while another connection with that peer lives")
        self._dropped.pop(endpoint, None)
        if endpoint in self._doomed:
            self._doomed.discard(endpoint)
            self._dropped[endpoint] = peer_id
        else:
            self._live[endpoint] = peer_id

    def _lost(self, event: AnyEvent, endpoint: Endpoint, peer_id: PeerId) -> None:
        # The peer may have been faster than our drop_node(): then the event was on its way already.
        known = self._live.pop(endpoint, None) or self._dropped.pop(endpoint, None)
        if known is None:
            self._object(event, "of a connection that does not live")
        elif known != peer_id:
            self._object(event, f"of a connection that was with {known}")

    def _object(self, event: AnyEvent, why: str) -> None:
        self.problems.append(f"{event!r} {why}")
