"""Beacons on the loopback interface of this machine only, however many networks it is on."""

import socket

from crust.config import Config
from crust.discovery.beacon_links import Link
from crust.discovery.beacon_packet import Announcement
from crust.identity import Identity

PATIENCE = 20.0  # seconds for what takes milliseconds
LOOPBACK = Link(4, 1, "lo", "127.0.0.1", 8)


def only_loopback() -> list[Link]:
    return [LOOPBACK]


def free_port() -> int:
    """A UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        return port


def config(port: int | None, network: str = "beacon test") -> Config:
    return Config(beacon_port=port, network=network)


def some_node(tcp: int = 1000, utp: int = 2000) -> Announcement:
    return Announcement(Identity().peer_id, tcp, utp)
