"""The thread of a UDP port: it sleeps when nothing is due, sends later what the kernel refused, and leaves nothing."""

import errno
import sys
import threading
from collections.abc import Callable

import pytest

from crust.errors import ConnectionLost
from crust.transport.utp import UtpSocket, udp_port
from tests.together import PATIENCE, Running, until
from tests.transport.utp.loopback import HOST, Quick, join, read, sockets
from tests.transport.utp.test_utp_socket import free_port, silent
from tests.transport.utp.udp import make_fail


def test_an_idle_socket_sleeps_until_the_next_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with sockets() as (one, other):
        pauses: list[float | None] = []
        for sock in (one, other):
            select = sock._selector.select

            def watch(
                timeout: float | None = None, select: Callable[[float | None], object] = select, sock: UtpSocket = sock
            ) -> object:
                pauses.append(timeout)
                return select(timeout)

            monkeypatch.setattr(sock._selector, "select", watch)
        dialled, accepted = join(one, other)
        dialled.sendall(b"hello")
        read(accepted, 5)
        # The keep-alive after 29 seconds is next; before it, acknowledgements and time-outs had to be gone.
        until(lambda: len(pauses) > 1 and all(each is None or each > 5 for each in pauses[-2:]))
        assert len(pauses) < 100


def test_what_the_kernel_does_not_take_now_is_sent_later() -> None:
    with sockets() as (one, other):
        dialled, accepted = join(one, other)
        for name in ("sendto", "sendmsg"):
            make_fail(one._datagrams, **{name: [OSError(errno.EAGAIN, "full")] * 3})
        dialled.sendall(b"x" * 100_000, timeout=PATIENCE)
        assert read(accepted, 100_000) == b"x" * 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has segmentation offload")
def test_there_are_far_fewer_system_calls_than_packets() -> None:
    with sockets() as (one, other):
        if not one._datagrams.offload:
            pytest.skip("this kernel has no UDP_SEGMENT: Linux 4.18 or newer is needed")
        dialled, accepted = join(one, other)
        sending = Running(dialled.sendall, bytes(8 << 20), timeout=PATIENCE)
        read(accepted, 8 << 20)
        sending.result()
        counters = one.datagram_counters
        assert counters["sent"] > 5000
        assert counters["send_calls"] * 5 < counters["sent"]
        assert other.datagram_counters["received"] > 5000


def test_the_thread_has_a_name_and_ends() -> None:
    before = threading.active_count()
    sock = Quick((HOST, 0), name="utp of the test")
    assert "crust-utp of the test" in {thread.name for thread in threading.enumerate()}
    sock.close()
    assert threading.active_count() == before
    assert sock._datagrams.closed


def test_a_crash_of_the_thread_hangs_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(now: float) -> None:
        raise ZeroDivisionError

    with sockets() as (one, other):
        dialled, accepted = join(one, other)
        reading, accepting = Running(accepted.recv, 10), Running(other.accept)
        until(lambda: accepted._readers)
        monkeypatch.setattr(other._multiplexer, "tick", broken)
        dialled.sendall(b"x")
        assert reading.result() == b"x"
        with pytest.raises(ConnectionLost, match="has crashed"):
            accepted.recv(10)
        with pytest.raises(ConnectionLost, match="the socket was closed"):
            accepting.result()
        other.close(PATIENCE)
    assert "crashed; please report this" in caplog.text


def test_where_no_thread_can_be_made_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(udp_port, "start_thread", fail)
    port = free_port()
    with pytest.raises(RuntimeError):
        UtpSocket((HOST, port))
    with silent():
        pass
    monkeypatch.undo()
    Quick((HOST, port)).close()
