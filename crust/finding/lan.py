"""`Lan`: the beacon of a manager, and what it brings to the manager's inbox: who is there, and that the interfaces of
this machine have changed."""

import logging
import threading
from collections import deque
from functools import partial
from typing import Final

from crust.config import Config
from crust.connecting.notices import Inbox, LanNews
from crust.discovery.beacon import Beacon
from crust.discovery.beacon_packet import Announcement
from crust.discovery.contact import Contact
from crust.discovery.link_watch import LinkWatch
from crust.discovery.reach import isolated, links_towards, on_this_machine_only
from crust.identity import PeerId

log = logging.getLogger("crust.lan")

MAX_WAITING_FOUND: Final = 1024
"""Contacts that wait for the manager thread; the oldest go first. As many as a beacon remembers to have proved."""


class Lan:
    """See the module's text. Methods are for any thread. Making one starts nothing.

    Args:
        config: for the network, ``beacon_port`` and ``listen_addresses``.
        peer_id: ours.
        inbox: the manager's; one `LanNews` is in it at most.
    """

    def __init__(self, config: Config, peer_id: PeerId, inbox: Inbox) -> None:
        self._config = config
        self._inbox = inbox
        self._lock = threading.Lock()  # guards all below; held while the beacon opens its sockets
        self._about = Announcement(peer_id, 0, 0)  # replaced whole, read by the beacon's thread
        self._beacon: Beacon | None = None
        self._why_not = self._reason_for_silence()
        self._news = threading.Lock()  # guards the next three
        self._found: deque[Contact] = deque(maxlen=MAX_WAITING_FOUND)
        self._changed = False
        self._told = False

    def _reason_for_silence(self) -> str:
        if self._config.beacon_port is None:
            return "off (beacon_port is null)"
        if isolated() and not on_this_machine_only(self._config.listen_addresses):
            return "off (CRUST_ISOLATED is set)"
        return ""

    @property
    def possible(self) -> bool:
        """Whether there is or can be a beacon."""
        return not self._why_not

    @property
    def state(self) -> str:
        """For people."""
        beacon = self._beacon
        if beacon is None:
            return self._why_not or "not started"
        return _state(beacon.acceptor_port, beacon.deaf)

    @property
    def acceptor_port(self) -> int | None:
        """Where others are heard; ``None`` for nowhere."""
        beacon = self._beacon
        return None if beacon is None else beacon.acceptor_port

    def start(self, tcp_port: int = 0, utp_port: int = 0) -> None:
        """Run the beacon, if the configuration wants one, and tell others of these ports (0: of none). Idempotent."""
        with self._lock:
            if tcp_port or utp_port:
                self._about = self._about._replace(tcp_port=tcp_port, utp_port=utp_port)
            if self._beacon is not None or self._why_not:
                return
            beacon = Beacon(
                self._config,
                lambda: self._about,
                self._on_found,
                find_links=partial(links_towards, self._config.listen_addresses),
                on_change=self._on_change,
            )
            try:
                beacon.start()
            except (OSError, RuntimeError) as error:
                self._why_not = f"could not be started: {error}"
                log.warning("there is no beacon, so nodes of the local network do not find each other: %s", error)
                return
            self._beacon = beacon

    def seek(self) -> None:
        """Ask who is there, if the beacon runs."""
        beacon = self._beacon
        if beacon is not None:
            beacon.seek()

    def watch_links(self) -> LinkWatch | None:
        """What tells of changes of the interfaces where no beacon does, for a thread that waits for it and then calls
        `links_changed`; ``None`` where a beacon does, or the system does not tell."""
        if self.possible:
            return None
        try:
            return LinkWatch()
        except OSError as error:
            log.debug("interfaces are looked at from time to time: %s", error)
            return None

    def links_changed(self, watch: LinkWatch) -> None:
        """It has something to tell. For the thread that waits for it."""
        watch.came_up()
        self._on_change()

    def take_news(self) -> tuple[list[Contact], bool]:
        """Those found since the last time, and whether interfaces may have changed. For the manager thread."""
        with self._news:
            found, changed = list(self._found), self._changed
            self._found.clear()
            self._changed = self._told = False
        return found, changed

    def stop(self) -> None:
        """End the beacon for good. Idempotent."""
        with self._lock:
            self._why_not = self._why_not or "stopped"
            beacon, self._beacon = self._beacon, None
        if beacon is not None:
            beacon.stop()

    # --- the beacon's thread, or the one that waits for `watch_links` ---------------------------------

    def _on_found(self, contact: Contact) -> None:
        with self._news:
            self._found.append(contact)
            self._tell()

    def _on_change(self) -> None:
        with self._news:
            self._changed = True
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._inbox.put(LanNews())


def _state(port: int | None, deaf: tuple[tuple[int, str], ...]) -> str:
    """What people read of a beacon that runs.

    Args:
        port: where it hears others; ``None`` for nowhere.
        deaf: versions of IP over which it does not, and why.
    """
    if port is None:
        return "does not hear others" + (f": {deaf[0][1]}" if deaf else "")
    but = "".join(f"; not over IPv{version}: {why}" for version, why in deaf)
    return f"hears others on UDP port {port}{but}"
