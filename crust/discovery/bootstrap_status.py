"""What `ConnectionManager.bootstrap_status` tells: how the search for peers goes, and why it fails. Pure."""

from dataclasses import dataclass

from crust.endpoint import Endpoint
from crust.identity import PeerId


@dataclass(frozen=True, slots=True)
class ContactStatus:
    """One contact that ``bootstrap()`` tried or could try."""

    endpoints: tuple[Endpoint, ...]
    """All lead to it."""
    peer_id: PeerId | None
    """Who should answer, or did; ``None`` if nobody said, and nobody has."""
    source: str
    """Who told of it: config, fallback, cache, beacon or gossip."""
    tries: int
    failures: int
    """In a row, since it was connected last or forgiven."""
    tried_at: float | None
    """When it was tried last, in seconds since 1970; ``None`` for never."""
    result: str
    """What came of it, for people."""


@dataclass(frozen=True, slots=True)
class BootstrapStatus:
    """How the search for peers goes. ``str()`` gives lines for people."""

    running: bool = False
    """Whether contacts are tried, or will be after a pause."""
    keep_going: bool = False
    """Whether it begins again when all connections are lost."""
    round: int = 0
    """Which round this is, from 1; 0 before the first."""
    next_round_in: float | None = None
    """Seconds until the next round; ``None`` if none is waited for."""
    wanted: int = 0
    """Connections that it may make at the most."""
    made: int = 0
    """Of these, how many it has; contacts that were connected anyway count."""
    connected: int = 0
    """All connections of the manager."""
    target: int = 0
    """``target_connections`` of the configuration."""
    contacts: tuple[ContactStatus, ...] = ()
    """The most promising first."""
    known_by_gossip: int = 0
    """Nodes that peers told of."""
    beacon: str = "not started"
    cache: str = "not opened"
    """Where contacts are remembered, or why only in memory."""
    gave_up: bool = False
    """Whether it ended because it knew nobody to try."""

    def __str__(self) -> str:
        lines = [self._summary(), f"beacon: {self.beacon}", f"cache: {self.cache}"]
        lines.append(f"gossip: {self.known_by_gossip} nodes known")
        lines += [
            f"{' '.join(map(str, each.endpoints))} ({each.source}, tries: {each.tries}): {each.result}"
            for each in self.contacts
        ]
        return "\n".join(lines)

    def _summary(self) -> str:
        if self.next_round_in is not None:
            doing = f"round {self.round} reached nobody; the next begins in {self.next_round_in:.1f} s"
        elif self.running:
            doing = f"round {self.round}: {self.made} of {self.wanted} connections made"
        elif self.gave_up and not self.keep_going:
            doing = "not looking for peers: it knew nobody to try"
        else:
            doing = "waiting until all connections are lost" if self.keep_going else "not looking for peers"
        target = f" of {self.target}" if self.target else ""
        return f"{self.connected}{target} connected; {doing}"
