"""A model of nodes that dial each other, for tests of `crust.links.peers`: real tables, everything around them
imitated.

It does with the tables what ``negotiate.py`` and ``connections.py`` do. What runs on other threads is a step of its
own, so that a test can try every order:

* ``("wire", connection, direction)`` delivers the next thing that was sent; connections do not wait for each other;
* ``("thread", connection, end)`` lets the thread of a handshake act on the verdict that it was given;
* ``("manager", node)`` lets a manager handle the next item of its inbox.

Nodes have names in capital letters. Who dials in small ones (``a`` for A) does so through a relay.

What may happen at any time is a step as well: ``dial``, ``cut`` (the network ends a connection, losing what is on its
way), ``break`` (one end finds its connection broken; the other learns of it when the end of the stream is delivered),
``give up`` (a handshake takes too long), ``drop`` (the user ends a connection), ``crash`` (a node starts anew).
"""

import copy
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Self

from crust.identity import PeerId
from crust.links.peers import Candidate, PeerTable, Verdict

Step = tuple[Any, ...]
EOF = ("EOF",)
INITIATOR, RESPONDER = 0, 1


def peer_id(name: str) -> PeerId:
    """Names are ordered as letters are: of A and B it is B who chooses."""
    return PeerId(name.encode() * 32)


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(eq=False)
class End:
    """One end of a connection, with the thread that does its handshake, and then its reader."""

    node: str
    peer: str
    life: int
    """Of the node's lives, the one that this end belongs to."""
    state: str
    began: int
    relayed: bool = False
    candidate: Candidate | None = None
    verdict: Verdict | None = None
    received: deque[Step] = field(default_factory=deque)
    finished: bool = False
    """Whether it has sent the end of its stream."""


@dataclass(eq=False)
class Node:
    """A manager: its table, what it believes is live, and its inbox."""

    name: str
    life: int
    table: PeerTable
    inbox: deque[Step] = field(default_factory=deque)
    live: dict[str, int] = field(default_factory=dict)
    """Announced connections: connection by peer."""
    replaces: dict[int, int] = field(default_factory=dict)
    news: int = 0
    losses: int = 0


