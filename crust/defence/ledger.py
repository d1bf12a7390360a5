"""`Ledger`: what comes from each address, over all of its connections; and the limits that the configuration sets.

Who only claims to be somebody (over tracer connections) is counted apart: what they do is never held against peers with
a proven identity at the same address.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from crust.config import Config
from crust.defence.metering import (
    BYTES,
    CONTROLS,
    FAILURES,
    HANDSHAKES,
    MESSAGES,
    PATIENCE_FACTOR,
    RECORDS,
    Judgement,
    Limit,
    Meters,
)
from crust.defence.networks import subscriber
from crust.threads.clock import now

ADDRESS_FACTOR: Final = 16
"""Times the limit of one connection for all of one address: a busy office behind one NAT."""
MAX_ADDRESSES: Final = 4096
"""Addresses that are remembered; a flood from more is for firewalls, and for the bounds on half-open connections."""
MAX_KNOWN: Final = 4096
"""Addresses remembered because a peer has proved itself there."""


def connection_limits(config: Config) -> tuple[Limit, ...]:
    """What one connection may bring."""
    return (
        Limit(BYTES, config.max_bytes_per_second),
        Limit(MESSAGES, config.max_messages_per_second),
        Limit(RECORDS, config.max_records_per_second),
        Limit(CONTROLS, config.max_controls_per_second),
    )


class Ledger:
    """See the module's text. Any thread may call anything; a few microseconds for each batch, and only where there are
    limits.

    Args:
        config: for the limits.
    """

    def __init__(self, config: Config) -> None:
        self._lock = threading.Lock()
        self._traffic = Meters(
            (Limit(limit.kind, ADDRESS_FACTOR * limit.per_second) for limit in connection_limits(config)), MAX_ADDRESSES
        )
        self._handshakes = Meters((Limit(HANDSHAKES, config.max_handshakes_per_second),), MAX_ADDRESSES)
        self._failures = Meters((Limit(FAILURES, config.max_failures_per_second),), MAX_ADDRESSES)
        self._known: OrderedDict[str, None] = OrderedDict()

    def traffic(self, host: str, amounts: Mapping[str, float], *, claimed: bool = False) -> Judgement:
        """So much came on a connection with that address; ``claimed``: of a peer whose identity is not proven."""
        with self._lock:
            return self._traffic.charge((subscriber(host), claimed), amounts, now())

    def knock(self, host: str, *, claimed: bool = False) -> Judgement:
        """Somebody connects from that address. With ``over`` they are not to be let in, and that does not count.

        From the limit on strangers are let in no faster than it says: who goes away as soon as they have our answer
        holds no place that could be taken from them. Where a peer has proved itself there is more patience, and
        failures of others keep nobody out: both may be behind one NAT.
        """
        who, moment = (subscriber(host), claimed), now()
        with self._lock:
            known = not claimed and who[0] in self._known
            before = self._handshakes.judge(who, moment, PATIENCE_FACTOR if known else 0.0)
            if not known:
                before |= self._failures.judge(who, moment)
            return before if before.over else before | self._handshakes.charge(who, {HANDSHAKES: 1}, moment)

    def failed(self, host: str, *, claimed: bool = False) -> Judgement:
        """Somebody there could not prove to be of our network."""
        with self._lock:
            return self._failures.charge((subscriber(host), claimed), {FAILURES: 1}, now())

    def proved(self, host: str) -> None:
        """A peer has proved itself there."""
        who = subscriber(host)
        with self._lock:
            self._known[who] = None
            self._known.move_to_end(who)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)

    def knows(self, host: str) -> bool:
        """Whether a peer has proved itself there."""
        return subscriber(host) in self._known
