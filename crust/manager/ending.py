"""How managers end: by `stop`, because nobody refers to them any more, with the program, or by ``fork()``."""

import atexit
import logging
import os
import threading
import warnings
import weakref
from typing import Final

from crust.connecting import notices
from crust.manager.core import ABORT_GRACE, ManagerCore
from crust.threads.clock import Deadline
from crust.threads.interrupted import must_not_wait

log = logging.getLogger("crust")

_running: "weakref.WeakSet[ManagerCore]" = weakref.WeakSet()
LAST_RESORT_LINGER: Final = 2.0
"""Seconds that a manager which nobody stopped gets to deliver what is queued when the interpreter ends."""


def look_after(core: ManagerCore, manager: object) -> None:
    """See to it that ``core`` ends with ``manager``, or with the program."""
    _running.add(core)
    weakref.finalize(manager, _abandon, core).atexit = False  # at exit, _stop_all waits for delivery


def end(core: ManagerCore, linger: float) -> None:
    """Tell it to stop, and wait until it has; far less than the limit unless a system call hangs.

    Does not wait for itself, nor where it cannot end before a signal handler is done that calls this.
    """
    core.inbox.put(notices.Stop(linger))
    if threading.current_thread() is core.thread:
        return  # stop() from inside the user's own put(): the thread cannot wait for itself
    if core.thread.is_alive() and must_not_wait():
        log.warning("stop() in a signal handler, amid a call that holds a lock: all ends when the handler is done")
        return
    # Not for core.stopped: a signal handler that stops as well may come amid that, and find its lock taken.
    core.thread.join(Deadline(linger + 3 * ABORT_GRACE).remaining())
    if core.thread.is_alive():
        log.error("the manager did not stop in time; please report this")


def _abandon(core: ManagerCore) -> None:
    """A manager was forgotten without `stop`: end it without waiting (this may run inside the garbage collector)."""
    if not core.stopped.is_set() and not core.left_behind:
        core.inbox.put(notices.Stop(LAST_RESORT_LINGER))
        # Last, because it raises where warnings are errors.
        warnings.warn("a ConnectionManager was dropped without stop()", ResourceWarning, stacklevel=2)


@atexit.register
def _stop_all() -> None:
    """The program ends with managers running: let them deliver what is queued."""
    cores = [core for core in _running if not core.stopped.is_set()]
    for core in cores:
        core.inbox.put(notices.Stop(LAST_RESORT_LINGER))
    for core in cores:
        end(core, LAST_RESORT_LINGER)


def _forked() -> None:
    """This is a child: threads do not come along, so the managers are those of the parent alone."""
    for core in list(_running):
        core.leave_behind()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
