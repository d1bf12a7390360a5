"""A UDP port with uTP on it: dialling, accepting, and other datagrams on the same port."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from crust.errors import ConnectionLost, DialFailed, ListenFailed, TimedOut
from crust.threads import clock
from crust.transport.utp import UtpSocket, UtpStream
from crust.transport.utp.burst import Address
from crust.transport.utp.packet import Packet, PacketType, decode, encode
from tests.together import PATIENCE, Running, until
from tests.transport.test_tcp import everywhere
from tests.transport.utp.loopback import HOST, SOON, Quick, address_of, join, read, sockets


@contextmanager
def silent() -> Iterator[socket.socket]:
    """A UDP socket that answers nothing by itself."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(PATIENCE)
        yield sock


def free_port() -> int:
    with silent() as sock:
        port: int = sock.getsockname()[1]
        return port


# --- dialling ---
@everywhere
def test_an_echo(host: str) -> None:
    with sockets(host) as (one, other):
        assert one.local_address[0] == host
        assert one.local_address[1] > 0
        dialled, accepted = join(one, other)
        dialled.sendall(b"hello")
        accepted.sendall(read(accepted, 5))
        assert read(dialled, 5) == b"hello"


def test_it_is_a_context_manager_that_lets_arrive_what_was_sent() -> None:
    with Quick((HOST, 0)) as one:
        with UtpSocket((HOST, 0)) as other:
            stream, _ = join(other, one)
            stream.sendall(b"x" * 100_000)
            accepted = _
        assert read(accepted, 200_000) == b"x" * 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of closed ports")
def test_a_closed_port_refuses_at_once() -> None:
    with Quick((HOST, 0)) as sock:
        start = clock.now()
        with pytest.raises(DialFailed, match="nothing listens on that port"):
            sock.connect((HOST, free_port()), PATIENCE)
        assert clock.now() - start < PATIENCE / 3


def test_a_peer_that_does_not_accept_is_silent() -> None:
    with Quick((HOST, 0)) as one, Quick((HOST, 0), accepting=False) as other:
        with pytest.raises(DialFailed, match="no answer; the host is off, or a firewall drops what we send"):
            one.connect(address_of(other), SOON)
        until(lambda: other.counters["syn_refused"] >= 1)
        assert one.counters == {}


