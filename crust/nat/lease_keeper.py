"""`LeaseKeeper`: keeps ports mapped by one router over NAT-PMP or PCP. Pure: datagrams and the time in, datagrams out.

One request is under way at a time: a router at home has a small CPU, and none of the answers is urgent. Asking has the
rhythm of RFC 6886 section 3.1 for both protocols, because the router is one hop away and the next method waits.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from crust.endpoint import Endpoint, Port, Protocol
from crust.errors import Malformed
from crust.nat.gateway_answer import TCP, UDP, Answer, Dialect, Kind, Outcome, Seen
from crust.nat.keeping import (
    ERROR_PAUSE,
    FIRST_WAIT,
    FORGET_PAUSE,
    LEASE,
    MAX_LEASE,
    MIN_RENEWAL,
    NEVER,
    TRIES_ENDING,
    TRIES_KNOWN,
    TRIES_UNKNOWN,
    Status,
)
from crust.nat.mapping_report import Mapping
from crust.nat.pcp import NONCE_SIZE

log = logging.getLogger("crust.nat")

_HOPELESS: Final = (Outcome.REFUSED, Outcome.UNSUPPORTED, Outcome.ANOTHER_NAT, Outcome.NOT_UNDERSTOOD)


@dataclass(slots=True)
class Lease:
    """A port that is to be mapped."""

    port: Port
    nonce: bytes
    external: int
    renew_at: float
    address: str | None = None
    lifetime: int = 0
    expires_at: float = 0.0
    problem: str | None = None
    used: bool = False
    """Whether the router may know of it."""


@dataclass(slots=True)
class _Exchange:
    kind: Kind
    lease: Lease | None
    ending: bool
    request: bytes
    tries: int
    next_at: float
    sent: int = field(default=0)


def transport_of(port: Port) -> int:
    """The number of a port's transport protocol."""
    return UDP if port.protocol is Protocol.UTP else TCP


