"""`crust.transport.tcp`: real sockets on loopback; errors that say what to do; nobody stays blocked."""

import errno
import logging
import queue
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, DialFailed, ListenFailed, TimedOut
from crust.threads.clock import Deadline, now
from crust.transport import tcp
from crust.transport.tcp import PendingDial, TcpStream, dial, explain, listen, listen_everywhere, resolve
from tests.together import PATIENCE, Running, until

SOON = 0.02  # seconds; a deadline that is meant to pass
MUCH = bytes(64 * 2**20)  # more than all buffers between two sockets hold


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


LOOPBACKS = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
everywhere = pytest.mark.parametrize("host", LOOPBACKS)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    with closing(listen(host, 0)) as listener:
        return port_of(listener)


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def endpoint_of(listener: socket.socket) -> Endpoint:
    return Endpoint.tcp(listener.getsockname())


def accept(listener: socket.socket) -> TcpStream:
    listener.setblocking(True)
    sock, address = listener.accept()
    return TcpStream(sock, Endpoint.tcp(address))


def make_pair(host: str) -> tuple[TcpStream, TcpStream]:
    with closing(listen(host, 0)) as listener:
        return dial(endpoint_of(listener), Deadline(PATIENCE)), accept(listener)


@pytest.fixture
def pair() -> Iterator[tuple[TcpStream, TcpStream]]:
    streams = make_pair("127.0.0.1")
    yield streams
    for stream in streams:
        stream.close()


def read(stream: TcpStream, count: int) -> bytes:
    """``count`` bytes, or fewer if the other end ends before."""
    data = bytearray(count)
    got = 0
    while got < count and (size := stream.receive_into(memoryview(data)[got:])):
        got += size
    return bytes(data[:got])


# --- a stream -------------------------------------------------------------------------------------------


@everywhere
def test_both_ways(host: str) -> None:
    dialled, accepted = make_pair(host)
    try:
        assert dialled.local == accepted.remote
        assert dialled.remote == accepted.local
        assert dialled.remote.host == host
        dialled.send_all(b"to the listener")
        accepted.send_all(bytearray(b"to the dialler"))
        assert read(accepted, 15) == b"to the listener"
        assert read(dialled, 14) == b"to the dialler"
        sending = Running(dialled.send_all, memoryview(MUCH[: 4 * 2**20]))
        assert read(accepted, 4 * 2**20) == MUCH[: 4 * 2**20]
        sending.result()
    finally:
        dialled.close()
        accepted.close()


