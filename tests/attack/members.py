"""Attacks by those who have proved an identity, or could: what comes after the handshake."""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from crust import Config, Endpoint, Identity
from crust.discovery.contact_record import make_record, network_tag
from crust.discovery.gossip_messages import MAX_GIVEN, Give, Have, Sums, gives
from crust.discovery.record_store import BUCKETS, short_id
from crust.errors import CrustError
from crust.limits import MAX_MESSAGE_SIZE
from crust.transport.framing import (
    CONTACTS,
    FIRST,
    FRAGMENT_SIZE,
    MESSAGE,
    MESSAGES,
    NEXT,
    PING,
    control_frame,
    encode_messages,
)
from crust.transport.masking import network_keys
from tests.attack.assault import Aim, pace
from tests.manager.proxy import Proxy
from tests.manager.wire import WirePeer, raw_socket

CROWD = 64  # connections of one attack that holds several
TINY = 64  # bytes of a message of a flood
AT_ONCE = 900  # messages in a frame of a flood
EACH_SECOND = 40.0  # peers that come to break a rule


def settled(aim: Aim, source: str, door: Endpoint | None = None) -> WirePeer:
    """Somebody new who is connected."""
    sock = raw_socket(door or aim.door, source)
    try:
        peer = WirePeer(sock)
        peer.prove()
        peer.settle()
    except BaseException:
        sock.close()
        raise
    sock.settimeout(0.2)  # from now on nobody is waited for for long
    return peer


def comers(aim: Aim, stop: threading.Event, done: Counter[str], most: float = EACH_SECOND) -> Iterator[WirePeer]:
    """Somebody new again and again, from one address after the other, until ``stop``."""
    for due in pace(stop, most):
        for _ in range(min(due, 2)):
            try:
                with settled(aim, aim.source(done["peers"] % 100)) as peer:
                    done["peers"] += 1
                    yield peer
            except (OSError, CrustError, EOFError):
                done["kept out"] += 1


def pour(peer: WirePeer, records: Iterator[bytes], stop: threading.Event, done: Counter[str]) -> None:
    """Send as fast as the other side takes it, until it has enough of us."""
    try:
        for record in records:
            rest = memoryview(peer.seal(record))
            while rest and not stop.is_set():
                try:
                    rest = rest[peer.sock.send(rest) :]
                except TimeoutError:
                    done["times held back"] += 1
            if stop.is_set():
                return
            done["bytes"] += len(record)
    except OSError:
        done["cut off"] += 1


class MessageFlood:
    """A peer that sends small messages without end."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        ((pieces, _, _),) = encode_messages([b"X" * TINY] * AT_ONCE)
        self._frame = b"".join(pieces)

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        for peer in comers(self._aim, stop, done):
            pour(peer, (self._frame for _ in count()), stop, done)


class ControlFlood:
    """Peers that send control frames without end; the answers to PINGs are not read."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        unknown, ping = control_frame(0x5A, {"x": "y" * 100}), control_frame(PING, {"t": 1})
        self._frames = (unknown + ping) * 200

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        for peer in comers(self._aim, stop, done):
            pour(peer, (self._frames for _ in count()), stop, done)


