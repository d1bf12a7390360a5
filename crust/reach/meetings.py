"""`Meetings`: this node arranges to meet others, through peers that both are connected to, and carries their letters.

What is agreed is the business of the pure `crust.nat.meeting.Meeting`; letters travel in PUNCH frames
(`crust.reach.letters`). Belongs to the manager thread.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from crust.connecting.connections import Connections
from crust.defence.allowance import Allowances
from crust.defence.blacklist import Blacklist
from crust.errors import Malformed
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.nat.connection_info import ConnectionInfo
from crust.nat.meeting import ID_LIMIT, MEETING_TIMEOUT, Meeting, Note, Step
from crust.nat.punch_gate import PunchGate
from crust.nat.punch_plan import method_for
from crust.reach.letter_pace import LetterPace
from crust.reach.letters import KNOWN_WRITERS, LETTERS_BURST, LETTERS_INTERVAL, Letter, parse_letter
from crust.reach.outside import Outside
from crust.reach.waiting_line import NO_TURN, TURN_PATIENCE, WaitingLine, Wanted
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers
from crust.transport.framing import PUNCH, control_frame

log = logging.getLogger("crust.reach")

CARRIERS_AT_ONCE: Final = 4
"""Peers that are asked at the same time to carry a letter; others follow as these refuse. Who knows the one that is
looked for is not known; a refusal takes one round trip."""
MAX_CARRIERS: Final = 32
"""Peers that are asked in all, for one meeting."""
MAX_HELPFUL: Final = 8
"""Of those that have arranged a meeting for us, the latest, which are asked first: who knows one peer knows others."""
MAX_OFFERS_HEARD: Final = 256
"""Offers that are remembered: they come through several carriers, and the first one counts."""

NO_CARRIER: Final = (
    "no peer in common: this node has no connection with anybody who could arrange a meeting; connect() or bootstrap() "
    "first"
)


class Arranged(NamedTuple):
    """A meeting that will take place."""

    peer_id: PeerId
    ours: ConnectionInfo
    theirs: ConnectionInfo
    start: float
    """When, as `crust.threads.clock.now` counts."""
    vouched: Collection[str]
    """At which hosts who arranged it sees the peer."""
    carrier: PeerId
    """Who arranged it."""
    sought: bool
    """Whether it was we who asked."""


@dataclass(slots=True, eq=False)
class _Sought:
    """A meeting that we ask for."""

    peer_id: PeerId
    wanted: Wanted
    meeting: Meeting
    untried: deque[PeerId]
    asked: set[PeerId] = field(default_factory=set)
    timer: Timer | None = None


@dataclass(slots=True, eq=False)
class _Offered:
    """A meeting that another node asks for, and that we have accepted."""

    meeting: Meeting
    carrier: PeerId
    seen: tuple[str, ...]
    timer: Timer


class Meetings:
    """See the module's text.

    Args:
        own_id: who we are.
        timers: the manager's.
        connections: the manager's.
        outside: what others need to know to meet us.
        blacklist: who is not met.
        gate: how often others may ask.
        arranged: called with each meeting that will take place; `ended` has to follow for those that others sought.
    """

    def __init__(
        self,
        own_id: PeerId,
        timers: Timers,
        connections: Connections,
        outside: Outside,
        blacklist: Blacklist,
        gate: PunchGate,
        arranged: Callable[[Arranged], None],
    ) -> None:
        self._own_id = own_id
        self._timers = timers
        self._connections = connections
        self._outside = outside
        self._blacklist = blacklist
        self._gate = gate
        self._arranged = arranged
        # What we want: until carriers have room for it, the first one first; until our info is there; and asked for.
        self._waiting = WaitingLine()
        self._preparing: dict[PeerId, Wanted] = {}
        self._sought: dict[PeerId, _Sought] = {}
        self._helpful: deque[PeerId] = deque(maxlen=MAX_HELPFUL)
        self._pace = LetterPace()
        self._turn: Timer | None = None
        self._offered: dict[PeerId, _Offered] = {}
        self._heard: deque[tuple[PeerId, int]] = deque(maxlen=MAX_OFFERS_HEARD)
        self._writers = Allowances(KNOWN_WRITERS, LETTERS_BURST, 1 / LETTERS_INTERVAL)

    # --- we ask ---------------------------------------------------------------------------------------

    def seek(self, peer_id: PeerId, failed: Callable[[str], None]) -> None:
        """Arrange a meeting: `arranged` or ``failed`` is called once, soon or later. One at a time with each peer."""
        if not self._carriers(peer_id):
            failed(NO_CARRIER)
            return
        wanted = Wanted(peer_id, failed, now() + TURN_PATIENCE)
        if self._waiting:
            self._wait(wanted)
        else:
            self._prepare(wanted)

    def _prepare(self, wanted: Wanted) -> None:
        self._preparing[wanted.peer_id] = wanted
        self._outside.prepare(lambda ours: self._offer(wanted.peer_id, ours))

    def possible(self, peer_id: PeerId) -> bool:
        """Whether there is anybody who might arrange a meeting with that peer."""
        return bool(self._carriers(peer_id))

    def give_up(self, peer_id: PeerId) -> None:
        """A meeting with that peer is not wanted any more; nothing is called."""
        self._waiting.remove(peer_id)
        self._preparing.pop(peer_id, None)
        sought = self._sought.pop(peer_id, None)
        if sought is not None:
            if sought.timer is not None:
                sought.timer.cancel()
            for carrier in sought.asked:
                self._pace.give_back(carrier, now())
        self._await_turn()

    def _carriers(self, peer_id: PeerId) -> list[PeerId]:
        """Who may be connected to that peer as well: all that are not it; first who has helped before, then who was
        connected the latest."""
        live = [connection.peer_id for connection in reversed(self._connections.live)]
        live.sort(key=lambda each: each not in self._helpful)
        return [each for each in live if each.proven and each != peer_id][:MAX_CARRIERS]

    def _unasked(self, wanted: Wanted) -> list[PeerId]:
        return [each for each in self._carriers(wanted.peer_id) if each not in wanted.refused]

    def _offer(self, peer_id: PeerId, ours: ConnectionInfo) -> None:
        if peer_id in self._offered:
            return  # the peer was faster: what comes of that is what comes of this
        wanted = self._preparing.pop(peer_id, None)
        if wanted is None:
            return  # nobody wants it any more
        meeting, _ = Meeting.offer(secrets.randbelow(ID_LIMIT), ours, now())
        sought = self._sought[peer_id] = _Sought(peer_id, wanted, meeting, deque(self._unasked(wanted)))
        sought.timer = self._timers.at(now() + MEETING_TIMEOUT, lambda: self._too_late(sought))
        self._ask(sought)
        self._await_turn()

    def _ask(self, sought: _Sought) -> None:
        """Ask as many as may be, of those that are there and have room; if nobody is left that is the end of it."""
        full: deque[PeerId] = deque()
        while sought.untried and len(sought.asked) < CARRIERS_AT_ONCE:
            carrier = sought.untried.popleft()
            if self._connections.with_peer(carrier) is None:
                continue
            if self._pace.reserve(carrier, now()):
                note = Note(Step.OFFER, sought.meeting.number, sought.meeting.ours.encode())
                self._write(carrier, Letter(sought.peer_id, note))
                sought.asked.add(carrier)
            else:
                full.append(carrier)
        sought.untried.extendleft(reversed(full))
        if not sought.asked and sought.untried:
            self.give_up(sought.peer_id)
            self._wait(sought.wanted)
        elif not sought.asked:
            self._fail(sought, "; ".join(sought.wanted.reasons) or NO_CARRIER)

    def _refused(self, sought: _Sought, carrier: PeerId, reason: str) -> None:
        """One carrier does not know the peer, or the peer does not want to."""
        if carrier not in sought.asked:
            return
        sought.asked.discard(carrier)
        sought.wanted.refused[carrier] = reason
        self._pace.give_back(carrier, now())
        self._ask(sought)

    # --- one after the other --------------------------------------------------------------------------

    def _wait(self, wanted: Wanted) -> None:
        self._waiting.add(wanted)
        self._await_turn()

    def _await_turn(self) -> None:
        """See to it that the first one that waits is asked for when carriers have room; one at a time, since what
        room there is shows only when it is asked for."""
        if self._waiting and not self._preparing and (self._turn is None or not self._turn.pending):
            pause = self._pace.wait(self._unasked(self._waiting.first), now())
            self._turn = self._timers.at(now() + pause, self._next_turn)

    def _next_turn(self) -> None:
        late = self._waiting.take_late(now())
        if self._waiting and not self._preparing:
            self._prepare(self._waiting.take())
        self._await_turn()
        for each in late:
            each.failed("; ".join([*each.reasons, NO_TURN]))

    def _too_late(self, sought: _Sought) -> None:
        sought.meeting.tick(now())
        reasons = [*sought.wanted.reasons, sought.meeting.failure or "the peer did not answer in time"]
        self._fail(sought, "; ".join(dict.fromkeys(reasons)))

    def _fail(self, sought: _Sought, reason: str) -> None:
        if self._sought.get(sought.peer_id) is sought:
            self.give_up(sought.peer_id)
            sought.wanted.failed(reason)

    # --- letters --------------------------------------------------------------------------------------

    def letter(self, connection: Connection, content: dict[str, Any]) -> None:
        """A PUNCH frame came."""
        if not connection.peer_id.proven:
            return
        try:
            letter = parse_letter(content)
            if not letter.passed_on:
                self._carry(connection, letter)
            elif letter.peer not in (self._own_id, connection.peer_id):
                self._read(connection.peer_id, letter)
        except Malformed as error:
            log.debug("%s: %s", connection.endpoint, error)

    def _write(self, carrier: PeerId, letter: Letter) -> None:
        connection = self._connections.with_peer(carrier)
        if connection is not None:
            connection.outbox.put_control(control_frame(PUNCH, letter.content()))

    def _carry(self, connection: Connection, letter: Letter) -> None:
        """Somebody writes to somebody else."""
        writer, note = connection.peer_id, letter.note
        if not self._writers.take(writer, now()):
            problem = "too many letters; try again in some seconds"
        elif self._connections.with_peer(letter.peer) is None:
            problem = f"{writer_of(self._own_id)} has no connection with that peer"
        else:
            # (A relayed connection shows where the one in the middle is.)
            seen = () if connection.relayed else (connection.endpoint.host.partition("%")[0],)
            self._write(letter.peer, Letter(writer, note, True, seen))
            return
        if note.step is not Step.REFUSE:
            refusal = Note(Step.REFUSE, note.meeting, reason=problem)
            self._write(writer, Letter(letter.peer, refusal, True))

    def _read(self, carrier: PeerId, letter: Letter) -> None:
        """Somebody writes to us."""
        peer_id, note = letter.peer, letter.note
        if note.step is Step.OFFER:
            if (peer_id, note.meeting) not in self._heard:
                self._heard.append((peer_id, note.meeting))
                self._on_offer(carrier, letter)
            return
        sought, offered = self._sought.get(peer_id), self._offered.get(peer_id)
        if sought is not None and sought.meeting.number == note.meeting:
            self._on_answer(sought, carrier, letter)
        elif offered is not None and offered.meeting.number == note.meeting and carrier == offered.carrier:
            offered.meeting.receive(note, now())
            if offered.meeting.over:
                self._close(peer_id, offered)

    def _on_answer(self, sought: _Sought, carrier: PeerId, letter: Letter) -> None:
        note, meeting = letter.note, sought.meeting
        if note.step is Step.REFUSE:
            self._refused(sought, carrier, note.reason or "the peer does not want to")
            return
        if carrier not in sought.asked:
            return
        if note.step is Step.ACCEPT and ConnectionInfo.parse(note.info).peer_id != sought.peer_id:
            self._refused(sought, carrier, "the answer is another node's")
            return
        answer = meeting.receive(note, now())
        if answer is None or meeting.theirs is None or meeting.start is None:
            return
        self._write(carrier, Letter(sought.peer_id, answer))
        sought.asked.discard(carrier)
        if carrier not in self._helpful:
            self._helpful.append(carrier)
        self.give_up(sought.peer_id)
        self._arranged(
            Arranged(sought.peer_id, meeting.ours, meeting.theirs, meeting.start, letter.seen, carrier, sought=True)
        )

    # --- others ask -----------------------------------------------------------------------------------

    def _on_offer(self, carrier: PeerId, letter: Letter) -> None:
        peer_id, note, came = letter.peer, letter.note, now()
        theirs = ConnectionInfo.parse(note.info)
        if theirs.peer_id != peer_id:
            raise Malformed("an offer with another node's info")
        if (peer_id in self._sought or peer_id in self._preparing) and bytes(self._own_id) > bytes(peer_id):
            return  # both ask: ours is the one that counts
        problem = self._problem_with(peer_id, carrier, theirs)
        if problem:
            self._answer(carrier, Letter(peer_id, Note(Step.REFUSE, note.meeting, reason=problem)))
            return
        self._outside.prepare(lambda ours: self._accept(carrier, letter, ours, came))

    def _problem_with(self, peer_id: PeerId, carrier: PeerId, theirs: ConnectionInfo) -> str:
        endpoints = [each.endpoint for each in theirs.candidates]
        if self._blacklist.has_peer(peer_id) or self._blacklist.refuses_contact(endpoints, peer_id):
            return "it is not welcome here"
        if peer_id in self._offered:
            return "a meeting is arranged already"
        method = method_for(self._outside.behaviour, theirs.behaviour)
        return self._gate.admit(peer_id, carrier, method, now())

    def _accept(self, carrier: PeerId, letter: Letter, ours: ConnectionInfo, came: float) -> None:
        peer_id = letter.peer
        if peer_id in self._offered:  # it has asked twice while we looked
            self._gate.ended()
            return
        meeting, note = Meeting.answer(letter.note, ours, came, now())
        timer = self._timers.at(now() + MEETING_TIMEOUT, lambda: self._no_start(peer_id, meeting))
        self._offered[peer_id] = _Offered(meeting, carrier, letter.seen, timer)
        self._answer(carrier, Letter(peer_id, note))

    def _answer(self, carrier: PeerId, letter: Letter) -> None:
        self._pace.written(carrier, now())
        self._write(carrier, letter)

    def _no_start(self, peer_id: PeerId, meeting: Meeting) -> None:
        offered = self._offered.get(peer_id)
        if offered is not None and offered.meeting is meeting:
            self._forget(peer_id, "the peer asked for a meeting itself, and did not begin it in time")

    def _forget(self, peer_id: PeerId, reason: str) -> None:
        """Nothing comes of what we accepted, and so of what we waited for."""
        del self._offered[peer_id]
        self._gate.ended()
        wanted = self._preparing.pop(peer_id, None)
        if wanted is not None:
            self._await_turn()
            wanted.failed(reason)

    def _close(self, peer_id: PeerId, offered: _Offered) -> None:
        """It begins, or the peer has thought better of it."""
        offered.timer.cancel()
        meeting = offered.meeting
        if meeting.start is None or meeting.theirs is None:
            self._forget(peer_id, meeting.failure)
            return
        del self._offered[peer_id]
        self.give_up(peer_id)  # what we sought ourselves: this is it
        self._arranged(
            Arranged(peer_id, meeting.ours, meeting.theirs, meeting.start, offered.seen, offered.carrier, sought=False)
        )

    def stop(self) -> None:
        """Arrange nothing more."""
        self._waiting = WaitingLine()
        for peer_id in [*self._sought, *self._preparing]:
            self.give_up(peer_id)
        if self._turn is not None:
            self._turn.cancel()
        for offered in self._offered.values():
            offered.timer.cancel()
        self._offered.clear()


def writer_of(peer_id: PeerId) -> str:
    """Who says so, in a reason for people."""
    return f"the peer {peer_id}"
