"""`Admission`: the part of `ConnectionManager` that says who may talk to this node."""

from collections.abc import Iterable

from crust.config import Config
from crust.connecting import notices
from crust.defence.blacklist import Blacklist, Entry, Predicate
from crust.defence.blacklist_file import BlacklistFile
from crust.identity import PeerId
from crust.manager import arguments
from crust.manager.core import ManagerCore


class Admission:
    """See the module's text; every method may be called from any thread, and none blocks.

    Args:
        config: for ``blacklist_file``, which is read here.
        blacklist: who is unwelcome.
        only: who alone is welcome; ``None`` for everybody.

    Raises:
        ConfigError: an entry is none, or the file cannot be read or understood.
    """

    _core: ManagerCore | None

    def __init__(self, config: Config, blacklist: Iterable[Entry], only: Iterable[Entry] | None) -> None:
        self._blacklist = Blacklist(
            arguments.entries(blacklist, "blacklist"), None if only is None else arguments.entries(only, "only")
        )
        self._blacklist_file = None if config.blacklist_file is None else BlacklistFile(config.blacklist_file)
        if self._blacklist_file is not None:
            self._blacklist.replace_file(self._blacklist_file.read())

    def blacklist(self, *entries: Entry) -> None:
        """Talk to these no more: connections with them end at once, and none is made or accepted from now on.

        An address or network decides before anything is spent on whoever comes from there, a peer id right after the
        handshake. They are not looked for either, whoever tells of them. Each connection that ends is reported as
        `Event.LostConnection`.

        Args:
            entries: peer ids, endpoints (their address counts), IP addresses, CIDR networks, text that is one of these,
                or functions of an endpoint and a peer id (``None`` where it is not known yet) that say whether somebody
                is meant. Functions are called from several threads, have to be quick, and count as no when they raise.

        Raises:
            ConfigError: an entry is none of these; nothing is changed then.
        """
        self._blacklist.add(entries)
        self._apply()

    def unblacklist(self, *entries: Entry) -> None:
        """Take entries off the blacklist, in whatever spelling; those that are not on it do not matter.

        An address is not taken out of a network that holds it: take the network off, and add what is left.

        Raises:
            ConfigError: an entry is none, or stands in the ``blacklist_file``; nothing is changed then.
        """
        self._blacklist.remove(entries)

    def blacklisted(self) -> list[PeerId | str | Predicate]:
        """Everything on the blacklist, that of the ``blacklist_file`` last; `blacklist` takes it back."""
        return self._blacklist.entries()

    def allow_only(self, entries: Iterable[Entry] | None) -> None:
        """Talk to nobody but these from now on (and not to those of them who are on the blacklist); connections with
        others end as in `blacklist`.

        Somebody is welcome whom any of the entries means. With peer ids or functions among them, whoever connects has
        to say who they are before they can be refused; with addresses and networks alone they are refused at once. On
        tracer connections, where ids are only claimed, ids let nobody in.

        Args:
            entries: as for `blacklist`; ``None`` for everybody.

        Raises:
            ConfigError: an entry is none; nothing is changed then.
        """
        self._blacklist.allow_only(None if entries is None else arguments.entries(entries, "allow_only()"))
        self._apply()

    def _apply(self) -> None:
        core = self._core
        if isinstance(core, ManagerCore):
            core.inbox.put(notices.Unwelcome())
