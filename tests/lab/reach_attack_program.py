"""Hostile members that ask a victim for meetings with hosts of others: ``python -m tests.lab.reach_attack_program``.

join ENDPOINT COUNT -> how many members, each a manager of its own, are connected there
attack JSON         -> what came of an `Attack`

What they send is written by hand, over proper connections, and without the bounds that a proper node has.
"""

import contextlib
import itertools
import json
import queue
import sys
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from crust import Config, ConnectionManager, Endpoint, Event, Identity, PeerId
from crust.errors import Malformed
from crust.links.connection import Connection
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo
from crust.nat.meeting import ID_LIMIT, Note, Step
from crust.reach.letters import Letter, parse_letter
from crust.threads import clock
from crust.transport.framing import PUNCH, control_frame
from tests.lab.namespaces import Node, say

PATIENCE = 20.0  # seconds for a connection
ANSWERS = 1.0  # seconds that answers are waited for in the end, at most
_BEHAVIOURS = {
    "usual": Behaviour(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.PRESERVING),
    "random": Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.RANDOM),
    "counting": Behaviour(
        Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.SEQUENTIAL, 1
    ),
}


@dataclass
class Attack:
    """What to ask for: each member ``times`` times, every ``pause`` seconds."""

    victim: str
    candidates: list[list[str]]
    """Kind and endpoint of each."""
    members: list[int] = field(default_factory=lambda: [0])
    behaviour: str = "usual"
    times: int = 1
    pause: float = 0.05
    seen: str = ""
    """If not empty, the member is the one in the middle, and says that it sees the one who asks there; nobody does."""


class Member:
    """One manager, and its connection to who is misused."""

    def __init__(self, endpoint: Endpoint) -> None:
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.manager = ConnectionManager(
            events, Config(bootstrap_cache=False, beacon_port=None, tcp_port=None, utp_port=None, upnp=False)
        )
        self.manager.connect(endpoint)
        self.connection: Connection | None = None
        self.answers = {"accept": 0, "refuse": 0}
        self.reasons: set[str] = set()
        with contextlib.suppress(queue.Empty):
            event = events.get(timeout=PATIENCE)
            if isinstance(event, Event.NewConnection):
                reach = self.manager._core.reach  # type: ignore[union-attr]
                reach._meetings.letter = self._hear  # type: ignore[method-assign]
                self.connection = reach._connections.with_peer(event.peer_id)

    def send(self, letter: Letter) -> None:
        assert self.connection is not None
        self.connection.outbox.put_control(control_frame(PUNCH, letter.content()))

    def ask(self, attack: Attack, number: int) -> None:
        """For one meeting."""
        candidates = [Candidate(CandidateKind[kind], Endpoint.parse(text)) for kind, text in attack.candidates]
        asker = Identity().peer_id if attack.seen else self.manager.identity.peer_id
        info = ConnectionInfo(asker, tuple(candidates), _BEHAVIOURS[attack.behaviour])
        note = Note(Step.OFFER, number, info.encode())
        if attack.seen:
            self.send(Letter(asker, note, True, (attack.seen,)))
        else:
            self.send(Letter(PeerId.parse(attack.victim), note))

    def _hear(self, connection: Connection, content: dict[str, Any]) -> None:
        """On the manager thread."""
        with contextlib.suppress(Malformed):
            letter = parse_letter(content)
            self.answers[letter.note.step.value] += 1
            if letter.note.step is Step.REFUSE:
                self.reasons.add(letter.note.reason)
            else:
                go = Note(Step.GO, letter.note.meeting)
                seen = () if letter.passed_on else (connection.endpoint.host,)
                self.send(Letter(letter.peer, go, not letter.passed_on, seen))

    @property
    def sent(self) -> int:
        """Bytes."""
        return sum(each.bytes_sent for each in self.manager.connections())


class Attacker:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node) -> None:
        self._running = node.python("tests.lab.reach_attack_program")
        self._running.line()

    def _ask(self, line: str) -> Any:
        self._running.stdin.write(f"{line}\n")
        self._running.stdin.flush()
        return json.loads(self._running.line())

    def join(self, endpoint: str, count: int) -> int:
        """Connect so many members there; how many did."""
        return int(self._ask(f"join {endpoint} {count}"))

    def attack(self, victim: str, candidates: list[list[str]], **how: Any) -> dict[str, Any]:
        """See `Attack`; "accept", "refuse", "sent" in bytes, and "reasons"."""
        result: dict[str, Any] = self._ask(f"attack {json.dumps(asdict(Attack(victim, candidates, **how)))}")
        return result


def _attack(members: list[Member], attack: Attack, numbers: "itertools.count[int]") -> dict[str, Any]:
    chosen = [members[number] for number in attack.members]
    before = sum(member.sent for member in chosen)
    for member in chosen:
        member.answers, member.reasons = {"accept": 0, "refuse": 0}, set()
    for _ in range(attack.times):
        for member in chosen:
            member.ask(attack, next(numbers) % ID_LIMIT)
        threading.Event().wait(attack.pause)
    deadline, asked = clock.Deadline(ANSWERS), attack.times * len(chosen)
    while not deadline.expired and sum(sum(member.answers.values()) for member in chosen) < asked:
        threading.Event().wait(0.02)
    result: dict[str, Any] = {step: sum(member.answers[step] for member in chosen) for step in ("accept", "refuse")}
    reasons = sorted(set().union(*(member.reasons for member in chosen)))
    return result | {"sent": sum(member.sent for member in chosen) - before, "reasons": reasons}


def main() -> None:
    """Obey until standard input ends."""
    members: list[Member] = []
    numbers = itertools.count(1)
    say("ready")
    for line in sys.stdin:
        command, _, rest = line.partition(" ")
        if command == "join":
            endpoint, count = rest.split()
            members += [Member(Endpoint.parse(endpoint)) for _ in range(int(count))]
            say(json.dumps(sum(member.connection is not None for member in members)))
        else:
            say(json.dumps(_attack(members, Attack(**json.loads(rest)), numbers)))
    for member in members:
        member.manager.stop(timeout=1.0)


if __name__ == "__main__":
    main()
