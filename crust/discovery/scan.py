"""`scan`: who answers on the LAN now."""

import queue
from typing import Final

from crust.config import Config
from crust.discovery.beacon import Beacon
from crust.discovery.beacon_packet import Announcement
from crust.discovery.contact import Contact, Source
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.identity import Identity, PeerId
from crust.threads.clock import Deadline

ASK_AGAIN: Final = 1.5
"""Seconds between rounds: where there are many nodes, each round brings others to light."""


def scan(config: Config, seconds: float) -> list[Contact]:
    """Ask all nodes of the network on the LAN, and wait for answers. Nobody learns anything of us by it.

    Args:
        config: which network, and ``beacon_port``.
        seconds: how long to wait.

    Returns:
        One contact for each node, with all the addresses that it answered from, in the order of their endpoints.

    Raises:
        ConfigError: the configuration has no beacon.
        OSError: this process has no descriptors left.
    """
    if config.beacon_port is None:
        raise ConfigError("beacon_port: was null; nodes of the local network are found with a beacon port only")
    nobody = Announcement(Identity().peer_id, 0, 0)
    answers: queue.SimpleQueue[Contact] = queue.SimpleQueue()
    found: dict[PeerId, set[Endpoint]] = {}
    beacon = Beacon(config, lambda: nobody, answers.put)
    deadline = Deadline(seconds)
    beacon.start()
    try:
        round_ends = Deadline(ASK_AGAIN)
        while not deadline.expired:
            if round_ends.expired:
                beacon.seek()
                round_ends = Deadline(ASK_AGAIN)
            try:
                contact = answers.get(timeout=round_ends.earlier(deadline.remaining()).remaining())
            except queue.Empty:
                continue
            assert contact.peer_id is not None
            found.setdefault(contact.peer_id, set()).update(contact.endpoints)
    finally:
        beacon.stop()
    return sorted(
        (Contact(tuple(sorted(endpoints)), peer_id, Source.BEACON) for peer_id, endpoints in found.items()),
        key=lambda contact: contact.endpoints,
    )
