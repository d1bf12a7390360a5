"""`Handlers`: who else listens on the UDP port, for datagrams that belong to no uTP connection."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from crust.transport.utp.burst import Address

log = logging.getLogger("crust.utp")

Handler = Callable[[bytes, Address], bool]
"""Takes a datagram that belongs to no uTP connection; says whether it was meant for it. Must not block."""

_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
"""Bytes 4 to 8 of every STUN message (RFC 8489 section 5)."""


def may_be_stun(data: bytes | memoryview) -> bool:
    """Whether it has the cookie of STUN; a uTP packet has it for one microsecond in 71 minutes."""
    return data[4:8] == _STUN_COOKIE


class Handlers(list[Handler]):
    """The handlers in order."""

    def offer(self, data: bytes | memoryview, address: Address, counters: Counter[str]) -> bool:
        """Whether one of them takes it; they are counted as ``handled``."""
        for handler in self:
            try:
                if handler(bytes(data), address):
                    counters["handled"] += 1
                    return True
            except Exception:
                counters["handler_failed"] += 1
                log.exception("a handler of datagrams failed; please report this")
        return False
