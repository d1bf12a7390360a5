"""`crust.reach.dial_back.service`: whom we dial for others, and what they get to hear; no network, no clock."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from crust import Endpoint, PeerId
from crust.connecting.notices import Inbox
from crust.reach.dial_back import service as dial_back_service
from crust.reach.dial_back.errand import DialBackErrand, DialledBack
from crust.reach.dial_back.gate import ASKER_BURST, DIAL_BACK_PAYMENT, OWN_HOST_BURST, VICTIM_BURST
from crust.reach.dial_back.notes import Answer, Bill, Payment, Request, Result, payments
from crust.reach.dial_back.service import MAX_DIAL_BACKS, PAYMENT_SECONDS, DialBackService
from crust.threads.timers import Timers
from tests.hand_clock import HandClock
from tests.reach.dial_back.peers import Line
from tests.streams import node

HOST, VICTIM = "198.51.100.7", "192.0.2.66"
FREE, FREE_UTP = Endpoint.tcp((HOST, 5483)), Endpoint.utp((HOST, 5483))
PAID, PAID_UTP, PAID_TOO = Endpoint.tcp((VICTIM, 5483)), Endpoint.utp((VICTIM, 5483)), Endpoint.tcp((VICTIM, 5484))
NEVER = Endpoint.tcp("10.0.0.1:5483")


class Bench:
    """A service whose errands only begin: how they end, and what time it is, the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        monkeypatch.setattr(dial_back_service, "now", self.clock)
        monkeypatch.setattr(dial_back_service, "WorkerPool", lambda *_: self)
        self.timers = Timers()
        self.errands: list[DialBackErrand] = []
        monkeypatch.setattr(DialBackErrand, "run", lambda errand, *_: self.errands.append(errand))
        self.refused: set[str] = set()
        self.error: RuntimeError | None = None
        self.service = DialBackService(
            node(), Inbox(), self.timers, lambda endpoint: endpoint.host in self.refused, lambda: ["203.0.113.5/24"]
        )
        self._lines = 0

    # The pool's part.

    def submit(self, job: Callable[[], None]) -> bool:
        """Begin an errand."""
        if self.error is not None:
            raise self.error
        job()
        return True

    def close(self) -> list[Any]:
        """Nothing waits."""
        return []

    # The test's part.

    def line(self, host: str = HOST) -> Any:
        """One more peer."""
        self._lines += 1
        return Line(f"tcp://{host}:40000", PeerId(self._lines.to_bytes(32)))

    def ask(self, line: Any, *endpoints: Endpoint, number: int = 7) -> None:
        """A peer asks."""
        self.service.asked(line, Request(number, endpoints))

    def pay(self, line: Any, bill: Bill) -> None:
        """It pays."""
        for payment in payments(bill):
            self.service.paid(line, payment)

    def end(self, errand: DialBackErrand, result: Result = Result.REACHABLE) -> list[Endpoint]:
        """All dials of an errand have ended; what they were."""
        dialled = [e for e, known in zip(errand.request.endpoints, errand.results, strict=True) if known is None]
        errand.results = [known or result for known in errand.results]
        self.service.done(DialledBack(errand))
        return dialled

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.time += seconds
        self.timers.run_due(self.clock.time)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def words(line: Any) -> list[str]:
    """The one answer that a peer got."""
    (answer,) = line.take()
    assert isinstance(answer, Answer)
    assert answer.number == 7
    return [result.value for result in answer.results]


def test_where_we_see_them_is_dialled_at_once(bench: Bench) -> None:
    line = bench.line()
    bench.ask(line, FREE, NEVER, FREE_UTP)
    assert not line.take()
    (errand,) = bench.errands
    assert bench.end(errand) == [FREE, FREE_UTP]
    assert words(line) == ["reachable", "refused", "reachable"]


def test_elsewhere_when_it_is_paid_to_the_last_byte(bench: Bench) -> None:
    line = bench.line()
    bench.ask(line, FREE, PAID)
    (bill,) = line.take()
    assert bill == Bill(7, DIAL_BACK_PAYMENT)
    *most, last = payments(bill)
    for payment in most:
        bench.service.paid(line, payment)
    bench.service.paid(line, Payment(8, 3000))
    bench.service.paid(line, last._replace(size=last.size - 1))
    assert not bench.errands
    bench.service.paid(line, Payment(7, 1))
    assert bench.end(bench.errands[0], Result.UNREACHABLE) == [FREE, PAID]
    assert words(line) == ["unreachable", "unreachable"]


def test_two_at_most_can_be_paid_for(bench: Bench) -> None:
    line = bench.line()
    bench.ask(line, PAID, PAID_TOO, FREE, PAID_UTP)
    (bill,) = line.take()
    assert bill == Bill(7, 2 * DIAL_BACK_PAYMENT)
    bench.pay(line, bill)
    assert bench.end(bench.errands[0]) == [PAID, PAID_TOO, FREE]
    assert words(line) == ["reachable", "reachable", "reachable", "not tried"]


