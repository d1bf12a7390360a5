"""The file of the bootstrap cache: mapped into memory, shared by processes, never in the way of a start."""

import errno
import logging
import mmap
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crust.discovery import cache_record, cache_slots
from crust.discovery.cache_record import SIZE, Header, NewerLayout, Record
from crust.discovery.cache_table import CacheTable
from crust.discovery.file_lock import FileLock
from crust.errors import Malformed
from crust.threads.clock import Deadline

log = logging.getLogger("crust.bootstrap_cache")

OPEN_PATIENCE: Final = 0.25  # seconds; how long a start waits for the lock, which is held for milliseconds
ENDING: Final = "bootstrap.cache"
"""Of the names that a program gives its cache: a file with such a name is meant for one, whatever is in it."""
MAX_SET_ASIDE: Final = 5  # damaged files kept for a look at them; the last is replaced by further ones
_ATTEMPTS: Final = 4  # others may replace or remove the file while we open it
_COPIES: Final = 4  # of the map, until two are the same
_OPTIONAL_FLAGS: Final = ("O_CLOEXEC", "O_BINARY", "O_NONBLOCK", "O_NOCTTY")  # not every system has or needs each


class CacheUnusable(Exception):
    """The file cannot be used; the message says why and what to do.

    Attributes:
        records: what could be read all the same.
    """

    def __init__(self, message: str, records: list[Record] | None = None) -> None:
        super().__init__(message)
        self.records = records or []


class LockBusy(CacheUnusable):
    """Somebody holds the lock for longer than we wait."""


@dataclass(slots=True)
class _Opened:
    """One opening of the file."""

    descriptor: int
    lock: FileLock
    header: Header
    map: mmap.mmap

    def close(self) -> None:
        self.map.close()
        os.close(self.descriptor)


