"""``python -m tests.discovery.cache_writer``: writers to a cache, one after the other, each to be killed.

For each line ``FIRST FILE`` on its input it forks (a new interpreter for each would cost most of the time). The child
says ``pid N``, then writes to the cache for ever and says what is committed: round i (from FIRST) makes contact i
modulo `NAMES` work at second i, and prints i when that is durable. When the child is dead, its parent says
``ended STATUS``.
"""

import itertools
import os
import sys

from crust.discovery.bootstrap_cache import BootstrapCache
from crust.discovery.contact import Source
from crust.endpoint import Endpoint
from crust.identity import PeerId

NAMES = 24
CAPACITY = 24  # with room for all, nothing may ever be missing


def endpoint(number: int) -> Endpoint:
    """The endpoint that is written in round ``number``."""
    return Endpoint.utp(f"192.0.2.{1 + number % NAMES}:5483")


def peer(number: int) -> PeerId:
    """Its owner."""
    return PeerId((number % NAMES).to_bytes(32, "big"))


def say(text: str) -> None:
    """One line, in one piece."""
    os.write(sys.stdout.fileno(), f"{text}\n".encode())


def write_for_ever(path: str, first: int) -> None:
    """What the child does."""
    say(f"pid {os.getpid()}")
    cache = BootstrapCache(path, CAPACITY)
    for round_number in itertools.count(first):
        cache.worked(endpoint(round_number), peer(round_number), Source.GOSSIP, float(round_number))
        if not cache.flush(30):
            sys.exit("not saved")
        say(str(round_number))


if __name__ == "__main__":
    for line in sys.stdin:
        first, path = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if not child:
            write_for_ever(path, int(first))
        say(f"ended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
