"""One outgoing attempt (`Attempt`), the ``connect()`` that it belongs to (`Job`), and who may win (`Race`).

An attempt runs on a thread of the dialer's pool and reports exactly one notice; jobs and races belong to the manager
thread.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from crust.config import Config
from crust.connecting.negotiate import Ask as Negotiator
from crust.connecting.negotiate import Established, Node, negotiate_crossing, negotiate_outgoing
from crust.connecting.notices import Ask, Inbox, ask_manager
from crust.connecting.utp_ports import UtpPorts
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import CrustError, DialFailed, HandshakeFailed
from crust.identity import PeerId
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import Deadline, now
from crust.threads.timers import Timer
from crust.transport.base import Stream
from crust.transport.grip import Abortable, Grip
from crust.transport.tcp import dial, resolve


class Race:
    """How many of a set of attempts may win: one of a ``connect()``, ``max_connections`` of a ``bootstrap()``."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.won = 0
        self.running: set[Attempt] = set()  # have been told to go on
        self.waiting: deque[tuple[Attempt, Ask]] = deque()

    @property
    def over(self) -> bool:
        """Whether every place is taken."""
        return self.won >= self.places


class Attempt:
    """One address being tried."""

    repeatable = True
    """Whether its endpoint can be dialled again."""

    def __init__(self, job: "Job", given: Endpoint, target: Endpoint) -> None:
        self.job = job
        self.given = given
        self.target = target
        self.began = now()
        """When it had a thread, as `crust.threads.clock.now` counts."""
        self.source: Address | None = None
        """Where the TCP listener is bound from whose port to dial; ``None`` for any port."""
        self.reached_after: float | None = None
        """Seconds until somebody answered there, whoever it is; ``None`` if nobody has. Written by its thread."""
        self.gives_way = False
        """Whether it was ended for those who wait for a thread, to be tried again later; the manager's."""
        self._grip = Grip()

    def abort(self) -> None:
        """End it; it will still report that it failed. Any thread may call."""
        self._grip.abort()

    def run(self, node: Node, config: Config, inbox: Inbox, utp: UtpPorts) -> None:
        """Try it; on a thread of the pool. Reports exactly one notice."""
        question = Ask(self)
        self.began = now()
        try:
            notice = self._try(node, Deadline(config.dial_timeout), inbox, question, utp)
        except CrustError as error:
            notice = AttemptFailed(self, error, question.candidate)
        except Exception as error:
            inbox.put(AttemptFailed(self, DialFailed(f"an internal error: {error!r}"), question.candidate))
            raise
        inbox.put(notice)

    def _try(self, node: Node, deadline: Deadline, inbox: Inbox, question: Ask, utp: UtpPorts) -> object:
        if self._grip.aborted.is_set():
            self.discard()
            raise DialFailed("given up")
        if self.target.is_name:
            return Resolved(self, resolve(self.target))
        stream = self._connect(deadline, utp)
        self._grip.hold(stream)
        self.reached_after = now() - self.began
        try:
            established = self._negotiate(
                stream, node, deadline, lambda candidate: ask_manager(inbox, question, candidate, deadline)
            )
        except BaseException:
            self._grip.hold(None)
            if self.target.protocol is Protocol.UTP:
                stream.abort()  # or a FIN would be repeated until the peer acknowledges it, which it need not
            stream.close()
            raise
        self._grip.hold(None)
        return AttemptSucceeded(self, established)

    def _connect(self, deadline: Deadline, utp: UtpPorts) -> Stream:
        if self.target.protocol is Protocol.UTP:
            return utp.dial(self.target, deadline, self._grip.hold)
        return dial(self.target, deadline, self._grip.hold, self.source)

    def _negotiate(self, stream: Stream, node: Node, deadline: Deadline, ask: Negotiator) -> Established:
        # From the port that is listened on, the peer may have dialled us at the same moment: one stream with two ends
        # that dialled.
        negotiate = negotiate_outgoing if self.source is None else negotiate_crossing
        return negotiate(stream, node, deadline, ask)

    def discard(self) -> None:
        """It was given up before it began: free what it holds."""


