"""`Punch`: two nodes behind NATs open a path for UDP between them (docs/nat.md, "Hole punching"). Pure.

Both send to each other at the same time; each NAT takes the other's probes for answers. Probes are sealed, so nothing
that a stranger sends counts. A path is open when a probe comes back with our own token in it, from whichever address it
does; the side with the greater peer id chooses the first such path and says so.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from crust.endpoint import Address
from crust.errors import Malformed
from crust.nat import punch_plan
from crust.nat.outgoing import Outgoing
from crust.nat.punch_packet import NO_TOKEN, TOKEN_SIZE, Probe, ProbeKind, PunchSeal
from crust.nat.punch_plan import Method, Plan

PUNCH_PATHS: Final = 16
"""Addresses that sealed probes came from and that are answered; a peer has few, and each costs us a few probes."""
ANSWERS: Final = 8
"""Answers to probes from one address."""
COURTESY: Final = 3
"""Probes that follow the first answer to an address: one alone may be lost, or come before their NAT is open."""
COURTESY_INTERVAL: Final = 0.1  # seconds between them
CHOICES: Final = 8
"""How often the choice is told until it is agreed to."""
MAX_NUMBERS: Final = 8192
"""Numbers of probes that are remembered, against those that somebody recorded; more than a peer's budget."""


class Opened(NamedTuple):
    """The path that both use from now on."""

    address: Address
    socket: int


@dataclass(slots=True)
class _Path:
    """An address that the peer was heard from, at one of our sockets."""

    verified: bool = False
    answers: int = 0
    courtesy: int = 0
    due: float | None = None