def test_what_is_not_paid_in_time_is_not_tried_and_the_rest_is(bench: Bench) -> None:
    line = bench.line()
    bench.ask(line, PAID, FREE)
    line.take()
    bench.wait(PAYMENT_SECONDS)
    assert bench.end(bench.errands[0]) == [FREE]
    assert words(line) == ["not tried", "reachable"]
    bench.service.paid(line, Payment(7, 3000))
    assert len(bench.errands) == 1


def test_payments_that_nobody_asked_for(bench: Bench) -> None:
    line = bench.line()
    bench.service.paid(line, Payment(7, 3000))
    assert not line.take()


def test_the_blacklist_goes_first(bench: Bench) -> None:
    line = bench.line()
    bench.refused = {VICTIM, HOST}
    bench.ask(line, PAID, FREE)
    assert words(line) == ["refused", "refused"]


def test_one_request_at_a_time(bench: Bench) -> None:
    line = bench.line()
    bench.ask(line, FREE)
    bench.ask(line, FREE_UTP)
    assert words(line) == ["not tried"]
    debtor = bench.line()
    bench.ask(debtor, PAID)
    debtor.take()
    bench.ask(debtor, FREE)
    assert words(debtor) == ["not tried"]
    assert len(bench.errands) == 1


def test_a_peer_that_asks_too_often(bench: Bench) -> None:
    line = bench.line()
    for _ in range(ASKER_BURST):
        bench.ask(line, FREE)
        bench.end(bench.errands.pop())
        assert words(line) == ["reachable"]
    bench.ask(line, FREE)
    assert words(line) == ["not tried"]
    assert not bench.errands


def test_peers_of_one_host_share_what_it_may_have(bench: Bench) -> None:
    dialled = 0
    for number in range(40):
        line = bench.line()
        bench.ask(line, Endpoint.tcp((HOST, 1024 + number)))
        for errand in bench.errands:
            dialled += len(bench.end(errand))
        bench.errands.clear()
        assert words(line)[0] in ("reachable", "not tried")
    assert dialled == OWN_HOST_BURST


def test_one_victim_and_a_crowd_that_pays(bench: Bench) -> None:
    """Each from a host of its own; the whole way, from the request to the dial."""
    dialled: Counter[str] = Counter()
    for number in range(100):
        line = bench.line(f"198.51.{number}.1")
        bench.ask(line, Endpoint.tcp((VICTIM, 1024 + number)), Endpoint.utp((VICTIM, 1024 + number)))
        for note in line.take():
            if isinstance(note, Bill):
                bench.pay(line, note)
        for errand in bench.errands:
            dialled.update(endpoint.host for endpoint in bench.end(errand))
        bench.errands.clear()
    assert dialled == {VICTIM: VICTIM_BURST}


def test_when_busy(bench: Bench) -> None:
    lines = [bench.line(f"198.51.{number}.1") for number in range(MAX_DIAL_BACKS + 1)]
    debtor = bench.line()
    bench.ask(debtor, PAID)
    (bill,) = debtor.take()
    for line in lines:
        bench.ask(line, Endpoint.tcp((line.endpoint.host, 5483)))
    assert len(bench.errands) == MAX_DIAL_BACKS
    assert words(lines[-1]) == ["not tried"]
    bench.pay(debtor, bill)
    assert words(debtor) == ["not tried"]
    bench.end(bench.errands[0])
    bench.ask(lines[-1], Endpoint.tcp((lines[-1].endpoint.host, 5483)))
    assert len(bench.errands) == MAX_DIAL_BACKS + 1


def test_whoever_goes_is_not_dialled_for_and_not_told(bench: Bench) -> None:
    line, debtor = bench.line(), bench.line()
    bench.ask(line, FREE)
    bench.ask(debtor, PAID)
    debtor.take()
    bench.service.went(line)
    bench.service.went(debtor)
    assert bench.errands[0]._grip.aborted.is_set()
    bench.wait(PAYMENT_SECONDS)
    assert len(bench.errands) == 1
    bench.end(bench.errands[0])
    assert not debtor.take()


def test_without_threads(bench: Bench) -> None:
    line = bench.line()
    bench.error = RuntimeError("can't start new thread")
    bench.ask(line, FREE, NEVER)
    assert words(line) == ["not tried", "refused"]


def test_the_end(bench: Bench) -> None:
    line, debtor = bench.line(), bench.line()
    bench.ask(line, FREE)
    bench.ask(debtor, PAID)
    debtor.take()
    bench.service.stop()
    assert bench.errands[0]._grip.aborted.is_set()
    assert bench.timers.next_deadline() is None
    bench.ask(bench.line("198.51.99.1"), Endpoint.tcp("198.51.99.1:5483"))
    assert len(bench.errands) == 1
