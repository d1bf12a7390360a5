"""Nodes of the simulation that lie, each in its own way; their connections are as good as any."""

import base64
from typing import Any, Final

from crust.discovery.contact_record import SEQUENCE_LIMIT, make_record, network_tag
from crust.discovery.gossip_messages import Give, Have, Sums, parse_message
from crust.endpoint import Endpoint
from crust.identity import Identity, PeerId
from tests.discovery.gossip_world import KEYS, Node

_LISTED: Final = 60


class Liar(Node):
    """What a liar does is in `lie`, in place of what an honest node would send."""

    def send(self, peer: PeerId, content: dict[str, Any]) -> None:
        for each in self.lie(parse_message(content)):
            super().send(peer, each.content())

    def lie(self, message: Sums | Have | Give) -> list[Sums | Have | Give]:
        raise NotImplementedError

    def pretend(self, message: Have) -> Have:
        """To have the latest of everybody, so that the other side asks for it."""
        return Have(message.number, list(range(64)), dict.fromkeys(message.entries, SEQUENCE_LIMIT - 1))


class Forger(Liar):
    """Changes what others signed: to lead everybody to itself, say."""

    def lie(self, message: Sums | Have | Give) -> list[Sums | Have | Give]:
        if isinstance(message, Have):
            return [self.pretend(message)]
        if isinstance(message, Give):
            return [Give(message.number, [self._forge(text) for text in message.records], message.wanted)]
        return [message]

    def _forge(self, text: str) -> str:
        raw = base64.b64decode(text)
        later = (int.from_bytes(raw[3:9], "big") + 1).to_bytes(6, "big")
        return base64.b64encode(raw[:3] + later + raw[9:]).decode()


class Replayer(Liar):
    """Gives nothing but records that have expired, correctly signed."""

    def start(self) -> None:
        super().start()
        tag = network_tag(KEYS)
        expired = int(self.world.wall) - 7200
        self.stale = []
        for _ in range(_LISTED):
            ghost = Identity(self.random.randbytes(32))
            record = make_record(ghost, tag, (Endpoint.tcp("10.66.6.6:666"),), int(1000 * expired), expired)
            self.stale.append(base64.b64encode(record.raw).decode())

    def lie(self, message: Sums | Have | Give) -> list[Sums | Have | Give]:
        if isinstance(message, Give):
            return [Give(message.number, self.random.sample(self.stale, 10), message.wanted)]
        return [self.pretend(message)] if isinstance(message, Have) else [message]


class Flooder(Liar):
    """Asks everybody twenty times a second."""

    def start(self) -> None:
        super().start()
        self.flood()

    def flood(self) -> None:
        if self.alive:
            for peer in list(self.links):
                super().send(peer, Sums(self.random.getrandbits(32), [self.random.getrandbits(48)]).content())
            self.world.at(0.05, self.flood)

    def lie(self, message: Sums | Have | Give) -> list[Sums | Have | Give]:
        return [message]


class Withholder(Liar):
    """Takes everything and gives nothing but itself."""

    def lie(self, message: Sums | Have | Give) -> list[Sums | Have | Give]:
        if isinstance(message, Have):
            return [Have(message.number, list(range(64)), {})]
        if isinstance(message, Give):
            return [Give(message.number, [], message.wanted)] if message.wanted else []
        return [message]


class Inventor(Liar):
    """Signs records of nodes that do not exist, by the hundred: dead ends for whoever dials them."""

    def start(self) -> None:
        super().start()
        tag = network_tag(KEYS)
        for number in range(100):
            ghost = Identity(self.random.randbytes(32))
            endpoint = Endpoint.tcp(f"10.{self.random.randrange(64)}.200.{number + 1}:5483")
            record = make_record(ghost, tag, (endpoint,), int(1000 * self.world.wall), int(self.world.wall) + 3600)
            self.gossip._store.put(record, None, self.world.now)

    def lie(self, message: Sums | Have | Give) -> list[Sums | Have | Give]:
        return [message]


LIARS: Final = (Forger, Replayer, Flooder, Withholder, Inventor)