class Punch:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    Args:
        plan: whom to probe.
        seal: of this meeting.
        chooses: whether ours is the greater peer id.
        start: when to begin; both sides at the same time, as well as that can be had.
        rng: for the ports that are searched.
        token: gives that many random bytes.
    """

    def __init__(
        self,
        plan: Plan,
        seal: PunchSeal,
        chooses: bool,
        start: float,
        rng: random.Random | None = None,
        token: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.opened: Opened | None = None
        """The path, once there is one."""
        self.failure = ""
        """Why there is none, once that is clear."""
        self.agreed = False
        """Whether both sides know of the path."""
        self.counters: Counter[str] = Counter()
        self._plan, self._seal, self._chooses = plan, seal, chooses
        self._end = start + plan.seconds
        self._token, self._their_token = token(TOKEN_SIZE), NO_TOKEN
        self._number = 0
        self._seen: set[int] = set()
        self._paths: dict[tuple[Address, int], _Path] = {}
        self._outgoing: list[Outgoing] = []
        self._sent_to: Counter[str] = Counter()  # by host
        self._round, self._next_round = 0, start
        self._choices, self._next_choice = 0, start
        searching = plan.method is Method.SEARCH
        self._ports = plan.search_ports(rng or random.SystemRandom()) if searching else []
        self._opened_sockets = 0  # in all rounds
        many = searching or plan.method is Method.OPEN_MANY
        self._next_many: float | None = start + (punch_plan.BIRTHDAY_START if searching else 0.0) if many else None
        if plan.method is Method.NONE and not plan.targets:
            self._fail()

    @property
    def over(self) -> bool:
        """Whether both sides have the path, or have been told as often as is of use, or there is none."""
        if self.opened is None:
            return bool(self.failure)
        return self.agreed or self._choices >= CHOICES

    # --- datagrams in ---
    def receive(self, data: bytes, source: Address, now: float, socket: int = 0) -> bool:
        """Whether a datagram is part of this meeting; also long after it is over, so that nobody else is bothered.

        Args:
            data: what came.
            source: where from.
            now: seconds.
            socket: which of our sockets it came to.
        """
        try:
            probe = self._seal.open(data)
        except Malformed:
            self.counters["malformed"] += 1
            return True
        if probe is None:
            return False
        if probe.number in self._seen or len(self._seen) >= MAX_NUMBERS:
            self.counters["repeated"] += 1
            return True
        self._seen.add(probe.number)
        self.counters["heard"] += 1
        self._take(probe, (source[0], source[1]), socket, now)
        return True

    def _take(self, probe: Probe, source: Address, socket: int, now: float) -> None:
        key = source, socket
        path = self._paths.get(key)
        if path is None:
            if len(self._paths) >= PUNCH_PATHS:
                self.counters["too_many_paths"] += 1
                return
            path = self._paths[key] = _Path()
        self._their_token = probe.token
        first_proof = probe.echo == self._token and not path.verified
        path.verified |= first_proof
        match probe.kind:
            case ProbeKind.PROBE if not self.agreed and (first_proof or probe.echo == NO_TOKEN):
                self._answer(key, path, now)
            case ProbeKind.USE if path.verified and not self._chooses and self.opened in (None, key):
                self._open(key, agreed=True)
                self._send(ProbeKind.AGREED, source, socket)
            case ProbeKind.AGREED if self.opened == key:
                self.agreed = True
        if first_proof and self._chooses and self.opened is None:
            self._open(key, agreed=False)
            self._next_choice = now
            self._choose(now)

    def _answer(self, key: tuple[Address, int], path: _Path, now: float) -> None:
        """Aim at where the peer really is."""
        if path.answers < ANSWERS:
            path.answers += 1
            self._send(ProbeKind.PROBE, *key)
        if path.due is None and not path.courtesy:
            path.due = now + COURTESY_INTERVAL

    def _open(self, key: tuple[Address, int], agreed: bool) -> None:
        self.opened = Opened(*key)
        self.agreed = agreed
        self.failure = ""

    # --- time, and datagrams out ---
    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.opened is not None:
            self._choose(now)
        elif not self.failure:
            self._probe_all(now)
            self._probe_many(now)
            if now >= self._end:
                self._fail()
        if not self.agreed:
            self._be_courteous(now)

    def _probe_all(self, now: float) -> None:
        """A round of plain probes."""
        if now < self._next_round or now >= self._end:
            return
        for address, limit in self._plan.targets:
            if self._sent_to[address[0]] < limit:
                self._sent_to[address[0]] += 1
                self._send(ProbeKind.PROBE, address, 0)
        offsets = punch_plan.PROBE_OFFSETS
        self._round += 1
        later = self._round >= len(offsets)
        wait = punch_plan.LATER_INTERVAL if later else offsets[self._round] - offsets[self._round - 1]
        self._next_round = max(self._next_round + wait, now)

    def _probe_many(self, now: float) -> None:
        """What the birthday method adds."""
        while self._next_many is not None and self._next_many <= now and self.opened is None:
            if self._plan.method is Method.SEARCH:
                self._search()
            else:
                self._open_socket()

    def _search(self) -> None:
        assert self._plan.main is not None
        assert self._next_many is not None
        self._send(ProbeKind.PROBE, (self._plan.main[0], self._ports.pop()), 0)
        self._next_many = self._next_many + punch_plan.BIRTHDAY_INTERVAL if self._ports else None

    def _open_socket(self) -> None:
        assert self._plan.main is not None
        assert self._next_many is not None
        again, socket = divmod(self._opened_sockets, self._plan.sockets)
        self._send(ProbeKind.PROBE, self._plan.main, socket, None if again else punch_plan.OPENING_TTL)
        self._opened_sockets += 1
        whole_round = self._opened_sockets % self._plan.sockets == 0
        rest = punch_plan.REOPEN_INTERVAL - (self._plan.sockets - 1) * punch_plan.OPENING_INTERVAL
        self._next_many += rest if whole_round else punch_plan.OPENING_INTERVAL
        if self._opened_sockets >= punch_plan.BIRTHDAY_OPENINGS:
            self._next_many = None

    def _choose(self, now: float) -> None:
        """Tell the other side which path it is."""
        if self._chooses and not self.agreed and self._choices < CHOICES and now >= self._next_choice:
            assert self.opened is not None
            self._send(ProbeKind.USE, *self.opened)
            self._choices += 1
            self._next_choice = now + COURTESY_INTERVAL * 2 ** min(self._choices, 3)

    def _be_courteous(self, now: float) -> None:
        for key, path in self._paths.items():
            if path.due is not None and path.due <= now:
                path.courtesy += 1
                self._send(ProbeKind.PROBE, *key)
                path.due = now + COURTESY_INTERVAL if path.courtesy < COURTESY else None

    def _send(self, kind: ProbeKind, to: Address, socket: int, ttl: int | None = None) -> None:
        self._number += 1
        probe = Probe(kind, socket, self._number, self._token, self._their_token)
        self._outgoing.append(Outgoing(self._seal.close(probe), to, socket, ttl))
        self.counters["sent"] += 1

    def _fail(self) -> None:
        count = len({target.address for target in self._plan.targets})
        sent = f"{self.counters['sent']} probes to {count} address{'es' * (count != 1)}"
        if self._plan.method is Method.NONE:
            self.failure = f"hole punching cannot work here: {Method.NONE.value}"
        elif self._paths:
            self.failure = f"{sent}: the peer's probes came, but ours did not come through to it"
        elif not self.counters["sent"]:
            self.failure = "the peer has no UDP address that may be probed, and no probe of its own came"
        else:
            self.failure = f"{sent}, and nothing came back: a router uses other ports than those, or UDP is blocked"

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""
        due = [path.due for path in self._paths.values() if path.due is not None and not self.agreed]
        if self.opened is not None:
            if self._chooses and not self.agreed and self._choices < CHOICES:
                due.append(self._next_choice)
        elif not self.failure:
            due += [min(self._next_round, self._end), self._end]
            due += [] if self._next_many is None else [self._next_many]
        return min(due, default=None)

    def outgoing(self) -> list[Outgoing]:
        """Take what is to be sent now."""
        taken, self._outgoing = self._outgoing, []
        return taken
