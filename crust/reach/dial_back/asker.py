"""`DialBackAsker`: has peers try our own endpoints. Belongs to the manager thread."""

import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from crust.defence.allowance import Allowance
from crust.defence.networks import address_of, neighbourhood
from crust.endpoint import Endpoint, Protocol
from crust.links.connection import Connection
from crust.nat.ranges import is_local
from crust.reach.dial_back.notes import MAX_ASKED_ABOUT, MAX_BILL, Answer, Bill, Request, Result, payments
from crust.reach.dial_back.voices import REFRESH_INTERVAL, Voices
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers
from crust.transport.framing import ADDRESS, control_frame

log = logging.getLogger("crust.dial_back")

ASK_DELAY: Final = 2.0
"""Seconds from a reason to ask to the asking: reasons come together, when a node starts or changes its network."""
ANSWER_SECONDS: Final = 180.0
"""For an answer: a peer may need 30 s for our payment, and has up to eight requests of 20 s for two threads."""
ASK_BURST: Final = 12
ASK_INTERVAL: Final = 150.0
"""Requests that we make at once, and seconds for each further one, however often our endpoints change."""
MAX_REMEMBERED: Final = 1024
"""Pairs of a network and an endpoint of which we remember when we asked."""


@dataclass(slots=True)
class _Question:
    """What a peer has not answered yet."""

    request: Request
    timer: Timer
    paid: bool = False


