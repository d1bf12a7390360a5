"""`PunchGate`: who may have us send probes, and how often. Pure."""

from collections.abc import Hashable, Iterable
from typing import Final

from crust.defence.allowance import Allowance, Allowances
from crust.defence.networks import subscriber
from crust.nat.punch_plan import BIRTHDAY_SECONDS, Method
from crust.nat.ranges import is_local

REQUESTER_BURST: Final = 3
REQUESTER_INTERVAL: Final = 20.0
"""Meetings that one peer may ask for, and seconds for each further one; who fails three times will fail again."""
RELAY_BURST: Final = 16
RELAY_INTERVAL: Final = 2.0
"""Meetings that one peer may arrange for others: it is no better than who asks it."""
MEETINGS_BURST: Final = 32
MEETINGS_INTERVAL: Final = 1.0
"""Meetings in all that others ask for."""
MAX_MEETINGS: Final = 16
"""Meetings under way; a plain one sends some hundred probes in 8 s."""
BIRTHDAY_PAUSE: Final = 60.0
"""Seconds for each further meeting by the birthday method, with its thousand probes, whoever asks."""
HOST_BURST: Final = 3
HOST_INTERVAL: Final = 20.0
"""Meetings asked for by others in which a host is tried as often as it takes, and seconds for each further one; in
others it gets as little as a host that nobody vouches for. Who carries the infos can lie too, and make up peers."""
KNOWN_REQUESTERS: Final = 1024
"""Peers, and hosts, whose allowance is remembered."""


class PunchGate:
    """See the module's text. Belongs to one thread; all times are seconds on one clock."""

    def __init__(self) -> None:
        self._requesters = Allowances(KNOWN_REQUESTERS, REQUESTER_BURST, 1 / REQUESTER_INTERVAL)
        self._relays = Allowances(KNOWN_REQUESTERS, RELAY_BURST, 1 / RELAY_INTERVAL)
        self._total = Allowance(MEETINGS_BURST, 1 / MEETINGS_INTERVAL)
        self._hosts = Allowances(KNOWN_REQUESTERS, HOST_BURST, 1 / HOST_INTERVAL)
        self._birthdays = Allowance(1, 1 / BIRTHDAY_PAUSE)
        self._birthday_until = 0.0
        self._under_way = 0

    def admit(self, requester: Hashable, relay: Hashable, method: Method, now: float) -> str:
        """Whether a meeting that somebody else asked for may begin; then `ended` has to follow.

        Args:
            requester: who wants to meet us.
            relay: who brought the request.
            method: what it would take.
            now: seconds.
        Returns:
            Empty if it may; else why not.
        """
        if self._under_way >= MAX_MEETINGS:
            return "too many meetings are under way here; try again in some seconds"
        if not self._requesters.take(requester, now):
            return f"too many requests by this peer; try again in {REQUESTER_INTERVAL:.0f} seconds"
        if not self._relays.take(relay, now) or not self._total.take(now):
            return "too many requests; try again in some seconds"
        if method in (Method.OPEN_MANY, Method.SEARCH) and not self.admit_birthday(now):
            return f"the birthday method was used just now; try again in {BIRTHDAY_PAUSE:.0f} seconds"
        self._under_way += 1
        return ""

    def admit_birthday(self, now: float) -> bool:
        """Whether the birthday method may be used, also for our own requests: one at a time, and not all the time."""
        if now < self._birthday_until or not self._birthdays.take(now):
            return False
        self._birthday_until = now + BIRTHDAY_SECONDS
        return True

    def vouched(self, hosts: Iterable[str], now: float) -> set[str]:
        """Of the hosts at which who carried a request sees the requester, those that are tried as often as it takes."""
        return {host for host in hosts if is_local(host) or self._hosts.take(subscriber(host), now)}

    def ended(self) -> None:
        """An admitted meeting is over, one way or the other."""
        self._under_way = max(self._under_way - 1, 0)
