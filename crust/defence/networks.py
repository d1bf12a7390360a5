"""`NetworkSet`: many IP networks, and whether an address is in any of them. Pure."""

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_REMEMBERED: Final = 1024  # answers for addresses; those that talk to us are asked about again and again


def network_of(text: str) -> Network:
    """A network, or a single address as one; IPv4 inside IPv6 (``::ffff:192.0.2.1``) is IPv4, scopes do not count.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text.partition("%")[0], strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def address_of(text: str) -> Address | None:
    """An IP address as `network_of` reads them; ``None`` for anything else, such as a host name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def text_of(network: Network) -> str:
    """A network as people write it: a single address without its length."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


@lru_cache(maxsize=_REMEMBERED)
def neighbourhood(host: str) -> str:
    """The network that one subscriber may have to themselves, or one that neighbours share: the /24 of an IPv4 address,
    the /64 of an IPv6 address. Addresses of this machine itself, and what is no address, stand for themselves."""
    address = address_of(host)
    if address is None or address.is_loopback:
        return host
    length = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, length), strict=False))


@lru_cache(maxsize=_REMEMBERED)
def subscriber(host: str) -> str:
    """What one who is up to no good has one of: an IPv4 address, but the /64 of an IPv6 address, of which any host may
    take as many addresses as it likes."""
    address = address_of(host)
    return str(address) if address is not None and address.version == 4 else neighbourhood(host)


class NetworkSet:
    """See the module's text. A look-up takes a step for each *length* of prefix that is there, however many networks.

    Any thread may look something up; changes are made by one thread at a time.
    """

    def __init__(self) -> None:
        # By version of IP: the prefixes of each length, as (bits to the right of the prefix, prefixes). The tuples are
        # replaced and never changed, so who looks something up needs no lock.
        self._lengths: dict[int, tuple[tuple[int, set[int]], ...]] = {4: (), 6: ()}

    def add(self, network: Network) -> None:
        """One more. Idempotent."""
        shift = network.max_prefixlen - network.prefixlen
        prefix = int(network.network_address) >> shift
        for known, prefixes in self._lengths[network.version]:
            if known == shift:
                prefixes.add(prefix)
                return
        self._lengths[network.version] += ((shift, {prefix}),)

    def discard(self, network: Network) -> None:
        """Not that one any more. Idempotent; others that hold the same addresses stay."""
        shift = network.max_prefixlen - network.prefixlen
        for known, prefixes in self._lengths[network.version]:
            if known == shift:
                prefixes.discard(int(network.network_address) >> shift)
        self._lengths[network.version] = tuple(pair for pair in self._lengths[network.version] if pair[1])

    def has(self, network: Network) -> bool:
        """Whether this very network is there."""
        shift = network.max_prefixlen - network.prefixlen
        prefix = int(network.network_address) >> shift
        return any(known == shift and prefix in prefixes for known, prefixes in self._lengths[network.version])

    def __contains__(self, address: Address) -> bool:
        """Whether the address is in any of the networks."""
        number = int(address)
        return any(number >> shift in prefixes for shift, prefixes in self._lengths[address.version])

    def __bool__(self) -> bool:
        return any(self._lengths.values())

    def __len__(self) -> int:
        return sum(len(prefixes) for lengths in self._lengths.values() for _, prefixes in lengths)

    def __iter__(self) -> Iterator[Network]:
        """All, IPv4 first, in the order of their addresses."""
        return map(network_of, self.texts())

    def texts(self) -> Iterator[str]:
        """The same as `text_of` gives each; of numbers, not of networks, as there may be hundreds of thousands."""
        for version, lengths in self._lengths.items():
            make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
            bits = 32 if version == 4 else 128
            for number, length in sorted(
                (p << shift, bits - shift) for shift, prefixes in lengths for p in list(prefixes)
            ):
                yield str(make(number)) if length == bits else f"{make(number)}/{length}"
