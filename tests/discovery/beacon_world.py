"""A LAN made of `BeaconCore`s in virtual time: deterministic, with delay and loss, and it counts bytes."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count

from crust.discovery.beacon_census import Address
from crust.discovery.beacon_core import BeaconCore, Found
from crust.discovery.beacon_packet import DATAGRAM_SIZE, GUID_SIZE, NONCE_SIZE, Announcement, Message
from crust.identity import PeerId

HEADERS = 28  # bytes of IPv4 and UDP
DELAY = 0.001  # seconds on the wire, at most


def announcement(number: int, tcp: int = 1000, utp: int = 2000) -> Announcement:
    return Announcement(PeerId(number.to_bytes(32)), tcp, utp)


class Lan:
    """Hosts on one wire, each with one beacon.

    Args:
        seed: of all that is random.
        loss: the share of deliveries that come to nothing.
    """

    def __init__(self, seed: int = 1, loss: float = 0.0) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self.loss = loss
        self.cores: dict[Address, BeaconCore] = {}
        self.found: dict[Address, list[Found]] = {}
        self.sent: Counter[str] = Counter()
        self.sent_bytes: Counter[Address] = Counter()
        self.received_bytes: Counter[Address] = Counter()
        self.apart: Callable[[Address, Address], bool] = lambda one, other: False
        self._order = count()
        self._on_wire: list[tuple[float, int, Address, Address, Message, bytes]] = []
        self._due: list[tuple[float, int, Address]] = []
        self._planned: dict[Address, float] = {}  # other entries of _due are out of date

    def join(self, about: Announcement | None = None, *, hidden: bool = False, seeks: bool = True) -> Address:
        """A new host with a beacon, which asks at once."""
        number = len(self.found) + 1
        address: Address = (f"10.0.{number >> 8}.{number & 255}", 40_000)
        about = about or announcement(number)
        rng = random.Random(self.random.random())
        core = BeaconCore(number.to_bytes(GUID_SIZE), lambda: about, rng, self.now, hidden=hidden)
        self.cores[address] = core
        self.found[address] = []
        if seeks:
            core.seek(self.now)
        self._plan(address)
        return address

    def seek(self, address: Address) -> None:
        self.cores[address].seek(self.now)
        self._plan(address)

    def leave(self, address: Address) -> None:
        del self.cores[address]

    def _plan(self, address: Address) -> None:
        when = self._planned[address] = self.cores[address].next_deadline()
        heapq.heappush(self._due, (when, next(self._order), address))

    def send(self, sender: Address, to: Address | None, message: Message) -> None:
        """Put a message on the wire; ``to`` ``None`` is everybody."""
        self.sent[message.kind.name] += 1
        self.sent_bytes[sender] += DATAGRAM_SIZE + HEADERS
        nonce = next(self._order).to_bytes(NONCE_SIZE)
        for receiver in list(self.cores) if to is None else [to]:
            if receiver in self.cores and not self.apart(sender, receiver) and self.random.random() >= self.loss:
                at = self.now + self.random.random() * DELAY
                heapq.heappush(self._on_wire, (at, next(self._order), receiver, sender, message, nonce))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            times = [heap[0][0] for heap in (self._on_wire, self._due) if heap]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            if self._on_wire and self._on_wire[0][0] <= self.now:
                _, _, receiver, sender, message, nonce = heapq.heappop(self._on_wire)
                if receiver in self.cores:
                    if receiver != sender:
                        self.received_bytes[receiver] += DATAGRAM_SIZE + HEADERS
                    self._deliver(receiver, sender, message, nonce)
            else:
                when, _, address = heapq.heappop(self._due)
                if address in self.cores and when == self._planned[address]:
                    self._act(address)
        self.now = end

    def _deliver(self, receiver: Address, sender: Address, message: Message, nonce: bytes) -> None:
        core = self.cores[receiver]
        before = core.next_deadline()
        core.receive(message, nonce, sender, self.now)
        self.found[receiver] += core.found()
        if core.next_deadline() < before:
            self._plan(receiver)

    def _act(self, address: Address) -> None:
        core = self.cores[address]
        for message, to in core.outgoing(self.now):
            self.send(address, to, message)
        self._plan(address)

    def known(self, address: Address) -> set[str]:
        """The hosts that a beacon has found."""
        return {found.host for found in self.found[address]}
