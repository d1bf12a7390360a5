"""`crust.reach.sounder`: which TCP port comes next. The look itself with real sockets on loopback, the rest without."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, Endpoint, Identity, PeerId
from crust.connecting import negotiate
from crust.connecting.acceptor import Acceptor
from crust.connecting.notices import Do, Inbox
from crust.defence.ledger import Ledger
from crust.endpoint import Address
from crust.errors import HandshakeFailed
from crust.reach import sounder
from crust.reach.sounder import MAX_DEAF, Sounder, Sounding, latest
from crust.transport.handshake import Responder
from crust.transport.tcp import TcpStream, dial, listen
from tests.streams import node
from tests.together import PATIENCE, Running, until

LOCAL = "127.0.0.1"
SHORT = 0.3  # seconds for looks that come to nothing
SEEN = ("203.0.113.9", 40001)
ONE, OTHER = Identity(bytes([1]) * 32).peer_id, Identity(bytes([2]) * 32).peer_id
ONES, OTHERS = Endpoint.tcp("198.51.100.7:5483"), Endpoint.tcp("198.51.101.7:5483")


# --- one look -------------------------------------------------------------------------------------------


class There:
    """A node that listens, without a manager."""

    def __init__(self, **settings: Any) -> None:
        self.identity = Identity()
        self.inbox = Inbox()
        config = Config(**settings)
        self.ledger = Ledger(config)
        self.acceptor = Acceptor(node(self.identity, config), config, self.inbox, lambda endpoint: False, self.ledger)
        listener = listen(LOCAL, 0)
        self.endpoint = Endpoint.tcp(listener.getsockname())
        self.acceptor.listen([listener])

    def end(self) -> None:
        """It is gone."""
        self.acceptor.stop()
        assert self.acceptor.join(PATIENCE)


@pytest.fixture
def there() -> Iterator[There]:
    made = There()
    yield made
    made.end()


@pytest.fixture
def dialled_from(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The ports that looks have come from; addresses of this machine count as those of others."""
    found: list[Address] = []

    def noting(*arguments: Any) -> TcpStream:
        stream = dial(*arguments)
        found.append(stream.local.address)
        return stream

    monkeypatch.setattr(sounder, "dial", noting)
    monkeypatch.setattr(sounder, "_can_be_true", lambda seen: True)
    monkeypatch.setattr(sounder, "SOUNDING_SECONDS", PATIENCE)
    return found


def seen_at(peer_id: PeerId, endpoint: Endpoint) -> Address | None:
    """What comes of a look."""
    sounding = Sounding(peer_id, endpoint)
    Running(sounding.run, node()).result()
    return sounding.seen


def test_the_peer_sees_the_fresh_port(there: There, dialled_from: list[Address]) -> None:
    seen = [seen_at(there.identity.peer_id, there.endpoint) for _ in range(3)]
    assert seen == dialled_from
    assert len(set(seen)) == 3


@pytest.mark.usefixtures("dialled_from")
def test_it_leaves_no_trace_at_the_peer(there: There) -> None:
    """No connection, no question to its manager, no alarm, and nobody is counted as a stranger who failed."""
    for _ in range(5):
        assert seen_at(there.identity.peer_id, there.endpoint)
    until(lambda: not there.acceptor.half_open, "the halves of handshakes are gone")
    assert there.inbox.empty()
    assert not len(there.ledger._failures)


def test_that_failures_are_counted_where_they_are(there: There) -> None:
    """Or the test above would say nothing."""
    with socket.create_connection(there.endpoint.address) as stranger:
        stranger.sendall(bytes(2000))
        until(lambda: len(there.ledger._failures), "the stranger has failed")


@pytest.mark.usefixtures("dialled_from")
def test_somebody_else_is_there(there: There) -> None:
    assert seen_at(ONE, there.endpoint) is None


def test_a_node_of_another_network(dialled_from: list[Address], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounder, "SOUNDING_SECONDS", SHORT)
    other = There(network="another")
    assert seen_at(other.identity.peer_id, other.endpoint) is None
    assert len(dialled_from) == 1
    other.end()


@pytest.mark.usefixtures("dialled_from")
def test_nobody_is_there() -> None:
    with socket.create_server((LOCAL, 0)) as server:
        endpoint = Endpoint.tcp(server.getsockname())
    assert seen_at(ONE, endpoint) is None


