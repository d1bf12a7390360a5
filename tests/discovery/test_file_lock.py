"""A lock that ends with its process; and the ways of other systems, run with a stand-in for what only they have."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from crust.discovery.file_lock import FileLock, LockSystem, NoLocks, PosixLocks, WindowsLocks, system_locks
from crust.threads.clock import now
from tests.processes import Process

HOLDER = """
import os, sys
from crust.discovery.file_lock import FileLock
lock = FileLock(os.open(sys.argv[1], os.O_RDWR))
assert lock.acquire(5)
print("locked", flush=True)
sys.stdin.read()
"""


class FakeMsvcrt:
    """``msvcrt.locking`` as documented, for one process: it locks bytes from the file position on."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        self.held: dict[tuple[int, int, int], int] = {}

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        status = os.fstat(descriptor)
        place = (status.st_dev, status.st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert place[2] >= 2**40, "a locked byte of the content could not be read by others"
        assert count == 1
        if mode == self.LK_UNLCK:
            if self.held.pop(place, None) != descriptor:
                raise PermissionError(errno.EACCES, "not locked")
        elif self.held.setdefault(place, descriptor) != descriptor:
            raise PermissionError(errno.EACCES, "busy")


SYSTEMS = {"windows": lambda: WindowsLocks(FakeMsvcrt()), "this": system_locks}


@pytest.fixture
def descriptors(tmp_path: Path) -> Iterator[list[int]]:
    (tmp_path / "file").write_bytes(b"content")
    opened = [os.open(tmp_path / "file", os.O_RDWR) for _ in range(2)]
    yield opened
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("system", [pytest.param(make(), id=name) for name, make in SYSTEMS.items()])
def test_one_opening_at_a_time_has_the_lock(descriptors: list[int], system: LockSystem) -> None:
    one, two = (FileLock(descriptor, system) for descriptor in descriptors)
    assert one.acquire(0)
    assert not two.acquire(0)
    one.release()
    assert two.acquire(0)
    with two:
        assert not one.acquire(0)
    assert one.acquire(0)
    one.release()


def test_waiting_ends_when_the_lock_is_given_back(descriptors: list[int]) -> None:
    one, two = (FileLock(descriptor) for descriptor in descriptors)
    assert one.acquire(0)
    got: list[bool] = []
    waiter = threading.Thread(target=lambda: got.append(two.acquire(30)))
    waiter.start()
    one.release()
    waiter.join(30)
    assert got == [True]
    two.release()


def test_waiting_has_a_limit(descriptors: list[int]) -> None:
    one, two = (FileLock(descriptor) for descriptor in descriptors)
    assert one.acquire(0)
    before = now()
    assert not two.acquire(0.1)
    assert 0.1 <= now() - before < 30
    one.release()


def test_a_killed_process_gives_its_lock_back(descriptors: list[int], tmp_path: Path) -> None:
    lock = FileLock(descriptors[0])
    with Process("-c", HOLDER, str(tmp_path / "file")) as holder:
        holder.expect("locked")
        assert not lock.acquire(0)
        holder.signal(signal.SIGKILL)
        assert lock.acquire(30)
    lock.release()


def test_a_system_without_locks_says_so(descriptors: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    assert isinstance(system_locks(), NoLocks)
    with pytest.raises(OSError, match="no file locks"):
        FileLock(descriptors[0]).acquire(1)


def test_what_a_system_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace())
    assert isinstance(system_locks(), WindowsLocks)
    monkeypatch.setitem(sys.modules, "fcntl", SimpleNamespace())
    assert isinstance(system_locks(), PosixLocks)


def test_trouble_other_than_a_busy_file_is_raised(descriptors: list[int]) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fake = SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4, LOCK_UN=8)
    with pytest.raises(OSError, match="No locks available"):
        FileLock(descriptors[0], PosixLocks(fake)).acquire(1)
