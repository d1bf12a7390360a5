"""`Glance`: a quick look at where others see one UDP socket now, which is the first step of a survey. Pure."""

import os
from collections.abc import Callable, Iterable
from typing import Final

from crust.endpoint import Address
from crust.nat.behaviour import Sighting
from crust.nat.outgoing import Outgoing
from crust.nat.stun_client import StunClient
from crust.nat.survey import SPARE, plausible

GLANCE_SERVERS: Final = 3
"""Asked in one glance: enough to see whether they agree."""
GLANCE_SENDS: Final = 2
"""How often each is asked; the second time after half a second."""
GLANCE_SECONDS: Final = 0.8
"""After which it is over: a little more than the second request needs on a short way. Who answers later is too far."""


class Glance:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    Args:
        servers: IP addresses and ports of one family; the first `GLANCE_SERVERS` count.
        now: seconds.
        spare: ask from a fresh socket: what is seen then is the port that a NAT has given last.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        servers: Iterable[Address],
        now: float,
        spare: bool = False,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.sightings: list[Sighting] = []
        """Who saw what; in the order of their answers."""
        self._client = StunClient(random)
        self._socket = SPARE if spare else 0
        self._end = now + GLANCE_SECONDS
        self._missing = 0
        self._timed_out = False
        for server in list(dict.fromkeys(servers))[:GLANCE_SERVERS]:
            self._missing += bool(self._client.ask(server, now, sends=GLANCE_SENDS))

    @property
    def over(self) -> bool:
        """Whether all have answered, or there was time to."""
        return not self._missing or self._timed_out

    def receive(self, data: bytes, source: Address, now: float, socket: int = 0) -> bool:
        """Whether a datagram answers a question of ours."""
        taken = self._client.receive(data, source, now)
        self._take_replies()
        return taken

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._client.tick(now)
        self._take_replies()
        self._timed_out = now >= self._end

    def _take_replies(self) -> None:
        for reply in self._client.replies():
            self._missing -= 1
            if reply.seen is not None and plausible(reply.seen, reply.server):
                self.sightings.append(Sighting(reply.server, reply.seen))

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: it is over."""
        if self.over:
            return None
        due = self._client.next_deadline()
        return self._end if due is None else min(due, self._end)

    def outgoing(self) -> list[Outgoing]:
        """Take what is to be sent now."""
        return [Outgoing(data, to, self._socket) for data, to in self._client.outgoing()]
