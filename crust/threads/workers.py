"""Threads: the only place that makes them.

Every thread has a name that begins with ``crust-``, an owner that joins it, and a crash report in the log.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from crust.threads.clock import Deadline

log = logging.getLogger("crust.workers")

# Kept small: a thread of ours needs little, and a process may hold two thousand of them.
IDLE_WORKER_SECONDS = 2.0  # how long an idle pool thread waits for more work before it ends


def start_thread(name: str, target: Callable[..., None], *args: Any) -> threading.Thread:
    """Start a named thread; what escapes from ``target`` is logged, never lost.

    Threads are daemons because a script that forgets ``stop()`` must still be able to end; the manager's own exit
    handler stops it in order before the interpreter goes.

    Raises:
        RuntimeError: the system has no more threads to give.
    """

    def run() -> None:
        log.debug("%s started", name)
        try:
            target(*args)
        except Exception:
            log.exception("%s crashed; please report this", name)
        log.debug("%s ended", name)

    thread = threading.Thread(target=run, name=f"crust-{name}", daemon=True)
    thread.start()
    return thread


def why_no_thread(error: RuntimeError, advice: str = "") -> str:
    """In words, what `start_thread` has raised, and what to do about it: raise the limit, or ``advice``."""
    if "shutdown" in str(error):  # no limit was met; Python 3.12 and later say so
        return f"{error}: the program ends"
    return f"{error}: raise the limit of threads (ulimit -u)" + advice


class WorkerPool:
    """A bounded set of threads that run jobs; made on demand, gone when idle, joined by `close`.

    Jobs beyond ``size`` wait in order. Jobs must end by themselves (deadline) or by their own cancellation.

    Args:
        name: what the threads are called, with a number behind it.
        size: the most threads at a time.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = 0
        self._threads: set[threading.Thread] = set()
        self._made = 0
        self._closed = False

    def submit(self, job: Callable[[], None]) -> bool:
        """Run ``job`` on a thread of the pool; any thread may call. ``False`` when the pool is closed.

        Raises:
            RuntimeError: no thread at all can be made for it.
        """
        with self._lock:
            if self._closed:
                return False
            self._waiting.append(job)
            if self._idle:
                self._idle -= 1
                self._wake.put(None)
            elif len(self._threads) < self._size:
                self._add_thread()
        return True

    def _add_thread(self) -> None:
        self._made += 1
        try:
            # The thread blocks on our lock until it is registered, so that close() can never miss it.
            self._threads.add(start_thread(f"{self._name}-{self._made}", self._work))
        except RuntimeError:
            if not self._threads:
                self._waiting.pop()
                raise

    def _next_job(self) -> Callable[[], None] | None:
        """The next job; ``None`` when this thread should end (it is taken off the books then)."""
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                if self._closed:
                    return None
                self._idle += 1
            try:
                self._wake.get(timeout=IDLE_WORKER_SECONDS)
            except queue.Empty:
                with self._lock:
                    try:
                        self._wake.get_nowait()  # a wake-up came at the last moment: it was counted for us
                    except queue.Empty:
                        self._idle -= 1
                        if not self._waiting:
                            self._threads.discard(threading.current_thread())
                            return None

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            try:
                job()
            except Exception:
                log.exception("a job of %s crashed; please report this", self._name)
            job = None

    def close(self) -> list[Callable[[], None]]:
        """Take no more jobs and wake idle threads; the jobs that nobody has begun. Idempotent."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            for _ in range(self._idle):
                self._wake.put(None)
            self._idle = 0
        return waiting

    def join(self, timeout: float | None) -> bool:
        """Wait for every thread to end, ``timeout`` seconds for all together; whether all did. After `close` only."""
        deadline = Deadline(timeout)
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(deadline.remaining())
        return not any(thread.is_alive() for thread in threads)
