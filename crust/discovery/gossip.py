"""`Gossip`: who learns of whom through common peers (docs/discovery.md, "Gossip"). Pure: time and luck come in.

Each node signs a record of itself and renews it now and then. Now and then, too, it compares what it knows with one of
its peers, and each gives the other what that lacks (`crust.discovery.gossip_messages`). The peers have their turns.
When there is news the pauses are short until each had one; then they grow. A peer that lies is found out by signatures,
and one that says too much by allowances: see `crust.discovery.conduct`.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crust.defence.allowance import Allowance
from crust.discovery.conduct import Conduct, Offence
from crust.discovery.contact import Contact, Source, dialable
from crust.discovery.contact_record import (
    EXPIRY_LIMIT,
    SEQUENCE_LIMIT,
    ContactRecord,
    make_record,
    network_tag,
    publishable,
)
from crust.discovery.exchange import differences, listing, sums_for
from crust.discovery.gossip_messages import (
    MAX_GIVEN,
    NUMBER_BITS,
    Give,
    Have,
    Sums,
    gives,
    parse_message,
)
from crust.discovery.intake import Intake, Verdict
from crust.discovery.record_store import MAX_RECORDS, Put, RecordStore
from crust.endpoint import Endpoint
from crust.errors import Malformed
from crust.identity import Identity, PeerId
from crust.transport.masking import NetworkKeys

LIFETIME: Final = 4 * 3600
"""Seconds that a record is good for: so long are nodes remembered that have gone without a word."""
REFRESH: Final = 2 * 3600
"""Seconds after which a node renews its record, with a quarter of jitter: it may miss one renewal."""
MIN_PAUSE: Final = 1.0
"""Seconds between two exchanges that a node starts while some peer may not have heard the news; at least half of it."""
MAX_PAUSE: Final = 60.0
"""Seconds between them when there is none; each pause is up to twice as long as the one before."""
HUNGRY_PAUSE: Final = 5.0
"""The same while this node has fewer connections than it wants: what it hears then is worth more."""
NEWCOMER_DELAY: Final = 0.5
"""Seconds, at most, until a new peer is asked what it knows; random, as both sides do it and one is enough."""
EXCHANGE_TIMEOUT: Final = 10.0
"""Seconds that an exchange may take from start to end."""
EXCHANGE_BURST: Final = 5
EXCHANGES_PER_SECOND: Final = 2.0
"""Exchanges that one peer may start with us; an honest one starts two a second at most, with all its peers together."""
ANSWER_BURST: Final = 64
ANSWERS_PER_SECOND: Final = 16.0
"""Exchanges that all peers together may start with us. One costs up to some 24 KiB; others are ignored."""
MESSAGE_BURST: Final = 128
MESSAGES_PER_SECOND: Final = 32.0
"""CONTACTS frames of one peer that are looked at; an exchange has up to some 20."""


@dataclass(frozen=True, slots=True)
class Send:
    """To be sent to a connected peer in a CONTACTS frame; `crust.transport.framing.control_frame` takes the content."""

    peer: PeerId
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Learned:
    """A node that was not known before, or is to be reached elsewhere now."""

    contact: Contact
    introducer: PeerId
    """Which peer told us. The record is from the node itself all the same."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A peer that broke the rules again and again. It is ignored in gossip for `MUTE_TIME`; what else is done about it
    is the caller's business."""

    peer: PeerId
    reason: str


Outcome = Send | Learned | Reported


@dataclass(slots=True)
class _Exchange:
    number: int
    until: float
    may_give: int = 0
    """Records that the peer may still send."""
    may_want: bool = False
    """Whether it may still say what it wants."""
    blamed: bool = False
    """Whether an expired record was counted: one for each exchange, as it may be our clock that is wrong."""


@dataclass(slots=True)
class _Peer:
    ask_at: float | None
    """When it is asked for the first time."""
    compared_at: float = -math.inf
    """When the latest exchange began, whoever began it."""
    asked: _Exchange | None = None
    answered: _Exchange | None = None
    messages: Allowance = field(default_factory=lambda: Allowance(MESSAGE_BURST, MESSAGES_PER_SECOND))
    exchanges: Allowance = field(default_factory=lambda: Allowance(EXCHANGE_BURST, EXCHANGES_PER_SECOND))


