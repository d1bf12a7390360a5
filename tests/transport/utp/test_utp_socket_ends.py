"""The end of a UDP port: whoever is blocked wakes, what was sent arrives, and nobody waits for long."""

import pytest

from crust.errors import ConnectionLost, CrustError, DialFailed
from crust.threads import clock
from crust.transport.utp import UtpSettings, UtpSocket
from tests.together import PATIENCE, Running, until
from tests.transport.test_tcp import has_ipv6
from tests.transport.utp.loopback import HOST, SMALL, SOON, Quick, join, read, sockets
from tests.transport.utp.test_utp_socket import silent


def test_closing_wakes_whoever_is_blocked() -> None:
    with silent() as hole, sockets(settings=SMALL) as (one, other):
        dialled, accepted = join(one, other)
        blocked: list[Running[object]] = [
            Running(accepted.recv, 1, timeout=PATIENCE),
            Running(accepted.sendall, bytes(1 << 20), timeout=PATIENCE),
            Running(other.accept, PATIENCE),
            Running(other.connect, hole.getsockname(), PATIENCE),
        ]
        until(lambda: accepted._readers and accepted._wanted_room and len(other._multiplexer) == 2)
        other.close()
        for each in blocked:
            with pytest.raises(CrustError):
                each.result()
        with pytest.raises(ConnectionLost, match="reset"):
            read(dialled, 1 << 30)


def test_closing_wakes_them_at_once_though_it_waits_for_what_was_written() -> None:
    with silent() as hole, Quick((HOST, 0), settings=SMALL) as other:
        one = UtpSocket((HOST, 0), settings=SMALL)
        dialled, accepted = join(one, other)
        blocked: list[Running[object]] = [
            Running(dialled.recv, 1),
            Running(dialled.sendall, bytes(1 << 20)),
            Running(one.accept),
            Running(one.connect, hole.getsockname(), PATIENCE),
        ]
        until(lambda: dialled._readers and dialled._wanted_room and len(one._multiplexer) == 2)
        closing = Running(one.close, 2 * PATIENCE)
        for each in blocked:
            with pytest.raises((ConnectionLost, DialFailed), match=r"(the connection was ended here|was closed)$"):
                each.result()
        assert not closing.ended, "the peer has read nothing yet"
        assert len(read(accepted, 1 << 21)) >= SMALL.send_buffer
        closing.result()


def test_any_thread_may_close_any_number_of_times() -> None:
    sock = Quick((HOST, 0))
    closing_it = [Running(sock.close) for _ in range(5)]
    for each in closing_it:
        each.result()
    sock.close()
    with pytest.raises(DialFailed, match="the socket was closed"):
        sock.connect((HOST, 9))
    with pytest.raises(ConnectionLost, match="the socket was closed"):
        sock.accept(PATIENCE)
    sock.send_datagram(b"late", (HOST, 9))
    sock.start_accepting(lambda: None)
    sock.stop_accepting()
    assert sock.counters == {}


def test_a_stream_may_be_closed_after_its_socket() -> None:
    with sockets() as (one, other):
        dialled, _ = join(one, other)
        one.close()
        dialled.shutdown()
        dialled.abort()
        dialled.close()
        with pytest.raises(ConnectionLost):
            dialled.recv(1)
        assert dialled.stats().in_flight == 0


def test_closing_waits_until_what_was_sent_has_arrived() -> None:
    with Quick((HOST, 0)) as other:
        one = UtpSocket((HOST, 0))
        dialled, accepted = join(one, other)
        dialled.sendall(b"x" * 500_000)
        one.close(PATIENCE)
        assert read(accepted, 1 << 20) == b"x" * 500_000


def test_closing_waits_no_longer_than_it_was_told() -> None:
    with Quick((HOST, 0), settings=SMALL) as other:
        one = UtpSocket((HOST, 0), settings=UtpSettings())
        dialled, _ = join(one, other)
        dialled.sendall(bytes(100_000))
        start = clock.now()
        one.close(SOON)
        assert clock.now() - start < PATIENCE / 3


def test_closing_does_not_wait_for_dials() -> None:
    with silent() as hole:
        sock = UtpSocket((HOST, 0))
        dialling = Running(sock.connect, hole.getsockname(), PATIENCE)
        until(lambda: len(sock._multiplexer))
        start = clock.now()
        sock.close(PATIENCE)
        assert clock.now() - start < PATIENCE / 3
        with pytest.raises(DialFailed, match="the socket was closed"):
            dialling.result()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")
def test_both_families_may_have_the_same_port() -> None:
    with Quick((HOST, 0)) as four:
        with Quick(("::1", four.local_address[1])) as six:
            stream, accepted = join(six, six)
            stream.sendall(b"to oneself")
            assert read(accepted, 10) == b"to oneself"
