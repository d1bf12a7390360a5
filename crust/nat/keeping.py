"""How ports are kept mapped, whatever the method: times, and where a method stands."""

import enum
from typing import Final

LEASE: Final = 3600
"""Seconds asked for: what a crash leaves open closes within the hour. (RFC 6886 section 3.3 recommends 7200.)"""
FIRST_WAIT: Final = 0.25
"""Seconds before a request is repeated, doubled each time; RFC 6886 section 3.1."""
TRIES_UNKNOWN: Final = 3
"""Times that a router is asked which has never answered: 1.75 s, then the next method has its turn."""
TRIES_KNOWN: Final = 9
"""Times that one is asked which has: 127.75 s, as in the same section."""
TRIES_ENDING: Final = 3
"""Times that it is asked to end a mapping."""
MIN_RENEWAL: Final = 15.0
"""Seconds between two requests for one mapping, however short a lease a router gives."""
MAX_LEASE: Final = 86_400.0
"""Seconds that we believe in at most; RFC 6887 section 15."""
ERROR_PAUSE: Final = 300.0
"""Seconds before a mapping that was refused for now is asked for again."""
FORGET_PAUSE: Final = 5.0
"""Seconds between two rounds of asking for everything anew: announcements are easily forged."""

NEVER: Final = float("inf")


class Status(enum.Enum):
    """Whether a method works."""

    ASKING = enum.auto()
    WORKING = enum.auto()
    FAILED = enum.auto()
