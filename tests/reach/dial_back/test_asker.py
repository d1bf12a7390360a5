"""`crust.reach.dial_back.asker`: whom we ask, when, and what we make of it; no network, no clock."""

import random
from typing import Any

import pytest

from crust import Endpoint
from crust.reach.dial_back import asker as dial_back_asker
from crust.reach.dial_back.asker import (
    ANSWER_SECONDS,
    ASK_BURST,
    ASK_DELAY,
    ASK_INTERVAL,
    MAX_REMEMBERED,
    DialBackAsker,
)
from crust.reach.dial_back.notes import MAX_ASKED_ABOUT, MAX_BILL, Answer, Bill, Payment, Request, Result
from crust.reach.dial_back.voices import REFRESH_INTERVAL, VOICE_LIFETIME
from crust.threads.timers import Timers
from tests.hand_clock import HandClock
from tests.reach.dial_back.peers import Line

HERE, UTP_HERE = Endpoint.tcp("203.0.113.7:5483"), Endpoint.utp("203.0.113.7:5483")
YES, NO = Result.REACHABLE, Result.UNREACHABLE


class Bench:
    """An asker whose time and peers are the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        monkeypatch.setattr(dial_back_asker, "now", self.clock)
        self.timers = Timers()
        self.changes: list[dict[Endpoint, bool | None]] = []
        self.preferred: set[Any] = set()
        self.asker = DialBackAsker(
            self.timers,
            lambda: self.changes.append(self.asker.verdicts()),
            lambda connection: connection in self.preferred,
            random.Random(1),
        )

    def line(self, number: int, scheme: str = "tcp") -> Any:
        """A peer in the network of that number has come."""
        line = Line(f"{scheme}://198.51.{number}.1:5483")
        self.asker.came(line)  # type: ignore[arg-type]
        return line

    def wait(self, seconds: float = ASK_DELAY) -> None:
        """Time passes, timer by timer."""
        until = self.clock.time + seconds
        while (due := self.timers.next_deadline()) is not None and due <= until:
            self.clock.time = max(due, self.clock.time)
            self.timers.run_due(self.clock.time)
        self.clock.time = until

    def tell(self, line: Any, *results: Result) -> None:
        """A peer answers what it was asked last."""
        (request,) = line.take()
        self.asker.told(line, Answer(request.number, results))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def asked(lines: list[Any]) -> list[Any]:
    """Those that were asked something."""
    return [line for line in lines if line.sent]


def test_three_networks_are_asked_and_the_majority_counts(bench: Bench) -> None:
    lines = [bench.line(number) for number in range(6)]
    bench.asker.claim([HERE, UTP_HERE])
    assert not asked(lines), "not at once: more may come"
    bench.wait()
    chosen = asked(lines)
    assert len(chosen) == 3
    assert all(line.sent[0].endpoints == (HERE, UTP_HERE) for line in chosen)
    bench.changes.clear()
    bench.tell(chosen[0], NO, YES)
    assert bench.asker.verdicts() == {HERE: False, UTP_HERE: None}, "a yes counts when those who try are back"
    bench.tell(chosen[1], YES, NO)
    bench.tell(chosen[2], YES, Result.NOT_TRIED)
    assert bench.asker.verdicts() == {HERE: True, UTP_HERE: None}
    assert bench.asker.verdict(HERE) is True
    assert bench.changes[-1] == bench.asker.verdicts()
    bench.wait()
    (another,) = asked(lines)
    assert another.sent[0].endpoints == (UTP_HERE,), "what nobody could try is asked of somebody else"
    bench.tell(another, YES)
    assert bench.asker.verdicts() == {HERE: True, UTP_HERE: True}
    bench.wait(REFRESH_INTERVAL / 2)
    assert not asked(lines)


def test_one_network_is_asked_once_however_many_peers_are_there(bench: Bench) -> None:
    lines = [Line(f"tcp://198.51.1.{number}:5483") for number in range(1, 200)]
    for line in lines:
        bench.asker.came(line)  # type: ignore[arg-type]
    bench.asker.claim([HERE])
    bench.wait(60.0)
    (first,) = asked(lines)
    bench.tell(first, Result.NOT_TRIED)
    bench.wait(60.0)
    assert not asked(lines)


def test_a_peer_that_comes_later_is_asked_if_voices_are_missing(bench: Bench) -> None:
    bench.asker.claim([HERE])
    bench.wait()
    lines = []
    for number in range(4):
        lines.append(bench.line(number))
        bench.wait()
        if lines[-1].sent:
            bench.tell(lines[-1], YES)
    assert bench.asker.verdict(HERE) is True
    assert not lines[3].sent
    assert len(bench.changes) == 2, "claimed, and verified"


def test_every_half_hour_again_and_nothing_between(bench: Bench) -> None:
    lines = [bench.line(number) for number in range(3)]
    bench.asker.claim([HERE])
    bench.wait()
    for line in lines:
        bench.tell(line, YES)
    fired = 0
    for _ in range(8):
        bench.wait(REFRESH_INTERVAL + ASK_DELAY)
        fired += len(asked(lines))
        for line in asked(lines):
            bench.tell(line, YES)
    assert fired == 8 * 3
    assert bench.asker.verdict(HERE) is True


def test_without_peers_a_verdict_lapses(bench: Bench) -> None:
    line = bench.line(1)
    bench.asker.claim([HERE])
    bench.wait()
    bench.tell(line, YES)
    bench.asker.went(line)
    bench.wait(VOICE_LIFETIME)
    bench.wait(0.0)
    assert bench.changes[-1] == {HERE: None}


def test_without_claims_nothing_is_ever_due(bench: Bench) -> None:
    lines = [bench.line(number) for number in range(3)]
    bench.asker.claim([])
    bench.wait(10 * REFRESH_INTERVAL)
    assert not asked(lines)
    assert bench.timers.next_deadline() is None


def test_preferred_peers_come_first_and_tcp_before_utp(bench: Bench) -> None:
    over_utp = [bench.line(number, "utp") for number in range(10)]
    over_tcp = [bench.line(number) for number in range(10, 12)]
    bench.preferred = {over_utp[7]}
    bench.asker.claim([UTP_HERE])
    bench.wait()
    assert asked(over_utp + over_tcp) == [over_utp[7], *over_tcp]


@pytest.mark.parametrize(
    ("mine", "peer", "suits"),
    [
        ("tcp://203.0.113.7:1", "tcp://198.51.100.7:1", True),
        ("tcp://203.0.113.7:1", "tcp://203.0.113.99:1", False),  # our own network, or a NAT in front of both
        ("tcp://203.0.113.7:1", "tcp://192.168.1.9:1", False),  # on our side of the NAT
        ("tcp://203.0.113.7:1", "tcp://127.0.0.1:1", False),
        ("tcp://203.0.113.7:1", "tcp://[2001:db8::7]:1", True),  # for bytes
        ("tcp://192.168.1.7:1", "tcp://192.168.1.9:1", True),
        ("tcp://192.168.1.7:1", "tcp://198.51.100.7:1", False),
        ("tcp://192.168.1.7:1", "tcp://127.0.0.1:1", False),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", True),
        ("tcp://127.0.0.1:1", "tcp://192.168.1.9:1", False),
        ("tcp://[2001:db8:1::7]:1", "tcp://[2001:db8:1::9]:1", False),
    ],
)
def test_who_can_say_something(bench: Bench, mine: str, peer: str, suits: bool) -> None:
    line: Any = Line(peer)
    bench.asker.came(line)
    bench.asker.claim([Endpoint.parse(mine)])
    bench.wait()
    assert bool(line.sent) is suits


def test_bytes_are_paid_once_and_not_more_than_so_many(bench: Bench) -> None:
    line = bench.line(1)
    bench.asker.claim([HERE])
    bench.wait()
    (request,) = line.take()
    bench.asker.billed(line, Bill(request.number + 1, 5000))
    assert not line.take(), "that is not what we asked"
    bench.asker.billed(line, Bill(request.number, 5000))
    assert sum(payment.size for payment in line.sent if isinstance(payment, Payment)) == 5000
    line.take()
    bench.asker.billed(line, Bill(request.number, 5000))
    assert not line.take()
    bench.asker.told(line, Answer(request.number, (YES,)))
    assert bench.asker.verdict(HERE) is True
    bench.asker.billed(line, Bill(request.number, 5000))
    assert not line.take(), "nobody is paid for nothing"


def test_usury(bench: Bench) -> None:
    line = bench.line(1)
    bench.asker.claim([HERE])
    bench.wait()
    (request,) = line.take()
    bench.asker.billed(line, Bill(request.number, MAX_BILL + 1))
    assert not line.take()


def test_answers_to_what_was_not_asked(bench: Bench) -> None:
    line, other = bench.line(1), bench.line(2)
    bench.asker.claim([HERE])
    bench.wait()
    (request,) = line.sent
    (others_request,) = other.take()
    bench.asker.told(line, Answer(request.number + 77, (YES,)))
    bench.asker.told(line, Answer(request.number, (YES, YES)))
    bench.asker.told(other, Answer(request.number, (YES,)))
    bench.asker.told(Line("tcp://192.0.2.9:1"), Answer(request.number, (YES,)))  # type: ignore[arg-type]
    assert bench.asker.verdict(HERE) is None
    bench.tell(line, YES)
    bench.asker.told(line, Answer(request.number, (NO,)))
    assert bench.asker.verdict(HERE) is None, "the other one may still try"
    bench.asker.told(other, Answer(others_request.number, (NO,)))
    assert bench.asker.verdict(HERE) is None, "one answer to one question: a yes, and the other's no"


def test_an_answer_about_what_we_gave_up(bench: Bench) -> None:
    line = bench.line(1)
    bench.asker.claim([HERE])
    bench.wait()
    bench.asker.claim([UTP_HERE])
    bench.tell(line, YES)
    assert bench.asker.verdicts() == {UTP_HERE: None}
    bench.wait()
    assert line.sent[0].endpoints == (UTP_HERE,)


def test_silence_and_departure_let_others_have_the_question(bench: Bench) -> None:
    lines = [bench.line(number) for number in range(5)]
    bench.asker.claim([HERE])
    bench.wait()
    first = asked(lines)
    assert len(first) == 3
    bench.asker.went(first[0])
    bench.wait()
    assert len(asked(lines)) == 4
    bench.wait(ANSWER_SECONDS)
    assert len(asked(lines)) == 5
    assert all(len(line.sent) == 1 for line in lines)


def test_endpoints_that_change_all_the_time_do_not_make_us_ask_all_the_time(bench: Bench) -> None:
    """A NAT may show another port each minute."""
    lines = [bench.line(number) for number in range(100)]
    minutes, requests = 120, 0
    for port in range(1024, 1024 + minutes):
        bench.asker.claim([Endpoint.tcp(("203.0.113.7", port))])
        bench.wait(60.0)
        requests += sum(len(line.sent) for line in lines)
        for line in asked(lines):
            bench.tell(line, YES)
    assert minutes * 60 / ASK_INTERVAL <= requests <= ASK_BURST + minutes * 60 / ASK_INTERVAL + 1
    assert len(bench.asker._asked) <= MAX_REMEMBERED


def test_not_more_than_fit_in_a_request(bench: Bench) -> None:
    line = bench.line(1)
    claims = [Endpoint.tcp(("203.0.113.7", port)) for port in range(1, 10)]
    bench.asker.claim(claims)
    about: list[Endpoint] = []
    for _ in range(3):
        bench.wait()
        (request,) = line.sent
        assert isinstance(request, Request)
        assert len(request.endpoints) <= MAX_ASKED_ABOUT
        about += request.endpoints
        bench.tell(line, *[NO] * len(request.endpoints))
    assert about == claims, "the most important first"
    assert set(bench.asker.verdicts().values()) == {False}


def test_the_end(bench: Bench) -> None:
    lines = [bench.line(number) for number in range(3)]
    bench.asker.claim([HERE])
    bench.wait()
    bench.asker.stop()
    assert bench.timers.next_deadline() is None
    bench.tell(lines[0], YES)
    bench.asker.went(lines[1])
    bench.asker.claim([UTP_HERE])
    assert bench.timers.next_deadline() is None