@pytest.mark.parametrize("address", [("::1", 5), ("localhost.example", 5)])
def test_an_address_that_cannot_be_dialled_from_here(address: tuple[str, int]) -> None:
    with Quick((HOST, 0)) as sock, pytest.raises(DialFailed, match="is not an address of this socket's family"):
        sock.connect(address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (("0.0.0.0", 9), "0.0.0.0 stands for all addresses of a machine: dial one"),
        (("224.0.0.1", 9), "224.0.0.1 stands for several machines: dial one"),
        (("255.255.255.255", 9), "255.255.255.255 stands for several machines: dial one"),
        ((HOST, 0), "port 0 cannot be dialled: ports are 1 to 65535"),
    ],
)
def test_an_address_that_nobody_has_is_refused_with_the_reason(address: tuple[str, int], why: str) -> None:
    with Quick((HOST, 0)) as sock, pytest.raises(DialFailed, match=why):
        sock.connect(address, PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may send from there")
def test_a_socket_of_this_machine_only_says_that_it_is() -> None:
    with Quick((HOST, 0)) as sock, pytest.raises(DialFailed, match="and from there the system sends nothing"):
        sock.connect(("192.0.2.1", 9), PATIENCE)


@pytest.mark.parametrize("address", ["127.0.0.1", "ab", ("127.0.0.1",), ("127.0.0.1", 0, 0)])
def test_what_is_bound_is_a_pair(address: object) -> None:
    with pytest.raises(TypeError, match="address is a pair of host and port"):
        UtpSocket(address)  # type: ignore[arg-type]


def test_dialling_can_be_given_up_by_another_thread() -> None:
    with silent() as hole, Quick((HOST, 0)) as sock:
        streams: list[UtpStream] = []
        dialling = Running(sock.connect, hole.getsockname(), PATIENCE, started=streams.append)
        until(lambda: streams)
        streams[0].abort()
        with pytest.raises(DialFailed, match="the connection was ended here"):
            dialling.result()


def test_a_failure_in_started_ends_the_dial() -> None:
    def started(stream: UtpStream) -> None:
        raise ZeroDivisionError

    with silent() as hole, Quick((HOST, 0)) as sock:
        with pytest.raises(ZeroDivisionError):
            sock.connect(hole.getsockname(), PATIENCE, started=started)
        assert not sock._multiplexer.connections
        assert not sock._streams


def test_both_dial_each_other() -> None:
    with sockets() as (one, other):
        dialling = [Running(a.rendezvous, address_of(b), PATIENCE) for a, b in ((one, other), (other, one))]
        first, second = (each.result() for each in dialling)
        assert first.initiator is not second.initiator
        first.sendall(b"one")
        second.sendall(b"connection")
        assert read(second, 3) + read(first, 10) == b"oneconnection"
        assert len(one._multiplexer) == len(other._multiplexer) == 1
        with pytest.raises(TimedOut):
            one.accept(0)


def test_a_hundred_streams_at_once() -> None:
    with sockets() as (one, other):
        streams = [join(one, other) for _ in range(100)]
        for number, (dialled, accepted) in enumerate(streams):
            dialled.sendall(b"%d to" % number)
            accepted.sendall(b"%d fro" % number)
        for number, (dialled, accepted) in enumerate(streams):
            assert read(accepted, len(b"%d to" % number)) == b"%d to" % number
            assert read(dialled, len(b"%d fro" % number)) == b"%d fro" % number
        for pair in streams:
            for stream in pair:
                stream.shutdown()
        for dialled, accepted in streams:
            assert dialled.recv(1, timeout=PATIENCE) == accepted.recv(1, timeout=PATIENCE) == b""
            dialled.close()
            accepted.close()
        assert not one._streams
        assert not other._streams


# --- accepting ---
def test_accepting_ends_in_time() -> None:
    with Quick((HOST, 0)) as sock, pytest.raises(TimedOut, match="nobody connected in time"):
        sock.accept(SOON)


def test_a_port_that_is_in_use() -> None:
    with Quick((HOST, 0)) as sock, pytest.raises(ListenFailed):
        UtpSocket(address_of(sock))


def test_who_may_connect_can_change() -> None:
    told = threading.Event()
    with Quick((HOST, 0)) as one, Quick((HOST, 0), accepting=False) as other:
        other.start_accepting(told.set)
        stream = one.connect(address_of(other), PATIENCE)
        assert told.wait(PATIENCE)
        other.stop_accepting()
        other.stop_accepting()
        with pytest.raises(ConnectionLost, match="the peer reset the connection"):
            stream.recv(1, timeout=PATIENCE)
        with pytest.raises(TimedOut):
            other.accept(0)
        with pytest.raises(DialFailed):
            one.connect(address_of(other), SOON)


def test_strangers_at_some_addresses_are_not_welcome() -> None:
    asked: list[str] = []

    def refuses(host: str) -> bool:
        asked.append(host)
        return True

    with Quick((HOST, 0)) as one, Quick((HOST, 0), refuses=refuses) as other:
        with pytest.raises(DialFailed, match="no answer"):
            one.connect(address_of(other), SOON)
        until(lambda: asked)
        assert set(asked) == {HOST}


def test_who_has_gone_again_before_being_accepted() -> None:
    with sockets() as (one, other):
        stream = one.connect(address_of(other), PATIENCE)
        stream.sendall(b"hello")
        until(lambda: other._multiplexer.accepted and other._multiplexer.accepted[0].readable)
        stream.abort()
        until(lambda: other._multiplexer.accepted[0].error)
        accepted = other.accept(0)
        assert read(accepted, 5) == b"hello"
        with pytest.raises(ConnectionLost, match="reset"):
            accepted.recv(1, timeout=PATIENCE)


# --- other datagrams ---
def test_other_datagrams_go_to_handlers_which_may_answer() -> None:
    with silent() as stranger, Quick((HOST, 0)) as sock:

        def echo(data: bytes, address: Address) -> bool:
            sock.send_datagram(data.upper(), address)
            return data != b"not for me"

        sock.add_handler(echo)
        for data in (b"ping", b"not for me"):
            stranger.sendto(data, address_of(sock))
            assert stranger.recv(100) == data.upper()
        until(lambda: sock.counters == {"handled": 1, "malformed": 1})
        sock.remove_handler(echo)
        stranger.sendto(b"ping", address_of(sock))
        until(lambda: sock.counters["malformed"] == 2)


def test_datagrams_and_connections_share_the_port() -> None:
    with silent() as stranger, sockets() as (one, other):
        dialled, accepted = join(one, other)
        for data, address, error in (
            (b"x", (HOST, 99999), ValueError),
            (b"x", ("nosuch.example", 9), ValueError),
            ("text", (HOST, 9), TypeError),
            (b"x", HOST, TypeError),
        ):
            with pytest.raises(error):
                one.send_datagram(data, address)  # type: ignore[arg-type]
        one.send_datagram(b"punch", stranger.getsockname())
        data, address = stranger.recvfrom(100)
        assert (data, address) == (b"punch", one.local_address)
        dialled.sendall(b"stream")
        assert read(accepted, 6) == b"stream"


def test_a_stray_is_answered_with_a_reset_from_the_same_port() -> None:
    with silent() as stranger, Quick((HOST, 0)) as sock:
        stranger.sendto(encode(Packet(PacketType.DATA, 5, 0, 0, 0, 6, 7)), address_of(sock))
        data, address = stranger.recvfrom(100)
        assert address == sock.local_address
        answer = decode(data)
        assert (answer.type, answer.connection_id, answer.ack_nr) == (PacketType.RESET, 5, 6)
