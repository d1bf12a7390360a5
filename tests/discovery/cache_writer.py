"""``python -m tests.discovery.cache_writer FILE FIRST`` writes to a cache for ever and says what is committed.

Round i (from FIRST) makes contact i modulo `NAMES` work at second i, and prints i when that is durable.
"""

import itertools
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


if __name__ == "__main__":
    cache = BootstrapCache(sys.argv[1], CAPACITY)
    for round_number in itertools.count(int(sys.argv[2])):
        cache.worked(endpoint(round_number), peer(round_number), Source.GOSSIP, float(round_number))
        if not cache.flush(30):
            sys.exit("not saved")
        sys.stdout.write(f"{round_number}\n")
        sys.stdout.flush()
