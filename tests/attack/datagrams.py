"""Attacks by datagrams, whose senders can say that they are anybody."""

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from crust import Config, Identity
from crust.discovery.beacon_packet import DATAGRAM_SIZE, GUID_SIZE, TOKEN_SIZE, Announcement, Kind, Message, Seal
from crust.nat import stun
from crust.transport.masking import network_keys
from crust.transport.utp.packet import Packet, PacketType, could_be_utp, decode, encode
from tests.attack.assault import Aim, Forger, pace

PER_SECOND = 10_000.0  # datagrams of a flood
WINDOW = 1 << 20
MADE = 4000  # beacons that are made ready


def utp(kind: PacketType, number: int = 0, *, seq: int = 0, ack: int = 0, payload: bytes = b"") -> bytes:
    """A uTP packet with the connection id ``number``."""
    stamp = int(time.monotonic() * 1e6) & 0xFFFF_FFFF
    return encode(Packet(kind, number & 0xFFFF, stamp, 0, WINDOW, seq & 0xFFFF, ack & 0xFFFF, payload=payload))


class SynFlood:
    """SYNs, each from another address, none of which ever answers."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        forger, target, dice = Forger(self._aim.source(62_000)), ("127.0.0.1", self._aim.utp), random.Random(1)
        for due in pace(stop, PER_SECOND):
            for _ in range(due):
                data = utp(PacketType.SYN, dice.getrandbits(16), seq=dice.getrandbits(16))
                done["SYNs" if forger.send(data, self._aim.source(dice.randrange(62_000)), target) else "not sent"] += 1
        forger.close()


class SilentCallers:
    """uTP connections from many addresses that prove to receive there, and say nothing."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        forger, target = Forger("0.0.0.0"), ("127.0.0.1", self._aim.utp)
        asked: dict[str, tuple[int, int]] = {}
        for due in pace(stop, 500.0):
            for _ in range(due):
                number = done["SYNs"] = done["SYNs"] + 1
                source = self._aim.source(number)
                asked[source] = (number & 0xFFFF, number * 7 & 0xFFFF)
                forger.send(utp(PacketType.SYN, asked[source][0], seq=asked[source][1]), source, target)
            while (got := forger.receive()) is not None:
                data, source = got
                if not could_be_utp(data) or source not in asked:
                    continue
                answer, (number, seq) = decode(data), asked.pop(source)
                if answer.type == PacketType.STATE:
                    done["connections"] += 1
                    proof = utp(PacketType.DATA, number + 1, seq=seq + 1, ack=answer.seq_nr, payload=b"?")
                    forger.send(proof, source, target)
        forger.close()


