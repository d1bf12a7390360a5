"""`UpnpKeeper`: keeps ports mapped by one UPnP gateway. Pure: answers and the time in, searches and calls out.

For an IPv6 address these are holes in the gateway's firewall, known by numbers in place of external ports.

It searches for the gateway by SSDP once, and then asks it (`crust.nat.upnp`), all ports in one call. The description's
address is kept: a renewal is one call and no search.
"""

import ipaddress
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final

from crust.endpoint import Endpoint, Port
from crust.errors import Malformed
from crust.nat import ssdp
from crust.nat.keeping import ERROR_PAUSE, FORGET_PAUSE, LEASE, MAX_LEASE, MIN_RENEWAL, NEVER, Status
from crust.nat.mapping_report import Mapping, Method
from crust.nat.upnp_messages import NO_HOLE, Answer, Call, Given, Wish

log = logging.getLogger("crust.nat")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SEARCHES: Final = (0.0, 0.5, 1.5)
"""Seconds after the beginning at which is searched: datagrams get lost, Wi-Fi multicasts first of all."""
SEARCH_TIME: Final = 3.0
"""Seconds for answers: the last search, the second that devices may wait (MX), and half a second for slow ones."""
ROUTER_GRACE: Final = 0.5
"""Seconds after another device's answer in which the router itself may still answer."""
_MAX_DEVICES: Final = 8  # that are asked, one after the other, for something that maps ports
_RENEW_BEFORE: Final = 60.0  # seconds; what is due within them is renewed in the same call


