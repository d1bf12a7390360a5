"""`PortMapper`: asks the routers of this machine to let peers in (docs/nat.md)."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Final

from crust.endpoint import Port
from crust.nat.mapper_loop import MapperLoop, Wishes
from crust.nat.mapping_report import MappingReport, Method
from crust.nat.paths import Path, find_paths
from crust.threads.clock import Deadline
from crust.threads.workers import start_thread

log = logging.getLogger("crust.nat")

UNMAP_TIMEOUT: Final = 2.0
"""Seconds that `PortMapper.stop` takes at most to end mappings: those that are left end by themselves."""


class PortMapper:
    """A thread that keeps ports mapped by every router of this machine. Methods are for any thread.

    Nothing happens before `start`.

    Args:
        ports: the ports that are listened on, with their real numbers; called on the mapper's thread when it starts,
            at each `refresh`, and when interfaces change; must not block. Port 0 and tracer ports are left out.
        on_change: called on the mapper's thread with what is known, each time that it is something else; must not
            block.
        find_paths: the ways out of this machine, for tests.
        methods: which to try, for tests; in the order of `Method` whatever theirs is.
    """

    def __init__(
        self,
        ports: Callable[[], Iterable[Port]],
        on_change: Callable[[MappingReport], None],
        *,
        find_paths: Callable[[], list[Path]] = find_paths,
        methods: Collection[Method] = tuple(Method),
    ) -> None:
        self._ports = ports
        self._on_change = on_change
        self._find_paths = find_paths
        self._methods = methods
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: MapperLoop | None = None
        self._stop: Deadline | None = None
        self._refresh = False
        self._report = MappingReport()

    def start(self) -> None:
        """Begin to map. Returns at once.

        Raises:
            RuntimeError: it was started or stopped before, or the system has no more threads.
            OSError: there are no descriptors left.
        """
        with self._lock:
            if self._thread is not None or self._stop is not None:
                raise RuntimeError("a port mapper starts once")
            loop = MapperLoop(self._ports, self._tell, self._wishes, self._find_paths, self._methods)
            try:
                # It needs our lock before it can end, so that it cannot miss being known here.
                self._thread = start_thread("mapper", self._run, loop)
            except BaseException:
                loop.close()
                raise
            self._loop = loop

    def refresh(self) -> None:
        """Look at interfaces, ports and routers again now. Without effect unless it runs."""
        with self._lock:
            self._refresh = True
            if self._loop is not None:
                self._loop.wake()

    def end(self, timeout: float = UNMAP_TIMEOUT) -> None:
        """Begin to end all mappings; `stop` waits for it. Idempotent."""
        with self._lock:
            if self._stop is None:
                self._stop = Deadline(timeout)
            if self._loop is not None:
                self._loop.wake()

    def stop(self, timeout: float = UNMAP_TIMEOUT) -> None:
        """End all mappings, then the thread. Idempotent. From the mapper's own thread it returns before the end.

        Args:
            timeout: seconds for the routers to answer; afterwards mappings are left to end by themselves (those
                without an end stay).
        """
        self.end(timeout)
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def report(self) -> MappingReport:
        """What is known now."""
        with self._lock:
            return self._report

    # --- on the mapper's thread ---
    def _run(self, loop: MapperLoop) -> None:
        try:
            loop.run()
        finally:
            with self._lock:
                self._loop = None
                self._report = MappingReport()
            loop.close()

    def _wishes(self) -> Wishes:
        with self._lock:
            refresh, self._refresh = self._refresh, False
            return Wishes(self._stop, refresh)

    def _tell(self, report: MappingReport) -> None:
        with self._lock:
            self._report = report
        try:
            self._on_change(report)
        except Exception:
            log.exception("what was to take a report on port mapping failed; please report this")
