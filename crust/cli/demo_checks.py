"""What must be true of everything that the peers of ``crust demo`` reported; no process, no clock."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Expected:
    """What one peer should have seen by the end."""

    connected: set[str] = field(default_factory=set)
    """The ids of the peers: each exactly once."""
    messages: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """For the id of each sender, its texts in order."""
    lost: set[str] = field(default_factory=set)
    """The ids of peers that went away: each exactly once."""
    stopped: bool = True
    """Whether it ended in order itself."""


def problems(log: Sequence[Mapping[str, Any]], expected: Expected, names: Mapping[str, str]) -> list[str]:
    """What is wrong with what a peer reported; nothing if all is well.

    Args:
        log: its reports, in order.
        expected: what they should say.
        names: the names of ids, for the sentences.
    """
    seen = _Seen(names)
    for report in log:
        seen.add(report)
    return seen.wrong + seen.differences(expected, log)


class _Seen:
    """Goes through a log, and finds what could never be right, whatever was expected."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._connected: set[str] = set()
        self._lost: set[str] = set()
        self._messages: dict[str, list[str]] = defaultdict(list)
        self.wrong: list[str] = []

    def _name(self, peer: object) -> str:
        return self._names.get(str(peer), f"a stranger ({str(peer)[:8]})")

    def add(self, report: Mapping[str, Any]) -> None:
        kind, peer = report["is"], report.get("id")
        match kind:
            case "new":
                if peer in self._connected:
                    self.wrong.append(f"a second NewConnection for {self._name(peer)}")
                self._connected.add(str(peer))
            case "message":
                if peer not in self._connected:
                    self.wrong.append(f"a NewMessage of {self._name(peer)} before its NewConnection")
                if peer in self._lost:
                    self.wrong.append(f"a NewMessage of {self._name(peer)} after its LostConnection")
                self._messages[str(peer)].append(report["text"])
            case "lost":
                if peer in self._lost:
                    self.wrong.append(f"a second LostConnection for {self._name(peer)}")
                self._lost.add(str(peer))
            case "failed":
                self.wrong.append(f"a failure: {report['to']} {report['reason']}")

    def differences(self, expected: Expected, log: Sequence[Mapping[str, Any]]) -> list[str]:
        found = []
        for what, seen, wanted in (
            ("NewConnection", self._connected, expected.connected),
            ("LostConnection", self._lost, expected.lost),
        ):
            found += [f"no {what} for {self._name(peer)}" for peer in sorted(wanted - seen)]
            found += [f"a {what} for {self._name(peer)}, which should not be" for peer in sorted(seen - wanted)]
        for peer in sorted({*self._messages, *expected.messages}):
            got, wanted_texts = self._messages[peer], expected.messages.get(peer, [])
            if got != wanted_texts:
                found.append(f"of {self._name(peer)} came {got}, but {wanted_texts} was sent")
        if expected.stopped and [report["is"] for report in log[-2:]] != ["stopped", "gone"]:
            found.append("Stopped was not its last event")
        return found
