"""`crust.connecting.acceptor`: strangers, floods, failing listeners and the end; over loopback, without a manager."""

import contextlib
import errno
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, DialFailed, Endpoint, Port
from crust.connecting import acceptor
from crust.connecting.acceptor import Acceptor
from crust.connecting.notices import Ask, Besieged, Forsaken, Inbox, ListenerBroke, Misbehaved, Promoted
from crust.defence import metering
from crust.defence.ledger import Ledger
from crust.defence.metering import FAILURES, HANDSHAKES
from crust.errors import CrustError, TimedOut
from crust.links.peers import Verdict
from crust.threads.clock import now
from crust.transport.framing import BYE
from crust.transport.tcp import listen
from crust.transport.utp import UtpSocket
from tests.manager.helpers import two_identities
from tests.manager.utp_wire import UtpWire
from tests.manager.wire import WirePeer, read_to_end
from tests.streams import node
from tests.together import PATIENCE, Running, until

LOCAL = "127.0.0.1"


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two may come at once, and then one a second."""
    monkeypatch.setattr(metering, "BURST_SECONDS", dict.fromkeys(metering.BURST_SECONDS, 2.0))


class Listening:
    """An acceptor with one listener, and the test in place of the manager."""

    def __init__(self, refuses: Callable[[str], bool] = lambda host: False, **settings: Any) -> None:
        self.lesser, self.greater = two_identities()
        self.inbox = Inbox()
        config = Config(**settings)
        self.acceptor = Acceptor(
            node(self.lesser), config, self.inbox, lambda endpoint: refuses(endpoint.host), Ledger(config)
        )
        self.listener = listen(LOCAL, 0)
        self.utp = UtpSocket((LOCAL, 0), accepting=False, refuses=refuses)
        self.address: tuple[str, int] = self.listener.getsockname()
        self._sockets: list[Any] = []
        self._stopped = False

    def start(self, listener: Any = None) -> None:
        """Serve the listener, or what stands for it."""
        self.acceptor.listen([listener or self.listener], [self.utp])

    def connect(self, source: str = LOCAL) -> socket.socket:
        """Somebody connects."""
        sock = socket.create_connection(self.address, timeout=PATIENCE, source_address=(source, 0))
        self._sockets.append(sock)
        return sock

    def dial_utp(self, source: str = LOCAL) -> UtpWire:
        """Somebody connects over uTP."""
        self._sockets.append(UtpWire(Endpoint.utp(self.utp.local_address), source, PATIENCE))
        wire = self._sockets[-1]
        assert isinstance(wire, UtpWire)
        return wire

    def crowd(self, sources: list[str]) -> list[socket.socket]:
        """So many, who enter in this order and keep silent."""
        crowd = []
        for source in sources:
            crowd.append(self.connect(source))
            port = crowd[-1].getsockname()[1]
            until(lambda port=port: port in self.ports(), "it is accepted")  # type: ignore[misc]
        return crowd

    def ports(self) -> list[int]:
        """The half-open connections, by the port of who connected."""
        return [half_open.remote.port for half_open in self.acceptor._places.everybody()]

    def next(self) -> Any:
        """The next notice."""
        return self.inbox.get(timeout=PATIENCE)

    def answer(self, verdict: Verdict | CrustError) -> Ask:
        """Answer the next notice, which is a question."""
        question = self.next()
        assert isinstance(question, Ask)
        question.answer.put(verdict)
        return question

    def stop(self) -> None:
        """End it; every thread is gone then."""
        if not self._stopped:
            self._stopped = True
            self.acceptor.stop()
            assert self.acceptor.join(PATIENCE)

    def close(self) -> None:
        """End it and everybody who connected."""
        self.stop()
        self.listener.close()
        for sock in self._sockets:
            sock.close()
        self.utp.close(0.0)


Make = Callable[..., Listening]


@pytest.fixture
def idle() -> Iterator[Make]:
    """Makes acceptors that do not listen yet."""
    made: list[Listening] = []

    def make(**arguments: Any) -> Listening:
        made.append(Listening(**arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def serving(idle: Make) -> Make:
    """Makes acceptors that listen."""

    def make(**arguments: Any) -> Listening:
        one = idle(**arguments)
        one.start()
        return one

    return make


def chosen(here: Listening, peer: WirePeer) -> Promoted:
    """The peer proves who it is and is told that its connection is the one."""
    peer.prove()
    question = here.answer(Verdict.WAIT)
    peer.settle()
    promoted = here.next()
    assert isinstance(promoted, Promoted)
    assert promoted.established.candidate is question.candidate
    return promoted


# --- honest peers ---------------------------------------------------------------------------------------


def test_a_chosen_connection_is_handed_over(serving: Make) -> None:
    here = serving()
    with WirePeer(here.connect(), identity=here.greater) as peer:
        promoted = chosen(here, peer)
        assert promoted.established.candidate.peer_id == peer.id
        assert here.acceptor.half_open == 0
        promoted.established.link.stream.close()
    assert here.inbox.empty()


def test_a_candidate_that_comes_to_nothing_is_reported(serving: Make) -> None:
    here = serving()
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()
        question = here.answer(Verdict.WAIT)
    forsaken = here.next()
    assert isinstance(forsaken, Forsaken)
    assert forsaken.candidate is question.candidate
    until(lambda: here.acceptor.half_open == 0)


@pytest.mark.parametrize("answer", [Verdict.FULL, TimedOut("no place was free in time")])
def test_a_candidate_that_is_not_wanted(serving: Make, answer: Verdict | CrustError) -> None:
    here = serving()
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()
        question = here.answer(answer)
        peer.read_until_closed()
    assert here.next().candidate is question.candidate
    assert here.inbox.empty()


def test_who_is_not_welcome_is_not_heard(serving: Make) -> None:
    asked: list[str] = []
    here = serving(refuses=lambda host: asked.append(host) or True)  # type: ignore[func-returns-value]
    assert read_to_end(here.connect()) == b""
    assert asked == [LOCAL]
    assert here.acceptor.half_open == 0


# --- strangers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latest", [False, True])
def test_a_stranger_gets_no_byte_and_an_end_that_tells_nothing(
    serving: Make, monkeypatch: pytest.MonkeyPatch, latest: bool
) -> None:
    here = serving(handshake_timeout=0.6)
    drawn_from: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn_from.append((low, high))
        return high if latest else low

    monkeypatch.setattr("crust.connecting.acceptor.random.uniform", uniform)
    began = now()
    sock = here.connect()
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 200)  # more than any first message, so that it fails at once
    assert read_to_end(sock) == b""
    silence = now() - began
    ((low, high),) = drawn_from
    assert low == min(acceptor.SHORTEST_SILENCE, high)
    assert 0 < high <= 0.6
    assert silence > (high if latest else low) - 0.05
    assert here.inbox.empty()
    until(lambda: here.acceptor.half_open == 0)


def test_who_ends_at_once_is_forgotten_at_once(serving: Make) -> None:
    here = serving(handshake_timeout=60.0)
    (sock,) = here.crowd([LOCAL])
    sock.close()
    until(lambda: here.acceptor.half_open == 0)
    assert not here.acceptor._places._groups


# --- floods ---------------------------------------------------------------------------------------------


def test_too_many_from_one_address_throw_out_its_oldest(serving: Make) -> None:
    here = serving(max_half_open=10, max_half_open_per_address=2)
    other, first, second = here.crowd(["127.0.0.2", LOCAL, LOCAL])
    third = here.crowd([LOCAL])[0]
    assert read_to_end(first) == b""
    assert here.acceptor.half_open == 3
    assert still_open(other, second, third)


def test_too_many_in_all_throw_out_the_oldest(serving: Make) -> None:
    here = serving(max_half_open=3, max_half_open_per_address=3)
    first, second, third = here.crowd(["127.0.0.2", "127.0.0.3", "127.0.0.4"])
    fourth = here.crowd(["127.0.0.5"])[0]
    assert read_to_end(first) == b""
    assert here.acceptor.half_open == 3
    assert still_open(second, third, fourth)


def test_an_honest_peer_gets_through_a_flood(serving: Make) -> None:
    here = serving(max_half_open=4, max_half_open_per_address=4)
    here.crowd([LOCAL] * 12)
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()
        here.answer(Verdict.FULL)
        peer.read_until_closed()
    assert isinstance(here.next(), Forsaken)


def test_strangers_do_not_throw_out_who_has_proved_to_be_of_our_network(serving: Make) -> None:
    here = serving(max_half_open=3, max_half_open_per_address=3)
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()
        question = here.next()  # so it has been told that the peer has proved itself
        strangers = here.crowd([LOCAL] * 5)
        question.answer.put(Verdict.WAIT)
        peer.settle()
        promoted = here.next()
        assert isinstance(promoted, Promoted)
        promoted.established.link.stream.close()
    assert [read_to_end(sock) for sock in strangers[:3]] == [b""] * 3
    assert still_open(*strangers[3:])


def test_a_neighbourhood_has_half_of_the_places(serving: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "neighbourhood", lambda host: host.rpartition(".")[0])
    here = serving(max_half_open=6, max_half_open_per_address=2)
    far = here.crowd(["127.1.0.1", "127.1.0.2"])
    first, second, third = here.crowd(["127.0.0.2", "127.0.0.3", "127.0.0.4"])
    fourth = here.crowd(["127.0.0.5"])[0]
    assert read_to_end(first) == b""
    assert still_open(*far, second, third, fourth)


def test_strangers_go_before_those_from_where_a_peer_has_proved_itself(serving: Make) -> None:
    here = serving(max_half_open=2, max_half_open_per_address=2)
    here.acceptor._ledger.proved("127.0.0.2")
    known, stranger = here.crowd(["127.0.0.2", "127.0.0.3"])
    another = here.crowd(["127.0.0.4"])[0]
    assert read_to_end(stranger) == b""
    assert still_open(known, another)


# --- too much from one address --------------------------------------------------------------------------


def besieged(here: Listening) -> Besieged:
    """The next notice, which tells of too many."""
    notice = here.next()
    assert isinstance(notice, Besieged)
    return notice


def test_too_many_handshakes_of_strangers_are_told_once_and_let_in_slowly(
    serving: Make, limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crust.defence.ledger.now", lambda: 1000.0)  # however long this takes
    here = serving(max_handshakes_per_second=1)
    crowd = here.crowd([LOCAL] * 3)
    assert besieged(here).alert.kind == HANDSHAKES
    assert [read_to_end(here.connect()) for _ in range(3)] == [b""] * 3, "beyond the limit"
    assert here.inbox.empty()
    assert still_open(*crowd)
    here.crowd(["127.0.0.2"])


def test_too_many_handshakes_where_a_peer_is_known_are_told_once_and_get_fewer_places(
    serving: Make, limits: None
) -> None:
    here = serving(max_half_open_per_address=16, max_handshakes_per_second=1)
    here.acceptor._ledger.proved(LOCAL)
    crowd = here.crowd([LOCAL] * 4)
    notice = besieged(here)
    assert (notice.endpoint.host, notice.alert.kind, notice.alert.limit) == (LOCAL, HANDSHAKES, 1)
    assert [read_to_end(sock) for sock in crowd[:2]] == [b""] * 2
    assert still_open(*crowd[2:])
    assert here.inbox.empty()
    other = here.crowd(["127.0.0.2"])
    assert still_open(*other)


@pytest.mark.parametrize("over", ["tcp", "utp"])
def test_who_goes_on_all_the_same_is_not_let_in(serving: Make, limits: None, over: str) -> None:
    here = serving(max_handshakes_per_second=1)
    for _ in range(40):
        here.acceptor._ledger.knock(LOCAL)
    if over == "tcp":
        assert read_to_end(here.connect()) == b""
    else:
        with contextlib.suppress(DialFailed):  # the reset may come with the answer, before the caller sees that one
            assert read_to_end(here.dial_utp()) == b""
    assert here.acceptor.half_open == 0
    here.crowd(["127.0.0.2"])


def test_who_becomes_unwelcome_is_thrown_out_in_the_middle_of_the_handshake(serving: Make) -> None:
    """Over TCP as over uTP, whether they have said something or not; the others stay."""
    unwelcome: set[str] = set()
    here = serving(refuses=unwelcome.__contains__)
    outcast, other = here.crowd(["127.0.0.2", "127.0.0.3"])
    with WirePeer(here.connect("127.0.0.2")) as peer:
        peer.sock.sendall(peer._handshake.start())
        assert peer.sock.recv(65536), "the handshake is half done"
        unwelcome.add("127.0.0.2")
        here.acceptor.cast_out()
        assert read_to_end(peer.sock) == b""
    assert read_to_end(outcast) == b""
    assert still_open(other)


def test_strangers_are_counted(serving: Make, limits: None) -> None:
    """Whose first message is wrong; also where a peer has proved itself, but there it keeps nobody out."""
    here = serving(max_failures_per_second=1, handshake_timeout=0.2)
    here.acceptor._ledger.proved(LOCAL)
    for _ in range(3):
        sock = here.connect()
        sock.sendall(bytes(600))
        assert read_to_end(sock) == b""
    assert besieged(here).alert.kind == FAILURES
    for _ in range(40):
        here.acceptor._ledger.failed(LOCAL)
    here.crowd([LOCAL])


def test_who_breaks_the_protocol_before_the_choice_is_named(serving: Make) -> None:
    here = serving()
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()
        here.answer(Verdict.WAIT)
        peer.send_messages(b"")
        notice = here.next()
        assert isinstance(notice, Misbehaved)
        assert notice.peer_id == peer.id
        assert "before the choice" in notice.reason
        assert isinstance(here.next(), Forsaken)


def still_open(*sockets: socket.socket) -> bool:
    """Whether nobody has ended them."""
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        return not selector.select(0)


def test_without_threads_a_connection_is_closed(
    serving: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = serving()

    def submit(job: Callable[[], None]) -> bool:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(here.acceptor._pool, "submit", submit)
    try:
        assert read_to_end(here.connect()) == b""
    except BrokenPipeError:
        pass  # it was closed so soon that connect() saw it
    until(lambda: "ulimit -u" in caplog.text)
    assert here.acceptor.half_open == 0


# --- uTP ------------------------------------------------------------------------------------------------


def test_over_utp_a_chosen_connection_is_handed_over(serving: Make) -> None:
    here = serving()
    wire = here.dial_utp()
    with WirePeer(wire, identity=here.greater) as peer:
        promoted = chosen(here, peer)
        assert promoted.established.link.stream.remote == Endpoint.utp(wire.getsockname())
        until(lambda: here.acceptor.half_open == 0)
        promoted.established.link.stream.close()
    assert here.inbox.empty()


def test_who_is_refused_over_utp_is_told(serving: Make) -> None:
    here = serving()
    with WirePeer(here.dial_utp(), identity=here.greater) as peer:
        peer.prove()
        question = here.answer(Verdict.FULL)
        assert peer.await_control(BYE)["reason"] == "full"
    assert here.next().candidate is question.candidate


def test_a_stranger_over_utp_gets_no_byte(serving: Make) -> None:
    here = serving(handshake_timeout=0.2)
    wire = here.dial_utp()
    wire.sendall(b"GET / HTTP/1.1\r\n\r\n" * 200)
    assert read_to_end(wire) == b""
    until(lambda: here.acceptor.half_open == 0)


def test_strangers_over_utp_count_like_others(serving: Make) -> None:
    """Together they are too many: the oldest goes, whatever it came over, and an honest peer gets through."""
    here = serving(max_half_open=4, max_half_open_per_address=4, handshake_timeout=10 * PATIENCE)
    oldest = here.crowd([LOCAL])[0]
    silent = []
    for count in range(2, 7):
        silent.append(here.dial_utp())
        port = silent[-1].getsockname()[1]
        until(lambda port=port: port in here.ports())  # type: ignore[misc]
        assert here.acceptor.half_open == min(count, 4)
    assert read_to_end(oldest) == b""
    assert read_to_end(silent[0]) == b""
    with WirePeer(here.dial_utp(), identity=here.greater) as peer:
        peer.prove()
        here.answer(Verdict.FULL)
        peer.read_until_closed()
    assert isinstance(here.next(), Forsaken)


def test_who_is_thrown_out_over_utp_leaves_nothing_behind(serving: Make) -> None:
    """A FIN would be repeated for a minute to somebody who need not answer."""
    here = serving(max_half_open=1, handshake_timeout=0.2)
    for _ in range(3):
        here.dial_utp()
    until(lambda: here.acceptor.half_open == 0)
    until(lambda: len(here.utp._multiplexer) == 0)


def test_stop_sends_strangers_over_utp_away(serving: Make) -> None:
    here = serving(handshake_timeout=10 * PATIENCE)
    silent = [here.dial_utp() for _ in range(3)]
    Running(here.stop).result()
    assert [read_to_end(wire) for wire in silent] == [b""] * 3
    with pytest.raises(DialFailed):
        UtpWire(Endpoint.utp(here.utp.local_address), LOCAL, 0.05)


# --- listeners that fail --------------------------------------------------------------------------------


class Failing(socket.socket):
    """A listening socket, in place of another, whose accept() fails as often as there are errors."""

    def __init__(self, listener: socket.socket, *errors: int) -> None:
        super().__init__(fileno=listener.detach())
        self.setblocking(False)
        self.errors = list(errors)
        self.accepts = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail, or accept."""
        self.accepts += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "made up")
        return super().accept()


