"""`Finder`: how a manager finds peers. It brings cache, beacon, gossip and configuration together for `bootstrap()`.

Belongs to the manager thread.
"""

import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from crust.connecting import notices
from crust.connecting.attempts import Attempt, Race
from crust.connecting.ground import Ground
from crust.connecting.negotiate import Refused
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus
from crust.discovery.cache_keeper import CacheKeeper
from crust.discovery.contact import Contact, Source
from crust.discovery.contact_book import ContactBook, Entry, Promise, given
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import CrustError
from crust.event import Misbehaviour, OwnEndpointsChanged
from crust.finding.bootstrap import Bootstrapper
from crust.finding.gossiping import Gossiping
from crust.finding.lan import Lan
from crust.finding.own_addresses import Interest, OwnAddresses
from crust.finding.surroundings import Surroundings
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.links.connection_news import Gossiped
from crust.threads.clock import now

log = logging.getLogger("crust.finder")

GOSSIP_IN_ROUND: Final = 128
"""Contacts of gossip that a round of ``bootstrap()`` takes in."""


class Finder:
    """See the module's text.

    Args:
        ground: of the manager.
        fallback: contacts that the program gave.
        alert: gives an event about somebody who means harm to the user.
    """

    def __init__(self, ground: Ground, fallback: tuple[Endpoint, ...], alert: Callable[[Misbehaviour], None]) -> None:
        config = ground.config
        self._own_id = ground.own_id
        self._config = config
        self._connections = ground.connections
        self._blacklist = ground.blacklist
        self._fallback = fallback
        self._emit = ground.emit
        self._external: tuple[Endpoint, ...] = ()
        self._dialled: dict[PeerId, Endpoint] = {}  # over TCP; of peers that are connected, or were
        self.on_move: Callable[[], None] = lambda: None
        """Called when this machine's addresses have changed."""
        self.on_learned: Callable[[], None] = lambda: None
        """Called when gossip has told of a node, which may say where it sees us."""
        self.lan = Lan(config, self._own_id, ground.inbox)
        """The beacon; any thread may start it."""
        self._cache = CacheKeeper(
            config, ground.node.keys, self._own_id, lambda contacts: ground.inbox.put(notices.CacheOpened(contacts))
        )
        self._book = ContactBook(config.bootstrap_backoff_min, config.bootstrap_backoff_max, random.Random())
        self._gossiping = Gossiping(
            ground.node.identity,
            ground.node.keys,
            config,
            ground.timers,
            ground.dialer,
            ground.connections,
            learned=self._learned,
            alert=alert,
            others=self._dialable,
            wanted=self._wanted,
        )
        around = Surroundings(
            is_connected=self._is_connected,
            alone=lambda: not self._connections.live,
            hopeful=lambda: self._cache.opening or (self.lan.possible and not config.override_default_bootstrap),
            round_begins=self._gather,
            refuses=self._is_refused,
            counts=self._counts,
            who=self._who,
            falls_short=self._falls_short,
        )
        self._bootstrapper = Bootstrapper(config, self._book, ground.dialer, ground.timers, around)
        self._addresses = OwnAddresses(
            ground.timers, ground.connections, Interest(self._take_ours, self._moved, self._bootstrapper.hurry)
        )
        self.handlers: dict[type, Callable[[Any], None]] = {
            notices.LanNews: self._on_lan_news,
            notices.CacheOpened: self._on_cache_opened,
            notices.StatusAsked: lambda notice: notice.answer.put(self._status()),
            Gossiped: self._gossiping.said,
        }

    # --- what the user wants --------------------------------------------------------------------------

    def bootstrap(self, max_connections: int, keep_going: bool) -> None:
        """``bootstrap()`` was called."""
        if not self._config.override_default_bootstrap:
            self._cache.open()
        self._addresses.watch()
        self._gossiping.look()
        target = self._config.target_connections
        # All who were given are tried until there are enough: if one newcomer that came to us were enough, the two
        # might never meet the network that the others are in.
        self._bootstrapper.start(max(max_connections, target), keep_going or target > 0)

    def listening(self, bound: list[Endpoint]) -> None:
        """``start_listening()`` was called; where its sockets are bound."""
        self._addresses.listening(bound)
        self._publish()
        if self._config.target_connections:
            self.bootstrap(1, keep_going=True)

    def stop(self) -> None:
        """Look for nobody any more."""
        self._bootstrapper.stop()
        self._gossiping.stop()
        self.lan.stop()
        self._addresses.stop()

    def close(self) -> None:
        """Save what is to be saved; waits for that. After `stop`, when nothing more can happen."""
        self._cache.close()

    # --- what happens to connections ------------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """A connection has become live."""
        self._addresses.watch()
        self._addresses.moves.came(connection)
        self._gossiping.came(connection)

    def went(self, connection: Connection) -> None:
        """One is so no more."""
        self._addresses.moves.went(connection)
        self._gossiping.went(connection)
        self._bootstrapper.lost_one()
        if self._dialled.get(connection.peer_id) in connection.aliases:
            del self._dialled[connection.peer_id]

    def turned_away(self, race: Race) -> None:
        """See `Bootstrapper.turned_away`."""
        self._bootstrapper.turned_away(race)

    def dialled(self, attempt: Attempt, peer_id: PeerId) -> None:
        """An attempt has become a connection."""
        if not peer_id.proven:
            return
        self._book.answered((attempt.given, attempt.target), peer_id)
        if attempt.target.protocol is Protocol.TCP:
            self._dialled[peer_id] = attempt.target
        self._cache.worked(attempt.target, peer_id, self._book.source_of(attempt.target, peer_id))

    def dialled_in_vain(self, attempt: Attempt, error: CrustError) -> None:
        """An attempt has failed. Call it before the dialer knows: what it has ended itself has not failed."""
        if isinstance(error, Refused):
            if error.peer_id == self._own_id:
                self._book.is_us((attempt.given, attempt.target))
                self._cache.remove(attempt.target)
        elif not attempt.job.done and not attempt.target.is_name:
            self._cache.failed(attempt.target)

    # --- what others of the manager's parts want to know ----------------------------------------------

    def endpoints_of(self, peer_id: PeerId) -> tuple[Endpoint, ...]:
        """Where a peer may be reached, as far as is known."""
        found = [entry.endpoints for entry in self._book.entries() if entry.peer_id == peer_id]
        found += [contact.endpoints for contact in self._gossiping.contacts() if contact.peer_id == peer_id]
        return tuple(dict.fromkeys(endpoint for each in found for endpoint in each))

    def peer_at(self, endpoints: Iterable[Endpoint]) -> PeerId | None:
        """Who is said to be at one of these endpoints; ``None`` if nobody, or several."""
        wanted = set(endpoints)
        known = [(entry.peer_id, entry.endpoints) for entry in self._book.entries()]
        known += [(contact.peer_id, contact.endpoints) for contact in self._gossiping.contacts()]
        found = {peer_id for peer_id, at in known if peer_id is not None and wanted & set(at)} - {self._own_id}
        return found.pop() if len(found) == 1 else None

    def utp_addresses(self) -> list[Address]:
        """Where nodes serve uTP: those that we are connected to first, then those that they tell of."""
        live = [each.endpoint for each in self._connections.live if each.peer_id.proven]
        told = [endpoint for contact in self._gossiping.contacts() for endpoint in contact.endpoints]
        return [each.address for each in dict.fromkeys((*live, *told)) if each.protocol is Protocol.UTP]

    def tcp_endpoints(self) -> Iterator[tuple[PeerId, Endpoint]]:
        """Where peers that we are connected to listen: first where we have dialled them, then what is said of them."""
        live = [each for each in self._connections.live if each.peer_id.proven]
        for connection in live:
            if connection.peer_id in self._dialled:
                yield connection.peer_id, self._dialled[connection.peer_id]
        for connection in live:
            for endpoint in () if connection.relayed else self.endpoints_of(connection.peer_id):
                if endpoint.protocol is Protocol.TCP and not self._blacklist.refuses_at(endpoint):
                    yield connection.peer_id, endpoint

    def reachable_at(self, external: tuple[Endpoint, ...]) -> None:
        """Others can reach this node there as well."""
        self._external = external
        self._publish()

    # --- this node's own addresses --------------------------------------------------------------------

    def _publish(self) -> None:
        self._gossiping.publish((*self._addresses.endpoints, *self._external))

    def _take_ours(self, endpoints: Collection[Endpoint]) -> None:
        self._book.own = endpoints

    def _moved(self, own: tuple[Endpoint, ...]) -> None:
        self._emit(OwnEndpointsChanged(own))
        self._publish()
        self.on_move()

    # --- contacts -------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Before a round: all who are known."""
        contacts = given(self._config.hard_coded_contacts, Source.CONFIG)
        if not self._config.override_default_bootstrap:
            contacts += given(self._fallback, Source.FALLBACK)
            self._cache.look_again()
            for contact in islice(self._gossiping.contacts(), GOSSIP_IN_ROUND):
                self._book.add(contact, Promise.TOLD)
            self.lan.seek()
        for contact in contacts:
            self._book.add(contact, Promise.GIVEN)

    def _learned(self, contact: Contact) -> None:
        self.on_learned()
        if not self._config.override_default_bootstrap:
            self._bootstrapper.offer(self._book.add(contact, Promise.TOLD))

    def _on_cache_opened(self, notice: notices.CacheOpened) -> None:
        self._cache.taken()
        for contact, promise in notice.contacts:
            if self._wanted(contact):
                self._bootstrapper.offer(self._book.add(contact, promise))
        self._bootstrapper.expect_no_more()
        self._gossiping.news()

    def _on_lan_news(self, _: notices.LanNews) -> None:
        found, changed = self.lan.take_news()
        if not self._config.override_default_bootstrap:
            for contact in found:
                if self._wanted(contact):
                    self._bootstrapper.offer(self._book.add(contact, Promise.HERE))
            self._gossiping.news()
        if changed:
            self._addresses.check_soon()

    def _wanted(self, contact: Contact) -> bool:
        """Whether somebody that others told of is to be dialled at all."""
        unwelcome = self._blacklist.refuses_contact(contact.endpoints, contact.peer_id)
        return not unwelcome and contact.peer_id != self._own_id

    def _is_connected(self, entry: Entry) -> bool:
        return self._connection_with(entry) is not None

    def _connection_with(self, entry: Entry) -> Connection | None:
        by_id = None if entry.peer_id is None else self._connections.with_peer(entry.peer_id)
        found = (by_id, *(self._connections.routes.get(endpoint) for endpoint in entry.endpoints))
        return next((each for each in found if each is not None), None)

    def _who(self, entry: Entry) -> object:
        connection = self._connection_with(entry)
        return entry if connection is None else connection.peer_id

    def _is_refused(self, entry: Entry) -> bool:
        return entry.peer_id is not None and self._blacklist.has_peer(entry.peer_id)

    def _counts(self, entry: Entry) -> bool:
        """Whether somebody who is connected already counts for ``bootstrap()``.

        Whether gossip has told of a peer that came to us is chance, and says nothing about the contacts that we have.
        For ``target_connections`` every connection counts.
        """
        return entry.promise is not Promise.TOLD or self._config.target_connections > 0

    def _falls_short(self) -> bool:
        """Whether somebody who was given is still to be tried for the sake of ``target_connections``.

        Else a node whose first contact is slow, and to which a newcomer comes meanwhile, might stay with it on an
        island, for gossip tells each of them only of the other.
        """
        if len(self._connections.live) >= self._config.target_connections:
            return False
        return any(
            entry.promise is Promise.GIVEN
            and self._book.usable(entry)
            and not self._is_connected(entry)
            and not self._is_refused(entry)
            for entry in self._book.entries()
        )

    def _dialable(self) -> Iterator[Contact]:
        """Known nodes beside those of gossip, as far as nothing speaks against them."""
        moment = now()
        for entry in self._book.entries():
            usable = self._book.usable(entry)
            if usable and entry.peer_id is not None and not entry.failures and moment >= entry.not_before:
                contact = Contact(usable, entry.peer_id, entry.source)
                if self._wanted(contact):
                    yield contact

    # --- for people -----------------------------------------------------------------------------------

    def _status(self) -> BootstrapStatus:
        bootstrapper = self._bootstrapper
        again = bootstrapper.next_round_at
        return BootstrapStatus(
            running=bootstrapper.running,
            keep_going=bootstrapper.keep_going,
            round=bootstrapper.rounds,
            next_round_in=None if again is None else max(again - now(), 0.0),
            wanted=bootstrapper.wanted,
            made=bootstrapper.made,
            connected=len(self._connections.live),
            target=self._config.target_connections,
            contacts=tuple(map(_contact_status, self._book.for_people())),
            known_by_gossip=self._gossiping.known,
            beacon=self.lan.state,
            cache=self._cache.state,
            gave_up=bootstrapper.gave_up,
        )


def _contact_status(entry: Entry) -> ContactStatus:
    return ContactStatus(
        entry.endpoints,
        entry.peer_id,
        entry.source.name.lower(),
        entry.tries,
        entry.failures,
        entry.tried_at,
        entry.result,
    )
