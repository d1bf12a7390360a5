"""What ``crust peer`` does: carries out commands on a manager, and shows its events from a thread of its own."""

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

from crust.channel import Channel
from crust.cli import console
from crust.cli.console import count_of
from crust.cli.interrupts import Interrupts
from crust.cli.peer_admission import Doorkeeper
from crust.cli.peer_admission import Manager as AdmittingManager
from crust.cli.peer_commands import (
    BadCommand,
    Blacklist,
    Connect,
    ConnectInfo,
    Drop,
    Help,
    Info,
    ListPeers,
    Nat,
    Only,
    Punch,
    Send,
    SendAll,
    Status,
    Stop,
    Traffic,
    Unblacklist,
    WhoAmI,
    help_lines,
    parse,
)
from crust.cli.peer_events import Line
from crust.cli.peer_reach import Manager as ReachingManager
from crust.cli.peer_reach import Outcome, Reacher
from crust.cli.peer_status import HEADERS, status_view
from crust.cli.peer_table import Peer, UnknownPeer
from crust.cli.peer_view import View, peer_rows
from crust.endpoint import Endpoint
from crust.errors import CrustError, EndpointError, NotConnected, SendQueueFull
from crust.identity import PeerId
from crust.threads import clock
from crust.threads.clock import Deadline
from crust.threads.workers import start_thread

ANSWER_TIMEOUT: Final = 30.0
"""Seconds for which a script waits for the outcome of a ``connect``: the dial's own deadline comes first."""

ALIAS_LOOK: Final = 0.2
"""Seconds between two looks whether a ``connect`` led to a peer that was connected already: no event tells that."""

SEND_SLICE: Final = 0.5
"""Seconds for which a script waits for room before it looks whether a signal came."""

SHOWN_OF_MISTAKE: Final = 300
"""Characters of each end of a message about a mistake: it may quote a word of many megabytes."""

RELAYED_NOTE: Final = (
    "What is at relayed://... is carried by another peer, which cannot read it; punch tries again to do without."
)


class Manager(ReachingManager, AdmittingManager, Protocol):
    """What a session uses of a `ConnectionManager`."""

    def connect(self, endpoints: Iterable[Endpoint]) -> None: ...
    def send(self, endpoint: Endpoint, data: bytes, *, timeout: float | None = ...) -> None: ...
    def drop_node(self, endpoint: Endpoint) -> None: ...
    def get_own_endpoints(self) -> list[Endpoint]: ...
    def connections(self) -> Sequence[Any]: ...
    def peer_id(self, endpoint: Endpoint) -> PeerId: ...
    def stop(self) -> None: ...


class _End(NamedTuple):
    """Put behind the last event: the thread that shows events ends."""


