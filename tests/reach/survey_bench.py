"""For tests of `crust.reach.surveyor`: a surveyor whose clock, errands and names the test moves."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from crust import CrustError, Endpoint, Protocol
from crust.connecting import notices
from crust.endpoint import Address
from crust.nat.behaviour import UNKNOWN, Behaviour, Mapping, Sighting
from crust.nat.observations import Observations
from crust.nat.survey import Findings, Survey
from crust.reach import surveyor
from crust.reach.errands import Errands
from crust.reach.surveyor import Surveyor
from crust.threads.timers import Timers
from tests.hand_clock import HandClock
from tests.together import PATIENCE

PORT = 5484
SEEN = ("203.0.113.9", 40000)
SERVERS: list[Address] = [(f"198.51.{number}.1", 3478) for number in range(20)]
CONE = Behaviour(Mapping.ENDPOINT_INDEPENDENT)


class Pretence:
    """Stands for an `Errand`: it ends when, and how, the test says."""

    made: list["Pretence"]
    error: Exception | None = None

    def __init__(self, ports: Any, machine: Any, done: Callable[[], None], linger: float | None = None) -> None:
        if self.error is not None:
            raise self.error
        self.machine, self.done, self.linger = machine, done, linger
        self.running = True
        self.asked: list[Address] = []
        self.made.append(self)

    def cancel(self) -> None:
        self.running = False

    def stop(self, timeout: float | None = None) -> None:
        self.running = False


class Bench:
    """A `Surveyor`, a clock, and what it asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *servers: str) -> None:
        self.clock = HandClock()
        self.inbox = notices.Inbox()
        self.timers = Timers()
        self.socket: Any = SimpleNamespace(local_address=("0.0.0.0", PORT))
        self.peers: list[Address] = []
        self.names: dict[str, list[Address]] = {}
        self.observations = Observations()
        self.errands = Errands()
        self.changes = 0
        self.made: list[Pretence] = []
        self.called: list[str] = []
        monkeypatch.setattr(Pretence, "made", self.made, raising=False)
        monkeypatch.setattr(surveyor, "Errand", Pretence)
        monkeypatch.setattr(surveyor, "now", self.clock)
        monkeypatch.setattr(surveyor, "resolve", self._resolve)
        monkeypatch.setattr(surveyor, "interface_networks", lambda: ["192.168.1.2/24"])
        self.surveyor = Surveyor(
            servers,
            self.inbox,
            self.timers,
            lambda: self.socket,
            lambda: self.peers,
            self.observations,
            self.errands,
            self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    def _resolve(self, name: Endpoint) -> list[Endpoint]:
        if name.host not in self.names:
            raise CrustError(f"nobody knows {name.host}")
        return [Endpoint.utp(address) for address in self.names[name.host]]

    def ask(self, name: str = "") -> None:
        """Want to know as much as can be known."""
        self.surveyor.when_known(lambda: self.called.append(name))

    def asked(self) -> list[Address]:
        """Who is asked by the latest errand."""
        errand = self.made[-1]
        errand.asked += [datagram.to for datagram in errand.machine.outgoing()]
        return list(dict.fromkeys(errand.asked))

    def end(self, *sightings: Sighting, behaviour: Behaviour = UNKNOWN) -> None:
        """The latest errand ends; of a survey, those who are not among the sightings said nothing."""
        errand = self.made[-1]
        if isinstance(errand.machine, Survey):
            failures = tuple((server, "no answer") for server in self.asked() if server not in dict(sightings))
            errand.machine.findings = Findings(behaviour, sightings, failures)
        else:
            errand.machine.sightings += sightings
        errand.running = False
        errand.done()
        self.run()

    def seen(self) -> list[Address]:
        """What is told of us."""
        found = self.observations.sightings(Protocol.UTP, PORT, self.clock.time)
        return [sighting.seen for sighting in found]

    def run(self) -> None:
        """The manager takes what is in its inbox."""
        while not self.inbox.empty():
            self.inbox.get().call()

    def later(self, seconds: float) -> None:
        """Time passes, and nobody looks; the manager does what is due, when it is."""
        end = self.clock.time + seconds
        while (due := self.timers.next_deadline()) is not None and due <= end:
            self.clock.time = due
            self.timers.run_due(due)
        self.clock.time = end


def told(server: Address, seen: Address = SEEN) -> Sighting:
    return Sighting(server, seen)


def known(bench: Bench, behaviour: Behaviour = CONE) -> Bench:
    """After a survey."""
    bench.peers = SERVERS[:5]
    bench.surveyor.begin()
    bench.end(*map(told, SERVERS[:5]), behaviour=behaviour)
    return bench


def looked_up(bench: Bench) -> None:
    """Wait for the thread that looks names up."""
    bench.inbox.get(timeout=PATIENCE).call()
