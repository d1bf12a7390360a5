"""`Beacon`: finds the other nodes of the network on the LAN, and lets them find this one (docs/discovery.md)."""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from crust.config import DEFAULT_BEACON_PORT, Config
from crust.discovery.beacon_core import Found
from crust.discovery.beacon_links import Link, links
from crust.discovery.beacon_loop import BeaconLoop, Wishes
from crust.discovery.beacon_packet import Announcement, Seal
from crust.discovery.contact import Contact, Source, dialable
from crust.endpoint import Endpoint
from crust.threads.workers import start_thread
from crust.transport.masking import network_keys

log = logging.getLogger("crust.beacon")


class Beacon:
    """A thread that asks, answers and announces on every interface. Methods are for any thread.

    Nothing happens before `start`. A contact is what somebody who has the network's key, and did answer from that
    address, says; who is really there, the handshake shows.

    Args:
        config: for the network's keys, and ``beacon_port``: where to hear others; 0 for a free port, which nobody
            knows, and then this node asks without telling of itself.
        own: what to tell of this node, called each time, on the beacon's thread; must not block.
        on_found: called on the beacon's thread for each node that answers, and again for the same after `seek`; must
            not block. A node with several addresses is found at each.
        towards: the port where others hear; by default ``beacon_port``, or the usual one where that is 0.
        find_links: the interfaces to speak on.
        on_change: called on the beacon's thread when something about the interfaces of this machine may have changed;
            must not block.

    Raises:
        ValueError: ``config.beacon_port`` is ``None``.
    """

    def __init__(
        self,
        config: Config,
        own: Callable[[], Announcement],
        on_found: Callable[[Contact], None],
        *,
        towards: int | None = None,
        find_links: Callable[[], list[Link]] = links,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        if config.beacon_port is None:
            raise ValueError("there is to be no beacon: beacon_port is null")
        self._port: int = config.beacon_port
        self._towards = towards or config.beacon_port or DEFAULT_BEACON_PORT
        self._seal = Seal(network_keys(config.network, config.network_key))
        self._own = own
        self._on_found = on_found
        self._find_links = find_links
        self._on_change = on_change
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: BeaconLoop | None = None
        self._stopping = False
        self._seeking = True
        self._counters: Counter[str] = Counter()

    def start(self) -> None:
        """Open the sockets, and begin with a round of asking. When it returns, others are heard.

        What cannot be opened is logged, and tried again later.

        Raises:
            RuntimeError: it was started or stopped before, or the system has no more threads.
            OSError: there are no descriptors left.
        """
        with self._lock:
            if self._thread is not None or self._stopping:
                raise RuntimeError("a beacon starts once")
            loop = BeaconLoop(self._port, self._towards, self._seal, self._own, self._report, self._wishes, self._links)
            self._counters = loop.core.counters
            try:
                loop.open()
                # It needs our lock before it can end, so that it cannot miss being known here.
                self._thread = start_thread("beacon", self._run, loop)
            except BaseException:
                loop.close()
                raise
            self._loop = loop

    def seek(self) -> None:
        """Ask now; all who answer are reported. Without effect unless it runs."""
        with self._lock:
            self._seeking = True
            if self._loop is not None:
                self._loop.wake()

    def stop(self) -> None:
        """End the thread and free the ports. Idempotent. From the beacon's own thread it returns before the end."""
        with self._lock:
            self._stopping = True
            thread = self._thread
            if self._loop is not None:
                self._loop.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @property
    def acceptor_port(self) -> int | None:
        """Where others are heard; ``None`` when it does not run, or that port could not be opened."""
        with self._lock:
            return None if self._loop is None else self._loop.sockets.hearing_port

    @property
    def deaf(self) -> tuple[tuple[int, str], ...]:
        """Versions of IP over which others are not heard, and why."""
        with self._lock:
            return () if self._loop is None else self._loop.sockets.deaf

    @property
    def counters(self) -> Counter[str]:
        """Datagrams so far: ``sent``; those received, by kind and by why they were passed over (``foreign``, ...)."""
        return self._counters.copy()

    # --- on the beacon's thread ---
    def _run(self, loop: BeaconLoop) -> None:
        try:
            loop.run()
        finally:
            with self._lock:
                self._loop = None
                loop.close()

    def _wishes(self) -> Wishes:
        with self._lock:
            seeking, self._seeking = self._seeking, False
            return Wishes(self._stopping, seeking)

    def _links(self) -> list[Link]:
        """Asked for when something has changed, and now and then."""
        try:
            self._on_change()
        except Exception:
            log.exception("what was to be told of a change of the interfaces failed; please report this")
        return self._find_links()

    def _report(self, found: Found) -> None:
        contact = contact_of(found)
        if contact is None:
            return
        try:
            self._on_found(contact)
        except Exception:
            log.exception("what was to take a contact of the beacon failed; please report this")


def contact_of(found: Found) -> Contact | None:
    """What `Found` is to the rest of a node; ``None`` if nothing of it can be dialled."""
    ways = (Endpoint.tcp, found.about.tcp_port), (Endpoint.utp, found.about.utp_port)
    endpoints = [kind((found.host, port)) for kind, port in ways]
    # It came from there, on a network that this machine is on: that makes an address worth trying.
    usable = [each for each in endpoints if dialable(each, allow_loopback=True, allow_link_local=True)]
    return Contact(tuple(usable), found.about.peer_id, Source.BEACON) if usable else None
