"""`BootstrapCache`: the contacts that worked, remembered for the next start."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import platformdirs

from crust.discovery.cache_file import ENDING, OPEN_PATIENCE, CacheFile, CacheUnusable, LockBusy
from crust.discovery.cache_record import MAX_CAPACITY, NO_TAG, TAG_SIZE, Record, milliseconds
from crust.discovery.cache_table import CacheTable, by_usefulness, storable
from crust.discovery.contact import Contact, Source
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.files import app_file
from crust.identity import PeerId
from crust.threads.clock import Deadline
from crust.threads.workers import start_thread

log = logging.getLogger("crust.bootstrap_cache")

CAPACITY: Final = 1500  # contacts; 196 KB of file
LOCK_PATIENCE: Final = 1.0  # seconds; the lock is held for milliseconds, unless its holder was stopped
RETRY_AFTER: Final = 30.0  # seconds before a lock that was not to be had is tried again, if nothing new comes
MAX_UNSAVED: Final = 4096  # changes kept while the lock is not to be had; the oldest go first

Change = Callable[[CacheTable], None]


def usual_path(app: str = "crust") -> Path:
    """Where the cache of a program is kept if nothing else is said: ``APP.bootstrap.cache`` in the user's cache
    directory, which is made if it can be.

    Raises:
        ConfigError: ``app`` is no name for a file.
    """
    name = app_file(app, ENDING)
    directory = platformdirs.user_cache_path("crust", appauthor=False)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        log.debug("cannot make %s: %s", directory, error)  # the cache will say so, with what follows from it
    return directory / name


class BootstrapCache:
    """Endpoints that worked for a direct connection, in a file that several processes may share.

    Making one reads the file: some 50 ms for a full one, and `OPEN_PATIENCE` more at the most. Everything else may be
    called from any thread and never waits for the disk or another process (but `flush` and `close` do): changes are
    saved by a thread of its own. When the file cannot be used, at the start or later, a warning says why and contacts
    are remembered in memory. While another process holds the lock because it was stopped, reading goes on and changes
    wait until it is free.

    Args:
        path: the file; ``None`` to remember in memory only. See `usual_path`.
        capacity: the most contacts in a new file, 1 to `MAX_CAPACITY`; one that exists keeps its own.
        network: tag of our network (`crust.discovery.cache_record.network_tag`): contacts of others are kept, but not
            given out.
        own: our own peer id, which is never remembered.
        allow_loopback: whether loopback endpoints are remembered; for tests and demonstrations.
        lock_patience: seconds to wait for another process that is saving.

    Raises:
        ConfigError: ``capacity`` is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        capacity: int = CAPACITY,
        *,
        network: bytes = NO_TAG,
        own: PeerId | None = None,
        allow_loopback: bool = False,
        lock_patience: float = LOCK_PATIENCE,
    ) -> None:
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ConfigError(f"a bootstrap cache holds 1 to {MAX_CAPACITY} contacts, not {capacity}")
        if len(network) != TAG_SIZE:
            raise ConfigError(f"the tag of a network has {TAG_SIZE} bytes")
        self._capacity = capacity
        self._network = network
        self._own = own
        self._allow_loopback = allow_loopback
        self._lock_patience = lock_patience
        self._changed = threading.Condition()  # guards all below
        self._file: CacheFile | None = None
        self._memory: CacheTable | None = None
        self._waiting: list[Change] = []
        self._saving: list[Change] = []
        self._thread: threading.Thread | None = None
        self._busy_told = False
        self._closed = False
        self._why_memory = ""
        if path is None:
            self._memory = CacheTable(capacity)
        else:
            self._open(os.fspath(path))

    def _open(self, path: str) -> None:
        try:
            self._file = CacheFile(path, self._capacity, min(OPEN_PATIENCE, self._lock_patience))
        except CacheUnusable as error:
            self._fall_back(error, error.records)

    # --- what is remembered: any thread, never waits --------------------------------------------------------------

    def storable(self, endpoint: Endpoint) -> bool:
        """Whether `worked` and `add` would remember an endpoint of another node."""
        return storable(endpoint, allow_loopback=self._allow_loopback)

    def worked(self, endpoint: Endpoint, peer_id: PeerId | None, source: Source, wall_now: float) -> bool:
        """A direct connection to ``endpoint`` was made: it accepts incoming connections.

        Args:
            endpoint: where it listens; not the port from which it connected to us.
            peer_id: who answered.
            source: who told us of it.
            wall_now: seconds since the epoch, only for people to read.

        Returns:
            whether it is remembered: not if it is our own, a name, a tracer endpoint, loopback or not dialable.
        """
        if not self.storable(endpoint) or (self._own and peer_id == self._own):
            return False
        wall = milliseconds(wall_now)
        return self._tell(lambda table: table.worked(endpoint, peer_id, source, self._network, wall))

    def failed(self, endpoint: Endpoint, wall_now: float) -> None:
        """Nothing that we can talk to answered at ``endpoint``: it is tried later than others, and evicted earlier."""
        wall = milliseconds(wall_now)
        self._tell(lambda table: table.failed(endpoint, self._network, wall))

    def add(self, endpoint: Endpoint, peer_id: PeerId | None = None) -> bool:
        """The user says that ``endpoint`` is a peer's; whether it is remembered (see `worked`)."""
        if not self.storable(endpoint):
            return False
        return self._tell(lambda table: table.add(endpoint, peer_id, self._network))

    def remove(self, endpoint: Endpoint) -> None:
        """Forget ``endpoint``: it turned out to be our own, or is blacklisted."""
        self._tell(lambda table: table.remove(endpoint, self._network))

    def clear(self) -> None:
        """Forget all contacts, of every network."""
        self._tell(CacheTable.clear)

    def _tell(self, change: Change) -> bool:
        with self._changed:
            if self._closed:
                return False
            if self._memory is not None:
                change(self._memory)
                return True
            self._waiting.append(change)
            del self._waiting[:-MAX_UNSAVED]
            if self._thread is None:
                try:
                    self._thread = start_thread("cache", self._run)
                except RuntimeError as error:
                    log.warning("contacts wait to be saved until there is a thread for it: %s", error)
            self._changed.notify_all()
        return True

    # --- what is known: any thread, never waits -------------------------------------------------------------------

    def contacts(self, limit: int = CAPACITY) -> list[Contact]:
        """The most useful contacts, best first, with what other processes learned. Endpoints of one peer are together.

        Our own are left out only as far as our peer id tells: take away our endpoints of this and earlier runs.
        """
        table = self._table()
        return table.contacts(self._network, limit, own=self._own, allow_loopback=self._allow_loopback)

    def records(self) -> list[Record]:
        """Everything, of every network, best first: for people."""
        return by_usefulness(self._table().records.values())

    @property
    def why_memory(self) -> str:
        """Why contacts are remembered in memory only although a file was asked for; empty if they are not."""
        with self._changed:
            return self._why_memory

    @property
    def set_aside(self) -> str:
        """Where a damaged file is now whose place a new one has taken; empty if there was none."""
        with self._changed:
            return self._file.set_aside if self._file is not None else ""

    @property
    def damaged(self) -> int:
        """Damaged records that were found so far; they count for nothing."""
        with self._changed:
            return self._file.damaged if self._file is not None else 0

    def _table(self) -> CacheTable:
        with self._changed:
            if self._memory is not None:
                return CacheTable(self._capacity, self._memory.records.values())
            if self._file is None:  # closed
                return CacheTable(self._capacity)
            # Those that are being saved may be in the file already; made twice they do no harm.
            table = CacheTable(self._file.capacity, self._file.read())
            for change in (*self._saving, *self._waiting):
                change(table)
            return table

    # --- saving: a thread of its own ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting or self._file is None:
                    return
                file = self._file
                self._saving, self._waiting = self._waiting, []
            done = self._save(file)
            with self._changed:
                if not done and self._memory is None:
                    self._waiting[:0] = self._saving
                    del self._waiting[:-MAX_UNSAVED]
                self._saving = []
                self._changed.notify_all()
                if self._memory is not None or (self._closed and not done):
                    return
                if not done:
                    self._changed.wait(RETRY_AFTER)

    def _save(self, file: CacheFile) -> bool:
        def change_all(table: CacheTable) -> None:
            for change in self._saving:
                change(table)

        try:
            file.update(change_all, self._lock_patience)
        except LockBusy as error:
            if not self._busy_told:
                log.warning("%s; contacts are saved when it does", error)
            self._busy_told = True
            return False
        except CacheUnusable as error:
            with self._changed:
                self._fall_back(error, file.read())
            return False
        if self._busy_told:
            log.info("the lock is free again; contacts are saved")
        self._busy_told = False
        return True

    def _fall_back(self, error: CacheUnusable, records: list[Record]) -> None:
        log.warning("%s. Contacts are remembered only until this program ends", error)
        self._why_memory = str(error)
        self._memory = CacheTable(self._capacity, records)
        for change in (*self._saving, *self._waiting):
            change(self._memory)
        self._waiting = []

    # --- the end --------------------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was told before is saved, and outlives a crash; whether it is. Any thread.

        Args:
            timeout: seconds; ``None`` for as long as it takes.
        """
        deadline = Deadline(timeout)
        with self._changed:
            if self._thread is not None:
                self._changed.wait_for(lambda: not (self._waiting or self._saving), deadline.remaining())
            return not (self._waiting or self._saving) and self._memory is None

    def close(self) -> None:
        """Save what is still to be saved and let go of the file; waits for the lock, at most ``lock_patience`` twice.

        Idempotent; any thread.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._changed:
            if self._waiting:
                log.warning(
                    "contacts were not saved (%d changes): the cache was locked until the end", len(self._waiting)
                )
            self._waiting = []
            file, self._file = self._file, None
            if file is not None:
                file.close()
