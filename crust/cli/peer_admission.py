"""The commands of ``crust peer`` that say who is talked to: blacklist, unblacklist, blacklisted and only."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from crust.cli.peer_commands import BadCommand
from crust.cli.peer_table import MIN_ID_DIGITS, Peer, UnknownPeer
from crust.cli.peer_view import View
from crust.defence.blacklist import Entry, read
from crust.errors import ConfigError
from crust.identity import PeerId

Meant: TypeAlias = PeerId | str
"""An entry as the manager takes it, and as people read it."""


class Manager(Protocol):
    """What these commands use of a `ConnectionManager`."""

    def blacklist(self, *entries: Entry) -> None: ...
    def unblacklist(self, *entries: Entry) -> None: ...
    def blacklisted(self) -> Sequence[object]: ...
    def allow_only(self, entries: Iterable[Entry] | None) -> None: ...


class Doorkeeper:
    """See the module's text. For the thread that reads commands, but for the lists.

    Args:
        manager: the manager to command.
        view: what is known of peers.
        lock: guards it.
        select: finds the connected peer that a text means, or raises `UnknownPeer`.
        say: prints a line with a style.
        only: the allow-list that the manager was made with; ``None`` for none.
    """

    def __init__(
        self,
        manager: Manager,
        view: View,
        lock: threading.Lock,
        select: Callable[[str], Peer],
        say: Callable[[str, str | None], None],
        only: Sequence[str] | None = None,
    ) -> None:
        self._manager = manager
        self._view = view
        self._lock = lock
        self._select = select
        self._say = say
        self._only: tuple[Meant, ...] | None = None if only is None else tuple(only)

    def blacklist(self, entries: Iterable[str]) -> None:
        """Talk to these no more.

        Raises:
            BadCommand: one of them means nobody; nothing is changed then. So for the other methods.
        """
        meant = list(map(self._entry, entries))
        self._manager.blacklist(*meant)
        self._say(f"On the blacklist: {_shown(meant)}.", "note")

    def unblacklist(self, entries: Iterable[str]) -> None:
        """Take these off the blacklist.

        Raises:
            BadCommand: one of them is not on it.
            ConfigError: one of them stands in a file.
        """
        listed = self._listed()
        meant = [self._listed_entry(text, listed) for text in entries]
        self._manager.unblacklist(*meant)
        self._say(f"Off the blacklist: {_shown(meant)}.", "note")

    def show_blacklist(self) -> None:
        """Say who is on the blacklist."""
        self._say("\n".join(map(_text, self._listed())) or "The blacklist is empty.", None)

    def allow_only(self, entries: Iterable[str] | None) -> None:
        """Talk to nobody but these from now on; ``None``: to everybody."""
        meant = None if entries is None else tuple(map(self._entry, entries))
        self._manager.allow_only(meant)
        self._only = meant
        self._say("No longer limited to anybody." if meant is None else f"Only these now: {_shown(meant)}.", "note")

    def show_only(self) -> None:
        """Say who alone is talked to."""
        only = self._only
        self._say("Everybody who is not on the blacklist." if only is None else "\n".join(map(_text, only)), None)

    def blacklisted(self) -> list[tuple[str, str]]:
        """What is on the blacklist: what to type for each, and what it stands for. Any thread may call."""
        with self._lock:
            names = {peer_id: str(peer) for peer_id, peer in self._view.peers.items()}
        return [(_text(each), names.get(each, "") if isinstance(each, PeerId) else "") for each in self._listed()]

    def _listed(self) -> list[Meant]:
        return [each for each in self._manager.blacklisted() if isinstance(each, PeerId | str)]

    def _entry(self, text: str) -> Meant:
        """An id, address or network, or else the id of the peer that ``text`` selects, be it connected or gone."""
        try:
            known = read(text)
        except ConfigError:
            try:
                return self._select(text).peer_id
            except UnknownPeer as why:
                with self._lock:
                    gone = self._view.peers.remembered(text)
                if gone is None:
                    raise BadCommand(f"{text!r} is no peer, no id, no address and no network ({why})") from None
                return gone.peer_id
        return known if isinstance(known, PeerId) else text

    def _listed_entry(self, text: str, listed: Iterable[Meant]) -> Meant:
        """The entry of the blacklist that is meant: by itself, by a peer's number, or by an id's first digits."""
        begun = [each for each in listed if isinstance(each, PeerId) and each.hex().startswith(text.lower())]
        meant = begun[0] if len(begun) == 1 and len(text) >= MIN_ID_DIGITS else self._entry(text)
        if read(meant) not in map(read, listed):  # whatever the spelling
            raise BadCommand(f"{text} is not on the blacklist as such; blacklisted shows what is")
        return meant


def _text(entry: Meant) -> str:
    return entry.hex() if isinstance(entry, PeerId) else entry


def _shown(entries: Iterable[Meant]) -> str:
    return ", ".join(map(_text, entries))