class GossipLiar:
    """Peers that forge contact records, invent nodes and claim to know what nobody knows.

    Records that are good but for their signature or their time are offered in exchanges that we begin, and in answer to
    those of the target. Each liar is ignored after a while, so there are always new ones.
    """

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        config = Config()
        self._tag = network_tag(network_keys(config.network, config.network_key))
        now = int(time.time())
        invented = [self._record(now + 3600) for _ in range(400)]
        forged = [raw[:-1] + bytes((raw[-1] ^ 1,)) for raw in invented]
        old = [self._record(now - 3600) for _ in range(50)]
        self._stocks = [forged, invented, old]

    def _record(self, expiry: int) -> bytes:
        """A node that does not exist, at an address that is not its own."""
        where = (Endpoint.tcp(("127.0.0.1", self._aim.victim)),)
        return make_record(Identity(), self._tag, where, int(time.time() * 1000), expiry).raw

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        for peer in comers(self._aim, stop, done, most=4.0):
            stock = self._stocks[done["peers"] % len(self._stocks)]
            end = time.monotonic() + 1.0
            try:
                for _ in pace(stop, 8.0):
                    self._say(
                        peer, Sums(random.getrandbits(31), [random.getrandbits(48) for _ in range(BUCKETS)]), done
                    )
                    self._answer(peer, stock, done)
                    if time.monotonic() > end:
                        break
            except (OSError, CrustError):
                done["cut off"] += 1

    def _say(self, peer: WirePeer, message: Sums | Have | Give, done: Counter[str]) -> None:
        peer.send_frame(control_frame(CONTACTS, message.content()))
        done["frames"] += 1

    def _answer(self, peer: WirePeer, stock: list[bytes], done: Counter[str]) -> None:
        for kind, content in self._controls(peer):
            if kind != CONTACTS:
                continue
            if "have" in content:
                for give in gives(content["x"], random.sample(stock, min(len(stock), MAX_GIVEN)), []):
                    self._say(peer, give, done)
                    done["records"] += len(give.records)
            elif "sums" in content:
                wonders = {short_id(Identity().peer_id): 2**47 for _ in range(100)}
                self._say(peer, Have(content["x"], list(range(BUCKETS)), wonders), done)
            elif "want" in content:
                for give in gives(content["x"], random.sample(stock, min(len(stock), MAX_GIVEN)), []):
                    self._say(peer, give, done)

    def _controls(self, peer: WirePeer) -> list[tuple[int, dict[str, Any]]]:
        try:
            return peer.read_controls()
        except TimeoutError:
            return []


class BitFlips:
    """Peers whose records are damaged by a proxy on their way; each damaged one is a decryption for nothing."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._dice = random.Random(9)
        self._at = 0

    def _spoil(self, data: bytes, position: int, towards: bool) -> bytes:
        index = self._at - position
        if not towards or not 0 <= index < len(data):
            return data
        return data[:index] + bytes((data[index] ^ 1 << self._dice.randrange(8),)) + data[index + 1 :]

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        with Proxy(self._aim.door, self._spoil) as way:
            for _ in pace(stop, EACH_SECOND):
                self._at = self._dice.randrange(2_000, 60_000)  # after the handshake
                try:
                    with settled(self._aim, self._aim.source(0), way.endpoint) as peer:
                        done["peers"] += 1
                        for _ in range(20):
                            peer.send_messages(b"X" * 16_000)
                except (OSError, CrustError, EOFError):
                    done["cut off"] += 1


def lying(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A frame, with a length that may lie."""
    return ((len(body) if length is None else length) << 8 | kind).to_bytes(4, "little") + body


LIES: list[Callable[[], bytes]] = [
    lambda: lying(MESSAGE, b"short", 5000),
    lambda: lying(MESSAGES, (65535).to_bytes(2, "little") + bytes(100)),
    lambda: lying(MESSAGES, b"\x02\x00\xff\xff\xff\xff" + bytes(100)),
    lambda: lying(FIRST, (2**32 - 1).to_bytes(4, "little") + bytes(FRAGMENT_SIZE)),
    lambda: lying(FIRST, (MAX_MESSAGE_SIZE + 1).to_bytes(4, "little") + bytes(FRAGMENT_SIZE)),
    lambda: lying(FIRST, (FRAGMENT_SIZE + 1).to_bytes(4, "little") + bytes(10)),
    lambda: lying(NEXT, bytes(FRAGMENT_SIZE)),
    lambda: lying(PING, b"[" * 4000),
    lambda: lying(PING, b'{"t":' + b"9" * 4000 + b"}"),
    lambda: lying(PING, b'{"t":1,"x":"' + b"y" * 10_000 + b'"}'),
]
"""Small words that promise much, or that take long to read."""


class LyingLengths:
    """Peers whose lengths lie; and others who announce the largest message that there may be, send its first piece (64
    KiB) and no more."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        with contextlib.ExitStack() as stack:
            for number in range(CROWD):
                if stop.is_set():
                    return
                with contextlib.suppress(OSError, CrustError):
                    peer = stack.enter_context(settled(self._aim, self._aim.source(200)))
                    peer.send_frame(lying(FIRST, MAX_MESSAGE_SIZE.to_bytes(4, "little") + os.urandom(FRAGMENT_SIZE)))
                    done["announced, never finished"] = number + 1
            for peer in comers(self._aim, stop, done):
                try:
                    peer.send_frame(LIES[done["peers"] % len(LIES)]())
                    peer.read_until_closed()
                except (OSError, CrustError):
                    done["not closed at once"] += 1
