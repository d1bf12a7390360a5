"""`Reachability`: the part of `ConnectionManager` that reaches peers which cannot simply be dialled, and says how this
node can be reached."""

import queue
import threading
from abc import ABC, abstractmethod
from typing import Any, Final

from crust.connecting import notices
from crust.discovery.bootstrap_status import BootstrapStatus
from crust.errors import ConfigError
from crust.identity import PeerId
from crust.manager.core import ManagerCore
from crust.nat.connection_info import ConnectionInfo
from crust.nat.nat_status import NatStatus

STATUS_PATIENCE: Final = 5.0
"""Seconds that `bootstrap_status` and `nat_status` wait for the manager thread, which needs milliseconds unless
``put()`` hangs."""


class Reachability(ABC):
    """See the module's text; every method may be called from any thread."""

    _core: ManagerCore | None

    @abstractmethod
    def _started(self) -> ManagerCore:
        """The manager thread, started by the first call that needs it."""

    def connect_peer(self, peer_id: PeerId) -> None:
        """Connect to a peer by its id alone, wherever it is. Returns at once; `Event.NewConnection` or
        `Event.ConnectionFailed` follows.

        What is known of the peer is dialled (from gossip, the beacon, the cache and the configuration). If that comes
        to nothing within half a second, the peers that this node is connected to are asked to arrange a meeting with
        it: both sides then open a way through their routers at the same moment, over TCP and uTP. Where no way can be
        opened, a peer in common that volunteers (``relay: true``) carries the connection, until a direct one is there.
        Nothing happens when the peer is connected already.

        It needs listening ports (`start_listening`) to meet others, and a peer that both are connected to.

        Args:
            peer_id: whose; nobody else is accepted in its place.

        Raises:
            ConfigError: it is not a peer id, or our own.
            ManagerStopped: the manager was stopped.
        """
        if not isinstance(peer_id, PeerId) or not peer_id.proven:
            raise ConfigError(f"connect_peer() was given {peer_id!r}: write PeerId.parse(text)")
        core = self._started()
        if peer_id == core.peer_id:
            raise ConfigError("connect_peer() was given this node's own id")
        core.inbox.put(notices.ConnectPeer(peer_id))

    def prepare_connection_info(self, token: object = None) -> None:
        """Find out all that a peer needs to meet this node, for signalling of your own (a chat, an e-mail, a QR code).

        Returns at once; `Event.ConnectionInfoPrepared` follows, within a moment or within some seconds, with the token
        and the info. ``info.encode()`` is one line of text. Both sides prepare one, give it to the other, and then call
        `rendezvous_connect` with what they got, within a minute of each other.

        Args:
            token: anything; it comes back in the event.

        Raises:
            ManagerStopped: the manager was stopped.
        """
        self._started().inbox.put(notices.PrepareInfo(token))

    def rendezvous_connect(
        self, their_info: ConnectionInfo | str, our_info: ConnectionInfo | str | None = None
    ) -> None:
        """Meet a peer whose info was brought by other means. Returns at once; `Event.NewConnection` or
        `Event.ConnectionFailed` follows, the latter after a minute.

        Nothing happens when the peer is connected already. If it is called again for the same peer within that minute,
        the latest call counts, and one event follows for all.

        Args:
            their_info: what the peer's `prepare_connection_info` gave, or its line of text.
            our_info: which of ours the peer has; ``None``: the latest that was prepared.

        Raises:
            Malformed: a line is no connection info; the message says what to do.
            ConfigError: it is our own.
            ManagerStopped: the manager was stopped.
        """
        theirs = ConnectionInfo.parse(their_info) if isinstance(their_info, str) else their_info
        ours = ConnectionInfo.parse(our_info) if isinstance(our_info, str) else our_info
        core = self._started()
        if theirs.peer_id == core.peer_id:
            raise ConfigError("rendezvous_connect() was given this node's own info: it wants the peer's")
        core.inbox.put(notices.Rendezvous(theirs, ours))

    def nat_status(self) -> NatStatus:
        """How this node can be reached: its endpoints, mapped ports, how the NAT behaves, and what to do about it.

        ``print()`` of it shows lines for people. From inside the ``put()`` of your own events it tells nothing.
        """
        core = self._core
        there = isinstance(core, ManagerCore) and not core.inbox.closed
        return self._ask(notices.NatStatusAsked()) or NatStatus(listening=there)

    def bootstrap_status(self) -> BootstrapStatus:
        """How the search for peers goes: the rounds, each contact and what came of it, the beacon and the cache.

        ``print()`` of it shows lines for people. From inside the ``put()`` of your own events it tells nothing.
        """
        return self._ask(notices.StatusAsked()) or BootstrapStatus()

    def _ask(self, question: Any) -> Any:
        """The manager thread's answer; ``None`` where it is not there, or is the one that asks."""
        core = self._core
        if not isinstance(core, ManagerCore) or threading.current_thread() is core.thread:
            return None
        core.inbox.put(question)
        try:
            # Closed first, then looked through once more: so either it is set now, or the question is found.
            return None if core.inbox.closed else question.answer.get(timeout=STATUS_PATIENCE)
        except queue.Empty:
            return None