class DialBackAsker:
    """See the module's text.

    Args:
        timers: the manager's.
        on_change: called when `verdicts` have changed.
        prefers: whether a peer can be reached by others itself, so that it is surely not on our side of a NAT; such
            peers are asked first.
        rng: for the order of those who are as good.
    """

    def __init__(
        self,
        timers: Timers,
        on_change: Callable[[], None],
        prefers: Callable[[Connection], bool],
        rng: random.Random,
    ) -> None:
        self._timers = timers
        self._on_change = on_change
        self._prefers = prefers
        self._random = rng
        self._voices = Voices()
        self._known: dict[Endpoint, bool | None] = {}  # the verdicts that were told of
        self._peers: set[Connection] = set()
        self._questions: dict[Connection, _Question] = {}
        self._asked: OrderedDict[tuple[str, Endpoint], float] = OrderedDict()
        self._allowance = Allowance(ASK_BURST, 1 / ASK_INTERVAL)
        self._number = rng.getrandbits(32)
        self._timer: Timer | None = None
        self._stopping = False

    # --- what is known --------------------------------------------------------------------------------

    def claim(self, endpoints: Iterable[Endpoint]) -> None:
        """These are to be verified; see `Voices.claim`."""
        self._voices.claim(endpoints)
        self._notice_changes()
        self._look_at(now() + ASK_DELAY)

    def verdict(self, endpoint: Endpoint) -> bool | None:
        """See `Voices.verdict`."""
        return self._voices.verdict(endpoint, now(), self._open()[endpoint])

    def verdicts(self) -> dict[Endpoint, bool | None]:
        """See `Voices.verdicts`."""
        return self._voices.verdicts(now(), self._open())

    def _open(self) -> Counter[Endpoint]:
        """How many have been asked about each endpoint and have not answered yet."""
        return Counter(endpoint for question in self._questions.values() for endpoint in question.request.endpoints)

    def _notice_changes(self) -> None:
        verdicts = self.verdicts()
        if verdicts != self._known:
            self._known = verdicts
            log.info("verified: %s", ", ".join(f"{e}: {_WORDS[v]}" for e, v in verdicts.items()) or "nothing")
            self._on_change()

    # --- whom we know ---------------------------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """A connection has become live."""
        self._peers.add(connection)
        moment = now()
        if any(self._voices.lacking(endpoint, moment) for endpoint in self._voices.claims):
            self._look_at(moment + ASK_DELAY)

    def went(self, connection: Connection) -> None:
        """It is so no more."""
        self._peers.discard(connection)
        if self._close(connection):
            self._notice_changes()
            self._look_at(now() + ASK_DELAY)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for question in self._questions.values():
            question.timer.cancel()
        self._questions.clear()

    # --- asking ---------------------------------------------------------------------------------------

    def _look_at(self, when: float) -> None:
        """Look whether somebody is to be asked, at ``when`` or before."""
        if self._stopping or (self._timer is not None and self._timer.pending and self._timer.when <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.at(when, self._look)

    def _look(self) -> None:
        self._notice_changes()  # some voices may count no more
        moment = now()
        wanted = Counter({each: self._voices.lacking(each, moment) for each in self._voices.claims})
        for question in self._questions.values():
            wanted.subtract(question.request.endpoints)
        waiting = False
        for connection in self._in_order():
            if max(wanted.values(), default=0) <= 0:
                break
            about = [each for each in wanted if wanted[each] > 0 and self._suits(connection, each, moment)]
            if not about:
                continue
            if not self._allowance.take(moment):
                waiting = True
                break
            about = about[:MAX_ASKED_ABOUT]
            wanted.subtract(about)
            self._ask(connection, about)
        if waiting:
            self._look_at(moment + max(self._allowance.wait(moment), ASK_DELAY))
        elif self._voices.claims:
            change = self._voices.next_change(moment)
            again = moment + REFRESH_INTERVAL
            self._look_at(again if change is None else min(change, again))

    def _in_order(self) -> list[Connection]:
        """Those who are not busy, the best first. TCP before uTP: a NAT may let a host in that our own UDP port sends
        to, whatever port it comes from, and nobody else."""
        free = [connection for connection in self._peers if connection not in self._questions]
        self._random.shuffle(free)
        return sorted(free, key=lambda each: (not self._prefers(each), each.endpoint.protocol is Protocol.UTP))

    def _suits(self, connection: Connection, endpoint: Endpoint, moment: float) -> bool:
        """Whether that peer can say something of that endpoint which others have not said."""
        host, network = connection.endpoint.host, neighbourhood(connection.endpoint.host)
        if is_local(endpoint.host):
            if not is_local(host) or _is_loopback(host) != _is_loopback(endpoint.host):
                return False
        elif is_local(host) or network == neighbourhood(endpoint.host):
            return False  # on our side of the NAT, perhaps: that says nothing about the other
        asked = self._asked.get((network, endpoint))
        if asked is not None and moment - asked < REFRESH_INTERVAL:
            return False
        return network not in self._voices.networks(endpoint, moment)

    def _ask(self, connection: Connection, about: list[Endpoint]) -> None:
        self._number += 1
        request = Request(self._number, tuple(about))
        timer = self._timers.at(now() + ANSWER_SECONDS, lambda: self._no_answer(connection))
        self._questions[connection] = _Question(request, timer)
        for endpoint in about:
            key = neighbourhood(connection.endpoint.host), endpoint
            self._asked[key] = now()
            self._asked.move_to_end(key)
            if len(self._asked) > MAX_REMEMBERED:
                self._asked.popitem(last=False)
        self._send(connection, request.content())

    def _no_answer(self, connection: Connection) -> None:
        if self._close(connection):
            self._notice_changes()
            self._look_at(now())

    def _close(self, connection: Connection) -> bool:
        """Whether there was a question."""
        question = self._questions.pop(connection, None)
        if question is not None:
            question.timer.cancel()
        return question is not None

    def _send(self, connection: Connection, content: dict[str, object]) -> None:
        connection.outbox.put_control(control_frame(ADDRESS, content))

    # --- answers --------------------------------------------------------------------------------------

    def billed(self, connection: Connection, bill: Bill) -> None:
        """A peer wants bytes first: we claim what is not where it sees us."""
        question = self._questions.get(connection)
        if question is None or question.request.number != bill.number or question.paid:
            return
        question.paid = True
        if bill.size <= MAX_BILL:
            for payment in payments(bill):
                self._send(connection, payment.content())
        else:
            log.debug("%s wants %d bytes for dialling back: no", connection.endpoint, bill.size)

    def told(self, connection: Connection, answer: Answer) -> None:
        """A peer has tried."""
        question = self._questions.get(connection)
        if question is None or question.request.number != answer.number:
            return
        if len(question.request.endpoints) != len(answer.results):
            return
        self._close(connection)
        network = neighbourhood(connection.endpoint.host)
        for endpoint, result in zip(question.request.endpoints, answer.results, strict=True):
            log.debug("%s says of %s: %s", connection.endpoint, endpoint, result.value)
            if result in (Result.REACHABLE, Result.UNREACHABLE):
                self._voices.heard(endpoint, network, result is Result.REACHABLE, now())
        self._notice_changes()
        self._look_at(now() + ASK_DELAY)


_WORDS: Final = {True: "reachable", False: "unreachable", None: "not known"}


def _is_loopback(host: str) -> bool:
    address = address_of(host)
    return address is not None and address.is_loopback