def test_a_peer_of_an_older_version_says_nothing(
    there: There, dialled_from: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(own: negotiate.Node, _: Endpoint) -> Responder:
        return Responder(own.identity, own.keys, own.session, own.ciphers)

    monkeypatch.setattr(negotiate, "_secure_responder", older)
    assert seen_at(there.identity.peer_id, there.endpoint) is None
    assert len(dialled_from) == 1


@pytest.mark.usefixtures("dialled_from")
def test_it_can_be_ended() -> None:
    with socket.create_server((LOCAL, 0)) as server:
        sounding = Sounding(ONE, Endpoint.tcp(server.getsockname()))
        running = Running(sounding.run, node())
        accepted, _ = server.accept()
        assert accepted.recv(1)
        sounding.abort()
        running.result()
        accepted.close()
    assert sounding.seen is None


@pytest.mark.usefixtures("dialled_from")
def test_it_can_be_ended_before_it_begins(there: There) -> None:
    sounding = Sounding(there.identity.peer_id, there.endpoint)
    sounding.abort()
    sounding.run(node())
    assert sounding.seen is None


@pytest.mark.parametrize("seen", [("2001:db8::7", 1), ("192.168.1.2", 1), ("127.0.0.1", 1), ("100.64.0.1", 1)])
def test_what_nobody_outside_can_have_seen(there: There, monkeypatch: pytest.MonkeyPatch, seen: Address) -> None:
    assert sounder._can_be_true(SEEN)
    monkeypatch.setattr(sounder, "who_is_there", lambda *_: (there.identity.peer_id, seen))
    assert seen_at(there.identity.peer_id, there.endpoint) is None


# --- whom to ask, and what comes of it ------------------------------------------------------------------


class Pool:
    """Stands for `WorkerPool`: jobs run when the test says so."""

    def __init__(self, *_: object) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.closed = self.full = False

    def submit(self, job: Callable[[], None]) -> bool:
        """Take a job."""
        if self.full:
            raise RuntimeError("can't start new thread")
        self.jobs.append(job)
        return True

    def close(self) -> None:
        """No more."""
        self.closed = True

    def join(self, timeout: float) -> bool:
        """Nobody to wait for."""
        return not self.jobs


class Bench:
    """A `Sounder` among peers that the test makes up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ways: list[tuple[PeerId, Endpoint]] = [(ONE, ONES), (OTHER, OTHERS)]
        self.asked: list[tuple[PeerId, Endpoint]] = []
        self.answers: dict[Endpoint, Address] = {ONES: SEEN, OTHERS: SEEN}
        self.called: list[Address | None] = []
        self.inbox = Inbox()
        bench = self

        def run(sounding: Sounding, _: negotiate.Node) -> None:
            bench.asked.append((sounding.peer_id, sounding.endpoint))
            sounding.seen = bench.answers.get(sounding.endpoint)

        monkeypatch.setattr(Sounding, "run", run)
        monkeypatch.setattr(sounder, "WorkerPool", Pool)
        self.sounder = Sounder(node(), self.inbox, lambda: self.ways)
        pool: Any = self.sounder._pool
        self.pool: Pool = pool

    def wait(self) -> None:
        """For what is under way."""
        self.sounder.when_over(lambda: self.called.append(self.sounder.last_given))

    def work(self) -> None:
        """The pool does its jobs, and the manager thread hears of it."""
        while self.pool.jobs:
            self.pool.jobs.pop(0)()
        while not self.inbox.empty():
            notice = self.inbox.get_nowait()
            assert isinstance(notice, Do)
            notice.call()

    def sound(self) -> Address | None:
        """One whole look."""
        self.sounder.begin()
        self.work()
        return self.sounder.last_given


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_one_look_for_all_who_wait(bench: Bench) -> None:
    for _ in range(3):
        bench.sounder.begin()
        bench.wait()
    assert bench.called == []
    bench.work()
    assert bench.called == [SEEN] * 3
    assert bench.asked == [(ONE, ONES)]


def test_nothing_is_under_way(bench: Bench) -> None:
    bench.wait()
    assert bench.called == [None]


def test_what_was_found_before_does_not_hold_any_more(bench: Bench) -> None:
    assert bench.sound() == SEEN
    bench.answers.clear()
    bench.sounder.begin()
    assert bench.sounder.last_given is None
    bench.work()
    assert bench.sounder.last_given is None


def test_nobody_on_our_side_of_the_nat_is_asked(bench: Bench) -> None:
    bench.ways = [
        (ONE, Endpoint.parse(text))
        for text in (
            "tcp://192.168.1.2:5483",
            "tcp://127.0.0.1:5483",
            "tcp://[2001:4860::7]:5483",
            "tcp://a.example:5483",
            "utp://198.51.100.7:5483",
            "tracer://198.51.100.7:5483",
            "relayed://198.51.100.7:5",
        )
    ]
    bench.sounder.begin()
    bench.wait()
    assert bench.called == [None]
    assert not bench.pool.jobs
    bench.ways.append((OTHER, OTHERS))
    assert bench.sound() == SEEN
    assert bench.asked == [(OTHER, OTHERS)]


def test_who_was_asked_in_vain_comes_last(bench: Bench) -> None:
    del bench.answers[ONES]
    assert [bench.sound() for _ in range(3)] == [None, SEEN, SEEN]
    assert [endpoint for _, endpoint in bench.asked] == [ONES, OTHERS, OTHERS]
    del bench.answers[OTHERS]
    assert [bench.sound() for _ in range(3)] == [None] * 3
    assert [endpoint for _, endpoint in bench.asked[3:]] == [OTHERS, ONES, OTHERS], "all over again"


def test_those_are_not_remembered_without_end(bench: Bench) -> None:
    bench.ways = [(ONE, Endpoint.tcp(("198.51.100.7", 1024 + number))) for number in range(2 * MAX_DEAF)]
    bench.answers.clear()
    for _ in bench.ways:
        bench.sound()
        assert len(bench.sounder._deaf) <= MAX_DEAF


def test_no_more_threads(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.pool.full = True
    assert bench.sound() is None
    bench.wait()
    assert bench.called == [None]
    assert "can't start new thread" in caplog.text


def test_a_look_that_crashes_ends_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise HandshakeFailed("not caught, which is a bug")

    monkeypatch.setattr(Sounding, "run", crash)
    bench.sounder.begin()
    bench.wait()
    with pytest.raises(HandshakeFailed):
        bench.work()
    bench.work()
    assert bench.called == [None]


def test_stop(bench: Bench) -> None:
    bench.sounder.begin()
    bench.wait()
    current = bench.sounder._current
    assert current is not None
    bench.sounder.stop()
    assert current._grip.aborted.is_set()
    assert bench.pool.closed
    bench.work()
    assert bench.called == []
    bench.sounder.begin()
    assert not bench.pool.jobs
    assert bench.sounder.join(0.0)


# --- both protocols -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("udp", "tcp", "delta", "expected"),
    [
        (None, None, 1, (None, None)),
        (None, 7000, 1, (None, 7000)),
        (7000, None, 1, (7000, None)),
        (7000, 7001, 1, (7001, 7001)),
        (7001, 7000, 1, (7001, 7001)),
        (7000, 7004, 1, (7004, 7004)),
        (7000, 7005, 1, (7000, 7005)),
        (7000, 7000, 1, (7000, 7000)),
        (7000, 7001, 2, (7000, 7001)),
        (7000, 7002, 2, (7002, 7002)),
        (7000, 6999, -1, (6999, 6999)),
        (7000, 7001, -1, (7000, 7000)),
        (65535, 0, 1, (0, 0)),
        (7000, 7001, 0, (7000, 7001)),
        (7000, 30000, 1, (7000, 30000)),
    ],
)
def test_ports_that_are_counted_together(
    udp: int | None, tcp: int | None, delta: int, expected: tuple[int | None, int | None]
) -> None:
    """The next port is the one after the last that was given, for whichever protocol."""
    given = [None if port is None else ("203.0.113.9", port) for port in (udp, tcp)]
    found = latest(given[0], given[1], delta)
    assert tuple(None if each is None else each[1] for each in found) == expected


def test_ports_of_different_hosts_have_nothing_to_do_with_each_other() -> None:
    one, other = ("203.0.113.9", 7000), ("203.0.113.10", 7001)
    assert latest(one, other, 1) == (one, other)
