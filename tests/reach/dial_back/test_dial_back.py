"""`crust.reach.dial_back`: two nodes without managers ask each other, over real sockets on loopback."""

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crust import Config, Endpoint, Identity
from crust.connecting.acceptor import Acceptor
from crust.connecting.notices import Inbox
from crust.defence.blacklist import Blacklist
from crust.defence.ledger import Ledger
from crust.identity import UnprovenPeerId
from crust.reach.dial_back import asker as dial_back_asker
from crust.reach.dial_back import gate as dial_back_gate
from crust.reach.dial_back.dial_back import DialBack
from crust.reach.dial_back.errand import DIAL_BACK_SECONDS
from crust.reach.dial_back.notes import Request
from crust.threads.clock import now
from crust.threads.timers import Timers
from crust.transport.framing import HEADER, MAX_CONTROL, parse_control
from crust.transport.tcp import listen
from crust.transport.utp import UtpSocket
from tests.reach.dial_back.peers import Line
from tests.streams import node
from tests.together import PATIENCE

LOCAL = "127.0.0.1"


class Half:
    """One node: what listens, what asks and dials back; and the test in place of its manager."""

    def __init__(self, listens: bool = True, blacklist: tuple[str, ...] = (), host: str = LOCAL) -> None:
        self.identity = Identity()
        own, config = node(self.identity), Config()
        self.inbox, self.timers = Inbox(), Timers()
        self.dial_back = DialBack(
            own, self.inbox, self.timers, Blacklist(blacklist), lambda: self.changes.append(self.dial_back.verdicts())
        )
        self.changes: list[dict[Endpoint, bool | None]] = []
        self.acceptor = Acceptor(own, config, Inbox(), lambda endpoint: False, Ledger(config))
        self.utp = UtpSocket((host, 0), accepting=False)
        listener = listen(host, 0)
        self.endpoints = [Endpoint.tcp(listener.getsockname()), Endpoint.utp(self.utp.local_address)]
        if listens:
            self.acceptor.listen([listener], [self.utp])
        else:
            listener.close()

    def step(self) -> None:
        """Do what a manager does once."""
        try:
            item = self.inbox.get(timeout=0.01)
        except queue.Empty:
            item = None
        if isinstance(item, tuple):
            connection, content = item
            self.dial_back.said(connection, content)
        elif item is not None:
            self.dial_back.handlers[type(item)](item)
        self.timers.run_due(now())

    def end(self) -> None:
        """It is gone."""
        self.dial_back.stop()
        assert self.dial_back.join(PATIENCE)
        self.acceptor.stop()
        assert self.acceptor.join(PATIENCE)
        self.utp.close(0.0)


class Wire:
    """One side's connection; what is sent over it comes to the other side's manager."""

    def __init__(self, here: Half, there: Half) -> None:
        self.endpoint = Endpoint.tcp((LOCAL, 40000))
        self.peer_id = there.identity.peer_id
        self.outbox = self
        self.other: Wire | None = None
        self.here, self.there = here, there
        self.bytes_sent = 0

    def put_control(self, frame: bytes) -> bool:
        """Send."""
        assert len(frame) <= HEADER.size + MAX_CONTROL
        self.bytes_sent += len(frame)
        self.there.inbox.put((self.other, parse_control(frame[HEADER.size :])))
        return True


