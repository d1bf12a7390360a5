"""`DialBackService`: tries endpoints of peers that ask for it. Belongs to the manager thread."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crust.connecting.negotiate import Node
from crust.connecting.notices import Inbox
from crust.endpoint import Endpoint
from crust.links.connection import Connection
from crust.nat.interfaces import interface_networks
from crust.reach.dial_back.errand import DialBackErrand, DialledBack
from crust.reach.dial_back.gate import DIAL_BACK_PAYMENT, MAX_PAID_DIALS, DialBackGate, Price, price_of
from crust.reach.dial_back.notes import Answer, Bill, Payment, Request, Result
from crust.threads.clock import now
from crust.threads.timers import Timer, Timers
from crust.threads.workers import WorkerPool
from crust.transport.framing import ADDRESS, control_frame

log = logging.getLogger("crust.dial_back")

DIAL_BACK_THREADS: Final = 2
"""That dial for others; a request takes up to 20 s of one."""
MAX_DIAL_BACKS: Final = 8
"""Requests that are dialled or wait for that; others are told so at once."""
PAYMENT_SECONDS: Final = 30.0
"""For a payment to come: 64 KiB over a bad line."""


@dataclass(slots=True)
class _Debt:
    """A request that is not paid yet."""

    request: Request
    prices: list[Price]
    missing: int
    timer: Timer


class DialBackService:
    """See the module's text.

    Args:
        node: for the handshakes.
        inbox: the manager's; `done` is for the `DialledBack` that come there.
        timers: the manager's.
        refuses: whether whoever is at an endpoint is not welcome.
        networks: those of this machine.
    """

    def __init__(
        self,
        node: Node,
        inbox: Inbox,
        timers: Timers,
        refuses: Callable[[Endpoint], bool],
        networks: Callable[[], list[str]] = interface_networks,
    ) -> None:
        self._node = node
        self._inbox = inbox
        self._timers = timers
        self._refuses = refuses
        self._networks = networks
        self._gate = DialBackGate()
        self._pool = WorkerPool("dial-back", DIAL_BACK_THREADS)
        self._debts: dict[Connection, _Debt] = {}
        self._errands: dict[Connection, DialBackErrand] = {}
        self._stopping = False

    def asked(self, connection: Connection, request: Request) -> None:
        """A peer asks; one request of it at a time."""
        moment = now()
        if connection in self._debts or connection in self._errands:
            self._tell(connection, request, [Result.NOT_TRIED] * len(request.endpoints))
            return
        if self._stopping or self._busy or not self._gate.admit_request(connection.peer_id, moment):
            self._tell(connection, request, [Result.NOT_TRIED] * len(request.endpoints))
            return
        prices = self._prices(connection, request)
        if Price.PAID in prices and self._gate.worth_paying(moment):
            self._bill(connection, request, prices)
        else:
            self._begin(connection, request, prices, paid=0)

    @property
    def _busy(self) -> bool:
        return len(self._errands) >= MAX_DIAL_BACKS

    def _prices(self, connection: Connection, request: Request) -> list[Price]:
        networks: list[str] | None = None
        prices = []
        for endpoint in request.endpoints:
            price = Price.NEVER if self._refuses(endpoint) else price_of(endpoint, connection.endpoint.host)
            if price is Price.PAID:  # only then does it matter, and asking the system takes a while
                networks = self._networks() if networks is None else networks
                price = price_of(endpoint, connection.endpoint.host, networks)
            prices.append(price)
        return prices

    def _bill(self, connection: Connection, request: Request, prices: list[Price]) -> None:
        size = DIAL_BACK_PAYMENT * min(prices.count(Price.PAID), MAX_PAID_DIALS)
        timer = self._timers.at(now() + PAYMENT_SECONDS, lambda: self._settle(connection, paid=False))
        self._debts[connection] = _Debt(request, prices, size, timer)
        self._send(connection, Bill(request.number, size).content())

    def paid(self, connection: Connection, payment: Payment) -> None:
        """A peer has sent bytes for its request."""
        debt = self._debts.get(connection)
        if debt is not None and debt.request.number == payment.number:
            debt.missing -= payment.size
            if debt.missing <= 0:
                self._settle(connection, paid=True)

    def _settle(self, connection: Connection, paid: bool) -> None:
        debt = self._debts.pop(connection)
        debt.timer.cancel()
        self._begin(connection, debt.request, debt.prices, MAX_PAID_DIALS if paid else 0)

    def _begin(self, connection: Connection, request: Request, prices: list[Price], paid: int) -> None:
        """Dial what may be dialled, of what has to be paid the first so many; what to say of the rest is clear."""
        full = self._busy
        results: list[Result | None] = []
        for endpoint, price in zip(request.endpoints, prices, strict=True):
            paid -= price is Price.PAID
            if price is Price.NEVER:
                results.append(Result.REFUSED)
            elif full or (price is Price.PAID and paid < 0) or not self._gate.admit_dial(endpoint, price, now()):
                results.append(Result.NOT_TRIED)
            else:
                results.append(None)
        if None in results:
            self._submit(DialBackErrand(connection, request, results))
        else:
            self._tell(connection, request, results)

    def _submit(self, errand: DialBackErrand) -> None:
        try:
            accepted = self._pool.submit(lambda: errand.run(self._node, self._inbox))
        except RuntimeError as error:
            log.error("cannot dial for a peer: %s: raise the limit of threads (ulimit -u)", error)
            accepted = False
        if accepted:
            self._errands[errand.connection] = errand
        else:
            self._tell(errand.connection, errand.request, errand.results)

    def done(self, notice: DialledBack) -> None:
        """An errand is done."""
        errand = notice.errand
        if self._errands.get(errand.connection) is errand:
            del self._errands[errand.connection]
            self._tell(errand.connection, errand.request, errand.results)

    def _tell(self, connection: Connection, request: Request, results: list[Result | None]) -> None:
        told = tuple(result or Result.NOT_TRIED for result in results)
        log.debug("%s: %s", connection.endpoint, dict(zip(map(str, request.endpoints), told, strict=True)))
        self._send(connection, Answer(request.number, told).content())

    def _send(self, connection: Connection, content: dict[str, object]) -> None:
        connection.outbox.put_control(control_frame(ADDRESS, content))

    def went(self, connection: Connection) -> None:
        """A connection is no more: nobody waits for what was asked over it."""
        debt = self._debts.pop(connection, None)
        if debt is not None:
            debt.timer.cancel()
        errand = self._errands.get(connection)
        if errand is not None:
            errand.abort()  # its place is free when it has ended

    def stop(self) -> None:
        """Dial nobody any more; what runs ends."""
        self._stopping = True
        for errand in self._errands.values():
            errand.abort()
        self._pool.close()
        for debt in self._debts.values():
            debt.timer.cancel()
        self._debts.clear()

    def join(self, timeout: float | None) -> bool:
        """Wait for the threads; whether all ended. After `stop`."""
        return self._pool.join(timeout)
