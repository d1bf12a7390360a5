"""`GatewaySession`: one router, as seen from one of our addresses: which method to use, and what came of it. Pure.

PCP is asked first, then NAT-PMP, because both answer within milliseconds; then UPnP. The first that works stays. When
it stops working the search begins again, and when nothing works it is repeated at long intervals.
"""

import enum
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

from crust.endpoint import Port, Protocol
from crust.nat.gateway_answer import TCP
from crust.nat.keeping import LEASE, Status
from crust.nat.lease_keeper import LeaseKeeper, transport_of
from crust.nat.mapping_report import GatewayReport, Method, hidden_behind
from crust.nat.natpmp import NatPmp
from crust.nat.paths import Path
from crust.nat.pcp import Pcp
from crust.nat.upnp_keeper import UpnpKeeper
from crust.nat.upnp_messages import Answer, Call

GATEWAY_RETRY: Final = LEASE / 2
"""Seconds after which a router that understood nothing is asked again: somebody may have changed its settings. No more
traffic than keeping a mapping is."""
RESTART_PAUSE: Final = 2.0
"""Seconds after which the search begins again when a method stops working."""


class Way(enum.Enum):
    """Where a datagram goes."""

    ROUTER = "the router's port for PCP and NAT-PMP"
    GROUP = "all UPnP devices of the network"


Keeper = LeaseKeeper | UpnpKeeper


