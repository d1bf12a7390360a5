"""`crust.nat.behaviour`: from what was seen to what it is called."""

import pytest

from crust.nat.behaviour import (
    MAX_DELTA,
    SURE_DELTA,
    Allocation,
    Behaviour,
    Filtering,
    Mapping,
    Sighting,
    classify,
    classify_allocation,
    network_of,
    predicted_ports,
)

OWN = {"192.168.1.2"}
OUTER = "203.0.113.9"


def seen(*ports: int, host: str = OUTER) -> list[Sighting]:
    """By one observer each, all in different networks."""
    return [Sighting((f"192.0.{number}.1", 3478), (host, port)) for number, port in enumerate(ports)]


@pytest.mark.parametrize(
    ("sightings", "mapping"),
    [
        ([], Mapping.UNKNOWN),
        (seen(7), Mapping.UNKNOWN),
        (seen(7, 7), Mapping.ENDPOINT_INDEPENDENT),
        (seen(7, 8), Mapping.ENDPOINT_DEPENDENT),
        (seen(7, 7, 8), Mapping.ENDPOINT_DEPENDENT),
        (seen(7, 7, 7, 8), Mapping.ENDPOINT_INDEPENDENT),
        (seen(7, 7, 7, 8, 9), Mapping.ENDPOINT_DEPENDENT),
        (seen(7, 8, 7, 8), Mapping.ENDPOINT_DEPENDENT),
        (seen(5000, host="192.168.1.2"), Mapping.NONE),
        (seen(5000, 5000, host="192.168.1.2"), Mapping.NONE),
        ([*seen(7, 7), Sighting(("192.0.0.1", 3479), (OUTER, 7))], Mapping.ENDPOINT_INDEPENDENT),
        ([*seen(7, 8), Sighting(("192.0.0.1", 3479), (OUTER, 7))], Mapping.ADDRESS_DEPENDENT),
        ([*seen(7, 8), Sighting(("192.0.0.1", 3479), (OUTER, 9))], Mapping.ADDRESS_AND_PORT_DEPENDENT),
        ([*seen(7), Sighting(("192.0.0.1", 3479), (OUTER, 9))], Mapping.ADDRESS_AND_PORT_DEPENDENT),
        ([*seen(7), Sighting(("192.0.0.1", 3479), (OUTER, 7))], Mapping.UNKNOWN),
    ],
)
def test_mappings(sightings: list[Sighting], mapping: Mapping) -> None:
    assert classify(sightings, OWN, 5000).mapping is mapping


def test_one_liar_with_many_addresses_is_one_observer() -> None:
    """In one network of 24 bits; three honest ones outvote it."""
    liars = [Sighting((f"198.51.100.{number}", 1), (OUTER, 9)) for number in range(100)]
    assert classify([*seen(7, 7, 7), *liars[:1]], OWN, 1).mapping is Mapping.ENDPOINT_INDEPENDENT
    assert network_of("198.51.100.1") == network_of("198.51.100.254") != network_of("198.51.101.1")
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1%eth0") != network_of("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        ((), (Allocation.UNKNOWN, 0)),
        ((5000, 5000), (Allocation.PRESERVING, 0)),
        ((40000,), (Allocation.UNKNOWN, 0)),
        ((40000, 40001), (Allocation.SEQUENTIAL, 1)),
        ((40000, 40000 + SURE_DELTA), (Allocation.SEQUENTIAL, SURE_DELTA)),
        ((40000, 40001 + SURE_DELTA), (Allocation.RANDOM, 0)),
        ((40000, 40002, 40004), (Allocation.SEQUENTIAL, 2)),
        ((40000, 39998, 39994), (Allocation.SEQUENTIAL, -2)),
        ((40000, 40003, 40003 + MAX_DELTA), (Allocation.SEQUENTIAL, 3)),
        ((40000, 40003, 40004 + MAX_DELTA), (Allocation.RANDOM, 0)),
        ((40000, 40001, 40000 - 5), (Allocation.RANDOM, 0)),
        ((65535, 0, 1), (Allocation.SEQUENTIAL, 1)),
        ((40000, 51234, 1029), (Allocation.RANDOM, 0)),
        ((5000, 5001), (Allocation.SEQUENTIAL, 1)),
    ],
)
def test_allocations(ports: tuple[int, ...], found: tuple[Allocation, int]) -> None:
    assert classify_allocation(seen(*ports), 5000) == found


def test_all_of_it() -> None:
    found = classify(seen(40000, 40001, 40002), OWN, 5000, Filtering.ADDRESS_DEPENDENT, True)
    assert found == Behaviour(
        Mapping.ENDPOINT_DEPENDENT, Filtering.ADDRESS_DEPENDENT, Allocation.SEQUENTIAL, 1, True, False
    )
    pool = [*seen(7), *[Sighting(("192.0.9.1", 1), ("203.0.113.10", 7))]]
    assert classify(pool, OWN, 7).several_hosts
    assert classify(seen(7, 7), OWN, 7).allocation is Allocation.PRESERVING
    assert classify(seen(7, 7), OWN, 8).allocation is Allocation.UNKNOWN


def test_predictions_go_round_and_leave_out_what_no_nat_gives() -> None:
    assert predicted_ports(40000, 2, 3) == [40002, 40004, 40006]
    assert predicted_ports(40000, -1, 2) == [39999, 39998]
    assert predicted_ports(65534, 1, 4) == [65535]
    assert predicted_ports(1026, -1, 4) == [1025, 1024]
