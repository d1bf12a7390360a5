"""`Survey`: finds out how the NAT in front of one UDP socket behaves, by asking servers (RFC 5780 section 4). Pure.

1. All servers are asked where we are (test I).
2. One that has a second address is asked to answer from there, and from its other port: what of it comes tells who can
   send to us (section 4.4). This comes first, because:
3. it is then asked at its other addresses: whether they see the same tells how we are mapped (section 4.3).
4. A spare socket sends to the address that was seen: what comes back was turned around by the NAT (section 4.5).
"""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from crust.discovery.contact import dialable
from crust.endpoint import Address, Endpoint
from crust.errors import EndpointError
from crust.nat import stun
from crust.nat.behaviour import Behaviour, Filtering, Sighting, classify
from crust.nat.outgoing import Outgoing
from crust.nat.ranges import is_local
from crust.nat.stun_client import Reply, StunClient

SURVEY_SERVERS: Final = 8
"""Asked in one survey: enough to outvote a liar."""
SURVEY_SENDS: Final = 3
"""How often each request is sent: no answer is a result here, after 3.5 s."""


SPARE: Final = 1
"""The number of the spare socket; 0 is the one that the survey is about."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of a survey."""

    behaviour: Behaviour
    sightings: tuple[Sighting, ...]
    failures: tuple[tuple[Address, str], ...]
    """The servers that said nothing of use, and why."""


class Survey:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    Args:
        servers: IP addresses and ports of one family; the first `SURVEY_SERVERS` count.
        own_hosts: the addresses of this machine.
        local_port: of the socket.
        now: seconds.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        servers: Iterable[Address],
        own_hosts: Collection[str],
        local_port: int,
        now: float,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.findings: Findings | None = None
        """Set once it is over."""
        self._own_hosts = own_hosts
        self._local_port = local_port
        self._client, self._spare = StunClient(random), StunClient(random)
        self._asked: list[Address] = []  # in the order of sending, which is that of new mappings
        self._sightings: dict[Address, Sighting] = {}  # by observer
        self._failures: dict[Address, str] = {}
        self._helper: tuple[Address, Address] | None = None  # a server and its other address
        self._filtering = Filtering.UNKNOWN
        self._hairpin: bool | None = None
        self._steps = iter((self._test_filtering, self._test_mapping, self._test_hairpin))
        for server in list(dict.fromkeys(servers))[:SURVEY_SERVERS]:
            self._ask_who_sees(server, now)
        self._go_on(now)

    def _ask_who_sees(self, server: Address, now: float) -> None:
        if server not in self._asked:
            self._asked.append(server)
            self._client.ask(server, now, tag="seen", sends=SURVEY_SENDS)

    # --- the tests ---
    def _test_filtering(self, now: float) -> None:
        if self._helper is None:
            return
        server, other = self._helper
        everything = stun.CHANGE_HOST | stun.CHANGE_PORT
        self._client.ask(server, now, tag="from anywhere", change=everything, answers_from=other, sends=SURVEY_SENDS)
        other_port = server[0], other[1]
        self._client.ask(
            server, now, tag="from host", change=stun.CHANGE_PORT, answers_from=other_port, sends=SURVEY_SENDS
        )
        self._filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT  # unless something comes

    def _test_mapping(self, now: float) -> None:
        if self._helper is None:
            return
        server, other = self._helper
        self._ask_who_sees((other[0], server[1]), now)
        self._ask_who_sees(other, now)

    def _test_hairpin(self, now: float) -> None:
        if not self._sightings or self._behaviour().mapping.dependent:
            return  # an address that only its observer can use
        seen = self._in_order()[0].seen
        if seen[0] not in self._own_hosts:
            self._hairpin = False  # unless something comes
            self._spare.ask(seen, now, tag="hairpin", sends=SURVEY_SENDS)

    # --- datagrams in ---
    @property
    def over(self) -> bool:
        """Whether there are findings."""
        return self.findings is not None

    def receive(self, data: bytes, source: Address, now: float, socket: int = 0) -> bool:
        """Whether a datagram is part of the survey.

        Args:
            data: what came.
            source: where from.
            now: seconds.
            socket: 0, or `SPARE`. A request that was turned around may be answered by the server on our own port.
        """
        turned_around = self._spare.is_ours(data) if socket == 0 else self._spare.receive(data, source, now)
        if turned_around:
            self._hairpin = True
            self._spare.cancel("hairpin")
        elif socket or not self._client.receive(data, source, now):
            return False
        self._go_on(now)
        return True

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._client.tick(now)
        self._spare.tick(now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        for reply in self._client.replies():
            self._on_reply(reply)
        self._spare.replies()  # whatever they say
        while self.findings is None and self.next_deadline() is None:
            step = next(self._steps, None)
            if step is None:
                failures = tuple(self._failures.items())
                self.findings = Findings(self._behaviour(), tuple(self._in_order()), failures)
            else:
                step(now)

    def _on_reply(self, reply: Reply) -> None:
        if reply.tag != "seen":
            if reply.seen is not None:
                found = Filtering.ENDPOINT_INDEPENDENT if reply.tag == "from anywhere" else Filtering.ADDRESS_DEPENDENT
                self._filtering = min(self._filtering, found)
            return
        if reply.seen is None or not _plausible(reply.seen, reply.server):
            self._failures[reply.server] = reply.error or "the server told an address that cannot be"
            return
        self._sightings[reply.server] = Sighting(reply.server, reply.seen)
        if self._helper is None and reply.other is not None and self._can_help(reply.server, reply.other):
            self._helper = reply.server, reply.other

    def _can_help(self, server: Address, other: Address) -> bool:
        """Whether a server's other address is one that we may send to, and have not sent to: it could send to us."""
        known = {asked[0] for asked in self._asked}
        return other[0] not in known and other[1] != server[1] and _may_point(server, other)

    def _in_order(self) -> list[Sighting]:
        return [self._sightings[server] for server in self._asked if server in self._sightings]

    def _behaviour(self) -> Behaviour:
        return classify(self._in_order(), self._own_hosts, self._local_port, self._filtering, self._hairpin)

    # --- what comes out ---
    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: the survey is over."""
        due = [at for at in (self._client.next_deadline(), self._spare.next_deadline()) if at is not None]
        return min(due, default=None)

    def outgoing(self) -> list[Outgoing]:
        """Take what is to be sent now."""
        return [
            Outgoing(data, to, number)
            for number, client in ((0, self._client), (SPARE, self._spare))
            for data, to in client.outgoing()
        ]


def _plausible(seen: Address, server: Address) -> bool:
    try:
        return dialable(Endpoint.utp(seen), allow_loopback=True, allow_link_local=True) and _same_kind(seen, server)
    except EndpointError:
        return False


def _same_kind(one: Address, other: Address) -> bool:
    return (":" in one[0]) == (":" in other[0])


def _may_point(server: Address, other: Address) -> bool:
    """A public server cannot aim us at a private address."""
    return _plausible(other, server) and (is_local(server[0]) or not is_local(other[0]))
