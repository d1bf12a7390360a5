"""`DialBackGate`: what we dial because a peer asked for it, and how often, so that nobody can be harmed by it. Pure.

The peer is at one host for sure: the one that we see it at. Everything else that it names may be somebody who never
asked: a victim.
"""

import enum
import ipaddress
from collections.abc import Iterable
from typing import Final

from crust.defence.allowance import Allowance, Allowances
from crust.defence.networks import address_of, neighbourhood, subscriber
from crust.discovery.contact import dialable
from crust.endpoint import Endpoint, Protocol
from crust.identity import PeerId
from crust.nat.ranges import is_local

DIAL_BACK_BYTES: Final = 4_096
"""What one dial sends at most, with all headers and repetitions, whatever is there: a first message of 350 bytes, sent
seven times, and what opens and ends a connection. Seen were 0.1 to 1.5 kB."""
DIAL_BACK_PACKETS: Final = 16
"""The same in packets; seen were three to eight."""
DIAL_BACK_PAYMENT: Final = 32_768
"""Bytes that whoever asks sends first, for each endpoint at a host where we do not see them: eight times what that host
gets at most. AutoNAT v2 takes 30,000 to 100,000."""
MAX_PAID_DIALS: Final = 2
"""Of such endpoints in one request, TCP and uTP: the payment for more would come in more frames than are kept until the
manager thread takes them (`crust.links.reading.MAX_WAITING_TOLD`)."""

ASKER_BURST: Final = 3
ASKER_INTERVAL: Final = 300.0
"""Requests that one peer may make, and seconds for each further one; a correct one makes one in 30 minutes, and one for
each change."""
OWN_HOST_BURST: Final = 8
OWN_HOST_INTERVAL: Final = 60.0
"""Ports that are dialled for whoever is at one host, and seconds for each further one, however many peers are there:
identities cost nothing, and others may be behind the same address."""
VICTIM_BURST: Final = 2
VICTIM_INTERVAL: Final = 300.0
"""Dials to one host whose owner may not have asked, and seconds for each further one, whoever asks. Two, because an
honest node has two ports there."""
VICTIM_NETWORK_BURST: Final = 4
VICTIM_NETWORK_INTERVAL: Final = 150.0
"""The same for a network (a /24 of IPv4): nobody shall search one through us. (Of IPv6, a /64 is one host above.)"""
ELSEWHERE_BURST: Final = 8
ELSEWHERE_INTERVAL: Final = 30.0
"""The same for all hosts whose owners may not have asked, together."""
DIAL_BACK_BURST: Final = 16
DIAL_BACK_INTERVAL: Final = 3.0
"""Dials in all: two threads take as long when nobody answers."""
LOWEST_PORT: Final = 1024
"""Below are services of others (mail, web, shells) whose owners take a dial for an attack; and a node that listens
there is seen there, or is verified by those who do see it there."""
KNOWN_ASKERS: Final = 4096
"""Peers, hosts and networks whose allowance is remembered. Of hosts elsewhere so many take more than a day."""

_TRANSLATED: Final = [
    ipaddress.IPv6Network(network)
    for network in (
        "::ffff:0:0/96",  # RFC 4291 section 2.5.5.2
        "64:ff9b::/96",  # RFC 6052
        "64:ff9b:1::/48",  # RFC 8215
        "2001::/32",  # RFC 4380, Teredo
        "2002::/16",  # RFC 3056, 6to4
    )
]
"""IPv4 addresses in disguise, among them private ones, and another name of each host."""


class Price(enum.Enum):
    """What an endpoint costs whoever asks."""

    FREE = "free"
    """It is where we see them."""
    PAID = "paid"
    """Bytes first: it may be anybody's."""
    NEVER = "never"
    """It is not dialled."""


def price_of(target: Endpoint, host: str, own_networks: Iterable[str] = ()) -> Price:
    """What dialling ``target`` costs a peer that we see at ``host``.

    Args:
        target: what it asks for.
        host: the other end of the connection with it, an IP address.
        own_networks: those of this machine, as `crust.nat.interfaces.interface_networks` gives them.
    """
    if target.protocol not in (Protocol.TCP, Protocol.UTP) or not dialable(target, allow_loopback=True):
        return Price.NEVER
    there = ipaddress.ip_address(target.host.partition("%")[0])
    if isinstance(there, ipaddress.IPv6Address) and any(there in network for network in _TRANSLATED):
        return Price.NEVER
    if there == address_of(host):
        return Price.FREE
    # A private address means somebody else here than there; and whoever is on our side of a NAT learns nothing about
    # the outside, but could have us look around in networks that it is shut out of.
    if is_local(target.host) or is_local(host) or target.port < LOWEST_PORT:
        return Price.NEVER
    return Price.NEVER if any(_is_in(there, network) for network in own_networks) else Price.PAID


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    return address in ipaddress.ip_network(network, strict=False)  # of another family: not in it


class DialBackGate:
    """See the module's text. Belongs to one thread; all times are seconds on one clock."""

    def __init__(self) -> None:
        self._askers = Allowances(KNOWN_ASKERS, ASKER_BURST, 1 / ASKER_INTERVAL)
        self._own_hosts = Allowances(KNOWN_ASKERS, OWN_HOST_BURST, 1 / OWN_HOST_INTERVAL)
        self._victims = Allowances(KNOWN_ASKERS, VICTIM_BURST, 1 / VICTIM_INTERVAL)
        self._networks = Allowances(KNOWN_ASKERS, VICTIM_NETWORK_BURST, 1 / VICTIM_NETWORK_INTERVAL)
        self._elsewhere = Allowance(ELSEWHERE_BURST, 1 / ELSEWHERE_INTERVAL)
        self._total = Allowance(DIAL_BACK_BURST, 1 / DIAL_BACK_INTERVAL)

    def admit_request(self, peer_id: PeerId, now: float) -> bool:
        """Whether a peer may ask (once more); it counts."""
        return self._askers.take(peer_id, now)

    def worth_paying(self, now: float) -> bool:
        """Whether a host where we do not see who asks could be dialled now. Does not count."""
        return self._elsewhere.wait(now) == 0

    def admit_dial(self, target: Endpoint, price: Price, now: float) -> bool:
        """Whether ``target`` may be dialled (once more), if its price is paid; it counts.

        Of hosts elsewhere the bounds on all together go first: nobody can have us forget a victim by naming others.
        """
        if price is Price.FREE:
            return self._own_hosts.take(subscriber(target.host), now) and self._total.take(now)
        return (
            price is Price.PAID
            and self._elsewhere.take(now)
            and self._total.take(now)
            and self._networks.take(neighbourhood(target.host), now)
            and self._victims.take(subscriber(target.host), now)
        )
