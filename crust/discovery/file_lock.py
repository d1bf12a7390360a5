"""A lock on an open file that processes share: the system takes it back when a process ends, also by ``kill -9``."""

import importlib
import os
import threading
from typing import Any, Final, Protocol, Self

from crust.threads.clock import Deadline

_LOCK_AT: Final = 2**40  # a byte that no file of ours has: on Windows nobody can read a locked byte
_FIRST_PAUSE: Final = 0.001  # seconds
_LONGEST_PAUSE: Final = 0.05  # seconds


class LockSystem(Protocol):
    """How a system locks files."""

    def try_lock(self, descriptor: int) -> bool:
        """Whether the lock is ours now. ``OSError`` if this file cannot be locked at all."""

    def unlock(self, descriptor: int) -> None:
        """Give it back."""


class PosixLocks:
    """``flock``: belongs to one opening of the file, so it also keeps threads of one process apart."""

    def __init__(self, fcntl: Any) -> None:
        self._fcntl = fcntl

    def try_lock(self, descriptor: int) -> bool:
        """See `LockSystem`."""
        try:
            self._fcntl.flock(descriptor, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """See `LockSystem`."""
        self._fcntl.flock(descriptor, self._fcntl.LOCK_UN)


class WindowsLocks:
    """``msvcrt.locking``, which does not tell a busy file from other trouble: trouble shows as a lock never got."""

    def __init__(self, msvcrt: Any) -> None:
        self._msvcrt = msvcrt

    def try_lock(self, descriptor: int) -> bool:
        """See `LockSystem`."""
        os.lseek(descriptor, _LOCK_AT, os.SEEK_SET)
        try:
            self._msvcrt.locking(descriptor, self._msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """See `LockSystem`."""
        os.lseek(descriptor, _LOCK_AT, os.SEEK_SET)
        self._msvcrt.locking(descriptor, self._msvcrt.LK_UNLCK, 1)


class NoLocks:
    """A system without any: shared files are not written there."""

    def try_lock(self, descriptor: int) -> bool:
        """See `LockSystem`."""
        raise OSError("this system has no file locks")

    def unlock(self, descriptor: int) -> None:
        """See `LockSystem`."""


def system_locks() -> LockSystem:
    """What this system has."""
    for name, kind in (("fcntl", PosixLocks), ("msvcrt", WindowsLocks)):
        try:
            return kind(importlib.import_module(name))
        except ModuleNotFoundError:
            continue
    return NoLocks()


class FileLock:
    """The lock on one opening of a file. For one thread at a time.

    Args:
        descriptor: the open file; stays the caller's.
        system: how to lock; what this system has if not given.
    """

    def __init__(self, descriptor: int, system: LockSystem | None = None) -> None:
        self._descriptor = descriptor
        self._system = system or system_locks()

    def acquire(self, timeout: float) -> bool:
        """Wait for the lock, at most ``timeout`` seconds: whoever has it may be stopped and never give it back.

        No system has a lock with a deadline, so this asks again after pauses of 1 to 50 ms.

        Raises:
            OSError: this file cannot be locked.
        """
        deadline = Deadline(timeout)
        pause = _FIRST_PAUSE
        while not self._system.try_lock(self._descriptor):
            if deadline.expired:
                return False
            threading.Event().wait(min(pause, deadline.remaining() or 0.0))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._system.unlock(self._descriptor)

    def __enter__(self) -> Self:
        """For a lock that was acquired."""
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