class Gossip:
    """See the module's text. Belongs to one thread; nothing blocks. After each call carry out what it returned, and
    call `handle_timer` at `next_timer`.

    In all methods ``now`` is seconds on a clock that never jumps, ``wall`` seconds since 1970.

    Args:
        identity: ours.
        keys: of our network.
        random: the source of chance; a seeded one makes everything repeatable.
        allow_loopback: whether endpoints on this host count, for tests and demonstrations.
        capacity: records kept.
    """

    def __init__(
        self,
        identity: Identity,
        keys: NetworkKeys,
        *,
        random: random.Random,
        allow_loopback: bool = False,
        capacity: int = MAX_RECORDS,
    ) -> None:
        self._identity = identity
        self._tag = network_tag(keys)
        self._random = random
        self._allow_loopback = allow_loopback
        self._store = RecordStore(identity.peer_id, capacity, random.randbytes(16))
        self._conduct = Conduct()
        self._peers: dict[PeerId, _Peer] = {}
        self._pause = MIN_PAUSE
        self._news_at = 0.0
        self._hungry = False
        self._exchange_at: float | None = None
        self._refresh_at: float | None = None
        self._endpoints: tuple[Endpoint, ...] = ()
        self._capabilities = 0
        self._answers = Allowance(ANSWER_BURST, ANSWERS_PER_SECOND)
        self._intake = Intake(self._store, identity.peer_id, self._tag)

    # --- what is known ----------------------------------------------------------------------------

    @property
    def record(self) -> ContactRecord | None:
        """Our own, the newest."""
        return self._store.get(self._identity.peer_id)

    def __len__(self) -> int:
        """Records known, our own among them."""
        return len(self._store)

    def contacts(self, wall: float) -> Iterator[Contact]:
        """Nodes to which this one could connect, ourselves not among them, in an order of chance."""
        for record in self._random.sample(list(self._store), len(self._store)):
            contact = self._contact(record)
            if contact.endpoints and record.expiry > wall and record.peer_id != self._identity.peer_id:
                yield contact

    def offences(self, peer: PeerId) -> dict[Offence, int]:
        """What a peer did wrong so far, as far as that is remembered."""
        return self._conduct.counts(peer)

    def _contact(self, record: ContactRecord) -> Contact:
        usable = (each for each in record.endpoints if dialable(each, allow_loopback=self._allow_loopback))
        return Contact(tuple(usable), record.peer_id, Source.GOSSIP)

    # --- ourselves --------------------------------------------------------------------------------

    def publish(self, endpoints: Iterable[Endpoint], now: float, wall: float, capabilities: int = 0) -> None:
        """Say where this node can be reached; to be called with the same ones again as often as one likes.

        Args:
            endpoints: the best first; those that a record cannot carry are left out. None at all withdraws what was
                said before.
            now, wall: see the class.
            capabilities: see `crust.discovery.contact_record.Capability`.
        """
        chosen = publishable(endpoints, allow_loopback=self._allow_loopback)
        if (chosen, capabilities) != (self._endpoints, self._capabilities):
            self._endpoints, self._capabilities = chosen, capabilities
            self._sign(now, wall)
            self._hurry(now)

    def _sign(self, now: float, wall: float, above: int = -1) -> None:
        """Make a new record, its number above that of all earlier ones."""
        last = self.record
        # Milliseconds: so a node that was started anew goes on where it was, without a file. A clock that stepped back
        # meanwhile is noticed when others bring our old record: see `_take_own`.
        sequence = max(int(wall * 1000), above + 1, last.sequence + 1 if last else 0)
        expiry = int(wall) + LIFETIME
        self._refresh_at = now + REFRESH * self._random.uniform(0.75, 1.0)
        if 0 <= sequence < SEQUENCE_LIMIT and 0 <= expiry < EXPIRY_LIMIT:  # else the clock is broken
            record = make_record(self._identity, self._tag, self._endpoints, sequence, expiry, self._capabilities)
            self._store.put(record, None, now)

    # --- peers and time ---------------------------------------------------------------------------

    def connected(self, peer: PeerId, now: float) -> None:
        """There is a connection with a peer now."""
        self._peers[peer] = _Peer(ask_at=now + self._random.uniform(0.0, NEWCOMER_DELAY))
        self._hurry(now)

    def lost(self, peer: PeerId) -> None:
        """There is none any more."""
        self._peers.pop(peer, None)

    def want_more(self, hungry: bool, now: float) -> None:
        """Say whether this node has fewer connections than it wants; to be called again as often as one likes."""
        if hungry and not self._hungry:
            self._hurry(now)
        self._hungry = hungry

    def next_timer(self) -> float | None:
        """When `handle_timer` is due; it changes with every call. ``None``: not at all."""
        times = [self._refresh_at]
        if self._peers:
            times += [self._exchange_at, *(peer.ask_at for peer in self._peers.values())]
        return min((each for each in times if each is not None), default=None)

    def handle_timer(self, now: float, wall: float) -> list[Outcome]:
        """Do what is due; nothing if called too early."""
        if self._refresh_at is not None and now >= self._refresh_at:
            self._sign(now, wall)
        newcomers = [peer for peer, state in self._peers.items() if state.ask_at is not None and now >= state.ask_at]
        sent: list[Outcome] = [self._start(peer, now) for peer in newcomers if not self._conduct.is_muted(peer, now)]
        for peer in newcomers:
            self._peers[peer].ask_at = None
        if self._exchange_at is not None and now >= self._exchange_at:
            self._store.expire(wall)
            if not newcomers:
                sent += self._next_exchange(now)
            self._exchange_at = now + self._random.uniform(0.5, 1.0) * self._pause
        return sent

    def _next_exchange(self, now: float) -> list[Outcome]:
        """With the peer whose turn it is; the pause grows if each had one since the last news."""
        choice = [peer for peer, state in self._peers.items() if self._may_ask(peer, state, now)]
        self._random.shuffle(choice)
        peer = min(choice, key=lambda each: self._peers[each].compared_at, default=None)
        if peer is None or self._peers[peer].compared_at > self._news_at:
            self._pause = min(2 * self._pause, HUNGRY_PAUSE if self._hungry else MAX_PAUSE)
        return [] if peer is None else [self._start(peer, now)]

    def _may_ask(self, peer: PeerId, state: _Peer, now: float) -> bool:
        return not self._conduct.is_muted(peer, now) and (state.asked is None or now >= state.asked.until)

    def _hurry(self, now: float) -> None:
        """There is news: back to short pauses."""
        self._pause, self._news_at = MIN_PAUSE, now
        soon = now + self._random.uniform(0.5, 1.0) * MIN_PAUSE
        if self._exchange_at is None or self._exchange_at > soon:
            self._exchange_at = soon

    def _start(self, peer: PeerId, now: float) -> Send:
        number = self._random.getrandbits(NUMBER_BITS)
        self._peers[peer].asked = _Exchange(number, now + EXCHANGE_TIMEOUT)
        self._peers[peer].compared_at = now
        return Send(peer, Sums(number, sums_for(self._store)).content())

    # --- what peers say ---------------------------------------------------------------------------

    def receive(self, peer: PeerId, content: Mapping[str, Any], now: float, wall: float) -> list[Outcome]:
        """Take what came from a connected peer in a CONTACTS frame. Raises nothing, whatever it is."""
        state = self._peers.get(peer)
        if state is None or self._conduct.is_muted(peer, now):
            return []
        if not state.messages.take(now):
            return self._offence(peer, Offence.FLOOD, now)
        try:
            message = parse_message(content)
        except Malformed:
            return self._offence(peer, Offence.MALFORMED, now)
        match message:
            case Sums():
                return self._handle_sums(peer, state, message, now)
            case Have():
                return self._handle_have(peer, state, message, now)
            case Give():
                return self._handle_give(peer, state, message, now, wall)

    def _handle_sums(self, peer: PeerId, state: _Peer, message: Sums, now: float) -> list[Outcome]:
        if not state.exchanges.take(now):
            return self._offence(peer, Offence.FLOOD, now)
        if not self._answers.take(now):
            return []
        state.ask_at, state.compared_at = None, now  # one exchange is enough for both
        buckets, entries = listing(self._store, message.sums, self._random)
        may_give = MAX_GIVEN if buckets else 0
        state.answered = _Exchange(message.number, now + EXCHANGE_TIMEOUT, may_give, may_want=bool(buckets))
        return [Send(peer, Have(message.number, buckets, entries, self._store.full).content())]

    def _handle_have(self, peer: PeerId, state: _Peer, message: Have, now: float) -> list[Outcome]:
        asked = state.asked
        if asked is None or asked.number != message.number or asked.may_give or now > asked.until:
            return []
        give, want = differences(self._store, message, peer, now)
        asked.may_give = len(want)
        if not want:
            state.asked = None
        records = [record.raw for record in give]
        return [Send(peer, each.content()) for each in gives(message.number, records, want)]

    def _handle_give(self, peer: PeerId, state: _Peer, message: Give, now: float, wall: float) -> list[Outcome]:
        exchanges = (state.asked, state.answered)
        exchange = next((each for each in exchanges if each and each.number == message.number), None)
        if exchange is None or now > exchange.until:
            return []  # it came too late, or another exchange has overtaken it
        outcomes: list[Outcome] = []
        if message.wanted and exchange.may_want:
            exchange.may_want = False
            records = [record.raw for short in message.wanted if (record := self._store.find(short))]
            outcomes += [Send(peer, each.content()) for each in gives(message.number, records, [])]
        for text in message.records:
            exchange.may_give -= 1
            if exchange.may_give < 0:
                return outcomes + self._offence(peer, Offence.OVERSIZED, now)
            outcomes += self._take(peer, exchange, text, now, wall)
        if exchange is state.asked and not exchange.may_give:
            state.asked = None
        return outcomes

    def _take(self, peer: PeerId, exchange: _Exchange, text: str, now: float, wall: float) -> list[Outcome]:
        """One record."""
        result, record = self._intake.take(text, peer, now, wall)
        if isinstance(result, Offence):
            if result is Offence.STALE and exchange.blamed:
                return []
            exchange.blamed = exchange.blamed or result is Offence.STALE
            return self._offence(peer, result, now)
        if result is Verdict.OURS and record is not None:
            self._sign(now, wall, above=record.sequence)
        if result not in (Put.NEW, Put.MOVED) or record is None:
            return []
        self._hurry(now)
        contact = self._contact(record)
        return [Learned(contact, peer)] if contact.endpoints else []

    def _offence(self, peer: PeerId, offence: Offence, now: float) -> list[Outcome]:
        reason = self._conduct.offence(peer, offence, now)
        return [] if reason is None else [Reported(peer, reason)]
