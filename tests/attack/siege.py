"""`Siege`: a target, honest peers and an attacker, each a process, and what became of them."""

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

from benches.child import Child
from tests.attack.plan import Attack, Told

USUAL: dict[str, Any] = {"listen_addresses": ["127.0.0.1"], "upnp": False, "bootstrap_cache": False}
TRANSPORTS = ("tcp", "utp")
SAMPLE_EVERY = 0.02  # seconds
RECOVERY = 40.0  # seconds in which everything must be as before; the deadline of handshakes is 10 s
PATIENCE = 30.0  # seconds that an attack of its own lasts longer, at the most, until the alert has come
QUIET = 2.5  # seconds before anything is measured: threads of handshakes that are done end, and uTP's window grows
_BLOCKS = count(2)  # 127.BLOCK.0.0/16, one for each attack


class State(NamedTuple):
    """What the target holds."""

    memory: int
    """Bytes, resident."""
    threads: int
    descriptors: int

    def __or__(self, other: "State") -> "State":
        """The most of each."""
        return State(*map(max, self, other))


def state_of(pid: int) -> State:
    """What the system says of a process (Linux)."""
    process = Path("/proc", str(pid))
    pages = int((process / "statm").read_text("ascii").split()[1])
    return State(pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(process / "task")), len(os.listdir(process / "fd")))


def missing() -> str | None:
    """What keeps this machine from a siege, in words; ``None`` when all is there."""
    if sys.platform != "linux":
        return "attacks need Linux: they come from many addresses of 127.0.0.0/8, and /proc tells what the target holds"
    return None


class Watch:
    """Looks at a process again and again, from outside: it may be too busy to tell by itself."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self.peak = state_of(pid)
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY):
            self.peak |= state_of(self._pid)

    def end(self) -> State:
        """The most of each that was seen."""
        self._stop.set()
        self._thread.join()
        return self.peak


@dataclass
class Outcome:
    """What came of an attack."""

    attack: Attack
    before: dict[str, Any]
    """Figures of the honest peers, by transport, and of the newcomers, under "new"."""
    during: dict[str, Any]
    quiet: State
    """Of the target before the attack."""
    peak: State
    after: State
    recovered: float | None
    """Seconds after the end of the attack in which all threads and descriptors were given back; ``None`` for never."""
    told: Told
    """What the target's program was told: "events", "floods" by kind, "crimes" by reason, lines of the "log"."""
    attacker: dict[str, Any]
    end: dict[str, Any] = field(default_factory=dict)
    """Of the honest peers, once all was over: messages "sent", "answered", connections "lost"."""

    @property
    def alerted(self) -> bool:
        """Whether the alert that is due has come."""
        return self.attack.is_told(self.told)

    def ratio(self, transport: str, figure: str) -> float | None:
        """A figure during the attack against the same before it."""
        before, during = self.before[transport].get(figure), self.during[transport].get(figure)
        return during / before if before and during else None

    def reflected(self) -> dict[str, float]:
        """For each bait of a reflection, the bytes that a victim got for each that was sent."""
        sent = {name.removeprefix("sent: "): size for name, size in self.attacker.items() if name.startswith("sent: ")}
        return {name: self.attacker.get(f"got: {name}", 0) / size for name, size in sent.items()}