class Session:
    """One run of ``crust peer``: ``with`` starts the thread that shows events; leaving it stops the manager in order.

    When an event cannot be shown, what the output met (an ``OSError``) is raised in the thread that reads commands: a
    node that goes on taking messages which nobody gets to see is worse than one that ends.

    Args:
        manager: the manager to command.
        events: the channel that the manager was given.
        scripted: commands come from a script, so each is finished before the next begins, and sending waits for room.
        on_terminal: people read the output: floods of messages and endless lines are cut short.
        interrupts: where signals are taken while the reading thread waits.
        say: prints a line with a style; called from two threads.
        table: prints a table with these headers and rows.
        only: the allow-list that the manager was made with; ``None`` for none.
    """

    def __init__(
        self,
        manager: Manager,
        events: Channel[Any],
        *,
        scripted: bool,
        on_terminal: bool,
        interrupts: Interrupts,
        say: Callable[[str, str | None], None] = console.say,
        table: Callable[[Sequence[str], Iterable[Sequence[str]]], None] = console.table,
        only: Sequence[str] | None = None,
    ) -> None:
        self.failures = 0
        self._manager = manager
        self._events = events
        self._scripted = scripted
        self._say = say
        self._table = table
        self._interrupts = interrupts
        self._lock = threading.Lock()  # guards everything below
        self._view = View(on_terminal)
        self._reacher = Reacher(manager, self._view, self._lock, say, self._await if scripted else None)
        self._doorkeeper = Doorkeeper(manager, self._view, self._lock, self._select, say, only)
        self._news_wanted = False
        self._output_lost: OSError | None = None
        self._join: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._join = start_thread("cli-events", self._show_events).join
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._manager.stop()
        finally:
            self._events.put(_End())
            self._join()
        if kind is None and self._output_lost is not None:
            raise self._output_lost

    # --- commands: called by the thread that reads lines -------------------------------------------------------------

    def execute(self, line: str) -> bool:
        """Carry out one line.

        Returns:
            whether to go on: ``False`` after ``stop``.
        """
        try:
            command = parse(line)
            match command:
                case None:
                    pass
                case Stop():
                    return False
                case Connect(endpoints):
                    self._connect(endpoints)
                case Punch(peer):
                    self._count(self._reacher.punch(peer))
                case Info():
                    self._count(self._reacher.info())
                case ConnectInfo(info):
                    self._count(self._reacher.connect_info(info))
                case Nat():
                    self._reacher.nat()
                case Send(peer, text):
                    self._send(self._select(peer), text)
                case SendAll(text):
                    self._send_all(text)
                case Drop(peer):
                    self._drop(self._select(peer))
                case Blacklist(None):
                    self._doorkeeper.show_blacklist()
                case Blacklist(entries) if entries is not None:
                    self._doorkeeper.blacklist(entries)
                case Unblacklist(entries):
                    self._doorkeeper.unblacklist(entries)
                case Only(None):
                    self._doorkeeper.show_only()
                case Only(entries):
                    self._doorkeeper.allow_only(entries or None)
                case ListPeers():
                    self._list()
                case WhoAmI():
                    self.introduce()
                case Status():
                    self._status()
                case Traffic(on):
                    self._switch_traffic(on)
                case Help(topic):
                    self._say("\n".join(help_lines(topic)), None)
        except (BadCommand, UnknownPeer, CrustError) as error:
            self.fail(str(error))
        return True

    def _count(self, went_well: bool) -> None:
        self.failures += not went_well

    def fail(self, text: str) -> None:
        """Say what is wrong with a command, and count it."""
        self.failures += 1
        if len(text) > 2 * SHOWN_OF_MISTAKE:
            text = f"{text[:SHOWN_OF_MISTAKE]} ... {text[-SHOWN_OF_MISTAKE:]}"
        console.fail(text)

    def _select(self, text: str) -> Peer:
        with self._lock:
            try:
                return self._view.peers.select(text)
            except UnknownPeer:
                try:
                    peer = self._at(Endpoint.parse(text))
                except EndpointError:
                    peer = None
                if peer is None:
                    raise
                return peer

    def _at(self, endpoint: Endpoint) -> Peer | None:
        """The peer there, also by an address that is another one than its connection's. The lock must be held."""
        peer = self._view.peers.at(endpoint)
        if peer is None:
            try:
                peer = self._view.peers.of(self._manager.peer_id(endpoint))
            except NotConnected:
                pass
        return peer

    def _connect(self, endpoints: tuple[Endpoint, ...]) -> None:
        with self._lock:
            known = [peer for endpoint in endpoints if (peer := self._at(endpoint))]
            self._view.failed.difference_update(endpoints)
        if known:
            self._say(f"Already connected to {known[0]} at {known[0].endpoint}.", None)
            return
        self._say(f"Connecting to {' or '.join(map(str, endpoints))} ...", "note")
        self._manager.connect(endpoints)
        self._count(not self._scripted or self.wait_for_peer(endpoints, ANSWER_TIMEOUT))

    def wait_for_peer(self, endpoints: Sequence[Endpoint], timeout: float | None) -> bool:
        """Wait until one of these endpoints is connected, or all of them failed.

        Args:
            endpoints: where we dialled; empty means any connection at all.
            timeout: seconds; ``None`` waits for ever.

        Returns:
            whether there is a connection.
        """

        def outcome() -> bool | None:
            if any(map(self._at, endpoints)) or (not endpoints and len(self._view.peers)):
                return True
            return False if endpoints and self._view.failed.issuperset(endpoints) else None

        return self._await(outcome, timeout, ALIAS_LOOK if endpoints else None)

    def _await(self, outcome: Outcome, timeout: float | None, look: float | None = None) -> bool:
        """Wait until events bring an outcome; look for it every ``look`` seconds as well. No outcome is a failure."""
        deadline = Deadline(timeout)
        while True:
            with self._lock:
                found = outcome()
                if found is not None or deadline.expired:
                    return bool(found)
                self._news_wanted = True
            self._interrupts.until_rung(deadline.earlier(look).remaining())

    def expect_peers(self) -> None:
        """We look for peers: say so if none is found for a while."""
        with self._lock:
            self._view.expect_peers(clock.now())
        self._events.put(None)  # it may wait without a time limit: let it look again

    def stay(self) -> None:
        """Go on without input, until a signal raises, or because the output has failed."""
        while True:
            self._interrupts.until_rung(None)

    def _send(self, peer: Peer, text: str) -> None:
        data = text.encode("utf-8", "surrogateescape")  # bytes of the input that are no UTF-8 go out as they came
        while True:
            try:
                self._manager.send(peer.endpoint, data, timeout=SEND_SLICE if self._scripted else 0.0)
                break
            except SendQueueFull:
                if not self._scripted:
                    raise
                self._interrupts.check()
        self._say(f"Sending {count_of(len(data), 'byte')} to {peer}.", "note")

    def _send_all(self, text: str) -> None:
        with self._lock:
            peers = list(self._view.peers)
        if not peers:
            raise UnknownPeer("no peer is connected; connect to one first")
        for peer in peers:
            try:
                self._send(peer, text)
            except CrustError as error:
                self.fail(f"{peer}: {error}")

    def _drop(self, peer: Peer) -> None:
        with self._lock:
            self._view.peers.lost(peer.endpoint)  # no event will come for what we drop ourselves
        self._manager.drop_node(peer.endpoint)
        self._say(f"Dropped {peer} at {peer.endpoint}.", "note")

    def _switch_traffic(self, on: bool | None) -> None:
        with self._lock:
            total = self._view.traffic.total()
            if on is not None:
                self._view.traffic.switch(on)
        if on is None:
            self._say(total.text, None)
            return
        self._say(f"Traffic is {'shown every 10 s while there is some' if on else 'no longer shown'}.", "note")
        self._events.put(None)  # it may wait without a time limit: let it look again

    def _list(self) -> None:
        with self._lock:
            peers = list(self._view.peers)
        if not peers:
            self._say("No connected peers.", None)
            return
        rows = peer_rows(peers, self._manager.connections())
        header = ("#", "id", "address", "received", "sent", "round trip")
        self._say("\n".join(console.aligned(header, rows, {0, 3, 4, 5})), None)
        if any(peer.endpoint.is_relayed for peer in peers):
            self._say(RELAYED_NOTE, "note")

    def _status(self) -> None:
        lines, rows, more = status_view(self._manager.bootstrap_status(), clock.wall_time())
        self._say("\n".join(lines), None)
        if rows:
            self._table(HEADERS, rows)
        if more:
            self._say(more, "note")

    def introduce(self) -> None:
        """Say who we are and where others reach us."""
        self._say(f"This node's id is {self._manager.identity.peer_id.hex()}.", None)
        for endpoint in self._manager.get_own_endpoints():
            self._say(f"  reached at {endpoint}", None)

    def completions(self) -> list[tuple[str, str]]:
        """The connected peers for completion: what to type, and what it stands for. Any thread may call."""
        with self._lock:
            return [(str(peer.index), f"{peer.peer_id} {peer.endpoint}") for peer in self._view.peers]

    def elsewhere(self) -> list[tuple[str, str]]:
        """The same of those who are known and not connected."""
        return self._reacher.strangers()

    def blacklisted(self) -> list[tuple[str, str]]:
        """The same of what is on the blacklist."""
        return self._doorkeeper.blacklisted()

    # --- events: the thread that shows them ----------------------------------------------------------------------

    def _show_events(self) -> None:
        while True:
            with self._lock:
                due = self._view.due()
            try:
                event = self._events.get(timeout=None if due is None else max(due - clock.now(), 0.0))
            except queue.Empty:
                event = None
            if isinstance(event, _End):
                return
            with self._lock:
                lines = self._view.digest(event, clock.now())
                wanted, self._news_wanted = self._news_wanted, False
            if wanted:
                self._interrupts.ring()
            self._show(lines)

    def _show(self, lines: list[Line]) -> None:
        if self._output_lost is not None:
            return
        try:
            for text, style in lines:
                self._say(text, style)
        except OSError as error:  # nobody reads it, the disk is full ...
            # The events must still be taken, or a peer that sends would hold up the end.
            self._output_lost = error
            self._interrupts.fail(error)
