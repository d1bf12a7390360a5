"""Attacks over TCP by those who have proved nothing."""

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from crust import Config, Identity
from crust.transport.aead import supported_ciphers
from crust.transport.handshake import Initiator
from crust.transport.hello import SESSION_SIZE
from crust.transport.masking import NetworkKeys, network_keys
from tests.attack.assault import Aim, pace

HELD = 4000  # connections at a time
PER_SECOND = 1000.0  # connections that are begun
DRIP_EVERY = 0.2  # seconds between the bytes of a slow one


class Crowd:
    """Connections that are begun at a pace; each says its word and then whatever `drip` has for it.

    Args:
        aim: the target.
        sources: how many addresses they come from.
        word: what each says first; asked again for each.
        per_second: how many are begun.
        leaves: whether one that was answered goes at once, to begin anew.
        drip: whether to go on byte by byte.
    """

    def __init__(
        self,
        aim: Aim,
        *,
        sources: int,
        word: Callable[[], bytes] = bytes,
        per_second: float = PER_SECOND,
        leaves: bool = False,
        drip: bool = False,
    ) -> None:
        self._aim = aim
        self._sources = sources
        self._word = word
        self._per_second = per_second
        self._leaves = leaves
        self._drip = drip
        self._open: dict[socket.socket, int] = {}  # and how much was said
        self._selector = selectors.DefaultSelector()

    def run(self, stop: threading.Event, done: Counter[str]) -> None:
        """See `Assault.run`."""
        done["bytes received"] += 0  # told even if the target neither answered nor closed any
        dripped = time.monotonic()
        for due in pace(stop, self._per_second):
            for _ in range(min(due, HELD - len(self._open))):
                self._begin(done)
            for key, events in self._selector.select(0):
                self._look(key.fileobj, events, done)
            if self._drip and time.monotonic() - dripped > DRIP_EVERY:
                dripped = time.monotonic()
                self._say_a_byte(done)
        for sock in list(self._open):
            self._forget(sock)
        self._selector.close()

    def _begin(self, done: Counter[str]) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        # Ports of those that are closed can be used again at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        try:
            sock.bind((self._aim.source(done["begun"] % self._sources), 0))
            code = sock.connect_ex(("127.0.0.1", self._aim.tcp))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError:
            done["refused by the system"] += 1
            sock.close()
            return
        done["begun"] += 1
        self._open[sock] = 0
        self._selector.register(sock, selectors.EVENT_WRITE | selectors.EVENT_READ)

    def _look(self, sock: Any, events: int, done: Counter[str]) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._selector.modify(sock, selectors.EVENT_READ)
                if not self._drip and (word := self._word()):
                    sock.send(word)
            if not events & selectors.EVENT_READ:
                return
            data = sock.recv(4096)
        except OSError:
            data = b""
        done["bytes received"] += len(data)
        if data:
            done["answered"] += 1
        if self._leaves or not data:
            done["closed on us"] += not data
            self._forget(sock)

    def _say_a_byte(self, done: Counter[str]) -> None:
        word = self._word()
        for sock, said in list(self._open.items()):
            with contextlib.suppress(OSError):
                sock.send(word[said % len(word) : said % len(word) + 1])
                done["bytes dripped"] += 1
            self._open[sock] = said + 1

    def _forget(self, sock: socket.socket) -> None:
        del self._open[sock]
        self._selector.unregister(sock)
        sock.close()


def first_message(keys: NetworkKeys, identity: Identity | None = None) -> bytes:
    """The first message of a handshake."""
    side = Initiator(identity or Identity(), keys, bytes(SESSION_SIZE), supported_ciphers())
    return side.start()


def other_network() -> Callable[[], bytes]:
    """What somebody without the key says: good for any number of connections."""
    word = first_message(network_keys("elsewhere", None))
    return lambda: word


class Supply:
    """Genuine first messages, made ready: each is good once.

    Args:
        aim: for how long they have to last.
    """

    def __init__(self, aim: Aim) -> None:
        config, identity = Config(), Identity()
        keys = network_keys(config.network, config.network_key)
        self._made = [first_message(keys, identity) for _ in range(int(1.5 * PER_SECOND * aim.seconds) + 500)]
        self._next = 0

    def __call__(self) -> bytes:
        """The next one; when all are used, the first again, which is a replay."""
        self._next += 1
        return self._made[self._next % len(self._made)]
