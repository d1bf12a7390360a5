"""`StunServer`: tells others the address that their requests came from (RFC 8489, Binding). Pure.

Anybody can send a request in a victim's name; the victim gets the answer. So that this is of no use to anybody, an
answer is never larger than its request, and there are only so many, for each address and in all. Requests that say
where the answer should go (RESPONSE-PORT) are refused.
"""

import ipaddress
from collections import Counter
from typing import Final, NamedTuple

from crust.defence.allowance import Allowance, Allowances
from crust.endpoint import Address
from crust.errors import Malformed
from crust.nat import stun
from crust.nat.stun import Attribute, Kind, Message

STUN_HOST_BURST: Final = 20
STUN_HOST_PER_SECOND: Final = 2.0
"""Answers to one IPv4 address or IPv6 network of 64 bits. Finding out all about a NAT takes a dozen, within seconds."""
STUN_BURST: Final = 400
STUN_PER_SECOND: Final = 200.0
"""Answers in all: some 20 kB/s, and a hundredth of one processor."""
KNOWN_HOSTS: Final = 4096
"""Addresses whose allowance is remembered; when they are forgotten too soon the total still bounds."""

_UNDERSTOOD: Final = (
    Attribute.PADDING,  # asks for padding in the answer as well, which the rule on sizes lets us leave out
    Attribute.MESSAGE_INTEGRITY,  # there are no passwords here: whoever asks is answered
    Attribute.MESSAGE_INTEGRITY_SHA256,
)


class Corners(NamedTuple):
    """The two addresses and two ports of a server that helps to find out how a NAT behaves (RFC 5780)."""

    hosts: tuple[str, str]
    ports: tuple[int, int]

    def opposite(self, at: Address) -> Address:
        """The corner with the other address and the other port."""
        return self.moved(at, stun.CHANGE_HOST | stun.CHANGE_PORT)

    def moved(self, at: Address, flags: int) -> Address:
        """The corner that a CHANGE-REQUEST which came in at ``at`` means."""
        host, port = self.hosts.index(at[0]), self.ports.index(at[1])
        return self.hosts[host ^ bool(flags & stun.CHANGE_HOST)], self.ports[port ^ bool(flags & stun.CHANGE_PORT)]


class Answer(NamedTuple):
    """What to send back to where the request came from."""

    data: bytes
    origin: Address | None
    """Which of the server's addresses it has to leave from; ``None``: the one that the request came to."""


def group_of(host: str) -> str:
    """Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, which is what a household gets."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4 or address.is_link_local:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


class StunServer:
    """See the module's text. Belongs to one thread.

    Args:
        bare: whether requests that are not padded get an answer too, 32 bytes for 20 over IPv4 (60 for 48 on the
            wire), 56 with `corners`. For servers of the public, whose clients do not pad; ours do.
        corners: where the server listens, if it has two addresses with two ports each.
    """

    def __init__(self, *, bare: bool = False, corners: Corners | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._bare = bare
        self._corners = corners
        self._hosts = Allowances(KNOWN_HOSTS, STUN_HOST_BURST, STUN_HOST_PER_SECOND)
        self._total = Allowance(STUN_BURST, STUN_PER_SECOND)

    def answer(self, data: bytes, source: Address, now: float, at: Address | None = None) -> Answer | None:
        """The answer to a datagram; ``None`` if there is none, for whatever reason (see `counters`).

        Args:
            data: what came.
            source: where from.
            now: seconds.
            at: which of the `corners` it came to.
        """
        try:
            request = stun.parse(data)
            if request.kind is not Kind.REQUEST:
                return None
            change = request.get(Attribute.CHANGE_REQUEST) if self._corners else None
            flags = 0 if change is None else stun.parse_change(change)
        except Malformed:
            self.counters["malformed"] += 1
            return None
        if not self._hosts.take(group_of(source[0]), now) or not self._total.take(now):
            self.counters["refused"] += 1
            return None
        reply = self._reply(request, source, flags, at)
        for fingerprint in (True, False):  # which is what can be spared
            answer = reply.encode(fingerprint=fingerprint)
            if len(answer) <= len(data) or (self._bare and not fingerprint):
                self.counters["answered"] += 1
                origin = self._corners.moved(at, flags) if self._corners and at else None
                return Answer(answer, origin)
        self.counters["too_small"] += 1
        return None

    def _reply(self, request: Message, source: Address, flags: int, at: Address | None) -> Message:
        understood = [*_UNDERSTOOD, Attribute.CHANGE_REQUEST] if self._corners and at else _UNDERSTOOD
        unknown = request.not_understood(understood)
        if unknown:
            error = (Attribute.ERROR_CODE, stun.encode_error(420, "Unknown Attribute"))
            types = (Attribute.UNKNOWN_ATTRIBUTES, stun.encode_types(unknown))
            return Message(Kind.ERROR, request.transaction, (error, types))
        seen = stun.encode_xor_address((source[0], source[1]), request.transaction)
        attributes: list[tuple[int, bytes]] = [(Attribute.XOR_MAPPED_ADDRESS, seen)]
        if self._corners and at:
            origin, other = self._corners.moved(at, flags), self._corners.opposite(at)
            attributes.append((Attribute.RESPONSE_ORIGIN, stun.encode_address(origin)))
            attributes.append((Attribute.OTHER_ADDRESS, stun.encode_address(other)))
        return Message(Kind.SUCCESS, request.transaction, tuple(attributes))