class LeaseKeeper:
    """See the module's text.

    Args:
        dialect: the protocol.
        local: our address.
        now: seconds.
        nonces: makes random bytes; for tests.
    """

    def __init__(
        self, dialect: Dialect, local: str, now: float, *, nonces: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.method = dialect.method
        self.status = Status.ASKING
        self.reason = ""
        self.worked = False
        self.answered = False
        self.counters: Counter[str] = Counter()
        self._dialect = dialect
        self._local = local
        self._nonces = nonces
        self._leases: dict[Port, Lease] = {}
        self._ending: list[Lease] = []
        self._exchange: _Exchange | None = None
        self._seen: Seen | None = None
        self._address: str | None = None
        self._problem: str | None = None
        self._ask_address_at = now if dialect.ask_address() else NEVER
        self._forgotten_at = -NEVER

    # --- what is wanted ---
    def want(self, ports: Iterable[Port], now: float) -> None:
        """Keep exactly these ports mapped; they have numbers."""
        wanted = set(ports)
        if not wanted and self._exchange is not None and self._exchange.kind is Kind.ADDRESS:
            self._exchange = None
        for port in [port for port in self._leases if port not in wanted]:
            lease = self._leases.pop(port)
            if lease.used:
                self._ending.append(lease)
            if self._exchange is not None and self._exchange.lease is lease:
                self._exchange = None
        for port in sorted(wanted - self._leases.keys()):
            self._leases[port] = Lease(port, self._nonces(NONCE_SIZE), port.port, now)

    def forget(self, now: float) -> None:
        """The router may have forgotten everything: ask for it anew, with the same wishes (RFC 6887 section 14)."""
        if now - self._forgotten_at < FORGET_PAUSE:
            return
        self._forgotten_at = now
        for lease in self._leases.values():
            lease.renew_at = now
        if self._ask_address_at != NEVER:
            self._ask_address_at = now

    # --- the network ---
    def outgoing(self, now: float) -> list[bytes]:
        """Requests to send to the router now."""
        if self.status is Status.FAILED:
            return []
        self._expire(now)
        if self._exchange is None:
            self._exchange = self._next_exchange(now)
        exchange = self._exchange
        if exchange is None or now < exchange.next_at:
            return []
        if exchange.sent == exchange.tries:
            self._silence(exchange)
            return self.outgoing(now)
        exchange.next_at = now + FIRST_WAIT * 2**exchange.sent
        exchange.sent += 1
        self.counters["sent"] += 1
        return [exchange.request]

    def next_deadline(self) -> float:
        """When to call `outgoing` again at the latest."""
        if self.status is Status.FAILED:
            return NEVER
        times = [lease.expires_at for lease in self._leases.values() if lease.lifetime]
        if self._exchange is not None:
            return min([*times, self._exchange.next_at])
        if self._ending:
            return -NEVER
        times += [lease.renew_at for lease in self._leases.values()]
        if self._leases:
            times.append(self._ask_address_at)
        return min(times, default=NEVER)

    def unreachable(self) -> None:
        """The system says that nobody listens there. Believed until there was an answer: ICMP is easily forged."""
        if self.status is Status.ASKING:
            self._fail("does not listen on its port")

    def receive(self, data: bytes, now: float) -> None:
        """A datagram from the router's address and port."""
        try:
            answer = self._dialect.parse(data)
        except Malformed as error:
            self.counters["malformed"] += 1
            log.debug("%s of %s: %s", self.method.value, self._local, error)
            return
        if answer.outcome is Outcome.OTHER_VERSION:
            if self.status is Status.ASKING:
                self._fail(answer.outcome.value)
            return
        self.answered = True
        exchange = self._exchange
        if exchange is None or not _fits(exchange, answer, self._dialect):
            self.counters["unasked"] += 1
            return
        self._exchange = None
        self._take(exchange, answer, now)
        self._check_clock(answer, now)

    # --- what is known ---
    @property
    def external_address(self) -> str | None:
        """The router's address on its other side."""
        known = [lease.address for lease in self._leases.values() if lease.lifetime and lease.address]
        return known[0] if known else self._address

    @property
    def warnings(self) -> list[str]:
        """What the router could not do, in words that go on ``the router``."""
        problems = [f"{lease.problem} ({lease.port})" for lease in self._leases.values() if lease.problem]
        return [*problems, *([self._problem] if self._problem else [])]

    @property
    def settled(self) -> bool:
        """Whether every port has been asked for, with or without success."""
        asked = all(lease.lifetime or lease.problem for lease in self._leases.values())
        return self.status is Status.FAILED or (asked and self._exchange is None and not self._ending)

    def mappings(self) -> list[Mapping]:
        """What the router gave."""
        found = []
        for lease in self._leases.values():
            address = lease.address or self._address
            if lease.lifetime and address is not None:
                external = Endpoint(lease.port.protocol, address, lease.external)
                found.append(Mapping(lease.port, external, float(lease.lifetime)))
        return found

    # --- inside ---
    def _next_exchange(self, now: float) -> _Exchange | None:
        tries = TRIES_KNOWN if self.status is Status.WORKING else TRIES_UNKNOWN
        if self._ending:
            lease = self._ending.pop(0)
            return _Exchange(Kind.MAP, lease, True, self._request(lease, 0), TRIES_ENDING, now)
        if self._leases and now >= self._ask_address_at:
            request = self._dialect.ask_address()
            assert request is not None
            return _Exchange(Kind.ADDRESS, None, False, request, tries, now)
        for lease in self._leases.values():
            if now >= lease.renew_at:
                lease.used = True
                return _Exchange(Kind.MAP, lease, False, self._request(lease, LEASE), tries, now)
        return None

    def _request(self, lease: Lease, lifetime: int) -> bytes:
        transport = transport_of(lease.port)
        return self._dialect.ask_map(transport, lease.port.port, lease.external, lease.address, lifetime, lease.nonce)

    def _silence(self, exchange: _Exchange) -> None:
        self._exchange = None
        if not exchange.ending:
            self._fail("does not answer" if self.status is Status.ASKING else "does not answer any more")

    def _fail(self, reason: str) -> None:
        self.status, self.reason = Status.FAILED, reason
        self._exchange = None
        for lease in self._leases.values():
            lease.lifetime = 0

    def _expire(self, now: float) -> None:
        for lease in self._leases.values():
            if lease.lifetime and now >= lease.expires_at:
                lease.lifetime = 0

    def _take(self, exchange: _Exchange, answer: Answer, now: float) -> None:
        if exchange.ending:
            return
        if exchange.kind is Kind.ADDRESS:
            self._take_address(answer, now)
        elif self.status is Status.ASKING and answer.outcome in _HOPELESS:
            # Only the first answer decides about the method: later the next renewal may bring something better.
            self._fail(answer.outcome.value)
        elif exchange.lease is not None:
            self.status, self.worked = Status.WORKING, True
            self._take_mapping(exchange.lease, answer, now)

    def _take_address(self, answer: Answer, now: float) -> None:
        good = answer.outcome is Outcome.OK
        self._problem = None if good else answer.outcome.value
        if good:
            self._address = answer.address
        self._ask_address_at = now + (LEASE / 2 if good else ERROR_PAUSE)

    def _take_mapping(self, lease: Lease, answer: Answer, now: float) -> None:
        if answer.outcome is not Outcome.OK or not answer.lifetime:
            lease.problem = answer.outcome.value if answer.outcome is not Outcome.OK else "gave a mapping for no time"
            lease.lifetime = 0
            lease.renew_at = now + max(ERROR_PAUSE, min(answer.lifetime, LEASE / 2))
            return
        lease.problem = None
        lease.external = answer.external
        lease.address = answer.address
        lease.lifetime = answer.lifetime
        believed = min(float(answer.lifetime), MAX_LEASE)
        lease.expires_at = now + believed
        # RFC 6887 section 11.2.1 and RFC 6886 section 3.3: at half its life.
        lease.renew_at = now + max(believed / 2, MIN_RENEWAL)

    def _check_clock(self, answer: Answer, now: float) -> None:
        if answer.epoch is None:
            return
        before, self._seen = self._seen, Seen(answer.epoch, now)
        if before is None or not self._dialect.lost_state(before, self._seen):
            return
        self.counters["restarts"] += 1
        log.info("the router seen from %s has restarted: all ports are mapped anew", self._local)
        for lease in self._leases.values():
            if not _fits_lease(lease, answer):  # that one was given after the restart
                lease.renew_at = min(lease.renew_at, now)
        if answer.kind is Kind.MAP and self._ask_address_at != NEVER:
            self._ask_address_at = now


def _fits_lease(lease: Lease, answer: Answer) -> bool:
    return answer.kind is Kind.MAP and (transport_of(lease.port), lease.port.port) == (
        answer.transport,
        answer.internal,
    )


def _fits(exchange: _Exchange, answer: Answer, dialect: Dialect) -> bool:
    """Whether an answer is one to this request."""
    if exchange.kind is not answer.kind:
        return False
    if exchange.lease is None:
        return True
    with_nonce = dialect.ask_address() is None
    return _fits_lease(exchange.lease, answer) and (not with_nonce or answer.nonce == exchange.lease.nonce)
