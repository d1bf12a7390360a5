"""Whom a node does not talk to, and whom alone it talks to: peers, addresses, networks, and whoever a function says."""

import ipaddress
import logging
import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from crust.defence.networks import Network, NetworkSet, address_of, network_of, text_of
from crust.endpoint import Endpoint
from crust.errors import ConfigError, EndpointError
from crust.identity import PeerId

log = logging.getLogger("crust.blacklist")

Predicate: TypeAlias = Callable[[Endpoint, PeerId | None], bool]
"""Decides about somebody at an endpoint; the peer id is ``None`` where it is not known yet. Any thread may call it, so
it has to be quick and safe for threads. What it raises is logged once and counts as ``False``."""
Entry: TypeAlias = (
    PeerId
    | Endpoint
    | str
    | ipaddress.IPv4Address
    | ipaddress.IPv6Address
    | ipaddress.IPv4Network
    | ipaddress.IPv6Network
    | Predicate
)
"""A peer id, an endpoint (its address counts: the port of who connects to us says nothing), an IP address, a CIDR
network, text that is one of these, or a `Predicate`."""
Known: TypeAlias = PeerId | Network | Predicate
"""What an entry stands for."""


def read(entry: object) -> Known:
    """What an entry stands for.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(entry, PeerId):
        return entry
    if callable(entry):
        return entry
    if isinstance(entry, Endpoint) and entry.is_relayed:
        raise ConfigError(f"blacklist: the address of {entry} is that of the peer in the middle: name the peer's id")
    try:
        return network_of(entry.host if isinstance(entry, Endpoint) else str(entry))
    except ValueError:
        pass
    try:
        if isinstance(entry, str):
            return read(Endpoint.parse(entry) if ":" in entry else PeerId.parse(entry))
    except EndpointError:
        pass
    raise ConfigError(
        f"blacklist: {entry!r} is none of: a peer id, an endpoint with an IP address, an IP address, "
        "a network such as 192.0.2.0/24, a function of an endpoint and a peer id"
    )


class Rules:
    """A set of entries. Any thread may ask; changes are made by one thread at a time.

    Args:
        entries: see `Entry`.

    Raises:
        ConfigError: an entry is none.
    """

    def __init__(self, entries: Iterable[object] = ()) -> None:
        self._peers: dict[bytes, PeerId] = {}  # whoever is that peer, or says so
        self._claims: dict[bytes, PeerId] = {}  # who only says so: anybody can, so it is not held against the peer
        self._networks = NetworkSet()
        self._predicates: tuple[Predicate, ...] = ()
        self._failed: tuple[Predicate, ...] = ()  # those whose exceptions were logged
        for known in map(read, entries):
            self.add(known)

    def add(self, known: Known) -> None:
        """One more. Idempotent."""
        if isinstance(known, PeerId):
            self._ids(known)[bytes(known)] = known
        elif isinstance(known, ipaddress.IPv4Network | ipaddress.IPv6Network):
            self._networks.add(known)
        elif known not in self._predicates:
            self._predicates += (known,)

    def discard(self, known: Known) -> None:
        """Not this one any more. Idempotent."""
        if isinstance(known, PeerId):
            self._ids(known).pop(bytes(known), None)
        elif isinstance(known, ipaddress.IPv4Network | ipaddress.IPv6Network):
            self._networks.discard(known)
        else:
            self._predicates = tuple(each for each in self._predicates if each != known)

    def has(self, known: Known) -> bool:
        """Whether this very entry is there."""
        if isinstance(known, PeerId):
            return bytes(known) in self._ids(known)
        if isinstance(known, ipaddress.IPv4Network | ipaddress.IPv6Network):
            return self._networks.has(known)
        return known in self._predicates

    def _ids(self, peer_id: PeerId) -> dict[bytes, PeerId]:
        return self._peers if peer_id.proven else self._claims

    def has_peer(self, peer_id: PeerId) -> bool:
        """Whether that id is there. One that is only claimed is also there if the proven one is, but not the other way
        round."""
        key = bytes(peer_id)
        return key in self._peers or (key in self._claims and not peer_id.proven)

    def has_address(self, host: str) -> bool:
        """Whether that IP address is in one of the networks; a host name never is."""
        if not self._networks:
            return False
        address = address_of(host)
        return address is not None and address in self._networks

    def says(self, endpoint: Endpoint, peer_id: PeerId | None) -> bool:
        """Whether one of the functions says so."""
        return any(self._ask(predicate, endpoint, peer_id) for predicate in self._predicates)

    def _ask(self, predicate: Predicate, endpoint: Endpoint, peer_id: PeerId | None) -> bool:
        try:
            return bool(predicate(endpoint, peer_id))
        except Exception:
            if predicate not in self._failed:
                self._failed += (predicate,)
                log.exception("%r of a blacklist failed, which counts as no; this is said once", predicate)
            return False

    @property
    def by_address(self) -> bool:
        """Whether addresses alone decide."""
        return not self._peers and not self._claims and not self._predicates

    def __len__(self) -> int:
        return len(self._peers) + len(self._claims) + len(self._networks) + len(self._predicates)

    def entries(self) -> list["PeerId | str | Predicate"]:
        """All, in a form that makes the same set again."""
        ids = [*list(self._peers.values()), *list(self._claims.values())]
        return [*ids, *self._networks.texts(), *self._predicates]


class Blacklist:
    """Who is unwelcome, and (unless it is ``None``) who alone is welcome. Any thread may call anything.

    Args:
        entries: who is unwelcome; see `Entry`.
        only: who alone is welcome, unless they are unwelcome as well; ``None`` for no such limit.

    Raises:
        ConfigError: an entry is none.
    """

    def __init__(self, entries: Iterable[Entry] = (), only: Iterable[Entry] | None = None) -> None:
        self._lock = threading.Lock()  # held while something is changed, not while somebody asks
        self._denied = Rules(entries)
        self._in_file = Rules()
        self._allowed = None if only is None else Rules(only)

    # --- changes --------------------------------------------------------------------------------------

    def add(self, entries: Iterable[object]) -> None:
        """More who are unwelcome.

        Raises:
            ConfigError: an entry is none; nothing is changed then.
        """
        known = list(map(read, entries))
        with self._lock:
            for each in known:
                self._denied.add(each)

    def remove(self, entries: Iterable[object]) -> None:
        """These entries are taken away, if they are there; others that mean the same peers stay.

        Raises:
            ConfigError: an entry is none, or stands in the file; nothing is changed then.
        """
        known = list(map(read, entries))
        with self._lock:
            for each in known:
                if self._in_file.has(each):
                    text = each if isinstance(each, PeerId) or callable(each) else text_of(each)
                    raise ConfigError(f"{text} stands in the blacklist_file: take it out there")
            for each in known:
                self._denied.discard(each)

    def replace_file(self, rules: Rules) -> None:
        """What stands in the file is this now."""
        self._in_file = rules

    def allow_only(self, entries: Iterable[object] | None) -> None:
        """Who alone is welcome from now on; ``None`` for everybody.

        Raises:
            ConfigError: an entry is none; nothing is changed then.
        """
        self._allowed = None if entries is None else Rules(entries)

    def entries(self) -> list["PeerId | str | Predicate"]:
        """All who are unwelcome, those of the file last."""
        with self._lock:
            own = self._denied.entries()
        # Without the lock: a file may have hundreds of thousands.
        told = {each for each in own if not callable(each)}  # of functions there are none in a file
        return own + [each for each in self._in_file.entries() if each not in told]

    def allowed(self) -> list["PeerId | str | Predicate"] | None:
        """Who alone is welcome; ``None`` for everybody."""
        rules = self._allowed
        return None if rules is None else rules.entries()

    # --- questions ------------------------------------------------------------------------------------

    def has_peer(self, peer_id: PeerId) -> bool:
        """Whether that peer is unwelcome, wherever it is."""
        return self._denied.has_peer(peer_id) or self._in_file.has_peer(peer_id)

    def has_address(self, host: str) -> bool:
        """Whether nobody at that IP address is welcome, by the networks alone (names are never decided about)."""
        if self._denied.has_address(host) or self._in_file.has_address(host):
            return True
        allowed = self._allowed
        return allowed is not None and allowed.by_address and _is_elsewhere(host, allowed)

    def refuses_at(self, endpoint: Endpoint) -> bool:
        """Whether whoever is at that endpoint is unwelcome, as far as that can be told before they say who they are."""
        return self.has_address(endpoint.host) or self._denied.says(endpoint, None)

    def why_not_at(self, endpoint: Endpoint) -> str | None:
        """In words, why `refuses_at` says yes; ``None`` where it says no."""
        if not self.refuses_at(endpoint):
            return None
        host = endpoint.host
        if self._denied.has_address(host) or self._in_file.has_address(host) or self._denied.says(endpoint, None):
            return "that address is on the blacklist"
        return "that address is none of those that alone are allowed (only=, or allow_only())"

    def refuses(self, endpoint: Endpoint, peer_id: PeerId) -> bool:
        """Whether that peer at that endpoint is unwelcome. What it only claims to be does not let it in."""
        if self.has_peer(peer_id) or self.has_address(endpoint.host) or self._denied.says(endpoint, peer_id):
            return True
        allowed = self._allowed
        return allowed is not None and not (
            (peer_id.proven and allowed.has_peer(peer_id))
            or allowed.has_address(endpoint.host)
            or allowed.says(endpoint, peer_id)
        )

    def refuses_contact(self, endpoints: Iterable[Endpoint], peer_id: PeerId | None) -> bool:
        """Whether a node that is said to be at these endpoints is not to be dialled at all.

        That of several endpoints one is unwelcome is enough, but not that one is none of those who alone are welcome.
        """
        found = list(endpoints)
        if any(self._denied.has_address(each.host) or self._in_file.has_address(each.host) for each in found):
            return True
        if peer_id is None:
            return bool(found) and all(map(self.refuses_at, found))
        return bool(found) and all(self._refuses_there(each, peer_id) for each in found)

    def _refuses_there(self, endpoint: Endpoint, peer_id: PeerId) -> bool:
        if endpoint.is_name and self._allowed is not None:
            return self.has_peer(peer_id)  # its address may be one of those who are welcome
        return self.refuses(endpoint, peer_id)


def _is_elsewhere(host: str, allowed: Rules) -> bool:
    return address_of(host) is not None and not allowed.has_address(host)
