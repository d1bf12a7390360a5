"""`crust.discovery.bootstrap_status`: what people read of it."""

import dataclasses

from crust import Endpoint
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus

CONTACT = ContactStatus((Endpoint.tcp("192.0.2.7:1"),), None, "cache", 3, 3, 1e9, "Connection refused")


def test_before_anything() -> None:
    assert str(BootstrapStatus()).splitlines() == [
        "0 connected; not looking for peers",
        "beacon: not started",
        "cache: not opened",
        "gossip: 0 nodes known",
    ]


def test_each_contact_with_what_came_of_it() -> None:
    assert "tcp://192.0.2.7:1 (cache, tries: 3): Connection refused" in str(BootstrapStatus(contacts=(CONTACT,)))


def test_what_it_is_doing() -> None:
    busy = BootstrapStatus(running=True, round=2, wanted=3, made=1, connected=4, target=8)
    assert str(busy).startswith("4 of 8 connected; round 2: 1 of 3 connections made")
    pause = dataclasses.replace(busy, next_round_in=1.23)
    assert "round 2 reached nobody; the next begins in 1.2 s" in str(pause)
    assert "waiting until all connections are lost" in str(BootstrapStatus(keep_going=True, connected=1))
    assert str(BootstrapStatus(gave_up=True)).startswith("0 connected; not looking for peers: it knew nobody to try")