def test_small_messages_are_not_held_back(pair: tuple[TcpStream, TcpStream]) -> None:
    for stream in pair:
        assert stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_end_of_one_direction_leaves_the_other_open(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    one.send_all(b"last words")
    one.finish_sending()
    one.finish_sending()
    assert read(other, 100) == b"last words"
    assert other.receive_into(memoryview(bytearray(10))) == 0
    other.send_all(b"answer")
    assert read(one, 6) == b"answer"
    with pytest.raises(ConnectionLost, match="the peer has closed the connection"):
        one.send_all(b"more")


def test_what_comes_without_waiting(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    buffer = memoryview(bytearray(10))
    assert other.receive_waiting(buffer) == 0
    one.send_all(b"here")
    assert other.receive_into(buffer) == 4
    assert other.receive_waiting(buffer) == 0
    assert one.send_waiting(b"abc") == 3
    assert read(other, 3) == b"abc"
    one.finish_sending()
    assert other.receive_into(buffer) == 0
    assert other.receive_waiting(buffer) == 0, "the end is for receive_into to tell"


def test_sending_without_waiting_takes_what_there_is_room_for(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    sent = 0
    while size := one.send_waiting(MUCH[: 2**20]):
        sent += size
    assert one.send_waiting(b"x") == 0
    assert read(other, sent) == MUCH[:sent]
    until(lambda: one.send_waiting(b"x") == 1)


def test_a_system_without_such_calls_does_without(
    pair: tuple[TcpStream, TcpStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "_DONT_WAIT", 0)
    one, other = pair
    one.send_all(b"here")
    assert other.receive_waiting(memoryview(bytearray(10))) == 0
    assert one.send_waiting(b"abc") == 0
    assert read(other, 4) == b"here"


def test_a_deadline_makes_nothing_wait_that_must_not(pair: tuple[TcpStream, TcpStream]) -> None:
    """A socket with a timeout would wait, and the end of the wait would look like the end of the connection."""
    one, _ = pair
    one.set_deadline(Deadline(PATIENCE))
    one.send_all(b"here")  # the socket has its timeout now
    began = now()
    assert one.receive_waiting(memoryview(bytearray(10))) == 0
    while one.send_waiting(MUCH[: 2**20]):
        pass
    assert now() - began < PATIENCE / 2
    one.set_deadline(None)
    assert one.send_waiting(b"x") == 1


# --- deadlines ------------------------------------------------------------------------------------------


def test_receiving_ends_in_time_and_may_go_on_later(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    for timeout in (SOON, 0.0, -1.0):
        one.set_deadline(Deadline(timeout))
        with pytest.raises(TimedOut):
            one.receive_into(memoryview(bytearray(10)))
    one.set_deadline(None)
    receiving = Running(read, one, 5)
    other.send_all(b"later")
    assert receiving.result() == b"later"


def test_sending_ends_in_time(pair: tuple[TcpStream, TcpStream]) -> None:
    one, _ = pair
    one.set_deadline(Deadline(SOON))
    with pytest.raises(TimedOut, match="did not take what we sent in time"):
        one.send_all(MUCH)
    with pytest.raises(TimedOut):
        one.send_all(b"x")


def test_one_deadline_for_several_steps(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    one.set_deadline(Deadline(PATIENCE))
    for number in range(3):
        other.send_all(b"%d" % number)
        assert read(one, 1) == b"%d" % number
    one.set_deadline(Deadline(0))
    other.send_all(b"x")
    with pytest.raises(TimedOut):
        read(one, 1)


class FailingSocket:
    """What the system says about a connection that is not well."""

    def __init__(self, code: int) -> None:
        self._error = OSError(code, "as the system puts it")

    def recv_into(self, *_: Any) -> int:
        raise self._error

    def send(self, *_: Any) -> int:
        raise self._error

    sendall = send


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE, errno.EHOSTUNREACH, errno.EIO])
@pytest.mark.parametrize("what", ["receive_into", "receive_waiting", "send_all", "send_waiting"])
def test_a_broken_connection_is_lost_not_late(pair: tuple[TcpStream, TcpStream], code: int, what: str) -> None:
    """Also when the system itself gave up waiting: nobody had set a deadline."""
    one, _ = pair
    sound, one._sock = one._sock, FailingSocket(code)  # type: ignore[assignment]
    try:
        with pytest.raises(ConnectionLost) as caught:
            getattr(one, what)(memoryview(bytearray(10)))
        assert str(caught.value) == explain(OSError(code, "as the system puts it"))
    finally:
        one._sock = sound


# --- ending it ------------------------------------------------------------------------------------------


def test_an_abort_wakes_a_receiver_and_a_sender(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    receiving = Running(one.receive_into, memoryview(bytearray(10)))
    sending = Running(one.send_all, MUCH)
    until(lambda: one.send_waiting(b"x") == 0)
    one.abort()
    with pytest.raises(ConnectionLost, match="the connection was ended here"):
        sending.result()
    with pytest.raises(ConnectionLost, match="the connection was ended here"):
        receiving.result()
    with pytest.raises(ConnectionLost, match="the connection was ended here"):
        one.receive_into(memoryview(bytearray(10)))
    one.abort()
    one.close()
    assert "reset the connection" in how_it_ends(other)


def how_it_ends(stream: TcpStream) -> str:
    """What the stream's receiver is told after all bytes."""
    try:
        while stream.receive_into(memoryview(bytearray(2**20))):
            pass
    except ConnectionLost as error:
        return str(error)
    return "in order"


def test_an_abort_reaches_the_peer_at_once_and_frees_what_was_queued(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    while one.send_waiting(MUCH[: 2**20]):
        pass
    one.abort()
    one.close()
    assert "reset the connection" in how_it_ends(other)


def test_closing_is_for_ever_and_may_be_repeated(pair: tuple[TcpStream, TcpStream]) -> None:
    one, other = pair
    one.close()
    one.close()
    one.abort()
    one.finish_sending()
    one.set_deadline(None)
    assert read(other, 1) == b""
    with pytest.raises(ConnectionLost):
        one.send_all(b"x")


def test_an_abort_never_hits_a_descriptor_that_is_somebody_elses_by_now() -> None:
    """abort() in one thread, close() in another: the number of a closed descriptor may be in use again."""
    for _ in range(50):
        one, other = make_pair("127.0.0.1")
        aborting = Running(one.abort)
        one.close()
        with closing(other), ExitStack() as stack:
            fresh = [stack.enter_context(closing(end)) for end in socket.socketpair()]
            aborting.result()
            fresh[0].sendall(b"sound")
            assert fresh[1].recv(5) == b"sound"


def test_a_socket_that_broke_at_once_is_closed() -> None:
    ends = socket.socketpair()
    with closing(ends[1]), pytest.raises(ConnectionLost):
        TcpStream(ends[0], Endpoint.tcp("192.0.2.1:1"))  # not TCP: it cannot be told not to wait
    assert ends[0].fileno() == -1


# --- dialling -------------------------------------------------------------------------------------------


@everywhere
def test_nobody_listens(host: str) -> None:
    with pytest.raises(DialFailed, match="nothing listens on that port; is the peer running"):
        dial(Endpoint.tcp((host, free_port(host))), Deadline(PATIENCE))


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """A listener whose backlog is full: it answers nobody any more."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(closing(socket.socket()))
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield endpoint_of(listener)


def test_nobody_answers(silent: Endpoint) -> None:
    with pytest.raises(DialFailed, match="no answer; the host is off, or a firewall drops what we send"):
        dial(silent, Deadline(SOON))


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_is_left(timeout: float) -> None:
    with closing(listen("127.0.0.1", 0)) as listener, pytest.raises(DialFailed, match="no time was left"):
        dial(endpoint_of(listener), Deadline(timeout))


def test_without_a_deadline() -> None:
    with closing(listen("127.0.0.1", 0)) as listener, closing(dial(endpoint_of(listener), Deadline(None))) as stream:
        assert stream.remote == endpoint_of(listener)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENETUNREACH, "no route to that network from here"),
        (errno.EHOSTUNREACH, "no way to that host"),
        (errno.EADDRNOTAVAIL, "no free port left"),
        (errno.EACCES, "not allowed"),
        (errno.ETIMEDOUT, "no answer"),
        (errno.EINVAL, "Invalid argument"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_the_system_says_comes_with_advice(
    monkeypatch: pytest.MonkeyPatch, code: int, advice: str, late: bool
) -> None:
    """Some errors come at once and others while we wait."""
    connect = socket.socket.connect_ex
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *given: connect(*given) if late else code, raising=False)
    if late:
        monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: code, raising=False)
    with closing(listen("127.0.0.1", 0)) as listener, pytest.raises(DialFailed, match=advice):
        dial(endpoint_of(listener), Deadline(PATIENCE))


def test_a_peer_that_is_gone_before_we_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: socket.socket) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    monkeypatch.setattr(socket.socket, "getpeername", gone, raising=False)
    with closing(listen("127.0.0.1", 0)) as listener, pytest.raises(DialFailed, match="ended the connection at once"):
        dial(endpoint_of(listener), Deadline(PATIENCE))


def test_a_connection_that_breaks_while_it_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(socket.socket, "setsockopt", broken, raising=False)
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(DialFailed, match="Invalid argument"):
            dial(endpoint_of(listener), Deadline(PATIENCE))


@everywhere
def test_nobody_dials_itself(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP allows the simultaneous open: a socket that happens to get the very port that it dials is connected to
    itself."""
    connect = socket.socket.connect_ex

    def unlucky(sock: socket.socket, address: Any) -> int:
        sock.bind(address)
        return connect(sock, address)

    target = Endpoint.tcp((host, free_port(host)))
    monkeypatch.setattr(socket.socket, "connect_ex", unlucky, raising=False)
    with pytest.raises(DialFailed, match="that is the very socket that dials: nothing listens on that port"):
        dial(target, Deadline(PATIENCE))
    monkeypatch.undo()
    listen(host, target.port).close()


def test_a_name_is_not_dialled() -> None:
    with pytest.raises(DialFailed, match="cannot be resolved"):
        dial(Endpoint.tcp("localhost:1"), Deadline(PATIENCE))


def test_an_interface_that_does_not_exist() -> None:
    with pytest.raises(DialFailed):
        dial(Endpoint.tcp("[fe80::1%nosuchinterface]:1"), Deadline(PATIENCE))


# --- giving an attempt up ---------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves_a_trace", [True, False])
def test_an_attempt_is_given_up_before_it_begins(
    silent: Endpoint, leaves_a_trace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems differ in whether shutdown() does anything to a socket that is not connected yet."""

    def no_trace(*_: object) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    if not leaves_a_trace:
        monkeypatch.setattr(socket.socket, "shutdown", no_trace, raising=False)
    dialling = Running(dial, silent, Deadline(None), PendingDial.abort)
    with pytest.raises(DialFailed, match="given up"):
        dialling.result()


def test_an_attempt_is_given_up_at_any_moment(silent: Endpoint) -> None:
    for _ in range(30):
        handles: queue.SimpleQueue[PendingDial] = queue.SimpleQueue()
        dialling = Running(dial, silent, Deadline(None), handles.put)
        handle = handles.get(timeout=PATIENCE)
        handle.abort()
        with pytest.raises(DialFailed, match="given up"):
            dialling.result()
        handle.abort()
        assert handle.aborted


def test_an_attempt_is_given_up_while_it_waits(silent: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: queue.SimpleQueue[None] = queue.SimpleQueue()
    select = tcp._Selector.select

    def telling(*given: Any) -> Any:
        waiting.put(None)
        return select(*given)

    monkeypatch.setattr(tcp._Selector, "select", telling)
    handles: queue.SimpleQueue[PendingDial] = queue.SimpleQueue()
    dialling = Running(dial, silent, Deadline(None), handles.put)
    waiting.get(timeout=PATIENCE)
    handles.get().abort()
    with pytest.raises(DialFailed, match="given up"):
        dialling.result()


def test_an_attempt_that_has_just_succeeded_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[PendingDial] = []
    getpeername = socket.socket.getpeername

    def late(sock: socket.socket) -> Any:
        found = getpeername(sock)
        handles[0].abort()
        return found

    monkeypatch.setattr(socket.socket, "getpeername", late, raising=False)
    with closing(listen("127.0.0.1", 0)) as listener, pytest.raises(DialFailed, match="given up"):
        dial(endpoint_of(listener), Deadline(PATIENCE), handles.append)


def test_what_the_caller_raises_closes_the_socket() -> None:
    def fail(_: PendingDial) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        dial(Endpoint.tcp("127.0.0.1:1"), Deadline(PATIENCE), fail)  # conftest looks for open descriptors


# --- names ------------------------------------------------------------------------------------------------


def test_an_address_stands_for_itself() -> None:
    for text in ("127.0.0.1:1", "[::1]:1", "[fe80::1%eth0]:1"):
        assert resolve(Endpoint.tcp(text)) == [Endpoint.tcp(text)]


def test_a_name_stands_for_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Endpoint.tcp("127.0.0.1:7") in resolve(Endpoint.tcp("localhost:7")) or "::1" in LOOPBACKS
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 7, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 7)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 7)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert resolve(Endpoint.tcp("example.org:7")) == [Endpoint.tcp("[2001:db8::1]:7"), Endpoint.tcp("192.0.2.1:7")]
    assert resolve(Endpoint.utp("example.org:7"))[0] == Endpoint.utp("[2001:db8::1]:7")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "cannot be resolved: Name or service"),
        (UnicodeError("label too long"), "label too long"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
    ],
)
def test_a_name_that_stands_for_nothing(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DialFailed, match=text):
        resolve(Endpoint.tcp("example.org:7"))


# --- listening --------------------------------------------------------------------------------------------


@everywhere
def test_a_listener(host: str) -> None:
    with closing(listen(host, 0)) as listener:
        assert port_of(listener) > 0
        assert not listener.getblocking()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_many_may_come_at_once() -> None:
    """The original's backlog of 1 dropped valid peers."""
    with closing(listen("127.0.0.1", 0)) as listener, ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(closing(dial(endpoint_of(listener), Deadline(PATIENCE))))


@everywhere
def test_a_busy_port(host: str) -> None:
    with closing(listen(host, 0)) as listener:
        port = port_of(listener)
        with pytest.raises(ListenFailed, match=f":{port}: .*another program uses that port"):
            listen(host, port)


@pytest.mark.parametrize("last_to_close", ["dialled", "accepted"])
def test_a_port_is_free_again_at_once(last_to_close: str) -> None:
    """Also while the system remembers a connection of it (TIME_WAIT)."""
    port = 0
    for _ in range(3):
        with closing(listen("127.0.0.1", port)) as listener:
            port = port_of(listener)
            dialled = dial(endpoint_of(listener), Deadline(PATIENCE))
            accepted = accept(listener)
        streams = (dialled, accepted) if last_to_close == "accepted" else (accepted, dialled)
        for stream in streams:
            stream.finish_sending()
        for stream in streams:
            assert read(stream, 1) == b""
            stream.close()


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.1", "this host has no such address"),
        ("2001:db8::1", "cannot listen on tcp://\\[2001:db8::1\\]:0"),
        ("localhost", "cannot be resolved"),
    ],
)
def test_an_address_that_is_not_ours(host: str, text: str) -> None:
    with pytest.raises(ListenFailed, match=text):
        listen(host, 0)


def test_a_family_that_this_host_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", none)
    with pytest.raises(ListenFailed, match="does not speak that address family"):
        listen("::", 0)
    with pytest.raises(DialFailed, match="does not speak that address family"):
        dial(Endpoint.tcp("[::1]:1"), Deadline(PATIENCE))


# --- listening everywhere ---------------------------------------------------------------------------------


@pytest.fixture
def opened() -> Iterator[Callable[..., list[Endpoint]]]:
    """`listen_everywhere`, and its sockets closed afterwards."""
    with ExitStack() as stack:

        def open_all(hosts: tuple[str, ...], port: int) -> list[Endpoint]:
            listeners = listen_everywhere(hosts, port)
            for listener in listeners:
                stack.callback(listener.close)
            return [endpoint_of(listener) for listener in listeners]

        yield open_all


def test_all_addresses_get_the_same_port(opened: Callable[..., list[Endpoint]]) -> None:
    found = opened(tuple(LOOPBACKS), 0)
    assert [each.host for each in found] == LOOPBACKS
    assert len({each.port for each in found}) == 1


def test_unspecified_addresses_of_both_families_share_a_port(opened: Callable[..., list[Endpoint]]) -> None:
    found = opened(tuple({"127.0.0.1": "0.0.0.0", "::1": "::"}[host] for host in LOOPBACKS), 0)
    assert len(found) == len(LOOPBACKS)
    assert len({each.port for each in found}) == 1
    for host in LOOPBACKS:
        dial(Endpoint.tcp((host, found[0].port)), Deadline(PATIENCE)).close()


def test_the_live_port_is_taken_where_it_is_free(opened: Callable[..., list[Endpoint]]) -> None:
    port = free_port()
    assert [each.port for each in opened(("127.0.0.1",), port)] == [port]


def test_a_busy_live_port_is_replaced_by_a_free_one(
    opened: Callable[..., list[Endpoint]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(listen("127.0.0.1", 0)) as other:
        found = opened(tuple(LOOPBACKS), port_of(other))
        assert len(found) == len(LOOPBACKS)
        assert len({each.port for each in found}) == 1
        assert found[0].port not in (0, port_of(other))
        assert "another program uses that port; trying a free port" in caplog.text


def test_a_second_family_that_cannot_share_gets_a_port_of_its_own(opened: Callable[..., list[Endpoint]]) -> None:
    port = free_port()
    with closing(listen(LOOPBACKS[-1], port)):
        found = opened(("127.0.0.2", LOOPBACKS[-1]), port)
    assert found[0].port == port
    assert found[1].port not in (0, port)


def test_one_address_that_cannot_be_had_does_not_matter(opened: Callable[..., list[Endpoint]]) -> None:
    assert [each.host for each in opened(("192.0.2.1", "127.0.0.1"), 0)] == ["127.0.0.1"]
    assert [each.host for each in opened(("127.0.0.1", "192.0.2.1"), 0)] == ["127.0.0.1"]


def test_no_address_at_all() -> None:
    with pytest.raises(ListenFailed, match=r"192\.0\.2\.1:7.*192\.0\.2\.1:0"):
        listen_everywhere(("192.0.2.1",), 7)
    with pytest.raises(ListenFailed, match="there is no address to listen on"):
        listen_everywhere((), 7)


# --- what errors mean -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(tcp._ADVICE))
def test_every_known_error_says_what_to_do(code: int) -> None:
    text = explain(OSError(code, "as the system puts it"))
    assert text.endswith(tcp._ADVICE[code])
    assert text.startswith("as the system puts it: ") or code == errno.ETIMEDOUT


def test_other_errors_are_told_as_they_are() -> None:
    assert explain(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert explain(OSError("no number")) == "no number"
    assert explain(TimeoutError()) == tcp._ADVICE[errno.ETIMEDOUT]
    assert "Name or service" in explain(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert set(tcp.OUT_OF_RESOURCES) <= set(tcp._ADVICE)


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
def test_an_address_of_a_link_without_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system says "Invalid argument", and means the other one."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(tcp, "_connect", refuse)
    with pytest.raises(DialFailed, match=r"Invalid argument: .* interface, as in fe80::1%eth0"):
        dial(Endpoint.tcp("[fe80::1]:9"), Deadline(1.0))
    with pytest.raises(DialFailed, match=r"Invalid argument$"):
        dial(Endpoint.tcp("127.0.0.1:9"), Deadline(1.0))


NO_FILES = """
import resource, socket
from crust.threads.clock import Deadline
from crust.endpoint import Endpoint
from crust.errors import CrustError
from crust.transport.tcp import dial, listen, resolve
resolve(Endpoint.tcp("localhost:1"))
listener = listen("127.0.0.1", 0)
target = Endpoint.tcp(listener.getsockname())
resource.setrlimit(resource.RLIMIT_NOFILE, (listener.fileno() + 1, listener.fileno() + 1))
for attempt in (lambda: dial(target, Deadline(5)), lambda: listen("127.0.0.1", 0)):
    try:
        attempt()
    except CrustError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_process_without_descriptors_says_so() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", NO_FILES], cwd=root, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    advice = "this process has too many files open; raise its limit (ulimit -n) or lower max_connections"
    first, second = done.stdout.splitlines()
    assert first == f"DialFailed Too many open files: {advice}"
    assert second.startswith("ListenFailed cannot listen on tcp://127.0.0.1:0: ")
    assert second.endswith(advice)