class UpnpKeeper:
    """See the module's text.

    Args:
        local: our address.
        gateway: the router's address, as the system's routes have it; its answers are preferred.
        network: the addresses that are reached without a router: nobody else is listened to.
        now: seconds.
    """

    method = Method.UPNP

    def __init__(self, local: str, gateway: str | None, network: Network, now: float) -> None:
        self.status = Status.ASKING
        self.reason = ""
        self.worked = False
        self.answered = False
        self.external_address: str | None = None
        self.counters: Counter[str] = Counter()
        self._local = local
        self._ipv6 = ":" in local
        self._gateway = gateway
        self._network = network
        self._began = now
        self._searches = list(SEARCHES)
        self._urls: dict[str, str] = {}  # by device
        self._url: str | None = None
        self._first_answer = NEVER
        self._wanted: set[Port] = set()
        self._given: dict[Port, Given] = {}
        self._ends: dict[Port, float] = {}
        self._due: dict[Port, float] = {}
        self._refused: dict[Port, str] = {}
        self._once_given: set[Port] = set()
        self._unwanted: dict[Port, int] = {}
        self._problem: str | None = None
        self._left: tuple[str, ...] = ()
        self._calling: Call | None = None
        self._forgotten_at = -NEVER

    # --- what is wanted ---
    def want(self, ports: Iterable[Port], now: float) -> None:
        """Keep exactly these ports mapped; they have numbers."""
        wanted = set(ports)
        for port in self._wanted - wanted:
            given = self._given.pop(port, None)
            asked = self._calling is not None and any(wish.port == port for wish in self._calling.wanted)
            if given is not None or asked:
                self._unwanted[port] = given.external if given is not None else self._liked(port)
            self._due.pop(port, None)
            self._refused.pop(port, None)
            self._once_given.discard(port)
        for port in wanted - self._wanted:
            self._due[port] = now
            self._unwanted.pop(port, None)
        self._wanted = wanted

    def forget(self, now: float) -> None:
        """The router may have forgotten everything: ask for it anew."""
        if now - self._forgotten_at < FORGET_PAUSE:
            return
        self._forgotten_at = now
        self._due = dict.fromkeys(self._wanted, now)

    # --- the network ---
    def outgoing(self, now: float) -> list[bytes]:
        """Searches to send to the group now."""
        self._expire(now)
        if self._url is not None or self.status is not Status.ASKING:
            return []
        if now - self._began >= SEARCH_TIME or now >= self._first_answer + ROUTER_GRACE:
            self._choose()
            return []
        due = [at for at in self._searches if now - self._began >= at]
        if not due or self._urls:
            return []
        self._searches = [at for at in self._searches if at not in due]
        targets, group = (ssdp.TARGETS_IPV6, ssdp.GROUP_IPV6) if self._ipv6 else (ssdp.TARGETS, ssdp.GROUP)
        self.counters["sent"] += len(targets)
        return [ssdp.search(target, group) for target in targets]

    def next_deadline(self) -> float:
        """When to call `outgoing` and `take_call` again at the latest."""
        if self.status is Status.FAILED or self._calling is not None:
            return NEVER
        if self._url is None:
            times = [SEARCH_TIME, *([] if self._urls else self._searches[:1])]
            return min(self._began + min(times), self._first_answer + ROUTER_GRACE)
        return -NEVER if self._unwanted else min([*self._due.values(), *self._ends.values()], default=NEVER)

    def heard(self, data: bytes, sender: str, now: float) -> None:
        """An answer to a search."""
        if self._url is not None or len(self._urls) >= _MAX_DEVICES:
            return
        try:
            if not self._is_near(sender):
                raise Malformed("an answer from elsewhere")
            self._urls.setdefault(sender, ssdp.parse(data, sender))
        except Malformed as error:
            self.counters["malformed"] += 1
            log.debug("SSDP on %s, from %s: %s", self._local, sender, error)
            return
        self.answered = True
        self._first_answer = min(self._first_answer, now)
        if _same(sender, self._gateway):
            self._first_answer = -NEVER  # there is nothing better to wait for

    def take_call(self, now: float) -> Call | None:
        """What to ask now, if anything; `called` or `failed` takes what came of it."""
        if self._url is None or self._calling is not None or self.status is Status.FAILED:
            return None
        if not self._unwanted and not any(at <= now for at in self._due.values()):
            return None
        soon = sorted(port for port, at in self._due.items() if at <= now + _RENEW_BEFORE)
        wanted = tuple(Wish(port, self._liked(port)) for port in soon)
        unwanted = tuple(Wish(port, external) for port, external in sorted(self._unwanted.items()))
        self._unwanted = {}
        self.counters["calls"] += 1
        self._calling = Call(self._url, self._local, wanted, unwanted, LEASE)
        return self._calling

    def called(self, answer: Answer, now: float) -> None:
        """What came of the call that was taken."""
        call = self._calling
        if call is None:
            return
        if self.status is Status.ASKING and answer.refused and not answer.given:
            self.failed(next(iter(answer.refused.values())), now)
            return
        self._calling = None
        self.status, self.worked = Status.WORKING, True
        if call.unwanted:
            self._left = answer.left
            for text in answer.left:
                log.warning("the router asked from %s %s", self._local, text)
        if call.wanted:  # else it was not asked for
            self.external_address, self._problem = answer.external, answer.problem
        for port, given in answer.given.items():
            if port in self._wanted:
                self._take(port, given, now)
            else:
                self._unwanted[port] = given.external
        self._unwanted = {port: external for port, external in self._unwanted.items() if external != NO_HOLE}
        for port, why in answer.refused.items():
            if port in self._wanted:
                # What it gave before and refuses for the first time: it may have begun to restart, amid a call.
                first = port in self._once_given and port not in self._refused
                self._refused[port] = why
                self._drop(port)
                self._due[port] = now + (MIN_RENEWAL if first else ERROR_PAUSE)

    def failed(self, reason: str, now: float) -> None:
        """The call that was taken came to nothing."""
        if self._calling is None:
            return
        self._calling = None
        self.counters["failures"] += 1
        was_working = self.status is Status.WORKING
        self._urls = {device: url for device, url in self._urls.items() if url != self._url}
        self._url = None
        if self._urls and not was_working:
            self._choose()
        else:
            self._fail(reason)

    # --- what is known ---
    @property
    def searching(self) -> bool:
        """Whether answers of devices are waited for."""
        return self._url is None and self.status is Status.ASKING

    @property
    def warnings(self) -> list[str]:
        """What the router could not do, in words that go on ``the router``."""
        problems = [f"{why} ({port})" for port, why in self._refused.items()]
        permanent = [given for given in self._given.values() if not given.lease]
        if permanent:
            problems.append("gives mappings without an end only: should this node crash, delete them in its settings")
        return [*problems, *self._left, *([self._problem] if self._problem else [])]

    @property
    def settled(self) -> bool:
        """Whether every port has been asked for, with or without success."""
        asked = self._wanted <= self._given.keys() | self._refused.keys()
        return self.status is Status.FAILED or (asked and self._calling is None and not self._unwanted)

    def mappings(self) -> list[Mapping]:
        """What the router gave."""
        address = self.external_address
        if address is None:
            return []
        found = []
        for port, given in sorted(self._given.items()):
            external = Endpoint(port.protocol, address, port.port if self._ipv6 else given.external)
            found.append(Mapping(port, external, float(given.lease) if given.lease else None))
        return found

    # --- inside ---
    def _choose(self) -> None:
        """Take the router's own description if there is one, or else any."""
        if not self._urls:
            self._fail("does not answer to UPnP")
            return
        best = next((device for device in self._urls if _same(device, self._gateway)), next(iter(self._urls)))
        self._url = self._urls[best]

    def _is_near(self, sender: str) -> bool:
        """Whether no router is between the sender and us, or the sender is our router."""
        address = ipaddress.ip_address(sender)
        return _same(sender, self._gateway) or address in self._network or (self._ipv6 and address.is_link_local)

    def _liked(self, port: Port) -> int:
        if port in self._given:
            return self._given[port].external
        return NO_HOLE if self._ipv6 else port.port

    def _fail(self, reason: str) -> None:
        self.status, self.reason = Status.FAILED, reason
        self._given, self._ends = {}, {}

    def _take(self, port: Port, given: Given, now: float) -> None:
        self._refused.pop(port, None)
        self._once_given.add(port)
        self._given[port] = given
        believed = min(float(given.lease), MAX_LEASE) if given.lease else 0.0
        if given.lease:
            self._ends[port] = now + believed
        else:
            self._ends.pop(port, None)
        # A mapping without an end is looked at as well: the router may have restarted.
        self._due[port] = now + max((believed or LEASE) / 2, MIN_RENEWAL)

    def _drop(self, port: Port) -> None:
        self._given.pop(port, None)
        self._ends.pop(port, None)

    def _expire(self, now: float) -> None:
        for port in [port for port, end in self._ends.items() if now >= end]:
            self._drop(port)


def _same(one: str, other: str | None) -> bool:
    """Whether two addresses are the same; a scope is named in several ways, and here there is only one."""
    return other is not None and one.partition("%")[0] == other.partition("%")[0]
