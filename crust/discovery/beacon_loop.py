"""What the thread of a `crust.discovery.beacon.Beacon` does: sockets and interfaces on one side, the core on the other.

No error ends it: what goes wrong with a datagram, an interface or a callback is logged, and it goes on.
"""

import logging
import os
import random
import selectors
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from crust.defence.allowance import Allowance
from crust.discovery.beacon_core import BeaconCore, Found
from crust.discovery.beacon_links import Link
from crust.discovery.beacon_packet import GUID_SIZE, NONCE_SIZE, Announcement, Seal
from crust.discovery.beacon_sockets import BeaconSockets
from crust.discovery.link_watch import LinkWatch
from crust.errors import Malformed
from crust.threads import clock
from crust.threads.waker import selector_with_waker

log = logging.getLogger("crust.beacon")

RESCAN_INTERVAL: Final = 30.0
"""Seconds between looks at the interfaces where the system does not tell of changes, or a port was busy."""
SETTLE: Final = 0.05
"""Seconds from the first sign of a change to a look at the interfaces: most changes come in groups."""
FLOOD_BURST: Final = 4096
FLOOD_PER_SECOND: Final = 1000.0
"""Datagrams that are looked at; the system drops the rest. A thousand nodes that start together send no more than the
burst, and a flood costs this node less than a tenth of a CPU."""
_FLOOD_PAUSE: Final = 100.0  # datagrams that must be allowed again before we look: 0.1 s
_AT_ONCE: Final = 64  # datagrams of one socket before the others have their turn
_PAUSE_AFTER_ERROR: Final = 1.0  # seconds, so that an error that stays does not make a busy loop


class Wishes(NamedTuple):
    """What was asked for since the last time."""

    stop: bool
    seek: bool


class BeaconLoop:
    """See the module's text. `run` is the thread; `wake` is for any thread, until `close`.

    Args:
        port: where to hear; 0 for any.
        towards: where others hear.
        seal: of the network.
        own: what to tell of this node.
        report: gets who was found.
        wishes: takes what was asked for.
        find_links: the interfaces.

    Raises:
        OSError: there are no descriptors left.
    """

    def __init__(
        self,
        port: int,
        towards: int,
        seal: Seal,
        own: Callable[[], Announcement],
        report: Callable[[Found], None],
        wishes: Callable[[], Wishes],
        find_links: Callable[[], list[Link]],
    ) -> None:
        self._seal = seal
        self._report = report
        self._wishes = wishes
        self._find_links = find_links
        self.core = BeaconCore(os.urandom(GUID_SIZE), own, random.SystemRandom(), clock.now(), hidden=port == 0)
        self._selector, self._waker = selector_with_waker()
        try:
            self._wake_only = selectors.DefaultSelector()
            self._wake_only.register(self._waker, selectors.EVENT_READ)
        except OSError:
            self._selector.close()
            self._waker.close()
            raise
        self.sockets = BeaconSockets(port, towards, self._selector)
        self._watch: LinkWatch | None = None
        self._flood = Allowance(FLOOD_BURST, FLOOD_PER_SECOND)
        self._deaf_until = 0.0
        self._rescan_at = 0.0
        self._came_up: set[int] = set()

    def wake(self) -> None:
        """Let the thread look at the wishes."""
        self._waker.wake()

    def open(self) -> None:
        """Open what can be opened, and begin to ask."""
        try:
            self._watch = LinkWatch()
            self._selector.register(self._watch, selectors.EVENT_READ)
        except OSError as error:
            log.debug("interfaces are looked at every %g s: %s", RESCAN_INTERVAL, error)
        self._turn_guarded(self._rescan)

    def close(self) -> None:
        """Free everything. After `run` has ended, or instead of it."""
        self.sockets.close()
        if self._watch is not None:
            self._watch.close()
        self._selector.close()
        self._wake_only.close()
        self._waker.close()

    def run(self) -> None:
        """Until it is wished to stop."""
        while True:
            wishes = self._wishes()
            if wishes.stop:
                return
            if wishes.seek:
                self.core.seek(clock.now())
            self._turn_guarded(self._turn)

    def _turn_guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:  # the system is short of something: no descriptors are left, say
            log.warning("the beacon goes on after an error: %s", error)
            self._wait(self._wake_only, _PAUSE_AFTER_ERROR)
        except Exception:
            log.exception("the beacon goes on after an error; please report this")
            self._wait(self._wake_only, _PAUSE_AFTER_ERROR)

    def _turn(self) -> None:
        now = clock.now()
        if now >= self._rescan_at:
            self._rescan()
        for message, to in self.core.outgoing(now):
            self.core.counters["sent"] += 1
            if to is None:
                self.sockets.send_to_all(partial(self._seal.close, message))
            else:
                self.sockets.send(self._seal.close(message), to)
        until = min(self.core.next_deadline(), self._rescan_at)
        if now < self._deaf_until:
            self._wait(self._wake_only, min(until, self._deaf_until) - now)
        else:
            self._wait(self._selector, until - now)
        for found in self.core.found():
            self._report(found)
        if not self.sockets.complete:  # one was given up
            self._rescan_at = min(self._rescan_at, now + RESCAN_INTERVAL)

    def _wait(self, selector: selectors.BaseSelector, seconds: float) -> None:
        for key, _ in selector.select(None if seconds == float("inf") else max(seconds, 0.0)):
            if key.fileobj is self._waker:
                self._waker.clear()
            elif key.fileobj is self._watch:
                self._came_up |= self._watch.came_up()
                self._rescan_at = min(self._rescan_at, clock.now() + SETTLE)
            elif isinstance(key.fileobj, socket.socket):
                self._read(key.fileobj)

    def _read(self, sock: socket.socket) -> None:
        now = clock.now()
        for _ in range(_AT_ONCE):
            if not self._flood.take(now):
                self.core.counters["floods"] += 1
                self._deaf_until = now + self._flood.wait(now, _FLOOD_PAUSE)
                return
            received = self.sockets.receive(sock)
            if received is None:
                return
            datagram, address = received
            try:
                message = self._seal.open(datagram)
            except Malformed as error:
                self.core.counters["malformed"] += 1
                log.debug("from %s: %s", address[0], error)
                continue
            if message is None:
                self.core.counters["foreign"] += 1
            else:
                self.core.receive(message, datagram[:NONCE_SIZE], address, now)

    def _rescan(self) -> None:
        now = clock.now()
        # First, so that an error below is not repeated without end.
        self._rescan_at = now + RESCAN_INTERVAL
        came_up, self._came_up = self._came_up, set()
        if self.sockets.refresh(self._find_links(), came_up):
            self.core.seek(now)
        if self._watch is not None and self.sockets.complete:
            self._rescan_at = float("inf")
