"""`CacheKeeper`: the bootstrap cache of a manager, opened beside its threads and only when it is needed."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from crust.config import Config
from crust.discovery.bootstrap_cache import BootstrapCache, usual_path
from crust.discovery.cache_record import network_tag
from crust.discovery.contact import Contact, Source
from crust.discovery.contact_book import Promise
from crust.discovery.reach import isolated, on_this_machine_only
from crust.endpoint import Endpoint
from crust.errors import CrustError
from crust.identity import PeerId
from crust.threads.clock import wall_time
from crust.threads.workers import start_thread
from crust.transport.masking import NetworkKeys

log = logging.getLogger("crust.bootstrap_cache")

RECENT: Final = 64
"""Contacts at the head of the cache, without a failure, that are tried before the rest of it."""
MAX_UNTOLD: Final = 1024
"""Changes that wait until the cache is open; the oldest go first."""

Ranked = list[tuple[Contact, Promise]]


class CacheKeeper:
    """See the module's text. Belongs to one thread. Making one opens nothing.

    Args:
        config: for ``cache_file``, ``bootstrap_cache`` and ``listen_addresses``.
        keys: of the network.
        own: our peer id.
        opened: called, on a thread of its own or at once, when the cache is open: what it knows. Called again after
            each `look_again`: what is new.
    """

    def __init__(self, config: Config, keys: NetworkKeys, own: PeerId, opened: Callable[[Ranked], None]) -> None:
        self._config = config
        self._keys = keys
        self._own = own
        self._opened = opened
        self._local = on_this_machine_only(config.listen_addresses)
        self._thread: threading.Thread | None = None
        # Written by the opening thread, once.
        self._cache: BootstrapCache | None = None
        self._path = ""
        self._told: frozenset[tuple[Contact, Promise]] = frozenset()  # written by the one thread there is at a time
        self._untold: deque[Callable[[BootstrapCache], object]] = deque(maxlen=MAX_UNTOLD)
        self._begun = False
        self._taken = False
        self._closed = False

    @property
    def opening(self) -> bool:
        """Whether its contacts are still to come."""
        return self._begun and not self._taken

    @property
    def state(self) -> str:
        """For people."""
        if not self._config.bootstrap_cache:
            return "off (bootstrap_cache is false)"
        if self._cache is None:
            return "being opened" if self._begun else "not opened"
        if self._cache.why_memory:
            return f"in memory only: {self._cache.why_memory}"
        if not self._path:
            why = "peers are on this machine only" if self._local else "CRUST_ISOLATED is set"
            return f"in memory only: {why}, and there is no cache_file"
        return self._path

    def open(self) -> None:
        """Begin to open it, unless that was done. Nothing is awaited; `opened` is called."""
        if self._begun or self._closed or not self._config.bootstrap_cache:
            return
        self._begun = True
        if self._config.cache_file is None and (self._local or isolated()):
            self._open(None)
            return
        try:
            self._thread = start_thread("cache opener", self._open_file)
        except RuntimeError as error:
            log.warning("contacts are remembered in memory only: %s", error)
            self._open(None)

    def look_again(self) -> None:
        """Read it once more, for what other processes have put there. Nothing is awaited; `opened` is called, also if
        nothing is new. Does nothing while it is not open, or being read."""
        if self._closed or not self._taken or not self._path or self._cache is None or self._cache.why_memory:
            return
        self._taken = False
        try:
            self._thread = start_thread("cache reader", self._read, self._cache)
        except RuntimeError as error:
            log.warning("the cache is not read again: %s", error)
            self._taken = True

    def _open_file(self) -> None:
        try:
            self._path = self._config.cache_file or os.fspath(usual_path())
            self._open(self._path)
        except (CrustError, OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
            log.warning("contacts are remembered in memory only: %s", error)
            self._path = ""
            self._open(None)

    def _open(self, path: str | None) -> None:
        tag = network_tag(self._keys.psk)
        cache = BootstrapCache(path, network=tag, own=self._own, allow_loopback=self._local)
        self._cache = cache
        self._read(cache)

    def _read(self, cache: BootstrapCache) -> None:
        failed = {record.endpoint for record in cache.records() if record.failures}
        ranked = _ranked(cache.contacts(), failed)
        before, self._told = self._told, frozenset(ranked)
        self._opened([pair for pair in ranked if pair not in before])

    def taken(self) -> None:
        """What it knows has been taken from `opened`; it may be told now what was said before it was open."""
        self._taken = True
        self._tell_late()

    def _tell_late(self) -> None:
        while self._cache is not None and self._untold:
            self._untold.popleft()(self._cache)

    def worked(self, endpoint: Endpoint, peer_id: PeerId, source: Source) -> None:
        """We dialled ``endpoint`` with success."""
        wall = wall_time()
        self._tell(lambda cache: cache.worked(endpoint, peer_id, source, wall))

    def failed(self, endpoint: Endpoint) -> None:
        """We dialled it in vain."""
        wall = wall_time()
        self._tell(lambda cache: cache.failed(endpoint, wall))

    def remove(self, endpoint: Endpoint) -> None:
        """It is our own."""
        self._tell(lambda cache: cache.remove(endpoint))

    def _tell(self, change: Callable[[BootstrapCache], object]) -> None:
        if self._config.bootstrap_cache:
            self._untold.append(change)
            self._tell_late()

    def close(self) -> None:
        """Save what is still to be saved; waits for that. Idempotent."""
        self._closed = True
        if self._thread is not None:
            self._thread.join()
        self._tell_late()
        if self._cache is not None:
            self._cache.close()


def _ranked(contacts: list[Contact], failed: set[Endpoint]) -> Ranked:
    ranked: Ranked = []
    recent = 0
    for contact in contacts:
        if contact.endpoints[0] in failed:
            ranked.append((contact, Promise.FAILED))
            continue
        recent += 1
        ranked.append((contact, Promise.RECENT if recent <= RECENT else Promise.OLDER))
    return ranked