def connect(one: Half, two: Half) -> Any:
    """Both know of each other."""
    wires = Wire(one, two), Wire(two, one)
    wires[0].other, wires[1].other = wires[1], wires[0]
    for half, wire in ((one, wires[0]), (two, wires[1])):
        half.dial_back.came(wire)  # type: ignore[arg-type]
    return wires[0]


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Half]]:
    monkeypatch.setattr(dial_back_asker, "ASK_DELAY", 0.01)
    made: list[Half] = []
    yield made
    for half in made:
        half.end()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For dials that come to nothing."""
    monkeypatch.setattr("crust.reach.dial_back.errand.DIAL_BACK_SECONDS", 0.2)


def run(halves: list[Half], asker: Half) -> None:
    """Until every claim has a verdict."""
    deadline = now() + PATIENCE
    while None in asker.dial_back.verdicts().values():
        assert now() < deadline, f"no verdict: {asker.dial_back.verdicts()}"
        for half in halves:
            half.step()


def test_a_node_that_can_be_reached(halves: list[Half]) -> None:
    halves += Half(), Half()
    asker, helper = halves
    connect(asker, helper)
    asker.dial_back.claim(asker.endpoints)
    run(halves, asker)
    assert asker.dial_back.verdicts() == dict.fromkeys(asker.endpoints, True)
    assert asker.dial_back.verified(asker.endpoints[0]) is True
    assert asker.dial_back.verified(helper.endpoints[0]) is None
    assert asker.changes == [dict.fromkeys(asker.endpoints), dict.fromkeys(asker.endpoints, True)]


@pytest.mark.usefixtures("impatient")
def test_a_node_that_cannot(halves: list[Half]) -> None:
    halves += Half(listens=False), Half()
    asker, helper = halves
    connect(asker, helper)
    asker.dial_back.claim(asker.endpoints)
    run(halves, asker)
    assert asker.dial_back.verdicts() == dict.fromkeys(asker.endpoints, False)


@pytest.mark.usefixtures("impatient")
def test_a_port_of_somebody_else_is_not_ours(halves: list[Half]) -> None:
    halves += Half(), Half()
    asker, helper = halves
    connect(asker, helper)
    asker.dial_back.claim([helper.endpoints[0]])
    run(halves, asker)
    assert asker.dial_back.verdicts() == {helper.endpoints[0]: False}


def test_a_node_that_is_elsewhere_and_pays(halves: list[Half], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another address of loopback stands for a public one."""
    halves += Half(host="127.0.0.2"), Half()
    asker, helper = halves
    monkeypatch.setattr(dial_back_gate, "is_local", lambda host: False)
    monkeypatch.setattr(helper.dial_back._service, "_networks", list)
    wire = connect(asker, helper)
    asker.dial_back.claim(asker.endpoints)
    run(halves, asker)
    assert asker.dial_back.verdicts() == dict.fromkeys(asker.endpoints, True)
    assert 1.0 <= wire.bytes_sent / (2 * dial_back_gate.DIAL_BACK_PAYMENT) <= 1.05


def test_whoever_is_on_the_blacklist_is_not_dialled(halves: list[Half]) -> None:
    halves += Half(), Half(blacklist=(LOCAL,))
    asker, helper = halves
    connect(asker, helper)
    asker.dial_back.claim(asker.endpoints)
    for _ in range(20):
        asker.step()
        helper.step()
    assert asker.dial_back.verdicts() == dict.fromkeys(asker.endpoints)
    assert helper.dial_back._service._errands == {}


def test_stopping_in_the_middle_wakes_and_joins(halves: list[Half]) -> None:
    halves += Half(listens=False), Half()
    asker, helper = halves
    wire = connect(asker, helper)
    asker.dial_back.claim(asker.endpoints)
    while not helper.dial_back._service._errands:
        asker.step()
        helper.step()
    began = now()
    helper.dial_back.stop()
    assert helper.dial_back.join(PATIENCE)
    assert now() - began < DIAL_BACK_SECONDS / 2
    asker.dial_back.went(wire)
    asker.dial_back.went(wire)


@pytest.mark.parametrize("name", ["tracer://127.0.0.1:40000", "tcp://127.0.0.1:40000"])
def test_who_is_not_proved_is_neither_asked_nor_heard(halves: list[Half], name: str) -> None:
    """What is only claimed may be a lie, and whoever says it may be anywhere."""
    halves.append(Half())
    line: Any = Line(name, UnprovenPeerId(bytes(range(32))))
    dial_back = halves[0].dial_back
    dial_back.came(line)
    dial_back.claim(halves[0].endpoints)
    for _ in range(5):
        halves[0].step()
    dial_back.said(line, Request(1, tuple(halves[0].endpoints)).content())
    assert not line.take()


keys = st.sampled_from(["ask", "at", "due", "bytes", "paid", "pad", "told", "results"])
values = (
    st.none()
    | st.integers(-1, 20)
    | st.text(max_size=20)
    | st.lists(st.sampled_from(["tcp://10.0.0.1:5", "utp://127.0.0.2:5483", "reachable", "no"]), max_size=5)
)


@settings(max_examples=30)
@given(st.lists(st.dictionaries(keys, values, max_size=3), max_size=8))
def test_whatever_a_peer_says_nothing_is_raised(contents: list[dict[str, Any]]) -> None:
    """Nothing that can be said here has anything dialled."""
    dial_back = DialBack(node(_ME), Inbox(), Timers(), Blacklist())
    line: Any = Line("tcp://127.0.0.1:40000")
    dial_back.came(line)
    dial_back.claim([Endpoint.tcp("127.0.0.1:5483")])
    for content in contents:
        dial_back.said(line, content)
    assert dial_back._service._errands == {}
    dial_back.stop()
    assert dial_back.join(PATIENCE)


_ME = Identity()
