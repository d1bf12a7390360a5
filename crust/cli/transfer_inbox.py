"""The receiver of ``crust receive``: what the events of a manager mean for the transfers of all its peers."""

import queue
from collections.abc import Collection
from typing import Final, Protocol

from crust.cli import transfer_wire as wire
from crust.cli.console import Exit, human_bytes, one_line
from crust.cli.transfer_link import Events
from crust.cli.transfer_receiver import (
    Action,
    Began,
    Done,
    Ended,
    Failed,
    Finished,
    Folder,
    Moved,
    ReceiverSession,
    Reply,
)
from crust.cli.transfer_view import Bar, View
from crust.cli.transfer_wire import Code
from crust.endpoint import Endpoint
from crust.errors import Malformed, NotConnected, SendQueueFull
from crust.event import AnyEvent, Event
from crust.identity import PeerId
from crust.threads.clock import Deadline

LAST_WORD: Final = 5.0
"""Seconds that ``--once`` waits, after the connection broke with the last file saved, for a sender who missed that."""


class Manager(Protocol):
    """What is used of a `ConnectionManager`."""

    def send(self, endpoint: Endpoint, data: bytes) -> None:
        """Queue a message."""

    def drop_node(self, endpoint: Endpoint) -> None:
        """End a connection."""


class _Peer:
    """One connected sender."""

    def __init__(self, peer_id: PeerId, session: ReceiverSession) -> None:
        self.peer_id = peer_id
        self.session = session
        self.bar: Bar | None = None
        self.files = 0
        self.failures = 0

    def close(self) -> None:
        """Let go of what is under way."""
        self.session.close()
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Inbox:
    """Receives what any number of peers send. For one thread.

    Args:
        manager: a manager that listens.
        events: its events.
        folder: where files go.
        view: shows what comes.
        senders: who may send; ``None`` for everybody in the network.
        once: end when a peer has sent all it wanted to.
    """

    def __init__(
        self,
        manager: Manager,
        events: Events,
        folder: Folder,
        view: View,
        *,
        senders: Collection[PeerId] | None = None,
        once: bool = False,
    ) -> None:
        self._manager = manager
        self._events = events
        self._folder = folder
        self._view = view
        self._senders = senders
        self._once = once
        self._peers: dict[Endpoint, _Peer] = {}
        self._finished = Finished()
        self._outcome = Exit.OK
        self._until = Deadline(None)

    def run(self) -> int:
        """Handle events until the manager stops, or with ``once`` until all has come; returns the exit code."""
        while True:
            try:
                event = self._events.get(timeout=self._until.remaining())
            except queue.Empty:
                return self._outcome
            if isinstance(event, Event.Stopped):
                return Exit.FAILED
            if self._handle(event):
                return self._outcome

    def close(self) -> None:
        """Let go of every file; what has come of them stays."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()

    def _handle(self, event: AnyEvent) -> bool:
        """Handle one event; whether that was all."""
        match event:
            case Event.NewConnection(endpoint, peer_id):
                self._on_new(endpoint, peer_id)
            case Event.NewMessage(endpoint, data) if (peer := self._peers.get(endpoint)) is not None:
                return self._on_message(endpoint, peer, data)
            case Event.LostConnection(endpoint, _, reason) if (peer := self._peers.pop(endpoint, None)) is not None:
                self._on_lost(peer, reason)
            case Event.ListenerFailed(port, reason):
                self._view.warn(f"the listener on {port} failed: {reason}")
        return False

    def _on_new(self, endpoint: Endpoint, peer_id: PeerId) -> None:
        if self._senders is not None and peer_id not in self._senders:
            self._view.warn(f"refused {endpoint}: its identity {peer_id.hex()} is not one of those given with --from")
            self._turn_away(endpoint, Code.NOT_ALLOWED, "the receiver takes no files from this identity")
            return
        session = ReceiverSession(self._folder, self._finished, lambda data: self._send(endpoint, data))
        self._peers[endpoint] = _Peer(peer_id, session)
        self._view.say(f"{peer_id} connected from {endpoint}.", "peer")

    def _on_message(self, endpoint: Endpoint, peer: _Peer, data: bytes) -> bool:
        try:
            actions = peer.session.receive(data)
        except Malformed as error:
            self._view.warn(f"{peer.peer_id} at {endpoint} broke the protocol and is cut off: {error}")
            self._turn_away(endpoint, Code.PROTOCOL, f"not understood: {error}")
            return False
        for action in actions:
            self._act(endpoint, peer, action)
        return Ended() in actions and self._was_once(peer)

    def _act(self, endpoint: Endpoint, peer: _Peer, action: Action) -> None:
        match action:
            case Reply(data):
                self._send(endpoint, data)
            case Began(name, size, position):
                if position:
                    self._view.say(f"{name}: going on behind {human_bytes(position)}", "note")
                peer.bar = self._view.bar(name, size, position)
            case Moved(position) if peer.bar is not None:
                peer.bar.move(position)
            case Done() | Failed():
                self._on_outcome(peer, action)

    def _on_outcome(self, peer: _Peer, outcome: Done | Failed) -> None:
        bar, peer.bar = peer.bar, None
        if bar is not None:
            bar.close()
        name = one_line(outcome.name)
        match outcome:
            case Failed(_, text, final):
                self._view.warn(f"{name}: not received from {peer.peer_id}: {text}")
                peer.failures += final
                peer.files += final
            case Done(already=True):
                self._view.say(f"{name}: was here already, the same", "good")
                peer.files += 1
            case Done(_, saved_as, size):
                as_name = "" if saved_as == outcome.name else f" as {saved_as}"
                moved = bar.summary() if bar is not None else human_bytes(size)
                self._view.say(f"{name}: received and checked{as_name}, {moved}", "good")
                peer.files += 1

    def _on_lost(self, peer: _Peer, reason: str) -> None:
        if peer.bar is not None:
            self._view.say(
                f"Lost {peer.peer_id} ({reason}); what came is kept, and goes on when it is sent again.", "warn"
            )
        elif not peer.session.all_answered:
            self._view.say(f"{peer.peer_id} left.", "note")
        if peer.session.all_answered and self._was_once(peer):
            self._until = Deadline(LAST_WORD)
        peer.close()

    def _was_once(self, peer: _Peer) -> bool:
        """Whether a peer that is done was the one that ``once`` waits for."""
        if not self._once or not peer.files:
            return False
        self._outcome = Exit.FAILED if peer.failures else Exit.OK
        return True

    def _turn_away(self, endpoint: Endpoint, code: Code, text: str) -> None:
        self._send(endpoint, wire.encode(wire.Refused(wire.NO_TRANSFER, code, text)))
        self._drop(endpoint)

    def _drop(self, endpoint: Endpoint) -> None:
        self._manager.drop_node(endpoint)
        if (peer := self._peers.pop(endpoint, None)) is not None:
            peer.close()

    def _send(self, endpoint: Endpoint, data: bytes) -> None:
        try:
            self._manager.send(endpoint, data)
        except NotConnected:
            pass  # the event that says so is on its way
        except SendQueueFull:
            self._view.warn(f"{endpoint} takes no answers and is cut off")
            self._drop(endpoint)
