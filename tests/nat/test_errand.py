"""`crust.nat.errand`: surveys and hole punching on real ports of uTP, on loopback."""

import queue
import socket
import threading
from collections.abc import Callable

import pytest

from crust.nat import errand, errand_thread, punch_plan
from crust.nat.behaviour import Mapping
from crust.nat.errand import Errand
from crust.nat.punch import Opened, Punch
from crust.nat.punch_packet import NO_TOKEN, Probe, ProbeKind, PunchSeal
from crust.nat.punch_plan import Method, Plan, Target
from crust.nat.stun_responder import StunResponder
from crust.nat.stun_server import StunServer
from crust.nat.survey import Survey
from crust.threads import clock
from crust.transport.utp import UtpSocket

PATIENCE = 20.0  # seconds
KEY = bytes(32)


class Done:
    """Waits for the end of an errand."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __call__(self) -> None:
        self._queue.put(threading.current_thread().name)

    def wait(self) -> None:
        assert self._queue.get(timeout=PATIENCE) == "crust-errand"

    @property
    def called(self) -> bool:
        return not self._queue.empty()


def probing(port: UtpSocket, to: UtpSocket, chooses: bool) -> tuple[Punch, Done, Errand]:
    plan = Plan(Method.PROBE, (Target(to.local_address[:2], 2**16),), 8.0)
    done, punch = Done(), Punch(plan, PunchSeal(KEY, chooses), chooses, clock.now())
    return punch, done, Errand({4: port}, punch, done)


def test_a_path_is_opened_and_utp_meets_on_it() -> None:
    with UtpSocket(("127.0.0.1", 0)) as one, UtpSocket(("127.0.0.1", 0)) as two:
        first, first_done, errand_one = probing(one, two, True)
        second, second_done, errand_two = probing(two, one, False)
        first_done.wait()
        second_done.wait()
        assert first.opened == Opened(two.local_address[:2], 0)
        assert second.opened == Opened(one.local_address[:2], 0)
        ends = []
        thread = threading.Thread(target=lambda: ends.append(two.rendezvous(second.opened.address)))
        thread.start()
        ends.append(one.rendezvous(first.opened.address))
        thread.join(PATIENCE)
        ends[0].sendall(b"we have met")
        ends[1].sendall(b"we have met")
        assert [end.recv(100) for end in ends] == [b"we have met"] * 2
        for each in (errand_one, errand_two):
            each.stop()


def test_a_survey() -> None:
    with UtpSocket(("127.0.0.1", 0)) as port, UtpSocket(("127.0.0.1", 0)) as server:
        server.add_handler(StunResponder(StunServer(), server.send_datagram))
        done = Done()
        survey = Survey([server.local_address[:2]], {"127.0.0.1"}, port.local_address[1], clock.now())
        running = Errand({4: port}, survey, done, linger=0.0)
        done.wait()
        assert survey.findings is not None
        assert survey.findings.behaviour.mapping is Mapping.NONE
        assert [seen for _, seen in survey.findings.sightings] == [port.local_address[:2]]
        running.stop()


def test_it_can_be_stopped_at_any_moment() -> None:
    with UtpSocket(("127.0.0.1", 0)) as port, UtpSocket(("127.0.0.1", 0)) as silent:
        _, done, running = probing(port, silent, True)
        running.stop(PATIENCE)
        running.stop(PATIENCE)
        assert not done.called
        assert not port._multiplexer.handlers


def test_one_of_many_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a NAT that lets in what was sent to one of them only; then its port can be bound again."""
    monkeypatch.setattr(punch_plan, "BIRTHDAY_SOCKETS", 8)
    with UtpSocket(("127.0.0.1", 0)) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(PATIENCE)
        plan = Plan(Method.OPEN_MANY, (), 38.0, peer.getsockname())
        done, punch = Done(), Punch(plan, PunchSeal(KEY, True), True, clock.now())
        running = Errand({4: port}, punch, done)
        seal, ways = PunchSeal(KEY, False), {}
        while len(ways) < 8:
            data, source = peer.recvfrom(100)
            probe = seal.open(data)
            assert probe is not None
            ways[probe.socket] = source
        assert ways[0] == port.local_address[:2]
        answer(peer, seal, ways[5], probe.token, ProbeKind.PROBE)
        answer(peer, seal, ways[5], probe.token, ProbeKind.AGREED)
        done.wait()
        assert punch.opened == Opened(peer.getsockname(), 5)
        assert running.local_port(5) == ways[5][1]
        assert running.local_port(99) is None
        running.stop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("0.0.0.0", ways[5][1]))


def answer(peer: socket.socket, seal: PunchSeal, to: tuple[str, int], token: bytes, kind: ProbeKind) -> None:
    peer.sendto(seal.close(Probe(kind, 0, int(kind), b"theirs!!", token or NO_TOKEN)), to)


def test_the_ttl_is_that_of_one_datagram() -> None:
    """Also over IPv6."""
    for family, host, version, level, option in (
        (socket.AF_INET, "127.0.0.1", 4, socket.IPPROTO_IP, socket.IP_TTL),
        (socket.AF_INET6, "::1", 6, socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
    ):
        with socket.socket(family, socket.SOCK_DGRAM) as sock, socket.socket(family, socket.SOCK_DGRAM) as target:
            try:
                target.bind((host, 0))
            except OSError as error:
                pytest.skip(f"{host} cannot be used: {error}; switch IPv6 on")
            target.settimeout(PATIENCE)
            usual = sock.getsockopt(level, option)
            errand._send_with_ttl(sock, version, errand.Outgoing(b"data", target.getsockname()[:2], 1, 3))
            assert target.recv(10) == b"data"
            assert sock.getsockopt(level, option) == usual


def test_what_cannot_be_sent_is_lost_like_any_datagram() -> None:
    """To a family without a port, or to where there is no way."""
    with UtpSocket(("127.0.0.1", 0)) as port:
        targets = (Target(("2001:db8::1", 9), 9), Target(("255.255.255.255", 9), 9))
        plan = Plan(Method.OPEN_MANY, targets, 38.0, ("255.255.255.255", 9))
        running = Errand({4: port}, Punch(plan, PunchSeal(KEY, True), True, clock.now()), Done())
        wait_until(lambda: running.local_port(3) is not None)
        running.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = clock.Deadline(PATIENCE)
    waiting = threading.Event()
    while not condition():
        assert not deadline.expired
        waiting.wait(0.01)


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(errand_thread, "start_thread", refuse)
    with UtpSocket(("127.0.0.1", 0)) as port:
        with pytest.raises(RuntimeError):
            Errand({4: port}, Survey([], (), 1, 0.0), Done())
        assert not port._multiplexer.handlers
