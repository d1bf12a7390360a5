"""Identities and contact records for tests, made the same each time."""

from functools import cache

from crust.discovery.contact_record import ContactRecord, make_record, network_tag
from crust.endpoint import Endpoint
from crust.identity import Identity
from crust.transport.masking import network_keys

KEYS = network_keys("crust", None)
TAG = network_tag(KEYS)
FOREIGN_TAG = network_tag(network_keys("crust", b"another network!"))
WALL = 1_800_000_000
"""Seconds since 1970: when the tests take place."""


@cache
def identity(number: int) -> Identity:
    """One of many."""
    return Identity(number.to_bytes(32, "big"))


def record(
    number: int,
    sequence: int = 1,
    *,
    host: str = "",
    expiry: int = WALL + 3600,
    tag: bytes = TAG,
    capabilities: int = 0,
) -> ContactRecord:
    """The record of `identity` ``number``, with one endpoint."""
    endpoint = Endpoint.tcp((host or f"10.0.{number // 200}.{number % 200 + 1}", 5483))
    return make_record(identity(number), tag, (endpoint,), sequence, expiry, capabilities)
