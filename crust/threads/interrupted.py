"""Whether a signal handler may wait for other threads.

Python runs signal handlers on the main thread, between two steps of whatever is at work there. If that holds a lock,
whoever needs the lock waits until the handler is done; so a handler that waits for them would wait for ever.
"""

import queue
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

TRY: Final = 1.0
"""Seconds in which another thread would have given a lock back: ours hold them for microseconds."""

_Lock: Final = type(threading.Lock())


def must_not_wait() -> bool:
    """Whether a call further up the stack of this thread, of this package or of a ``queue.Queue``, holds a lock.

    Nobody calls others with a lock held, so only a signal handler finds one. Takes `TRY` seconds then, else no time.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    tried: list[Any] = []
    for lock in _locks_above(sys._getframe(1)):
        if any(lock is one for one in tried):
            continue
        if not lock.acquire(timeout=TRY):
            return True
        lock.release()
        tried.append(lock)
    return False


def _locks_above(frame: FrameType | None) -> Iterator[Any]:
    """The locks of the objects whose methods are at work. Those of `crust.cli` do not count: no thread of ours needs
    them."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module == queue.__name__ or (module.startswith("crust.") and not module.startswith("crust.cli")):
            owner = frame.f_locals.get("self")
            yield from (
                each for each in list(vars(owner).values() if hasattr(owner, "__dict__") else ()) if _is_lock(each)
            )
        frame = frame.f_back


def _is_lock(thing: object) -> bool:
    return isinstance(thing, _Lock | threading.Condition)