class World:
    """See the module's text.

    Args:
        names: of the nodes.
        max_connections: of each node.
        eager: managers and threads act at once, so that only the order of deliveries varies.
    """

    def __init__(self, names: str, max_connections: int = 100, eager: bool = False) -> None:
        self._max_connections = max_connections
        self.eager = eager
        self.nodes = {name: self._new_node(name, 0) for name in names}
        self.connections: list[tuple[End, End]] = []
        self._streams = 0

    def _new_node(self, name: str, life: int) -> Node:
        return Node(name, life, PeerTable(peer_id(name), self._max_connections, self._max_connections))

    # --- the steps --------------------------------------------------------------------------------

    def dial(self, initiator: str, responder: str) -> int:
        """Establish one more stream; its handshake is still to come."""
        relayed = initiator.islower()
        initiator, responder = initiator.upper(), responder.upper()
        number = len(self.connections)
        ends = []
        for name, peer, state in ((initiator, responder, "hello"), (responder, initiator, "first")):
            self._streams += 1
            ends.append(End(name, peer, self.nodes[name].life, state, self._streams, relayed))
        self.connections.append((ends[0], ends[1]))
        self._send(number, INITIATOR, ("m1",))
        return number

    def steps(self) -> list[Step]:
        """What can happen next by itself."""
        found: list[Step] = []
        for number, ends in enumerate(self.connections):
            for side, end in enumerate(ends):
                if end.received and end.state not in ("asking", "answered", "promoted", "over"):
                    found.append(("wire", number, side))
                if end.state == "answered":
                    found.append(("thread", number, side))
        found += [("manager", name) for name, node in self.nodes.items() if node.inbox]
        return found

    def do(self, step: Step) -> None:
        """Let something happen."""
        kind, *rest = step
        getattr(self, "_do_" + kind.replace(" ", "_"))(*rest)
        if self.eager:
            while urgent := [step for step in self.steps() if step[0] != "wire"]:
                kind, *rest = urgent[0]
                getattr(self, "_do_" + kind)(*rest)

    def settle(self, choose: Any = min) -> None:
        """Let everything happen that can, in the order that ``choose`` picks."""
        while steps := self.steps():
            self.do(choose(steps))

    def _do_dial(self, initiator: str, responder: str) -> None:
        self.dial(initiator, responder)

    def _do_cut(self, number: int) -> None:
        for end in self.connections[number]:
            end.received = deque([EOF])
            end.finished = True

    def _do_break(self, number: int, side: int) -> None:
        self.connections[number][side].received = deque([EOF])
        self.connections[number][1 - side].finished = True
        self._finish(number, side)

    def _do_give_up(self, number: int, side: int) -> None:
        end = self.connections[number][side]
        if end.state in ("hello", "first", "third", "choice", "asking"):
            self._fail(number, side)
        elif end.state == "promoted":  # thrown out, or another of the same connect() was faster
            inbox = self.nodes[end.node].inbox
            inbox[inbox.index(("promoted", number, side))] = ("forsaken", number, side)
            end.state = "over"
            self._finish(number, side)

    def _do_drop(self, name: str, number: int) -> None:
        node = self.nodes[name]
        for side, end in enumerate(self.connections[number]):
            if end.node == name and node.live.get(end.peer) == number and end.state == "live":
                self._forget(node, number, side)
                self._send(number, side, ("BYE", "bye"))
                self._finish(number, side)

    def _do_crash(self, name: str) -> None:
        node = self.nodes[name]
        for number, ends in enumerate(self.connections):
            for side, end in enumerate(ends):
                if end.node == name and end.life == node.life:
                    end.state = "over"
                    self._finish(number, side)
        fresh = self._new_node(name, node.life + 1)
        fresh.news, fresh.losses = node.news, node.losses
        self.nodes[name] = fresh

    def _do_wire(self, number: int, side: int) -> None:
        end = self.connections[number][side]
        what = end.received.popleft()
        getattr(self, f"_on_{end.state}")(number, side, end, *what)

    def _do_thread(self, number: int, side: int) -> None:
        """The answer of the manager arrives at the thread of a handshake."""
        end = self.connections[number][side]
        node, candidate, verdict = self.nodes[end.node], end.candidate, end.verdict
        assert candidate is not None
        if verdict not in (Verdict.CHOOSE, Verdict.WAIT):
            assert verdict is not None
            if side == RESPONDER:
                self._send(number, side, ("BYE", verdict.value))
            self._fail(number, side)
            return
        if side == INITIATOR:
            self._send(number, side, ("m3", node.life, candidate.serial, candidate.alone))
        if verdict is Verdict.CHOOSE:
            self._send(number, side, ("CHOOSE", candidate.serial))
            end.state = "promoted"
            node.inbox.append(("promoted", number, side))
        else:
            end.state = "choice"

    def _do_manager(self, name: str) -> None:
        node = self.nodes[name]
        kind, *rest = node.inbox.popleft()
        getattr(self, "_handle_" + kind)(node, *rest)

    # --- what a handshake's thread and a reader do with what comes -----------------------------------

    def _on_hello(self, number: int, side: int, end: End, kind: str, *rest: Any) -> None:
        if kind == "m2":
            self._ask(number, side, _candidate(end, rest[0]))
        else:
            self._fail(number, side)

    def _on_first(self, number: int, side: int, end: End, kind: str, *_: Any) -> None:
        if kind == "m1":
            self._send(number, side, ("m2", end.life))
            end.state = "third"
        else:
            self._fail(number, side)

    def _on_third(self, number: int, side: int, end: End, kind: str, *rest: Any) -> None:
        if kind == "m3":
            life, serial, alone = rest
            self._ask(number, side, _candidate(end, life, serial, alone))
        else:
            self._fail(number, side)

    def _on_choice(self, number: int, side: int, end: End, kind: str, *rest: Any) -> None:
        if kind == "CHOOSE":
            assert end.candidate is not None
            end.candidate.peer_serial = rest[0]
            end.state = "promoted"
            self.nodes[end.node].inbox.append(("promoted", number, side))
        else:
            self._fail(number, side)

    def _on_live(self, number: int, side: int, end: End, kind: str, *rest: Any) -> None:
        self.nodes[end.node].inbox.append(
            ("said", number, side, *rest) if kind == "CHOSEN" else ("ended", number, side)
        )

    _on_leaving = _on_live

    def _ask(self, number: int, side: int, candidate: Candidate) -> None:
        end = self.connections[number][side]
        end.candidate, end.state = candidate, "asking"
        self.nodes[end.node].inbox.append(("ask", number, side))

    def _fail(self, number: int, side: int) -> None:
        end = self.connections[number][side]
        end.state = "over"
        self._finish(number, side)
        if end.candidate is not None:
            self.nodes[end.node].inbox.append(("forsaken", number, side))

    def _send(self, number: int, side: int, what: Step) -> None:
        if not self.connections[number][side].finished:
            self.connections[number][1 - side].received.append(what)

    def _finish(self, number: int, side: int) -> None:
        self._send(number, side, EOF)
        self.connections[number][side].finished = True

    # --- what a manager does ------------------------------------------------------------------------

    def _handle_ask(self, node: Node, number: int, side: int) -> None:
        end = self.connections[number][side]
        assert end.candidate is not None
        end.verdict, held = node.table.register(end.candidate)
        if end.state == "asking":
            end.state = "answered"
        if held is not None:
            self._check_given_up(node, end.candidate, held)
            node.replaces[number] = self._number_of(held)

    def _handle_forsaken(self, node: Node, number: int, side: int) -> None:
        candidate = self.connections[number][side].candidate
        assert candidate is not None
        node.table.remove(candidate)
        older = node.replaces.get(number)
        if older is not None and older in node.live.values():
            held = self.connections[older][self.side_of(older, node.name)].candidate
            assert held is not None
            if candidate.outdoes(held) and node.table.restore(held):
                del node.replaces[number]
        self._replace(node, number)

    def _handle_promoted(self, node: Node, number: int, side: int) -> None:
        end = self.connections[number][side]
        candidate = end.candidate
        assert candidate is not None
        if end.verdict is Verdict.WAIT:
            older = node.table.chosen_by_peer(candidate)
            if older is not None:
                self._check_given_up(node, candidate, older)
                node.replaces[number] = self._number_of(older)
        self._replace(node, number)
        if node.table.held(candidate.peer_id) is not candidate:
            node.table.remove(candidate)
            end.state = "over"
            self._finish(number, side)
            return
        if end.peer in node.live:
            raise Broken(f"{node.name} announces {number} but {node.live[end.peer]} is live")
        node.live[end.peer] = number
        node.news += 1
        end.state = "live"
        if end.verdict is Verdict.WAIT:
            self._send(number, side, ("CHOSEN", candidate.serial))

    def _handle_said(self, node: Node, number: int, side: int, serial: int) -> None:
        candidate = self.connections[number][side].candidate
        assert candidate is not None
        if candidate.peer_serial is None:
            candidate.peer_serial = serial

    def _handle_ended(self, node: Node, number: int, side: int) -> None:
        end = self.connections[number][side]
        if end.state == "live":
            node.losses += 1
            self._forget(node, number, side)
        end.state = "over"
        self._finish(number, side)

    def _replace(self, node: Node, number: int) -> None:
        replaced = node.replaces.pop(number, None)
        if replaced is None or replaced not in node.live.values():
            return
        side = self.side_of(replaced, node.name)
        node.losses += 1
        self._forget(node, replaced, side)
        self.connections[replaced][side].state = "over"
        self._finish(replaced, side)

    def _forget(self, node: Node, number: int, side: int) -> None:
        end = self.connections[number][side]
        assert end.candidate is not None
        node.table.remove(end.candidate)
        if node.live.get(end.peer) == number:
            del node.live[end.peer]
        end.state = "leaving"

    # --- looking --------------------------------------------------------------------------------------

    def side_of(self, number: int, name: str) -> int:
        """Which end of a connection is that node's."""
        return INITIATOR if self.connections[number][INITIATOR].node == name else RESPONDER

    def _number_of(self, candidate: Candidate) -> int:
        for number, ends in enumerate(self.connections):
            if candidate in (ends[0].candidate, ends[1].candidate):
                return number
        raise LookupError(candidate)

    def _check_given_up(self, node: Node, candidate: Candidate, held: Candidate) -> None:
        """A connection may be replaced only when the other end has given it up, or is about to learn its fate; or when
        a direct one has come for a relayed one."""
        if candidate.outdoes(held):
            return
        number = self._number_of(held)
        other = self.connections[number][1 - self.side_of(number, node.name)]
        if other.life != self.nodes[other.node].life or other.state in ("over", "leaving"):
            return
        peer = self.nodes[other.node].table._peers.get(peer_id(node.name))
        if peer is not None and (peer.chosen is other.candidate or other.candidate in peer.waiting):
            raise Broken(f"{node.name} replaces {number}, which {other.node} has not given up")

    def chosen(self, name: str, peer: str) -> int | None:
        """The connection that a node has announced with a peer."""
        return self.nodes[name].live.get(peer)

    def check_settled(self) -> None:
        """What holds when nothing is left to happen."""
        for name, node in self.nodes.items():
            assert len(node.table) == len(node.live), (name, node.live)
            for peer, number in node.live.items():
                if self.chosen(peer, name) != number:
                    raise Broken(f"{name} has {number} with {peer}, which has {self.chosen(peer, name)}")
            assert node.news - node.losses >= len(node.live)
            assert not node.replaces
        for ends in self.connections:
            assert {end.state for end in ends} <= {"live", "over"}, ends

    # --- for trying every order -----------------------------------------------------------------------

    def key(self) -> Hashable:
        """Equal for worlds that will behave equally."""
        ends = tuple(
            (e.state, e.life, e.began, e.relayed, e.verdict, e.finished, tuple(e.received), _candidate_key(e.candidate))
            for pair in self.connections
            for e in pair
        )
        nodes = tuple(
            (n.life, tuple(n.inbox), tuple(n.live.items()), tuple(n.replaces.items()), n.news, n.table._latest_serial)
            for n in self.nodes.values()
        )
        held = tuple(
            (name, peer, None if (held := node.table.held(peer_id(peer))) is None else self._number_of(held))
            for name, node in self.nodes.items()
            for peer in self.nodes
        )
        return ends, nodes, held

    def clone(self) -> Self:
        """An independent copy."""
        new = copy.copy(self)
        copies: dict[Candidate, Candidate] = {}
        new.connections = [(_copy_end(first, copies), _copy_end(second, copies)) for first, second in self.connections]
        new.nodes = {name: _copy_node(node, copies) for name, node in self.nodes.items()}
        return new


