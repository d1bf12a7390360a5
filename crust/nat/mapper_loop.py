"""What the thread of a `crust.nat.port_mapper.PortMapper` does: sockets on one side, a session per router on the other.

Calls over UPnP run on threads of their own, all routers at a time. No error ends the thread: what goes wrong with a
socket, an interface or a callback is logged, and it goes on.
"""

import logging
import queue
import selectors
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Final, NamedTuple

from crust.discovery.link_watch import LinkWatch
from crust.endpoint import Port
from crust.nat.gateway_session import GatewaySession
from crust.nat.mapper_sockets import PathSockets, hear_announcements, open_announcements
from crust.nat.mapping_report import MappingReport, Method
from crust.nat.paths import MAX_PATHS, Path
from crust.nat.upnp import UpnpCall, unavailable
from crust.nat.upnp_messages import Answer, NoAnswer
from crust.threads import clock
from crust.threads.clock import Deadline
from crust.threads.waker import selector_with_waker
from crust.threads.workers import WorkerPool

log = logging.getLogger("crust.nat")

LOOK_INTERVAL: Final = 120.0
"""Seconds between looks at the interfaces where the system does not tell of changes."""
LOOKS_AFTER_CHANGE: Final = (1.0, 10.0)
"""Seconds from the first sign of a change to looks at the interfaces: an address comes before its route, and with DHCP
the route before the router is ready."""
DEAF: Final = 1.0
"""Seconds for which announcements are not read after one: a flood of them costs no more than that."""
_PAUSE_AFTER_ERROR: Final = 5.0  # seconds, so that an error that stays does not make a busy loop


class Wishes(NamedTuple):
    """What was asked for since the last time."""

    stop: Deadline | None
    refresh: bool


