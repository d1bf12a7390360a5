"""What a beacon says, to whom and when (docs/discovery.md, "The beacon"): messages in, messages out.

Nobody is believed who did not answer a question of ours from where it says it is. No sockets, threads or clocks.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple

from crust.defence.allowance import Allowance, Allowances
from crust.discovery.beacon_census import QUESTION_LIFE, Address, Census
from crust.discovery.beacon_packet import TOKEN_SIZE, Announcement, Kind, Message

ASK_OFFSETS: Final = (0.0, 0.25, 1.0)
"""Seconds after the start of a round of asking: datagrams are lost, on wireless networks one in ten or more."""
ROUND_SPACING: Final = 1.5
"""Seconds between the starts of two rounds, however often one is asked for."""
ANSWERS_WANTED: Final = 24
"""How many answer one that asks all, about; where there are more nodes, each answers with that probability."""
CHECKS_WANTED: Final = 2
"""How many check an announcement, about, among those that know `ENOUGH` others: so that two halves of a LAN that come
together do meet, however many nodes they have."""
ENOUGH: Final = 24
"""Proved addresses, of nodes heard of lately, that are plenty; others take part in finding more as `ANSWERS_WANTED`
says."""
ANSWER_SPREAD: Final = 0.002
"""Seconds of random delay for each node that might answer too, so that not all speak at once."""
MAX_ANSWER_DELAY: Final = 0.5
"""Seconds."""
ANNOUNCE_PER_NODE: Final = 1.0
"""Seconds between announcements of all nodes together: what a LAN hears does not grow with it."""
MIN_ANNOUNCE_INTERVAL: Final = 30.0
"""Seconds between announcements of one node: how long two halves of a network that come together know nothing of each
other, if there are few nodes."""
MAX_ANNOUNCE_INTERVAL: Final = 900.0
FORGET_AFTER: Final = 3
"""Intervals after which a node that was not heard any more is forgotten."""
SOURCE_BURST: Final = 64
"""Answers that one host gets at once: that many processes may start there together."""
SOURCE_PER_SECOND: Final = 8.0
TOTAL_BURST: Final = 256
TOTAL_PER_SECOND: Final = 64.0
"""Answers for all hosts: 8 kB/s, whoever asks."""
MAX_SOURCES: Final = 1024
"""Hosts whose answers are counted."""
MAX_ANSWERS_WAITING: Final = 512
"""Answers that wait for their moment."""

_NEVER: Final = float("inf")


class Outgoing(NamedTuple):
    """A message to send."""

    message: Message
    to: Address | None
    """``None``: to all, on every interface."""


class Found(NamedTuple):
    """A node that answered."""

    host: str
    """Where it answered from; an IPv6 address with its scope."""
    about: Announcement
    guid: bytes


class BeaconCore:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    Args:
        guid: which beacon this is.
        own: what to tell of this node; asked each time.
        rng: for tokens and delays; tokens must not be predictable (``random.SystemRandom``).
        now: the time.
        hidden: whether to ask without telling of ourselves, and not to announce; who asks is answered.
    """

    def __init__(
        self, guid: bytes, own: Callable[[], Announcement], rng: random.Random, now: float, *, hidden: bool = False
    ) -> None:
        self.guid = guid
        self.counters: Counter[str] = Counter()
        self._own = own
        self._random = rng
        self._hidden = hidden
        self._census = Census()
        self._found: list[Found] = []
        self._waiting: list[tuple[float, int, Outgoing]] = []
        self._order = count()
        self._sources = Allowances(MAX_SOURCES, SOURCE_BURST, SOURCE_PER_SECOND)
        self._total = Allowance(TOTAL_BURST, TOTAL_PER_SECOND)
        self._asks: list[float] = []
        self._round = 0
        self._round_at = -_NEVER
        self._next_round = _NEVER
        self._answers = 0  # in this round
        self._announced_at = now
        self._next_announcement = now + self._jittered(MIN_ANNOUNCE_INTERVAL)

    # --- what is asked for ---
    def seek(self, now: float) -> None:
        """Begin a round of asking, soon; all who answer are reported, also those who were before."""
        self._next_round = min(self._next_round, max(now, self._round_at + ROUND_SPACING))

    def _begin_round(self, now: float) -> None:
        self._next_round = _NEVER
        self._round += 1
        self._round_at = now
        self._answers = 0
        self._asks = [now + self._jittered(offset) for offset in ASK_OFFSETS]

    def found(self) -> list[Found]:
        """Take the nodes that answered since the last call."""
        found, self._found = self._found, []
        return found

    # --- messages in ---
    def receive(self, message: Message, nonce: bytes, address: Address, now: float) -> None:
        """Take a message of our network.

        Args:
            message: what it says.
            nonce: of its datagram.
            address: whom it came from.
            now: seconds.
        """
        own = self._own()
        if message.guid == self.guid or message.about.peer_id == own.peer_id:
            self.counters["own"] += 1
        elif self._census.repeated(nonce):
            self.counters["repeated"] += 1
        else:
            self.counters[message.kind.name.lower()] += 1
            self._census.hear(message.guid, now)
            self._handle(message, own, address, now)

    def _handle(self, message: Message, own: Announcement, address: Address, now: float) -> None:
        match message.kind:
            case Kind.ASK:
                if own.reachable and self._is_my_turn(ANSWERS_WANTED):
                    kind = Kind.ANSWER if self._is_settled(message, address, now) else Kind.EXCHANGE
                    self._reply(kind, own, message, address, now + self._delay(), now)
            case Kind.CHECK:
                if own.reachable:
                    self._reply(Kind.ANSWER, own, message, address, now, now)
            case Kind.ANNOUNCE:
                wanted = CHECKS_WANTED if self._census.proved >= ENOUGH else ANSWERS_WANTED
                if not self._is_settled(message, address, now) and self._is_my_turn(wanted):
                    self._reply(Kind.CHECK, own, message, address, now + self._delay(), now)
            case Kind.ANSWER | Kind.EXCHANGE:
                self._on_answer(message, own, address, now)

    def _is_settled(self, message: Message, address: Address, now: float) -> bool:
        """Whether there is nothing to learn about the sender."""
        return not message.about.reachable or self._census.knows(message.guid, address[0], message.about, now)

    def _on_answer(self, message: Message, own: Announcement, address: Address, now: float) -> None:
        question = self._census.answered(message.echo, address, now)
        if question is None:
            self.counters["unasked"] += 1
            return
        if question.to is None:
            self._answers += 1
            if self._answers >= ANSWERS_WANTED:
                self._asks.clear()
        about = message.about
        if about.reachable and self._census.prove(message.guid, address[0], about, self._round, now):
            self._found.append(Found(address[0], about, message.guid))
        if message.kind is Kind.EXCHANGE and own.reachable and not self._hidden:
            self._reply(Kind.ANSWER, own, message, address, now, now)

    def _is_my_turn(self, wanted: int) -> bool:
        """Whether this node is among so many, about, that answer a message to all."""
        return self._random.random() * len(self._census) < wanted

    def _delay(self) -> float:
        return self._random.random() * min(len(self._census) * ANSWER_SPREAD, MAX_ANSWER_DELAY)

    def _reply(self, kind: Kind, own: Announcement, to: Message, address: Address, due: float, now: float) -> None:
        if (
            len(self._waiting) >= MAX_ANSWERS_WAITING
            or not self._sources.take(address[0], now)
            or not self._total.take(now)
        ):
            self.counters["refused"] += 1
            return
        if kind is Kind.CHECK:
            message = Message(kind, self.guid, self._shown(own), self._token())
        else:
            message = Message(kind, self.guid, own, self._token(), to.token)
        if kind in (Kind.CHECK, Kind.EXCHANGE):
            self._census.ask(message.token, address, due + QUESTION_LIFE)
        heapq.heappush(self._waiting, (due, next(self._order), Outgoing(message, address)))

    def _shown(self, own: Announcement) -> Announcement:
        """What we tell of ourselves unasked."""
        return own._replace(tcp_port=0, utp_port=0) if self._hidden else own

    def _token(self) -> bytes:
        return self._random.randbytes(TOKEN_SIZE)

    # --- messages out ---
    def next_deadline(self) -> float:
        """When `outgoing` has something to do."""
        due = min(self._next_announcement, self._next_round)
        if self._asks:
            due = min(due, self._asks[0])
        if self._waiting:
            due = min(due, self._waiting[0][0])
        return due

    def outgoing(self, now: float) -> list[Outgoing]:
        """What to send now."""
        messages: list[Outgoing] = []
        while self._waiting and self._waiting[0][0] <= now:
            messages.append(heapq.heappop(self._waiting)[2])
        if self._next_round <= now:
            self._begin_round(now)
        if self._asks and self._asks[0] <= now:
            while self._asks and self._asks[0] <= now:  # those that were slept through count once
                self._asks.pop(0)
            messages.append(self._ask(now))
        if self._next_announcement <= now:
            messages += self._announce(now)
        return messages

    def _ask(self, now: float) -> Outgoing:
        message = Message(Kind.ASK, self.guid, self._shown(self._own()), self._token())
        self._census.ask(message.token, None, now + QUESTION_LIFE)
        return Outgoing(message, None)

    def _announce(self, now: float) -> list[Outgoing]:
        self._census.forget(now - FORGET_AFTER * self._interval(), now)
        interval = self._interval()
        if now < self._announced_at + 0.75 * interval:  # many have come since this was planned
            self._next_announcement = self._announced_at + self._jittered(interval)
            return []
        self._announced_at = now
        self._next_announcement = now + self._jittered(interval)
        own = self._shown(self._own())
        return [Outgoing(Message(Kind.ANNOUNCE, self.guid, own, self._token()), None)] if own.reachable else []

    def _interval(self) -> float:
        return min(max(len(self._census) * ANNOUNCE_PER_NODE, MIN_ANNOUNCE_INTERVAL), MAX_ANNOUNCE_INTERVAL)

    def _jittered(self, seconds: float) -> float:
        """About so many, so that what began together does not stay together."""
        return seconds * (0.75 + 0.5 * self._random.random())
