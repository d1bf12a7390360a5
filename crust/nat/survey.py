"""`Survey`: finds out how the NAT in front of one UDP socket behaves, by asking servers (RFC 5780 section 4). Pure.

1. All servers are asked where we are (test I).
2. One that has a second address is asked to answer from there, and from its other port: what of it comes tells who can
   send to us (section 4.4). A spare socket asks: there are routers (Linux ones with an open INPUT chain) that give a
   port away when something comes to it unasked, and show us at another one from then on.
3. At the same time the spare socket sends to the address that was seen: what comes back was turned around by the NAT
   (section 4.5).
4. The server is asked at its other addresses: whether they see the same tells how we are mapped (section 4.3). This is
   last because the port that is seen last is the one that a NAT counts on from.
"""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
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
        self._steps = iter((self._test_with_spare, self._test_mapping))
        for server in list(dict.fromkeys(servers))[:SURVEY_SERVERS]:
            self._ask_who_sees(server, now)
        self._go_on(now)

    def _ask_who_sees(self, server: Address, now: float) -> None:
        if server not in self._asked:
            self._asked.append(server)
            self._client.ask(server, now, tag="seen", sends=SURVEY_SENDS)

    # --- the tests ---
    def _test_with_spare(self, now: float) -> None:
        self._test_hairpin(now)
        if self._helper is None:
            return
        server, other = self._helper
        everything = stun.CHANGE_HOST | stun.CHANGE_PORT
        self._spare.ask(server, now, tag="from anywhere", change=everything, answers_from=other, sends=SURVEY_SENDS)
        other_port = server[0], other[1]
        self._spare.ask(
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
        if self._sightings and (seen := self._in_order()[0].seen)[0] not in self._own_hosts:
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
        if socket == 0 and self._spare.is_ours(data):
            self._hairpin = True
            self._spare.cancel("hairpin")
        elif not (self._spare if socket else self._client).receive(data, source, now):
            return False
        self._go_on(now)
        return True

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._client.tick(now)
        self._spare.tick(now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        for reply in (*self._client.replies(), *self._spare.replies()):
            self._on_reply(reply)
        while self.findings is None and self.next_deadline() is None:
            step = next(self._steps, None)
            if step is None:
                failures = tuple(self._failures.items())
                self.findings = Findings(self._behaviour(), tuple(self._in_order()), failures)
            else:
                step(now)

    def _on_reply(self, reply: Reply) -> None:
        if reply.tag == "hairpin":
            self._hairpin = self._hairpin or reply.seen is not None
            return
        if reply.tag != "seen":
            if reply.seen is not None:
                found = Filtering.ENDPOINT_INDEPENDENT if reply.tag == "from anywhere" else Filtering.ADDRESS_DEPENDENT
                self._filtering = min(self._filtering, found)
            return
        if reply.seen is None or not plausible(reply.seen, reply.server):
            self._failures[reply.server] = reply.error or "the server told an address that cannot be"
            return
        self._sightings[reply.server] = Sighting(reply.server, reply.seen)
        if self._helper is None and reply.other is not None and _can_help(reply.server, reply.other):
            self._helper = reply.server, reply.other

    def _in_order(self) -> list[Sighting]:
        return [self._sightings[server] for server in self._asked if server in self._sightings]

    def _behaviour(self) -> Behaviour:
        found = classify(self._in_order(), self._own_hosts, self._local_port, self._filtering, self._hairpin)
        # Where each sees another address, what is sent to one of them by somebody else shows nothing.
        return replace(found, hairpin=None) if found.mapping.dependent else found

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


def plausible(seen: Address, server: Address) -> bool:
    """Whether somebody at ``server`` can have seen us there."""
    try:
        return dialable(Endpoint.utp(seen), allow_loopback=True, allow_link_local=True) and _same_kind(seen, server)
    except EndpointError:
        return False


def _same_kind(one: Address, other: Address) -> bool:
    return (":" in one[0]) == (":" in other[0])


def _can_help(server: Address, other: Address) -> bool:
    """Whether a server's other address is one that we may send to: a public server cannot aim us at a private one."""
    if other[0] == server[0] or other[1] == server[1]:
        return False
    return plausible(other, server) and (is_local(server[0]) or not is_local(other[0]))