class GatewaySession:
    """See the module's text.

    Args:
        path: the way to the router.
        now: seconds.
        methods: which to try, in the order of `Method`.
    """

    def __init__(self, path: Path, now: float, methods: Collection[Method] = tuple(Method)) -> None:
        self.path = path
        self._allowed = methods
        self.counters: Counter[str] = Counter()
        self._ports: set[Port] = set()
        self._failures: dict[Method, str] = {}
        self._understood: set[Method] = set()
        self._methods = self._possible()
        self._keeper: Keeper | None = None
        self._begin_at = now
        self._next(now)

    def _possible(self) -> list[Method]:
        possible = {Method.PCP, Method.UPNP} if self.path.version == 6 else set(Method)
        if self.path.gateway is None:
            possible &= {Method.UPNP}
        return [method for method in Method if method in possible and method in self._allowed]

    # --- what is wanted ---
    def want(self, ports: Iterable[Port], now: float) -> None:
        """Keep exactly these ports mapped. Those without a number, and tracer ports, are left out."""
        self._ports = {port for port in ports if port.port and port.protocol is not Protocol.TRACER}
        if self._keeper is not None:
            self._keeper.want(self._ports, now)

    def refresh(self, now: float) -> None:
        """Something has changed: ask anew."""
        if self._keeper is None:
            self._begin_at = now
        else:
            self._keeper.forget(now)

    # --- the network ---
    def outgoing(self, now: float) -> list[tuple[Way, bytes]]:
        """Datagrams to send now."""
        while True:
            if self._keeper is None:
                if now < self._begin_at:
                    return []
                self._next(now)
            keeper = self._keeper
            if keeper is None:
                return []
            way = Way.GROUP if isinstance(keeper, UpnpKeeper) else Way.ROUTER
            datagrams = [(way, data) for data in keeper.outgoing(now)]
            if keeper.status is not Status.FAILED:
                return datagrams
            self._give_up(keeper, now)

    def next_deadline(self) -> float:
        """When to call `outgoing` and `take_call` again at the latest."""
        return self._begin_at if self._keeper is None else self._keeper.next_deadline()

    def received(self, data: bytes, now: float) -> None:
        """A datagram from the router's port for PCP and NAT-PMP."""
        if isinstance(self._keeper, LeaseKeeper):
            self._keeper.receive(data, now)
            self._check(now)

    def unreachable(self, now: float) -> None:
        """The system says that nobody listens on that port."""
        if isinstance(self._keeper, LeaseKeeper):
            self._keeper.unreachable()
            self._check(now)

    def heard(self, data: bytes, sender: str, now: float) -> None:
        """An answer of a UPnP device."""
        if isinstance(self._keeper, UpnpKeeper):
            self._keeper.heard(data, sender, now)

    def announced(self, now: float) -> None:
        """The router says to all that it has restarted, or has another outside address; anybody could say so."""
        self.counters["announcements"] += 1
        if self._keeper is not None and self._keeper.status is Status.WORKING:
            self._keeper.forget(now)

    def take_call(self, now: float) -> Call | None:
        """What to ask over UPnP now, if anything; `called` or `call_failed` takes what came of it."""
        return self._keeper.take_call(now) if isinstance(self._keeper, UpnpKeeper) else None

    def called(self, answer: Answer, now: float) -> None:
        """What came of a call."""
        if isinstance(self._keeper, UpnpKeeper):
            self._keeper.called(answer, now)

    def call_failed(self, reason: str, now: float) -> None:
        """A call came to nothing."""
        if isinstance(self._keeper, UpnpKeeper):
            self._keeper.failed(reason, now)
            self._check(now)

    # --- the methods ---
    def _next(self, now: float) -> None:
        """Begin with the next method, if there is one left."""
        if not self._methods:
            self._methods, self._failures, self._understood = self._possible(), {}, set()
        if not self._methods:
            self._begin_at = float("inf")
            return
        method = self._methods.pop(0)
        path = self.path
        if method is Method.UPNP:
            self._keeper = UpnpKeeper(path.local, path.gateway, path.network, now)
        else:
            self._keeper = LeaseKeeper(Pcp(path.local) if method is Method.PCP else NatPmp(), path.local, now)
        self._keeper.counters = self.counters
        self._keeper.want(self._ports, now)

    def _check(self, now: float) -> None:
        if self._keeper is not None and self._keeper.status is Status.FAILED:
            self._give_up(self._keeper, now)

    def _give_up(self, keeper: Keeper, now: float) -> None:
        self._keeper = None
        if keeper.worked:
            self._methods, self._failures, self._begin_at = self._possible(), {}, now + RESTART_PAUSE
            return
        self._failures[keeper.method] = keeper.reason
        if keeper.answered:
            self._understood.add(keeper.method)
        self._begin_at = now if self._methods else now + GATEWAY_RETRY

    # --- what is known ---
    @property
    def searching(self) -> bool:
        """Whether answers of UPnP devices are waited for."""
        return isinstance(self._keeper, UpnpKeeper) and self._keeper.searching

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        if self._keeper is not None:
            return self._keeper.settled
        return not self._methods or not self._ports

    def report(self) -> GatewayReport:
        """All of it."""
        keeper, path = self._keeper, self.path
        working = keeper is not None and keeper.status is Status.WORKING
        return GatewayReport(
            path.interface,
            path.local,
            path.gateway,
            keeper.method if keeper is not None and working else None,
            keeper.external_address if keeper is not None else None,
            tuple(keeper.mappings()) if keeper is not None else (),
            tuple(self._warnings()),
            self.settled,
        )

    def _warnings(self) -> list[str]:
        keeper = self._keeper
        router = f"the router {self.path.gateway}" if self.path.gateway else f"a router on {self.path.interface}"
        if keeper is not None:
            warnings = [f"{router} {warning}" for warning in keeper.warnings]
            hidden = hidden_behind(keeper.external_address) if keeper.external_address else None
            return [*warnings, *([hidden] if hidden else [])]
        if self._methods or self.path.gateway is None or not self._ports:
            return []
        # Over IPv6 many routers have nothing to open. One that knows how to, and does not, has a firewall.
        telling = self._understood if self.path.version == 6 else self._failures.keys()
        said = ", ".join(f"{method.value}: {why}" for method, why in self._failures.items() if method in telling)
        return [f"{router} opens no ports when asked ({said}); {self._advice()}"] if said else []

    def _advice(self) -> str:
        numbers = [f"{'TCP' if transport_of(port) == TCP else 'UDP'} port {port.port}" for port in sorted(self._ports)]
        if self.path.version == 6:
            return f"allow it in its settings, or let {' and '.join(numbers)} of {self.path.local} through there"
        return f"switch UPnP on in its settings, or forward {' and '.join(numbers)} to {self.path.local} there"