Opening = Callable[[Deadline, Callable[[Abortable | None], None]], Stream]
"""Gives the stream of an attempt, and tells what ends it while it blocks."""
Negotiation = Callable[[Stream, Node, Deadline, Negotiator], Established]
"""How the two ends of it become a connection; see `crust.connecting.negotiate`."""


class MeetingAttempt(Attempt):
    """One way to a peer whose name is known: a path that was opened together, or a relayed one.

    Args:
        job: what it belongs to.
        target: the name of the connection to be.
        peer_id: who has to be there.
        opening: makes the stream; on the attempt's thread.
        negotiation: which side we are.
        discard: frees what `opening` would have used, if that is never called.
    """

    repeatable = False

    def __init__(
        self,
        job: "Job",
        target: Endpoint,
        peer_id: PeerId,
        opening: Opening,
        negotiation: Negotiation,
        discard: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(job, target, target)
        self._peer_id = peer_id
        self._opening = opening
        self._negotiation = negotiation
        self._discard = discard

    def _connect(self, deadline: Deadline, utp: UtpPorts) -> Stream:
        return self._opening(deadline, self._grip.hold)

    def _negotiate(self, stream: Stream, node: Node, deadline: Deadline, ask: Negotiator) -> Established:
        def ask_if_it_is_they(candidate: Candidate) -> Verdict:
            if candidate.peer_id != self._peer_id:
                raise HandshakeFailed(f"{candidate.peer_id} is there, and not {self._peer_id}")
            return ask(candidate)

        return self._negotiation(stream, node, deadline, ask_if_it_is_they)

    def discard(self) -> None:
        self._discard()


@dataclass(slots=True, eq=False)
class AttemptSucceeded:
    """Notice: an outgoing connection is established and chosen."""

    attempt: Attempt
    established: Established


@dataclass(slots=True, eq=False)
class AttemptFailed:
    """Notice: an outgoing attempt came to nothing."""

    attempt: Attempt
    error: CrustError
    candidate: Candidate | None


@dataclass(slots=True, eq=False)
class Resolved:
    """Notice: a host name was looked up."""

    attempt: Attempt
    addresses: list[Endpoint]


class Job:
    """One ``connect()``: its endpoints, what runs, and why the others failed."""

    def __init__(
        self, endpoints: tuple[Endpoint, ...], race: Race, ended: Callable[["Job"], None], bootstrap: bool
    ) -> None:
        self.endpoints = endpoints
        self.race = race
        self.ended = ended
        self.bootstrap = bootstrap
        self.done = False
        self.connected = False
        self.held = False
        """Whether more attempts may join in, so that it is not over when none runs."""
        # TCP is favoured: it sorts before the other transports; otherwise the caller's order stands.
        self.queue = deque((e, e) for e in sorted(endpoints, key=lambda e: e.protocol))
        self.running: set[Attempt] = set()
        self.expected: dict[PeerId, tuple[Attempt, Timer]] = {}
        self.retried: set[Endpoint] = set()
        self.gave_way: set[Endpoint] = set()
        self.cut_short: Counter[Endpoint] = Counter()
        self.pauses: set[Timer] = set()  # before what was cut short is tried again
        self.stagger: Timer | None = None
        self.tcp_ahead_until = 0.0
        """When uTP may begin although TCP attempts are running, as `crust.threads.clock.now` counts."""
        self._failures: dict[Endpoint, list[str]] = {endpoint: [] for endpoint in endpoints}

    def failed(self, attempt: Attempt, reason: str) -> None:
        """Note why an attempt came to nothing."""
        if attempt.target != attempt.given:
            reason = f"{attempt.target.host}: {reason}"
        self._failures.setdefault(attempt.given, []).append(reason)

    def reasons(self) -> dict[Endpoint, str]:
        """For each endpoint given, why it did not work."""
        return {endpoint: "; ".join(dict.fromkeys(why)) or "not tried" for endpoint, why in self._failures.items()}
