"""Every pair of NATs, over TCP and over uTP: two managers that have nothing but a peer in common become connected.

All homes are in one lab at the same time. A round makes a new manager in each, and tries each pair once.
``python -m tests.lab.matrix_figures`` does many, and makes a table.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any, Final

from tests.lab.namespaces import Lab, Node
from tests.lab.nat_kinds import Host, Kind, place, place_pair
from tests.lab.nat_program import Remote
from tests.lab.punch_program import serve_in
from tests.lab.wiring import plug, switch

TRANSPORTS: Final = ("TCP", "uTP")
DELAY: Final = 0.02
"""Seconds from each NAT to the open: 40 ms from one peer to the other."""
OPEN: Final = "11.1.1.250"
OTHER: Final = "11.1.1.251"
PATIENCE: Final = 45.0  # seconds for a pair: the birthday method takes up to 38
CONES: Final = frozenset({Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED, Kind.PORT_RESTRICTED, Kind.MASQUERADE, Kind.CARRIER})
_EASY: Final = frozenset({Kind.NONE, Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED})
_SPARE: Final = 3
"""Homes of a kind: the birthday method is for one pair a minute."""


@dataclass(frozen=True)
class Pair:
    """Two peers of the matrix."""

    left: str
    right: str
    expected: str
    """"direct" or "relayed"."""
    cones: bool
    """Whether both show one address to all."""


@dataclass
class Tries:
    """What came of a pair."""

    seconds: list[float] = field(default_factory=list)
    direct: int = 0
    relayed: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.direct + self.relayed + len(self.problems)


def expected(one: Kind, other: Kind, transport: str) -> str:
    """What is possible: with random ports on one side, nobody can know where to send to, unless they are let in from
    anywhere, or by the birthday method, which takes more packets than TCP has."""
    random, both = Kind.SYMMETRIC_RANDOM, {one, other}
    if random not in both or both & _EASY:
        return "direct"
    if one is other or Kind.SYMMETRIC_SEQUENTIAL in both:
        return "relayed"
    return "direct" if transport == "uTP" else "relayed"


class World:
    """All homes, and a peer and a STUN server in the open. Use `world`.

    Args:
        lab: where it is built.
        transport: "TCP" or "uTP": the other one is no way from peer to peer.
    """

    def __init__(self, lab: Lab, transport: str) -> None:
        self.transport = transport
        self._wan = switch(lab, "wan")
        common = lab.node("common")
        plug(common, "eth0", self._wan, f"{OPEN}/24", f"{OTHER}/24")
        serve_in(common, OPEN, OTHER)
        self.common = Remote(common, network="lab", relay=True)
        self.remotes: dict[str, Remote] = {}
        number = 1
        for kind in Kind:
            for copy in range(_SPARE if kind is Kind.SYMMETRIC_RANDOM else 2):
                number += 1
                self._add(f"{kind.name} {copy}", place(lab, kind, self._wan, number, delay=DELAY))
        for hairpin in (False, True):
            number += 1
            pair = place_pair(
                lab, Kind.PORT_RESTRICTED, self._wan, number, hairpin=hairpin, isolated=hairpin, delay=DELAY
            )
            for side, host in zip("ab", pair, strict=True):
                self._add(f"same NAT {'with' if hairpin else 'without'} hairpin {side}", host)
        for remote in (self.common, *self.remotes.values()):
            remote.ready()

    def _add(self, name: str, host: Host) -> None:
        settings: dict[str, Any] = {"network": "lab", "stun_servers": [f"{OPEN}:3478"]}
        if self.transport == "uTP":
            settings["tcp_port"] = None
        else:
            _block_udp(host.node)
        self.remotes[name] = Remote(host.node, **settings)

    def pairs(self) -> Iterator[Pair]:
        """All of the matrix, each in one direction."""
        spares = iter(range(_SPARE))
        for one, other in combinations_with_replacement(Kind, 2):
            birthday = Kind.SYMMETRIC_RANDOM in (one, other) and {one, other} & (CONES - _EASY)
            left, right = 0, 1
            if birthday:
                left = right = next(spares)
                left, right = (left, 0) if one is Kind.SYMMETRIC_RANDOM else (0, right)
            cones = {one, other} <= CONES
            yield Pair(f"{one.name} {left}", f"{other.name} {right}", expected(one, other, self.transport), cones)
        for how in ("without", "with"):
            name = f"same NAT {how} hairpin"
            yield Pair(f"{name} a", f"{name} b", "direct", False)

    def begin(self) -> dict[str, str]:
        """A new manager everywhere, which is connected to the one in the open; the ids by name."""
        everybody = [self.common, *self.remotes.values()]
        ids = _ask_all(everybody, "fresh")
        common = next(each for each in self.common.ask("endpoints") if each.startswith(f"tcp://{OPEN}:"))
        assert all(_ask_all(list(self.remotes.values()), "join", common))
        _ask_all(list(self.remotes.values()), "surveyed")
        _ask_all(list(self.remotes.values()), "echo")
        return dict(zip(self.remotes, ids[1:], strict=True))

    def attempt(self, pair: Pair, ids: dict[str, str], tries: Tries) -> None:
        """Try one pair once."""
        left, right = self.remotes[pair.left], self.remotes[pair.right]
        endpoint, seconds, reasons = left.ask("meet", ids[pair.right], pair.expected, PATIENCE)
        back = right.ask("met", ids[pair.left], pair.expected, 5.0 if endpoint else 0.0)
        if not endpoint or not back:
            tries.problems.append(f"{endpoint} {back} {reasons}")
            return
        if not left.ask("talk", ids[pair.right]):
            tries.problems.append(f"{endpoint}: no message came back")
            return
        relayed = endpoint.startswith("relayed://")
        tries.relayed += relayed
        tries.direct += not relayed
        tries.seconds.append(seconds)
        if not relayed and not endpoint.startswith(f"{self.transport.lower()}://"):
            tries.problems.append(f"connected over another transport: {endpoint}")
        left.ask("drop", ids[pair.right])


def _block_udp(node: Node) -> None:
    """Nothing over UDP but to the server."""
    node.rules(f"""
table inet only-tcp {{
  chain output {{
    type filter hook output priority filter;
    meta l4proto udp ip daddr != {{ {OPEN}, {OTHER} }} drop
  }}
}}
""")


def _ask_all(remotes: Sequence[Remote], *words: object) -> list[Any]:
    """At the same time."""
    for remote in remotes:
        remote.tell(*words)
    return [remote.hear() for remote in remotes]


@contextmanager
def world(transport: str) -> Iterator[World]:
    """Build everything; it goes at the end."""
    with ExitStack() as stack:
        yield World(stack.enter_context(Lab()), transport)


def run(
    transport: str,
    rounds: int,
    wanted: Callable[[Pair], bool] = lambda pair: True,
    told: Callable[[str], None] = lambda text: None,
) -> dict[Pair, Tries]:
    """Try every pair, so many times."""
    with world(transport) as everything:
        results = {pair: Tries() for pair in everything.pairs() if wanted(pair)}
        for number in range(rounds):
            ids = everything.begin()
            for pair, tries in results.items():
                everything.attempt(pair, ids, tries)
                told(f"{transport} {number + 1}: {pair.left} - {pair.right}: {tries}")
    return results


def shortfalls(results: dict[Pair, Tries]) -> list[str]:
    """What did not come as expected."""
    return [
        f"{pair.left} - {pair.right}: {pair.expected} expected; {tries}"
        for pair, tries in results.items()
        if tries.problems or (tries.direct if pair.expected == "direct" else tries.relayed) != tries.count
    ]