class ResetFlood:
    """Packets in the name of an honest peer that would end its connection, or spoil it, if they were believed."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        aim, dice = self._aim, random.Random(2)
        to_target = Forger(aim.source(0), aim.victim), ("127.0.0.1", aim.utp)
        to_peer = Forger(aim.source(1), aim.utp), ("127.0.0.1", aim.victim)
        kinds = [PacketType.RESET] * 6 + [PacketType.FIN, PacketType.STATE, PacketType.DATA, PacketType.SYN]
        for due in pace(stop, PER_SECOND):
            for number in range(due):
                kind, payload = dice.choice(kinds), b""
                if kind is PacketType.DATA:
                    payload = bytes(100)
                seq, ack = dice.getrandbits(16), dice.getrandbits(16)
                data = utp(kind, dice.getrandbits(16), seq=seq, ack=ack, payload=payload)
                forger, target = to_peer if number % 2 else to_target
                done[kind.name if forger.send(data, "127.0.0.1", target) else "not sent"] += 1
        for forger, _ in (to_target, to_peer):
            forger.close()


def seal() -> Seal:
    """That of a member."""
    config = Config()
    return Seal(network_keys(config.network, config.network_key))


def beacon(kind: Kind, by: Seal) -> bytes:
    """What a node that does not exist says to all."""
    about = Announcement(Identity().peer_id, random.randrange(1, 65536), random.randrange(65536))
    token, echo = os.urandom(TOKEN_SIZE), os.urandom(TOKEN_SIZE)
    return by.close(Message(kind, os.urandom(GUID_SIZE), about, token, echo))


class BeaconStorm:
    """Beacons of nodes that do not exist, of all kinds, from everywhere on the network; and noise of the same size."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        by = seal()
        self._made = [beacon(random.choice(list(Kind)), by) for _ in range(MADE)]
        self._made += [os.urandom(DATAGRAM_SIZE) for _ in range(MADE // 4)]
        random.shuffle(self._made)

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        forger, target = Forger(self._aim.source(62_000)), ("127.0.0.1", self._aim.beacon)
        for due in pace(stop, PER_SECOND / 2):
            for _ in range(due):
                number = done["beacons"] = done["beacons"] + 1
                forger.send(self._made[number % len(self._made)], self._aim.source(number % 60_000), target)
        forger.close()


# --- reflection -----------------------------------------------------------------------------------------


class Bait(NamedTuple):
    """What might make the target send something to a victim."""

    name: str
    make: Callable[[], bytes]
    to_beacon: bool = False


def binding(*attributes: tuple[int, bytes], kind: stun.Kind = stun.Kind.REQUEST, padding: int = 0) -> bytes:
    """A message of STUN."""
    padded = (*attributes, (0x8026, bytes(padding))) if padding else attributes
    return stun.Message(kind, os.urandom(stun.TRANSACTION_SIZE), padded).encode()


def baits() -> list[Bait]:
    """All kinds."""
    by = seal()
    sizes = (0, 8, 24, 200, 1200)
    return [
        *(Bait(f"STUN request, {size} of padding", lambda size=size: binding(padding=size)) for size in sizes),  # type: ignore[misc]
        Bait("STUN request that is not understood", lambda: binding(*[(number, b"") for number in range(0x30, 0x50)])),
        Bait("STUN request to answer elsewhere", lambda: binding((stun.Attribute.CHANGE_REQUEST, bytes((0, 0, 0, 6))))),
        Bait("STUN indication", lambda: binding(kind=stun.Kind.INDICATION, padding=100)),
        Bait("STUN answer", lambda: binding(kind=stun.Kind.SUCCESS, padding=100)),
        Bait("STUN request cut off", lambda: binding(padding=100)[:40]),
        Bait("bare STUN header", lambda: binding()[:20]),
        *(
            Bait(f"uTP {kind.name}", lambda kind=kind: utp(kind, _any(), seq=_any(), ack=_any()))  # type: ignore[misc]
            for kind in PacketType
        ),
        Bait("uTP DATA of a whole packet", lambda: utp(PacketType.DATA, _any(), seq=_any(), payload=bytes(1000))),
        Bait("uTP SYN cut off", lambda: utp(PacketType.SYN, _any(), seq=_any())[:19]),
        Bait("noise", lambda: os.urandom(40)),
        *(Bait(f"beacon {kind.name}", lambda kind=kind: beacon(kind, by), to_beacon=True) for kind in Kind),  # type: ignore[misc]
    ]


def _any() -> int:
    return random.getrandbits(16)


class Reflection:
    """Datagrams in the name of a victim, which counts what it gets. For each kind the victim has an address of its own.

    What is counted is payload: with the headers, which are the same for each datagram, the ratio is nearer to one.
    """

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._baits = baits()
        self._victims = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in self._baits]
        self._victims[0].bind((aim.source(1000), 0))
        port = self._victims[0].getsockname()[1]
        for number, victim in enumerate(self._victims[1:], start=1001):
            victim.bind((aim.source(number), port))
        for victim in self._victims:
            victim.setblocking(False)
        self._forger = Forger(aim.source(2000), port)

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        for due in pace(stop, PER_SECOND / 4):
            for _ in range(due):
                number = done["datagrams"] % len(self._baits)
                bait, data = self._baits[number], self._baits[number].make()
                target = ("127.0.0.1", self._aim.beacon if bait.to_beacon else self._aim.utp)
                if self._forger.send(data, self._aim.source(1000 + number), target):
                    done["datagrams"] += 1
                    done[f"sent: {bait.name}"] += len(data)
            self._collect(done)
        threading.Event().wait(1.5)  # answers may be late: those of beacons by half a second
        self._collect(done)
        for sock in (*self._victims, self._forger):
            sock.close()

    def _collect(self, done: Counter[str]) -> None:
        for bait, victim in zip(self._baits, self._victims, strict=True):
            try:
                while True:
                    done[f"got: {bait.name}"] += len(victim.recv(4096))
                    done["answers"] += 1
            except BlockingIOError:
                continue
