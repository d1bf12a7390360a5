"""How long a node takes into its network when most of its contacts are dead: ``python -m benches.first_connection``.

The node has a cache of contacts and nothing else, and one of them lives. Some of the dead refuse at once, as a host
does on which the program has ended; the others never answer, as one that is switched off. All are on loopback: a port
that does not answer is that of a listener whose backlog is full.
"""

import argparse
import json
import queue
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benches.process_state import allow_descriptors
from benches.progress import progress
from crust.cli import console
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.discovery.bootstrap_cache import BootstrapCache
from crust.discovery.cache_record import network_tag
from crust.discovery.contact import Source
from crust.endpoint import Endpoint
from crust.event import NewBootstrapConnection
from crust.identity import Identity
from crust.transport.masking import network_keys

LOOPBACK = "127.0.0.1"
FILLERS = 3
"""Connections that fill a backlog of 0."""
PATIENCE = 300.0  # seconds
CONFIG = Config(listen_addresses=(LOOPBACK,), utp_port=None, beacon_port=None, upnp=False)


@contextmanager
def refusing(count: int) -> Iterator[list[Endpoint]]:
    """Ports at which nobody listens, and which nobody else gets."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((LOOPBACK, 0))
        yield [Endpoint.tcp(sock.getsockname()) for sock in sockets]


@contextmanager
def never_answering(count: int) -> Iterator[list[Endpoint]]:
    """Ports that do not answer a SYN."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((LOOPBACK, 0))
            listener.listen(0)
            for _ in range(FILLERS):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
        yield [Endpoint.tcp(listener.getsockname()) for listener in listeners]


def measure(refused: int, silent: int) -> float:
    """Seconds from ``bootstrap()`` to the first connection, with so many dead contacts of each kind and one that lives.

    The live one is neither the first nor the last of the cache.
    """
    allow_descriptors(refused + (FILLERS + 2) * silent + 100)
    with (
        tempfile.TemporaryDirectory() as directory,
        refusing(refused) as some,
        never_answering(silent) as others,
        ConnectionManager(queue.SimpleQueue(), CONFIG) as peer,
    ):
        alive = Endpoint.tcp((LOOPBACK, peer.start_listening()[0].port))
        dead = [each for pair in zip(some, others, strict=False) for each in pair] or [*some, *others]
        middle = len(dead) // 2
        file = Path(directory) / "cache"
        _remember(file, [*dead[:middle], alive, *dead[middle:]])
        return _time_of_first(file)


def _remember(file: Path, endpoints: list[Endpoint]) -> None:
    cache = BootstrapCache(file, network=network_tag(network_keys(CONFIG.network, None).psk), allow_loopback=True)
    for endpoint in endpoints:
        cache.worked(endpoint, Identity().peer_id, Source.GOSSIP, time.time())
    cache.close()


def _time_of_first(file: Path) -> float:
    events: queue.Queue[Any] = queue.Queue()
    with ConnectionManager(events, CONFIG.replace(cache_file=str(file))) as node:
        began = time.monotonic()
        node.bootstrap()
        while not isinstance(events.get(timeout=PATIENCE), NewBootstrapConnection):
            pass
        return time.monotonic() - began


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benches.first_connection", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often; 10 if not given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    figures = {}
    for refused, silent in ((0, 0), (200, 0), (100, 100), (0, 200)):
        progress(f"{refused} contacts that refuse, {silent} that never answer ...")
        times = sorted(measure(refused, silent) for _ in range(args.rounds))
        figures[refused, silent] = times[0], statistics.median(times), times[-1]
    progress("")
    if args.json:
        console.say(json.dumps([[*key, *values] for key, values in figures.items()]))
        return 0
    console.table(
        ["refuse", "never answer", "fastest", "median", "slowest"],
        [(*key, *(f"{value:.2f} s" for value in values)) for key, values in figures.items()],
        right=[0, 1, 2, 3, 4],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
