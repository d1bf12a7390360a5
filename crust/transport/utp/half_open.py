"""`HalfOpen`: who has sent a SYN and has not yet shown that they receive at their address."""

import ipaddress
from collections import OrderedDict
from typing import NamedTuple

from crust.transport.utp.burst import Address
from crust.transport.utp.constants import HALF_OPEN_SECONDS


class Asked(NamedTuple):
    """All that a SYN makes us remember."""

    their_seq: int
    our_seq: int
    at: float
    network: str


def network_of(address: Address) -> str:
    """The IPv4 address or the IPv6 /64: what one stranger easily has one of."""
    host = address[0]
    if ":" not in host:
        return host
    packed = ipaddress.IPv6Address(host.partition("%")[0]).packed
    return packed[:8].hex()


class HalfOpen:
    """A bounded set of those who asked; the oldest go after `HALF_OPEN_SECONDS`, or where there is no room, at once.

    Args:
        most: in all.
        most_per_network: of one network.
    """

    def __init__(self, most: int, most_per_network: int) -> None:
        self._most = most
        self._most_per_network = most_per_network
        self._asked: OrderedDict[tuple[Address, int], Asked] = OrderedDict()
        self._networks: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def get(self, address: Address, recv_id: int) -> Asked | None:
        """What is known about one."""
        return self._asked.get((address, recv_id))

    def has_room(self, address: Address, now: float) -> bool:
        """Whether `add` would remember one more of that network."""
        self.expire(now)
        return self._networks.get(network_of(address), 0) < self._most_per_network

    def add(self, address: Address, recv_id: int, their_seq: int, our_seq: int, now: float) -> bool:
        """Remember one; ``False``, and nothing is kept, when its network has too many already.

        When there are too many in all, the oldest one is forgotten: an attack from many addresses is over for a SYN
        that comes after it, not for all that come while it lasts.
        """
        self.expire(now)
        network = network_of(address)
        if self._networks.get(network, 0) >= self._most_per_network:
            return False
        if len(self._asked) >= self._most:
            self.remove(*next(iter(self._asked)))
        self._asked[(address, recv_id)] = Asked(their_seq, our_seq, now, network)
        self._networks[network] = self._networks.get(network, 0) + 1
        return True

    def remove(self, address: Address, recv_id: int) -> None:
        """Forget one."""
        asked = self._asked.pop((address, recv_id), None)
        if asked is not None:
            left = self._networks[asked.network] - 1
            if left:
                self._networks[asked.network] = left
            else:
                del self._networks[asked.network]

    def take(self, address: Address) -> tuple[int, Asked] | None:
        """Forget all who asked from exactly this address; the connection id and the record of the one who asked last.

        Who asks once more, under another id, has given up what they asked for before.
        """
        found = None
        for recv_id in [recv_id for known, recv_id in self._asked if known == address]:
            found = recv_id, self._asked[(address, recv_id)]
            self.remove(address, recv_id)
        return found

    def expire(self, now: float) -> None:
        """Forget those who asked too long ago."""
        while self._asked:
            key, asked = next(iter(self._asked.items()))
            if now - asked.at < HALF_OPEN_SECONDS:
                return
            self.remove(*key)