def test_a_listener_that_fails_is_reported_once(idle: Make) -> None:
    here = idle()
    failing = Failing(here.listener, errno.EINVAL, errno.EINVAL)
    here.start(failing)
    here.connect()
    broke = here.next()
    assert isinstance(broke, ListenerBroke)
    assert broke.port == Port.tcp(here.address[1])
    assert "made up" in broke.reason
    here.connect()
    here.stop()
    assert failing.accepts == 1
    assert here.inbox.empty()


def test_out_of_descriptors_it_takes_a_breather(
    idle: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "BREATHER", 0.01)
    here = idle()
    failing = Failing(here.listener)
    here.start(failing)
    oldest = here.crowd([LOCAL])[0]
    failing.errors += [errno.EMFILE, errno.ENFILE]
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()  # so it was accepted in the end
        here.answer(Verdict.FULL)
        peer.read_until_closed()
    assert read_to_end(oldest) == b""  # it gave its descriptor back
    assert isinstance(here.next(), Forsaken)
    assert "too many files open" in caplog.text


def test_a_breather_ends_when_it_is_time_to_stop(idle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    breathing = threading.Event()
    monkeypatch.setattr(acceptor, "BREATHER", 10 * PATIENCE)
    here = idle()
    take_a_breather = here.acceptor._take_a_breather

    def breathe() -> None:
        breathing.set()
        take_a_breather()

    monkeypatch.setattr(here.acceptor, "_take_a_breather", breathe)
    here.start(Failing(here.listener, errno.EMFILE))
    here.connect()
    assert breathing.wait(PATIENCE)
    Running(here.stop).result()


def test_a_peer_that_left_before_it_was_accepted(idle: Make) -> None:
    here = idle()
    here.start(Failing(here.listener, errno.ECONNABORTED))
    here.crowd([LOCAL])
    assert here.inbox.empty()


# --- the end --------------------------------------------------------------------------------------------


def test_stop_wakes_everything(serving: Make) -> None:
    here = serving(handshake_timeout=10 * PATIENCE)
    silent = here.crowd([LOCAL, LOCAL])
    with WirePeer(here.connect(), identity=here.greater) as peer:
        peer.prove()
        question = here.next()
        question.answer.put(Verdict.WAIT)  # it waits for a choice that never comes
        Running(here.stop).result()
        peer.read_until_closed()
    assert [read_to_end(sock) for sock in silent] == [b"", b""]
    assert isinstance(here.next(), Forsaken)
    with pytest.raises(OSError, match="refused"):
        here.connect()


def test_stop_closes_what_nobody_has_begun(serving: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = serving()
    waiting: list[Callable[[], None]] = []

    def submit(job: Callable[[], None]) -> bool:
        waiting.append(job)
        return True

    monkeypatch.setattr(here.acceptor._pool, "submit", submit)
    (sock,) = here.crowd([LOCAL])
    until(lambda: waiting)
    monkeypatch.setattr(here.acceptor._pool, "close", lambda: waiting)
    here.stop()
    assert read_to_end(sock) == b""
    assert here.acceptor.half_open == 0


class Watch:
    """Stands in for `LinkWatch`."""

    def __init__(self) -> None:
        self.tell, self._sock = socket.socketpair()

    def fileno(self) -> int:
        return self._sock.fileno()

    def take(self) -> None:
        assert self._sock.recv(1)

    def close(self) -> None:
        self._sock.close()


def test_changes_of_the_interfaces_are_told_beside_what_else_it_does(idle: Make) -> None:
    here, watch = idle(), Watch()
    told: list[str] = []

    def changed() -> None:
        watch.take()
        told.append(threading.current_thread().name)

    here.acceptor.watch_links(watch, changed)  # type: ignore[arg-type]
    here.start()
    for count in (1, 2):
        watch.tell.send(b"!")
        until(lambda count=count: len(told) == count)  # type: ignore[misc]
    here.crowd([LOCAL])
    assert told == ["crust-listener"] * 2
    here.stop()
    assert watch.fileno() == -1
    watch.tell.close()


def test_stop_without_listening(idle: Make) -> None:
    idle().stop()