class CacheFile:
    """A cache in a file. `read` may be called from any thread, `update` and `close` from one at a time.

    A damaged file is set aside as ``PATH.corrupt-N`` and a new one is begun; one that never was a cache stays as it is.
    The lock is only waited for with a limit: a process that is stopped while it holds it delays nobody for long.
    Reading needs no lock at all.

    Args:
        path: the file; made if it is not there. Its directory must exist.
        capacity: contacts in a new file; one that exists keeps the capacity it was made with.
        patience: seconds to wait for the lock.

    Raises:
        CacheUnusable: it cannot be used.
    """

    def __init__(self, path: str, capacity: int, patience: float = OPEN_PATIENCE) -> None:
        self._path = path
        self._capacity = capacity
        self._mutex = threading.Lock()  # guards _opened against being replaced, and _reader
        self._reader = cache_slots.SlotReader()
        self._latest: list[Record] = []
        self._damaged_before = self._damaged_now = 0
        self.set_aside = ""
        """Where a damaged file is now that was in the way; empty if none was."""
        self._opened = self._open(patience)
        self.read()  # decoding takes longer than all else: from now on only what changed is decoded

    @property
    def capacity(self) -> int:
        """The most contacts in the file."""
        return self._opened.header.capacity

    @property
    def damaged(self) -> int:
        """Damaged records that were found: they count for nothing, and the next update clears them."""
        return self._damaged_before + self._damaged_now

    def read(self) -> list[Record]:
        """The records in the file now. Takes no lock of the file, so it waits for nobody.

        Raises:
            ValueError: it is closed.
        """
        with self._mutex:
            if _is_whole(self._opened):
                scan = self._reader.scan(_steady_copy(self._opened.map))
                self._latest, self._damaged_now = _records(scan), len(scan.damaged)
            return self._latest  # of a file that somebody cut off: what was in it before

    def update(self, change: Callable[[CacheTable], None], timeout: float) -> None:
        """Change the table that is in the file; when this returns, the change outlives a crash.

        Args:
            change: gets the table as it is now, including what other processes did to it.
            timeout: seconds to wait for the lock.

        Raises:
            LockBusy: the lock was not to be had. Nothing was changed.
            CacheUnusable: the file cannot be used any more.
        """
        deadline = Deadline(timeout)
        for _ in range(_ATTEMPTS):
            try:
                if self._update(change, deadline.remaining() or 0.0):
                    return
            except OSError as error:
                raise _unusable(self._path, error) from error
            reopened = self._open(deadline.remaining() or 0.0)
            with self._mutex:
                self._opened.close()
                self._opened, self._reader = reopened, cache_slots.SlotReader()
        raise CacheUnusable(f"the bootstrap cache {self._path} is replaced again and again; what does that?")

    def close(self) -> None:
        """Let go of the file. Not to be used afterwards."""
        with self._mutex:
            self._opened.close()

    def _update(self, change: Callable[[CacheTable], None], timeout: float) -> bool:
        """Whether it was done; if not, the file is not what it was when it was opened."""
        opened = self._opened
        if not opened.lock.acquire(timeout):
            raise LockBusy(_busy(self._path))
        with opened.lock:
            if not self._is_current(opened):
                return False
            with self._mutex:
                scan = self._reader.scan(opened.map[:])
            if scan.damaged:
                self._damaged_before += len(scan.damaged)
                self._damaged_now = 0
                log.warning("%s: dropped damaged records (%d)", self._path, len(scan.damaged))
            table = CacheTable(opened.header.capacity, _records(scan))
            change(table)
            cache_slots.carry_out(opened.map, cache_slots.plan(scan, table.records), opened.map.flush)
        return True

    def _is_current(self, opened: _Opened) -> bool:
        """Whether the path still leads to the file that we have open, and it is whole."""
        if not self._leads_to(opened.descriptor) or not _is_whole(opened):
            return False
        try:
            return cache_record.decode_header(opened.map[:SIZE]) == opened.header
        except Malformed:
            return False

    def _leads_to(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _open(self, patience: float) -> _Opened:
        deadline = Deadline(patience)
        for _ in range(_ATTEMPTS):
            try:
                opened = self._open_once(deadline.remaining() or 0.0)
            except OSError as error:
                raise _unusable(self._path, error) from error
            if opened is not None:
                return opened
        raise CacheUnusable(f"the bootstrap cache {self._path} is replaced again and again; what does that?")

    def _open_once(self, patience: float) -> _Opened | None:
        """``None`` when a damaged file was set aside, or somebody else did so: try again."""
        flags = os.O_RDWR | os.O_CREAT
        for name in _OPTIONAL_FLAGS:
            flags |= getattr(os, name, 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CacheUnusable(f"{self._path} is no ordinary file; set cache_file to another place")
            lock = FileLock(descriptor)
            if lock.acquire(patience):
                with lock:
                    header = self._prepared(descriptor)
            else:
                header = _sound_header(descriptor)
                if header is None:
                    raise LockBusy(_busy(self._path))
            if header is None:
                return None
            opened = _Opened(descriptor, lock, header, mmap.mmap(descriptor, header.file_size))
            descriptor = -1
            return opened
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _prepared(self, descriptor: int) -> Header | None:
        """The header of a locked file, which is begun if need be; ``None`` if it was set aside."""
        if not self._leads_to(descriptor):
            return None
        try:
            header = _header(descriptor)
        except NewerLayout as error:
            raise CacheUnusable(
                f"the bootstrap cache {self._path} is of a newer version of crust ({error}); set cache_file to another"
            ) from None
        except Malformed as error:
            if _holds_nothing(descriptor):
                return _begin(descriptor, Header(self._capacity))
            if not self._was_a_cache(descriptor):
                raise CacheUnusable(f"{_foreign(self._path, error)}; set cache_file to another place") from None
            self.set_aside = _set_aside(self._path, str(error))
            return None
        return header

    def _was_a_cache(self, descriptor: int) -> bool:
        """Whether a file that cannot be read as a cache plausibly was one: nobody shall lose a diary, or a key, to a
        name that was mistyped."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        return (
            cache_record.begins_like_a_cache(os.read(descriptor, SIZE))
            or os.fstat(descriptor).st_size == Header(self._capacity).file_size
            or self._path.endswith(f".{ENDING}")
        )


def look(path: str) -> tuple[list[Record], int]:
    """The records of a file, and how many are damaged, without a lock and without changing anything.

    Raises:
        CacheUnusable: it cannot be read, or is no cache.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would wait
            raise CacheUnusable(f"{path} is no ordinary file, so it is not a bootstrap cache")
        with open(path, "rb", buffering=0) as file:
            if _holds_nothing(file.fileno()):
                return [], 0
            header, data = _header(file.fileno()), b""
            for _ in range(_COPIES):  # of a record that moves while we read both places could be missed
                file.seek(SIZE)
                data = file.read(header.file_size - SIZE)
                file.seek(SIZE)
                if data == file.read(header.file_size - SIZE):
                    break
    except NewerLayout as error:
        raise CacheUnusable(f"{path} is of a newer version of crust: {error}") from None
    except Malformed as error:
        raise CacheUnusable(_foreign(path, error)) from None
    except OSError as error:
        raise CacheUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    scan = cache_slots.SlotReader().scan(bytes(SIZE) + data)
    return _records(scan), len(scan.damaged)


def read_only(path: str) -> list[Record]:
    """The records of a file that may only be read; none where there is nothing to read."""
    try:
        return look(path)[0]
    except CacheUnusable:
        return []


def _records(scan: cache_slots.Scan) -> list[Record]:
    return [record for _, record in scan.live.values()]


def _steady_copy(view: mmap.mmap) -> bytes:
    """All bytes at one moment, as far as possible: a record that moves while we copy could be missed otherwise."""
    copy = view[:]
    for _ in range(_COPIES):
        again = view[:]
        if again == copy:
            break
        copy = again
    return copy


def _is_whole(opened: _Opened) -> bool:
    """Whether the file has its length: touching what was cut off would kill the process (SIGBUS)."""
    return os.fstat(opened.descriptor).st_size == opened.header.file_size


def _header(descriptor: int) -> Header:
    os.lseek(descriptor, 0, os.SEEK_SET)
    header = cache_record.decode_header(os.read(descriptor, SIZE))
    if os.fstat(descriptor).st_size != header.file_size:
        raise Malformed("its length is not what its header says")
    return header


def _sound_header(descriptor: int) -> Header | None:
    try:
        return _header(descriptor)
    except Malformed:
        return None


def _holds_nothing(descriptor: int) -> bool:
    """Whether the file is empty or was never finished: nothing but zeros, and no longer than a file can be."""
    if os.fstat(descriptor).st_size > Header(cache_record.MAX_CAPACITY).file_size:
        return False
    os.lseek(descriptor, 0, os.SEEK_SET)
    while piece := os.read(descriptor, 1 << 16):
        if any(piece):
            return False
    return True


def _begin(descriptor: int, header: Header) -> Header:
    """Write an empty cache; the header last, so that a file with a header is whole.

    Zeros are written rather than skipped: a hole that the disk has no room for later would kill the process.
    """
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    _write(descriptor, bytes(header.file_size))
    os.fsync(descriptor)
    os.lseek(descriptor, 0, os.SEEK_SET)
    _write(descriptor, cache_record.encode_header(header))
    os.fsync(descriptor)
    return header


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _set_aside(path: str, why: str) -> str:
    """Where it is now."""
    places = [f"{path}.corrupt-{number}" for number in range(1, MAX_SET_ASIDE + 1)]
    place = next((place for place in places if not os.path.lexists(place)), places[-1])
    os.replace(path, place)
    log.warning("the bootstrap cache %s is damaged (%s): it is now %s, and a new one is begun", path, why, place)
    return place


def _foreign(path: str, why: Malformed) -> str:
    return f"{path} is not a bootstrap cache ({why})"


def _busy(path: str) -> str:
    return f"another process holds the lock of the bootstrap cache {path} and does not give it back (is it stopped?)"


def _unusable(path: str, error: OSError) -> CacheUnusable:
    why = error.strerror or str(error)
    out = "set cache_file to a place that can be written"
    if isinstance(error, FileNotFoundError):
        why, out = "its directory does not exist", f"make {os.path.dirname(os.path.abspath(path))}"
    elif error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        why = f"its file system has no locks ({why})"
    return CacheUnusable(f"the bootstrap cache {path} cannot be used: {why}; {out}", read_only(path))
