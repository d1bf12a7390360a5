"""`crust.reach.dial_back.errand`: one request on a thread; real sockets on loopback."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from crust import Config, Endpoint, Identity
from crust.connecting.acceptor import Acceptor
from crust.connecting.notices import Inbox
from crust.defence.ledger import Ledger
from crust.reach.dial_back import errand as dial_back_errand
from crust.reach.dial_back.errand import DialBackErrand, DialledBack
from crust.reach.dial_back.gate import DIAL_BACK_BYTES, DIAL_BACK_PACKETS
from crust.reach.dial_back.notes import Request, Result
from crust.threads.clock import now
from crust.transport.handshake import Initiator
from crust.transport.tcp import listen
from crust.transport.utp import UtpSocket
from tests.reach.dial_back.peers import Line
from tests.streams import node
from tests.together import PATIENCE, Running, until

LOCAL = "127.0.0.1"
SHORT = 0.3  # seconds for dials that come to nothing
HEADERS = 28  # bytes of IPv4 and UDP


class Asker:
    """A node that listens, without a manager."""

    def __init__(self, **settings: Any) -> None:
        self.identity = Identity()
        self.inbox = Inbox()
        config = Config(**settings)
        self.ledger = Ledger(config)
        self.acceptor = Acceptor(node(self.identity, config), config, self.inbox, lambda endpoint: False, self.ledger)
        self.utp = UtpSocket((LOCAL, 0), accepting=False)
        listener = listen(LOCAL, 0)
        self.tcp_endpoint = Endpoint.tcp(listener.getsockname())
        self.utp_endpoint = Endpoint.utp(self.utp.local_address)
        self.acceptor.listen([listener], [self.utp])

    def end(self) -> None:
        """It is gone."""
        self.acceptor.stop()
        assert self.acceptor.join(PATIENCE)
        self.utp.close(0.0)


@pytest.fixture
def asker() -> Iterator[Asker]:
    made = Asker()
    yield made
    made.end()


def begun(identity: Identity, *endpoints: Endpoint) -> tuple[DialBackErrand, Running[Any], Inbox]:
    """An errand for that peer, under way."""
    line: Any = Line("tcp://127.0.0.1:40000", identity.peer_id)
    errand, inbox = DialBackErrand(line, Request(1, endpoints), [None] * len(endpoints)), Inbox()
    return errand, Running(errand.run, node(), inbox), inbox


def results(identity: Identity, *endpoints: Endpoint) -> list[Result | None]:
    """What comes of an errand."""
    errand, running, inbox = begun(identity, *endpoints)
    running.result()
    (notice,) = [inbox.get_nowait() for _ in range(inbox.qsize())]
    assert isinstance(notice, DialledBack)
    assert notice.errand is errand
    return errand.results


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial_back_errand, "DIAL_BACK_SECONDS", SHORT)


def test_a_node_that_is_there(asker: Asker) -> None:
    assert results(asker.identity, asker.tcp_endpoint, asker.utp_endpoint) == [Result.REACHABLE] * 2


def test_it_leaves_no_trace_where_it_dials(asker: Asker) -> None:
    """No connection, no question to the manager, and nobody is counted as a stranger who failed."""
    for _ in range(5):
        results(asker.identity, asker.tcp_endpoint, asker.utp_endpoint)
    until(lambda: not asker.acceptor.half_open, "the halves of handshakes are gone")
    assert asker.inbox.empty()
    assert not len(asker.ledger._failures)


def test_that_failures_are_counted_where_they_are(asker: Asker) -> None:
    """Or the test above would say nothing."""
    with socket.create_connection(asker.tcp_endpoint.address) as stranger:
        stranger.sendall(bytes(2000))
        until(lambda: len(asker.ledger._failures), "the stranger has failed")


@pytest.mark.usefixtures("impatient")
def test_somebody_else_is_there(asker: Asker) -> None:
    assert results(Identity(), asker.tcp_endpoint, asker.utp_endpoint) == [Result.UNREACHABLE] * 2


@pytest.mark.usefixtures("impatient")
def test_a_node_of_another_network() -> None:
    other = Asker(network="another")
    try:
        assert results(other.identity, other.tcp_endpoint) == [Result.UNREACHABLE]
    finally:
        other.end()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["closed", "silent", "closes at once"])
def test_what_is_there_can_not_be_told_from_the_time(kind: str) -> None:
    """TCP, and so a RST, is answered at once: whoever asks must not notice."""
    with socket.create_server((LOCAL, 0)) as server:
        endpoint = Endpoint.tcp(server.getsockname())
        if kind == "closed":
            server.close()
        began = now()
        errand, running, _ = begun(Identity(), endpoint)
        if kind == "closes at once":
            server.accept()[0].close()
        running.result()
        assert errand.results == [Result.UNREACHABLE]
        assert now() - began >= SHORT


@pytest.mark.usefixtures("impatient")
def test_a_closed_udp_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOCAL, 0))
        endpoint = Endpoint.utp(sock.getsockname())
    assert results(Identity(), endpoint) == [Result.UNREACHABLE]


@pytest.mark.usefixtures("impatient")
def test_where_there_is_no_way_from_here_nothing_is_said() -> None:
    assert (
        results(Identity(), Endpoint.tcp("[fe80::1]:5483"), Endpoint.utp("255.255.255.255:5483"))
        == [Result.NOT_TRIED] * 2
    )


def test_what_is_decided_already_is_left_alone(asker: Asker) -> None:
    line: Any = Line("tcp://127.0.0.1:40000", asker.identity.peer_id)
    request = Request(1, (asker.utp_endpoint, asker.tcp_endpoint))
    errand = DialBackErrand(line, request, [Result.REFUSED, None])
    errand.run(node(), Inbox())
    assert errand.results == [Result.REFUSED, Result.REACHABLE]


@pytest.mark.parametrize("protocol", ["tcp", "utp"])
def test_given_up_in_the_middle(protocol: str) -> None:
    with socket.create_server((LOCAL, 0)) as silent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((LOCAL, 0))
        endpoint = Endpoint.tcp(silent.getsockname()) if protocol == "tcp" else Endpoint.utp(deaf.getsockname())
        errand, running, inbox = begun(Identity(), endpoint, endpoint)
        if protocol == "tcp":
            accepted, _ = silent.accept()
            accepted.recv(1)
            accepted.close()
        else:
            deaf.recv(100)
        began = now()
        errand.abort()
        running.result()
        assert now() - began < dial_back_errand.DIAL_BACK_SECONDS / 2
        assert errand.results == [Result.NOT_TRIED] * 2
        assert inbox.qsize() == 1


def test_what_a_victim_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is silent; docs/nat.md has the figures of others. The bound holds for the real time as well: what is
    sent is repeated ever more slowly."""
    monkeypatch.setattr(dial_back_errand, "DIAL_BACK_SECONDS", 1.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.bind((LOCAL, 0))
        assert results(Identity(), Endpoint.utp(victim.getsockname())) == [Result.UNREACHABLE]
        victim.setblocking(False)
        sizes = []
        while True:
            try:
                sizes.append(len(victim.recv(65536)) + HEADERS)
            except BlockingIOError:
                break
    assert 1 <= len(sizes) <= 3 <= DIAL_BACK_PACKETS
    assert sum(sizes) <= 150 <= DIAL_BACK_BYTES


def test_the_bound_on_bytes_has_room_for_the_largest_first_message() -> None:
    """Seven times, with headers, beside six small packets: more than TCP or uTP send in five seconds."""
    own = node()
    largest = max(len(Initiator(own.identity, own.keys, own.session, own.ciphers).start()) for _ in range(500))
    assert 7 * (largest + 66) + 9 * 74 <= DIAL_BACK_BYTES
