"""What other threads put into the manager's inbox (beside the batches of events that readers put there)."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crust.connecting.negotiate import Established
from crust.defence.metering import Alert
from crust.discovery.bootstrap_status import BootstrapStatus
from crust.discovery.contact import Contact
from crust.discovery.contact_book import Promise
from crust.endpoint import Endpoint, Port
from crust.errors import CrustError, ManagerStopped, TimedOut
from crust.identity import PeerId
from crust.links.peers import Candidate, Verdict
from crust.nat.connection_info import ConnectionInfo
from crust.nat.nat_status import NatStatus
from crust.threads.clock import Deadline


class Inbox(queue.SimpleQueue[Any]):
    """The manager's inbox. Never full: every producer is bounded by what it waits for."""

    closed = False
    """Whether the manager's loop has ended. Whoever waits for an answer looks at it after putting the question: either
    it is set, or the manager, which looks through the inbox once more after setting it, finds the question."""


@dataclass(slots=True, eq=False)
class Ask:
    """A thread with an authenticated connection asks what becomes of it, and waits for `answer`."""

    attempt: object | None = None
    """The outgoing attempt (`crust.connecting.attempts.Attempt`) that asks; ``None`` for an accepted connection."""
    candidate: Candidate | None = None
    answer: "queue.SimpleQueue[Verdict | CrustError]" = field(default_factory=queue.SimpleQueue)


@dataclass(slots=True, eq=False)
class Promoted:
    """An accepted connection is established and chosen."""

    established: Established


@dataclass(slots=True, eq=False)
class Forsaken:
    """A candidate that asked came to nothing after all."""

    candidate: Candidate


@dataclass(slots=True, eq=False)
class Besieged:
    """More comes from the address of `endpoint`, of those who have no connection yet, than may."""

    endpoint: Endpoint
    alert: Alert


@dataclass(slots=True, eq=False)
class Misbehaved:
    """A peer that has proved itself broke the protocol before its connection was chosen."""

    endpoint: Endpoint
    peer_id: PeerId
    reason: str


@dataclass(slots=True, eq=False)
class ListenerBroke:
    """A listening socket failed for good."""

    port: Port
    reason: str


@dataclass(slots=True, eq=False)
class Connect:
    """``connect()`` was called."""

    endpoints: tuple[Endpoint, ...]


@dataclass(slots=True, eq=False)
class ConnectPeer:
    """``connect_peer()`` was called."""

    peer_id: PeerId


@dataclass(slots=True, eq=False)
class PrepareInfo:
    """``prepare_connection_info()`` was called."""

    token: object


@dataclass(slots=True, eq=False)
class Rendezvous:
    """``rendezvous_connect()`` was called."""

    theirs: ConnectionInfo
    ours: ConnectionInfo | None


@dataclass(slots=True, eq=False)
class NatStatusAsked:
    """``nat_status()`` was called, and waits for `answer`; ``None`` when the manager has ended."""

    answer: "queue.SimpleQueue[NatStatus | None]" = field(default_factory=queue.SimpleQueue)


@dataclass(slots=True, eq=False)
class Bootstrap:
    """``bootstrap()`` was called."""

    max_connections: int
    keep_going: bool


@dataclass(slots=True, eq=False)
class Listen:
    """Listening sockets were opened and are to be served."""

    start: Callable[[], None]
    bound: list[Endpoint]
    """Where they are bound."""


@dataclass(slots=True, eq=False)
class Drop:
    """``drop_node()`` was called."""

    endpoint: Endpoint


@dataclass(slots=True, eq=False)
class Unwelcome:
    """The blacklist has changed: connections with those who are on it now are to end."""


@dataclass(slots=True, eq=False)
class Stop:
    """``stop()`` was called, or the manager was forgotten."""

    linger: float


@dataclass(slots=True, eq=False)
class RoomMade:
    """The user took events: there may be room for more."""


@dataclass(slots=True, eq=False)
class Do:
    """What a helper thread has begun for the manager thread is over: the latter goes on with this."""

    call: Callable[[], None]


@dataclass(slots=True, eq=False)
class LanNews:
    """The beacon has something (`crust.finding.lan.Lan.take_news`)."""


@dataclass(slots=True, eq=False)
class CacheOpened:
    """The bootstrap cache is open."""

    contacts: list[tuple[Contact, Promise]]


@dataclass(slots=True, eq=False)
class StatusAsked:
    """``bootstrap_status()`` was called, and waits for `answer`; ``None`` when the manager has ended."""

    answer: "queue.SimpleQueue[BootstrapStatus | None]" = field(default_factory=queue.SimpleQueue)


def ask_manager(inbox: Inbox, question: Ask, candidate: Candidate, deadline: Deadline) -> Verdict:
    """Put the question and wait for the verdict; not for the manager's thread.

    Raises:
        CrustError: the manager wants this connection no more, or did not answer in time.
    """
    question.candidate = candidate
    inbox.put(question)
    if inbox.closed:
        raise ManagerStopped("this node is stopping")
    try:
        answer = question.answer.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimedOut("no place was free in time") from None
    if isinstance(answer, CrustError):
        raise answer
    return answer