class MapperLoop:
    """See the module's text. `run` is the thread; `wake` is for any thread, until `close`.

    Args:
        ports: which ports to map, called each time that something changes.
        report: gets what is known, each time that it is something else.
        wishes: takes what was asked for.
        find_paths: the ways out of this machine.
        methods: which to try.

    Raises:
        OSError: there are no descriptors left.
    """

    def __init__(
        self,
        ports: Callable[[], Iterable[Port]],
        report: Callable[[MappingReport], None],
        wishes: Callable[[], Wishes],
        find_paths: Callable[[], list[Path]],
        methods: Collection[Method],
    ) -> None:
        self._ports = ports
        self._report = report
        self._wishes = wishes
        self._find_paths = find_paths
        self._methods = methods
        self._selector, self._waker = selector_with_waker()
        self._sites: dict[Path, PathSockets] = {}
        self._calls: dict[Path, UpnpCall] = {}
        self._results: queue.SimpleQueue[tuple[Path, Answer | str]] = queue.SimpleQueue()
        self._pool = WorkerPool("upnp", MAX_PATHS)
        self._watch: LinkWatch | None = None
        self._announcements: socket.socket | None = None
        self._deaf_until: float | None = None
        self._rescans: list[float] = []
        self._told = MappingReport()
        self._begun = False
        self._stopping: Deadline | None = None

    def wake(self) -> None:
        """Let the thread look at the wishes."""
        self._waker.wake()

    def close(self) -> None:
        """Free everything. After `run` has ended, or instead of it."""
        for call in self._calls.values():
            call.cancel()
        self._pool.close()
        self._pool.join(None)
        for site in self._sites.values():
            site.close()
        for each in (self._watch, self._announcements, self._selector, self._waker):
            if each is not None:
                each.close()

    def run(self) -> None:
        """Until it is wished to stop, and the mappings are gone or the time for that is over."""
        self._begin()
        while not self._done():
            try:
                self._turn()
            except Exception:
                log.exception("port mapping goes on after an error; please report this")
                again = clock.now() + _PAUSE_AFTER_ERROR
                self._rescans.append(again)
                self._wait(again)

    def _begin(self) -> None:
        try:
            self._watch = LinkWatch()
            self._selector.register(self._watch, selectors.EVENT_READ)
        except OSError as error:
            log.debug("interfaces are looked at every %g s: %s", LOOK_INTERVAL, error)
        self._announcements = open_announcements()
        if self._announcements is not None:
            self._selector.register(self._announcements, selectors.EVENT_READ)
        if (reason := unavailable()) is not None:
            log.info("%s", reason)
        self._rescans = [clock.now()]

    def _done(self) -> bool:
        if self._stopping is None:
            return False
        return self._stopping.expired or all(site.session.settled for site in self._sites.values())

    # --- one turn ---
    def _turn(self) -> None:
        now = clock.now()
        wishes = self._wishes()
        if wishes.stop is not None and self._stopping is None:
            self._stopping = wishes.stop
            for site in self._sites.values():
                site.session.want((), now)
        elif wishes.refresh and self._stopping is None:
            self._rescan(now, anew=True)
        if any(at <= now for at in self._rescans) and self._stopping is None:
            self._rescan(now, anew=False)
        self._take_results(now)
        for path, site in self._sites.items():
            self._serve(path, site, now)
        self._tell()
        if not self._done():
            self._wait(self._next_deadline())

    def _serve(self, path: Path, site: PathSockets, now: float) -> None:
        datagrams = site.session.outgoing(now)
        for way, data in datagrams:
            site.send(way, data, now)
        call = site.session.take_call(now)
        if call is not None:
            # Before the thread runs, so that whoever ends us can end it.
            running = self._calls[path] = UpnpCall(call)
            self._pool.submit(partial(self._run_call, path, running))
        site.searching(site.session.searching)

    def _run_call(self, path: Path, call: UpnpCall) -> None:
        """On a thread of the pool."""
        result: Answer | str
        try:
            result = call.run()
        except NoAnswer as error:
            result = str(error)
        except Exception as error:
            log.exception("a call over UPnP crashed; please report this")
            result = f"could not be asked over UPnP: {error}"
        self._results.put((path, result))
        self.wake()

    def _take_results(self, now: float) -> None:
        while not self._results.empty():
            path, result = self._results.get()
            self._calls.pop(path, None)
            site = self._sites.get(path)
            if site is None:
                continue
            if isinstance(result, str):
                site.session.call_failed(result, now)
            else:
                site.session.called(result, now)

    def _next_deadline(self) -> float:
        times = [site.session.next_deadline() for site in self._sites.values()]
        times += self._rescans
        if self._deaf_until is not None:
            times.append(self._deaf_until)
        if self._stopping is not None and (remaining := self._stopping.remaining()) is not None:
            times.append(clock.now() + remaining)
        return min(times, default=float("inf"))

    def _wait(self, until: float) -> None:
        seconds = None if until == float("inf") else max(until - clock.now(), 0.0)
        ready = self._selector.select(seconds)
        now = clock.now()
        if self._deaf_until is not None and now >= self._deaf_until and self._announcements is not None:
            self._deaf_until = None
            self._selector.register(self._announcements, selectors.EVENT_READ)
        for key, _ in ready:
            if key.fileobj is self._waker:
                self._waker.clear()
            elif key.fileobj is self._watch:
                self._changed(now)
            elif key.fileobj is self._announcements:
                self._announced(now)
            elif isinstance(key.data, PathSockets):
                key.data.ready(key.fileobj, now)

    # --- what happens around us ---
    def _changed(self, now: float) -> None:
        assert self._watch is not None
        if self._watch.came_up():
            for site in self._sites.values():  # behind the same cable may be another router now
                site.session.refresh(now)
        self._rescans = [now + after for after in LOOKS_AFTER_CHANGE]

    def _announced(self, now: float) -> None:
        assert self._announcements is not None
        heard = hear_announcements(self._announcements)
        for path, site in self._sites.items():
            if path.gateway in heard:
                site.session.announced(now)
        self._selector.unregister(self._announcements)
        self._deaf_until = now + DEAF

    def _rescan(self, now: float, *, anew: bool) -> None:
        # First, so that an error below is not repeated without end.
        self._rescans = [at for at in self._rescans if at > now]
        if self._watch is None and not self._rescans:
            self._rescans = [now + LOOK_INTERVAL]
        found = self._find_paths()
        self._begun = True
        for path in [path for path in self._sites if path not in found]:
            self._sites.pop(path).close()
            if path in self._calls:
                self._calls[path].cancel()
        ports = list(self._ports())
        for path in found:
            if path not in self._sites:
                self._sites[path] = PathSockets(GatewaySession(path, now, self._methods), self._selector)
            elif anew:
                self._sites[path].session.refresh(now)
            self._sites[path].session.want(ports, now)

    def _tell(self) -> None:
        report = MappingReport(tuple(site.session.report() for site in self._sites.values()), self._begun)
        if report == self._told:
            return
        self._told = report
        self._report(report)
