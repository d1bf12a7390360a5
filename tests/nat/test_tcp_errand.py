"""`crust.nat.tcp_errand`: hole punching over TCP with real sockets on loopback."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from crust.endpoint import Address
from crust.nat import errand_thread, tcp_errand
from crust.nat.punch_plan import Target
from crust.nat.tcp_dials import Dialling
from crust.nat.tcp_errand import MAX_OPENED, TcpErrand
from crust.nat.tcp_punch import TcpPunch
from crust.threads import clock
from crust.transport.shared_port import can_share
from crust.transport.tcp import listen

PATIENCE = 20.0  # seconds
HOST = "127.0.0.1"
pytestmark = pytest.mark.skipif(not can_share(), reason="this system has no SO_REUSEPORT")


class Side:
    """A node that listens, and punches when it is told to."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.listener = stack.enter_context(closing(listen(HOST, 0)))
        self.listener.settimeout(PATIENCE)
        self.address: Address = self.listener.getsockname()
        self.opened: queue.SimpleQueue[tuple[socket.socket, Address, str]] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.enough = True

    def punch(self, *targets: Address, start: float = 0.0, limit: int = 400, seconds: float = 8.0) -> TcpErrand:
        punch = TcpPunch([Target(address, limit) for address in targets], clock.now() + start, seconds=seconds)
        errand = TcpErrand(
            {4: self.address}, punch, self._opened, lambda: self.done.put(threading.current_thread().name)
        )
        self._stack.callback(errand.stop)
        return errand

    def _opened(self, sock: socket.socket, address: Address) -> bool:
        self._stack.enter_context(sock)
        self.opened.put((sock, address, threading.current_thread().name))
        return self.enough

    def accept(self) -> tuple[socket.socket, Address]:
        sock, address = self.listener.accept()
        return self._stack.enter_context(sock), address

    def wait(self) -> None:
        assert self.done.get(timeout=PATIENCE) == "crust-tcp-punch"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sides(stack: ExitStack) -> tuple[Side, Side]:
    return Side(stack), Side(stack)


def closed_port(stack: ExitStack) -> Address:
    """Where nobody listens, and nobody will: it is bound."""
    sock = stack.enter_context(socket.socket())
    sock.bind((HOST, 0))
    address: Address = sock.getsockname()
    return address


def test_what_connects_is_handed_over(sides: tuple[Side, Side]) -> None:
    one, other = sides
    errand = one.punch(other.address)
    sock, address, thread = one.opened.get(timeout=PATIENCE)
    assert (address, thread) == (other.address, "crust-tcp-punch")
    accepted, source = other.accept()
    assert source == one.address
    sock.settimeout(PATIENCE)
    accepted.sendall(b"hello")
    assert sock.recv(10) == b"hello"
    one.wait()
    assert errand.reasons() == {other.address: "connected, but that connection was not kept"}


def test_a_refusal_is_tried_again_until_somebody_is_there(stack: ExitStack, sides: tuple[Side, Side]) -> None:
    one, _ = sides
    late = stack.enter_context(socket.socket())
    late.bind((HOST, 0))
    errand = one.punch(late.getsockname())
    wait_until(lambda: errand._punch.attempts > 3)
    late.listen()
    assert one.opened.get(timeout=PATIENCE)[1] == late.getsockname()
    one.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, waiting = clock.Deadline(PATIENCE), threading.Event()
    while not condition():
        assert not deadline.expired
        waiting.wait(0.005)


def test_two_that_dial_each_other_have_a_connection(sides: tuple[Side, Side]) -> None:
    """By one of the two listeners, by both, or by a simultaneous open."""
    one, other = sides
    errands = one.punch(other.address, start=0.05), other.punch(one.address, start=0.05)
    wait_until(lambda: not one.opened.empty() or not other.opened.empty())
    for errand in errands:
        errand.cancel()
    wait_until(lambda: not any(errand.running for errand in errands))


def test_others_are_closed_when_one_will_do(stack: ExitStack, sides: tuple[Side, Side], silent: Address) -> None:
    one, other = sides
    errand = one.punch(silent, other.address)
    one.wait()
    assert one.opened.get(timeout=PATIENCE)[1] == other.address
    assert errand._dialling == {}
    assert errand.reasons()[silent].startswith("no answer within 8 s")


