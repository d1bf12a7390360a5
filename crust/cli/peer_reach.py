"""The commands of ``crust peer`` that reach peers which cannot simply be dialled: punch, info, connect-info and nat."""

import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from crust.cli.nat_view import status_lines
from crust.cli.peer_commands import BadCommand
from crust.cli.peer_table import MIN_ID_DIGITS, UnknownPeer
from crust.cli.peer_view import View
from crust.discovery.bootstrap_status import BootstrapStatus
from crust.endpoint import Endpoint
from crust.errors import EndpointError
from crust.identity import Identity, PeerId
from crust.nat.connection_info import ConnectionInfo
from crust.nat.nat_status import NatStatus

PUNCH_TIMEOUT: Final = 100.0
"""Seconds for which a script waits for what comes of ``punch`` and ``connect-info``: the library's own limits, of 90
and 60 s, come first."""
INFO_TIMEOUT: Final = 30.0
"""Seconds for which a script waits for its line: a survey takes four."""

_HEX: Final = frozenset("0123456789abcdef")

Outcome = Callable[[], bool | None]
"""Whether something went well; ``None`` as long as that is not known. Called with the session's lock held."""


class Manager(Protocol):
    """What these commands use of a `ConnectionManager`."""

    @property
    def identity(self) -> Identity: ...
    def connect_peer(self, peer_id: PeerId) -> None: ...
    def prepare_connection_info(self, token: object = None) -> None: ...
    def rendezvous_connect(self, their_info: ConnectionInfo) -> None: ...
    def nat_status(self) -> NatStatus: ...
    def bootstrap_status(self) -> BootstrapStatus: ...


class Reacher:
    """See the module's text. For the thread that reads commands, but for `strangers`.

    Args:
        manager: the manager to command.
        view: what is known of events.
        lock: guards it.
        say: prints a line with a style.
        wait: waits for an outcome, for so many seconds; ``None``: nobody waits, the events tell.
    """

    def __init__(
        self,
        manager: Manager,
        view: View,
        lock: threading.Lock,
        say: Callable[[str, str | None], None],
        wait: Callable[[Outcome, float], bool] | None,
    ) -> None:
        self._manager = manager
        self._view = view
        self._lock = lock
        self._say = say
        self._wait = wait

    def punch(self, text: str) -> bool:
        """Reach the peer whose id ``text`` is, or begins.

        Returns:
            whether it went well; true where nobody waits for that.

        Raises:
            UnknownPeer: nobody is meant, or several.
        """
        with self._lock:
            gone = self._view.peers.ids()
        peer_id = choose(text, [*gone, *self._known()])
        if peer_id == self._manager.identity.peer_id:
            raise UnknownPeer(f"{text} is this node itself")
        if self._is_there(peer_id):
            return True
        self._say(f"Looking for a way to {peer_id} ...", "note")
        self._manager.connect_peer(peer_id)
        return self._until_there(peer_id)

    def info(self) -> bool:
        """Have the line made that a peer needs; an event brings it. Returns as `punch`."""
        with self._lock:
            before = self._view.infos
        self._say("Asking where others see this node ...", "note")
        self._manager.prepare_connection_info()
        return self._wait is None or self._wait(lambda: self._view.infos > before or None, INFO_TIMEOUT)

    def connect_info(self, info: ConnectionInfo) -> bool:
        """Meet the peer whose line it is. Returns as `punch`.

        Raises:
            BadCommand: it cannot work like that.
        """
        if info.peer_id == self._manager.identity.peer_id:
            raise BadCommand(
                "this is the line of this node: give it to the peer, and type connect-info with the peer's"
            )
        if self._is_there(info.peer_id):
            return True
        with self._lock:
            if not self._view.infos:
                raise BadCommand("type info first, and give the line that it shows to the peer: each needs the other's")
        self._say(f"Looking for a way to {info.peer_id}, for a minute. The peer has to do the same now ...", "note")
        self._manager.rendezvous_connect(info)
        return self._until_there(info.peer_id)

    def nat(self) -> None:
        """Say how this node can be reached."""
        for text, style in status_lines(self._manager.nat_status()):
            self._say(text, style)

    def strangers(self) -> list[tuple[str, str]]:
        """Who could be meant by ``punch``: what to type, and what it stands for. Any thread may call."""
        with self._lock:
            near = {peer.peer_id for peer in self._view.peers}
            gone = self._view.peers.ids()
        known: dict[PeerId, tuple[Endpoint, ...]] = dict.fromkeys(gone, ())
        known |= {each.peer_id: each.endpoints for each in self._manager.bootstrap_status().contacts if each.peer_id}
        return [
            (str(peer_id), " ".join(map(str, endpoints)) or "was connected")
            for peer_id, endpoints in known.items()
            if peer_id not in near and peer_id.proven
        ]

    def _known(self) -> list[PeerId]:
        return [each.peer_id for each in self._manager.bootstrap_status().contacts if each.peer_id is not None]

    def _is_there(self, peer_id: PeerId) -> bool:
        """Whether there is a connection that nothing has to be done for; says so."""
        with self._lock:
            peer = self._view.peers.of(peer_id)
            self._view.unreached.discard(peer_id)
        if peer is None:
            return False
        if peer.endpoint.is_relayed:
            self._say(f"{str(peer).capitalize()} is connected through another peer; trying to do without ...", "note")
            self._manager.connect_peer(peer_id)
        else:
            self._say(f"Already connected to {peer} at {peer.endpoint}.", None)
        return True

    def _until_there(self, peer_id: PeerId) -> bool:
        def outcome() -> bool | None:
            if self._view.peers.of(peer_id) is not None:
                return True
            return False if peer_id in self._view.unreached else None

        return self._wait is None or self._wait(outcome, PUNCH_TIMEOUT)


def choose(text: str, known: Iterable[PeerId]) -> PeerId:
    """The peer whose id is meant. Pure.

    Args:
        text: the id, or the first digits of one that is known.
        known: ids.

    Raises:
        UnknownPeer: it is none of them, or could be several.
    """
    digits = text.lower()
    try:
        return PeerId.parse(digits)
    except EndpointError:
        pass
    if not set(digits) <= _HEX or len(digits) < MIN_ID_DIGITS:
        raise UnknownPeer(f"{text!r} is no id: give its 64 digits (the peer's whoami shows them) or the first ones")
    found = list(dict.fromkeys(each for each in known if each.proven and each.hex().startswith(digits)))
    if len(found) > 1:
        raise UnknownPeer(
            f"{text} could be any of {', '.join(each.hex()[:16] for each in found[:4])}; give more digits"
        )
    if not found:
        raise UnknownPeer(f"no known id begins with {text}; give all 64 digits (the peer's whoami shows them)")
    return found[0]