class Siege:
    """A context manager; the honest peers are connected when it is entered.

    Args:
        settings: of the target, beside the usual ones.
        log: where the standard error of all processes goes, as for ``subprocess``.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, *, log: int = 2) -> None:
        os.environ.setdefault("CRUST_ISOLATED", "1")
        self._settings = {**USUAL, "beacon_port": _free_port(), **(settings or {})}
        self._log = log
        self._stack = ExitStack()
        self.ports: dict[str, int] = {}
        self.honest: dict[str, Child] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.target = self._child(stack, "target", _json(self._settings))
            self.ports = self.target.ask("listen")
            for transport in TRANSPORTS:
                self.honest[transport] = self._child(stack, "honest", transport, str(self.ports[transport]))
            where = [word for transport in TRANSPORTS for word in (transport, str(self.ports[transport]))]
            self._newcomers = self._child(stack, "honest", "new", *where)
            threading.Event().wait(QUIET)
            self.quiet = self.state()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _child(self, stack: ExitStack, name: str, *arguments: str) -> Child:
        child = stack.enter_context(Child(f"tests.attack.{name}", *arguments, log=self._log))
        child.answer()
        return child

    def suffer(
        self, attack: Attack, seconds: float, before: float, patience: float = 0.0, *, recover: bool = True
    ) -> Outcome:
        """One attack, and what came of it.

        Args:
            attack: which.
            seconds: that it lasts.
            before: that are measured before it.
            patience: seconds that it lasts longer, at the most, until the alert has come: the machine may be slow.
            recover: whether to wait until the target holds no more than before.
        """
        pid = self.target._process.pid
        victim = self.honest["utp"].ask("port")["port"]
        aim = [self.ports["tcp"], self.ports["utp"], self.ports["beacon"], victim, next(_BLOCKS), seconds]
        with ExitStack() as stack:
            attacker = self._child(stack, "attacker", attack.name, _json(aim))
            first = self.measure(before)
            known = self._told()
            watch = Watch(pid)
            attacker.ask("attack")
            try:
                during = self.measure(seconds)
                self._await_alert(attack, known, patience)
                done = attacker.ask("end")
            finally:
                peak = watch.end() | self.quiet
            recovered = self.recover() if recover else None
            told = self._told(known)
        return Outcome(attack, first, during, self.quiet, peak, state_of(pid), recovered, told, done)

    def measure(self, seconds: float) -> dict[str, Any]:
        """What the honest peers measure from now on."""
        for child in self.honest.values():
            child.ask("figures")
        self._newcomers.ask("begin")
        threading.Event().wait(seconds)
        found: dict[str, Any] = {name: child.ask("figures") for name, child in self.honest.items()}
        return {**found, "new": self._newcomers.ask("finish")}

    def _await_alert(self, attack: Attack, known: Told, patience: float) -> None:
        end = time.monotonic() + patience
        while time.monotonic() < end and not attack.is_told(self._told(known)):
            threading.Event().wait(SAMPLE_EVERY)

    def _told(self, known: Told | None = None) -> Told:
        """What the target was told, since it had been told ``known``."""
        told = self.target.ask("told")
        found = {name: Counter(told[name]) for name in ("events", "floods", "crimes", "log")}
        return found if known is None else {name: counter - known[name] for name, counter in found.items()}

    def recover(self) -> float | None:
        """Wait until the target holds no more threads and descriptors than at the beginning; seconds that it took, or
        ``None`` if it does not come to that."""
        start, pid = time.monotonic(), self.target._process.pid
        while (passed := time.monotonic() - start) < RECOVERY:
            state, half_open = state_of(pid), self.target.ask("told")["half_open"]
            if not half_open and state.threads <= self.quiet.threads and state.descriptors <= self.quiet.descriptors:
                return passed
            threading.Event().wait(SAMPLE_EVERY)
        return None

    def state(self) -> State:
        """Of the target, now."""
        return state_of(self.target._process.pid)

    def finish(self) -> dict[str, Any]:
        """The honest peers wait for what is missing: what they say, and how the target saw it."""
        found: dict[str, Any] = {name: child.ask("finish") for name, child in self.honest.items()}
        return {**found, "target": self._told()["events"]}


@contextmanager
def besieged(attack: Attack, seconds: float, log: int = 2) -> Iterator[Outcome]:
    """A siege for one attack alone."""
    with Siege(attack.settings, log=log) as siege:
        outcome = siege.suffer(attack, seconds, max(seconds / 2, 2.0), PATIENCE)
        outcome.end = siege.finish()
        yield outcome


def _json(value: Any) -> str:
    return json.dumps(value)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
