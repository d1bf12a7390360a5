"""Nodes whose meetings are arranged through each other: real `Meetings`, everything around them imitated, no clock."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from crust.defence.blacklist import Blacklist
from crust.endpoint import Endpoint
from crust.identity import Identity, PeerId
from crust.nat.behaviour import UNKNOWN, Behaviour
from crust.nat.connection_info import ConnectionInfo
from crust.nat.meeting import Step
from crust.nat.punch_gate import PunchGate
from crust.reach import meetings
from crust.reach.meetings import Arranged, Meetings
from crust.threads.timers import Timers
from crust.transport.framing import PUNCH, Decoder
from tests.hand_clock import HandClock


@cache
def _peer_id(number: int) -> PeerId:
    return Identity(bytes([number]) * 32).peer_id


class Line:
    """One node's end of a connection, and its outbox."""

    def __init__(self, world: "World", owner: "Person", peer: "Person") -> None:
        self.world, self.owner, self.peer = world, owner, peer
        self.peer_id = peer.id
        self.endpoint = peer.endpoint
        self.relayed = False
        self.outbox = self

    def put_control(self, frame: bytes) -> bool:
        """A frame is sent."""
        decoder = Decoder(0)
        decoder.feed(frame)
        ((kind, content),) = decoder.take_controls()
        assert kind == PUNCH
        self.world.send(self.owner, self.peer, content)
        return True


class Person:
    """A node; what is told to it is in `arranged` and `failed`."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.name = number
        self.id = _peer_id(number)
        self.endpoint = Endpoint.tcp(f"198.51.100.{number}:5483")
        self.lines: dict[PeerId, Line] = {}
        self.arranged: list[Arranged] = []
        self.failed: list[str] = []
        self.timers = Timers()
        self.gate = PunchGate()
        self.blacklist = Blacklist()
        self.behaviour: Behaviour = UNKNOWN
        self.slow = False
        """Whether it has to ask others first where they see it: until `ready`."""
        self.preparing: list[Callable[[ConnectionInfo], None]] = []
        around: Any = self
        self.meetings = Meetings(self.id, self.timers, around, around, self.blacklist, self.gate, self.arranged.append)

    # As `Connections`.

    @property
    def live(self) -> list[Any]:
        """All connections."""
        return list(self.lines.values())

    def with_peer(self, peer_id: PeerId) -> Any:
        """The one with that peer."""
        return self.lines.get(peer_id)

    # As `Outside`.

    def prepare(self, call: Callable[[ConnectionInfo], None]) -> None:
        """Call it with an info."""
        if self.slow:
            self.preparing.append(call)
        else:
            call(ConnectionInfo(self.id, behaviour=self.behaviour))

    def ready(self) -> None:
        """It knows now where others see it."""
        calls, self.preparing = self.preparing, []
        for call in calls:
            call(ConnectionInfo(self.id, behaviour=self.behaviour))

    # As the user.

    def seek(self, other: "Person") -> None:
        """Wish to meet somebody."""
        self.meetings.seek(other.id, self.failed.append)

    @property
    def under_way(self) -> int:
        """Meetings that its gate counts."""
        return self.gate._under_way

    @property
    def idle(self) -> bool:
        """Whether nothing is remembered of any meeting."""
        m = self.meetings
        return not (len(m._waiting) or m._preparing or m._sought or m._offered)


class World:
    """See the module's text.

    Args:
        monkeypatch: for the clock.
        persons: how many.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, persons: int) -> None:
        self.clock = HandClock()
        monkeypatch.setattr(meetings, "now", self.clock)
        self.persons = [Person(self, number + 1) for number in range(persons)]
        self.way = 0.0
        """Seconds that a letter needs from one node to the next."""
        self.post: dict[tuple[int, int], list[tuple[float, Any]]] = {}
        """What is under way, by who sent it and for whom; connections keep the order."""
        self.sent: list[tuple[int, int, Step]] = []

    def introduce(self, one: Person, *others: Person) -> None:
        """Connect one with others."""
        for other in others:
            one.lines[other.id] = Line(self, one, other)
            other.lines[one.id] = Line(self, other, one)

    def part(self, one: Person, other: Person) -> None:
        """Their connection breaks, with what is under way."""
        del one.lines[other.id], other.lines[one.id]
        for way in ((one.name, other.name), (other.name, one.name)):
            self.post.pop(way, None)

    def send(self, sender: Person, to: Person, content: Any) -> None:
        """A letter begins its way."""
        self.sent.append((sender.name, to.name, Step(content["step"])))
        self.post.setdefault((sender.name, to.name), []).append((self.clock.time + self.way, content))

    def count(self, step: Step, sender: Person | None = None) -> int:
        """Letters of a kind that were sent, by all or by one."""
        return sum(each == step and sender in (None, self.person(who)) for who, _, each in self.sent)

    def person(self, name: int) -> Person:
        """Who has that number."""
        return self.persons[name - 1]

    def ways(self) -> list[tuple[int, int]]:
        """Where something is under way."""
        return sorted(way for way, letters in self.post.items() if letters)

    def deliver(self, way: tuple[int, int]) -> None:
        """The next letter of a way arrives."""
        _, content = self.post[way].pop(0)
        sender, to = map(self.person, way)
        line: Any = to.lines[sender.id]
        to.meetings.letter(line, content)

    def run(self, seconds: float = 0.0) -> None:
        """Time passes; letters arrive, and timers run, when they are due."""
        end = self.clock.time + seconds
        while True:
            due: list[tuple[float, int, Any]] = [(self.post[way][0][0], 0, way) for way in self.ways()]
            due += [
                (when, 1, person.name) for person in self.persons if (when := person.timers.next_deadline()) is not None
            ]
            if not due or min(due)[0] > end:
                break
            when, kind, what = min(due)
            self.clock.time = max(self.clock.time, when)
            if kind == 0:
                self.deliver(what)
            else:
                self.person(what).timers.run_due(self.clock.time)
        self.clock.time = end
