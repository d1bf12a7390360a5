"""`crust.nat.tcp_punch`: the attempts, one clock, and no sockets; and in a model of TCP behind NATs."""

from crust.endpoint import Address
from crust.nat import tcp_punch
from crust.nat.behaviour import Allocation, Behaviour, Mapping
from crust.nat.tcp_punch import Dial, Outcome, TcpPunch, tcp_targets

THERE, ELSEWHERE = ("203.0.113.9", 40000), ("203.0.113.9", 5483)


def refuse_all(punch: TcpPunch, until: float, after: float = 0.0) -> list[float]:
    """Refuse every attempt; when they began."""
    times = []
    while (due := punch.next_deadline()) is not None and due <= until:
        dials = punch.tick(due)
        times += [due] * len(dials)
        for dial in dials:
            punch.ended(dial.number, Outcome.REFUSED, due + after)
    return times


def test_all_are_dialled_at_once() -> None:
    punch = TcpPunch([THERE, ELSEWHERE, THERE], 5.0)
    assert punch.tick(4.9) == []
    assert punch.next_deadline() == 5.0
    assert punch.tick(5.0) == [Dial(0, THERE), Dial(1, ELSEWHERE)]
    assert punch.tick(5.1) == []
    assert punch.next_deadline() == 5.0 + tcp_punch.TCP_PUNCH_SECONDS


def test_a_refusal_is_followed_by_a_fresh_socket() -> None:
    punch = TcpPunch([THERE], 0.0)
    punch.tick(0.0)
    punch.ended(0, Outcome.REFUSED, 0.04)
    assert punch.tick(0.1) == []
    assert punch.tick(0.14) == [Dial(1, THERE)]


def test_attempts_are_bounded() -> None:
    punch = TcpPunch([THERE], 0.0)
    times = refuse_all(punch, 60.0)
    assert len(times) == tcp_punch.TCP_ATTEMPTS
    assert punch.failure == "80 attempts at 1 addresses, 80 of them refused; nobody came through"
    punch = TcpPunch([(f"203.0.113.{number}", 1) for number in range(1, 100)], 0.0)
    assert len(punch.tick(0.0)) == tcp_punch.TCP_SOCKETS


def test_it_ends() -> None:
    punch = TcpPunch([THERE], 0.0)
    punch.tick(0.0)
    assert punch.tick(tcp_punch.TCP_PUNCH_SECONDS) == []
    assert "0 of them refused" in punch.failure
    assert punch.next_deadline() is None
    assert punch.stop() == [0]
    assert punch.stop() == []


def test_where_there_is_no_way_it_is_not_tried_again() -> None:
    punch = TcpPunch([THERE, ELSEWHERE], 0.0)
    punch.tick(0.0)
    punch.ended(0, Outcome.UNREACHABLE, 0.1)
    assert punch.tick(7.0) == []
    assert not punch.failure
    punch.ended(1, Outcome.UNREACHABLE, 7.1)
    punch.tick(7.1)
    assert punch.failure


def test_more_than_one_may_connect() -> None:
    punch = TcpPunch([THERE, ELSEWHERE], 0.0)
    punch.tick(0.0)
    punch.ended(0, Outcome.CONNECTED, 0.1)
    assert punch.tick(0.2) == []
    assert punch.stop() == [1]
    assert punch.next_deadline() is None
    assert punch.tick(100.0) == []
    assert punch.failure == ""


def test_nowhere_to_dial() -> None:
    assert TcpPunch([], 0.0).failure


def test_predicted_ports() -> None:
    counted = Behaviour(Mapping.ENDPOINT_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=2)
    expected: list[Address] = [ELSEWHERE, *((THERE[0], port) for port in (40002, 40004, 40006, 40008))]
    assert tcp_targets([ELSEWHERE, THERE], [THERE], counted) == expected
    assert tcp_targets([ELSEWHERE, THERE], [THERE], Behaviour()) == [ELSEWHERE, THERE]
    seen = [(THERE[0], 40000), (THERE[0], 50000), (THERE[0], 60000)]
    assert len(tcp_targets(seen, seen, counted)) == tcp_punch.TCP_SOCKETS