@pytest.fixture
def silent(stack: ExitStack) -> Address:
    """A listener whose queue is full: the kernel drops further SYNs."""
    listener = stack.enter_context(socket.socket())
    listener.bind((HOST, 0))
    listener.listen(0)
    address: Address = listener.getsockname()
    for _ in range(2):
        sock = stack.enter_context(socket.socket())
        sock.setblocking(False)
        sock.connect_ex(address)
    return address


def test_not_more_than_a_few_are_handed_over(stack: ExitStack) -> None:
    """Even to one who never has enough."""
    one, others = Side(stack), [Side(stack) for _ in range(MAX_OPENED + 2)]
    one.enough = False
    one.punch(*(other.address for other in others))
    one.wait()
    assert one.opened.qsize() == MAX_OPENED


def test_when_nothing_opens_every_address_has_its_reason(stack: ExitStack, sides: tuple[Side, Side]) -> None:
    nobody, nowhere = closed_port(stack), ("240.0.0.1", 1)
    errand = sides[0].punch(nobody, nowhere, limit=2)
    assert errand.reasons() == {}
    sides[0].wait()
    assert errand.reasons()[nobody].startswith("2 attempts, 2 of them in vain; the last one: refused: ")
    assert errand.reasons()[nowhere]
    assert sides[0].opened.empty()


def test_it_ends_in_time(sides: tuple[Side, Side], silent: Address) -> None:
    errand = sides[0].punch(silent, seconds=0.05)
    sides[0].wait()
    assert errand.reasons() == {silent: "no answer within 0.05 s: a router or firewall drops what we send"}


def test_it_can_be_stopped_at_any_moment(sides: tuple[Side, Side], silent: Address) -> None:
    errand = sides[0].punch(silent, start=5.0)
    errand.stop(PATIENCE)
    errand.stop(PATIENCE)
    assert sides[0].done.empty()
    assert not errand._thread.is_alive()
    errand = sides[0].punch(silent)
    wait_until(lambda: errand._punch.attempts > 0)
    errand.stop(PATIENCE)
    assert sides[0].done.empty()
    assert errand._dialling == {}


def test_a_callback_may_stop_it(sides: tuple[Side, Side]) -> None:
    one, other = sides
    stopped = threading.Event()

    def opened(sock: socket.socket, address: Address) -> bool:
        sock.close()
        errand.stop()
        stopped.set()
        return False

    punch = TcpPunch([Target(other.address, 1)], clock.now() + 0.05)
    errand = TcpErrand({4: one.address}, punch, opened, lambda: one.done.put("done"))
    assert stopped.wait(PATIENCE)
    errand.stop()
    assert one.done.empty()


def test_a_connection_that_breaks_at_once(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Dialling) -> socket.socket:
        self.close()
        raise OSError("gone")

    monkeypatch.setattr(Dialling, "release", broken)
    sides[0].punch(sides[1].address)
    sides[0].wait()
    assert sides[0].opened.empty()


def test_out_of_sockets(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(local: Address | None, to: Address) -> Dialling:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(tcp_errand, "Dialling", broken)
    errand = sides[0].punch(sides[1].address, limit=2)
    sides[0].wait()
    assert errand.reasons() == {sides[1].address: "2 attempts, 2 of them in vain; the last one: too many open files"}


def test_a_family_that_is_not_listened_on_is_told(stack: ExitStack, sides: tuple[Side, Side]) -> None:
    punch = TcpPunch([Target(closed_port(stack), 1)], clock.now())
    errand = TcpErrand({}, punch, lambda sock, address: True, lambda: sides[0].done.put("crust-tcp-punch"))
    sides[0].wait()
    assert "(no port of that family is listened on)" in next(iter(errand.reasons().values()))
    errand.stop()


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(errand_thread, "start_thread", refuse)
    with pytest.raises(RuntimeError):
        TcpErrand({}, TcpPunch([], 0.0), lambda sock, address: True, lambda: None)