def _session(life: int) -> bytes:
    return b"session%d" % life


def _candidate(end: End, life: int, serial: int | None = None, alone: bool = False) -> Candidate:
    return Candidate(peer_id(end.peer), "", _session(life), end.began, serial, alone, relayed=end.relayed)


def _candidate_key(candidate: Candidate | None) -> Hashable:
    if candidate is None:
        return None
    return candidate.session, candidate.peer_serial, candidate.peer_alone, candidate.serial, candidate.alone


def _copy_end(end: End, copies: dict[Candidate, Candidate]) -> End:
    new = copy.copy(end)
    new.received = deque(end.received)
    if end.candidate is not None:
        new.candidate = copies[end.candidate] = copy.copy(end.candidate)
    return new


def _copy_node(node: Node, copies: dict[Candidate, Candidate]) -> Node:
    new = copy.copy(node)
    new.inbox, new.live, new.replaces = deque(node.inbox), dict(node.live), dict(node.replaces)
    new.table = table = copy.copy(node.table)
    table._peers = {}
    for key, peer in node.table._peers.items():
        table._peers[key] = fresh = copy.copy(peer)
        fresh.chosen = None if peer.chosen is None else copies[peer.chosen]
        fresh.waiting = {copies[candidate] for candidate in peer.waiting}
    table._places, table._per_address = node.table._places.copy(), node.table._per_address.copy()
    return new
