import dataclasses

import pytest

from crust.discovery.contact import Contact, Source, dialable
from crust.endpoint import Endpoint
from crust.identity import Identity

ROUTED = ["192.0.2.7", "10.1.2.3", "100.64.0.1", "198.18.0.1", "2001:db8::7", "fd00::7", "64:ff9b::c000:207"]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::7",
    "::192.0.2.7",
    "ff02::1",
    "ff02::1%eth0",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "::ffff:255.255.255.255",
]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("host", ROUTED)
def test_addresses_that_are_routed_somewhere_are_dialable(host: str) -> None:
    assert dialable(Endpoint.tcp((host, 5483)))
    assert dialable(Endpoint.utp((host, 1)))


@pytest.mark.parametrize("host", NEVER)
def test_addresses_that_are_nobodys_never_are(host: str) -> None:
    assert not dialable(Endpoint.tcp((host, 5483)), allow_loopback=True, allow_link_local=True)


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_only_where_it_is_allowed(host: str) -> None:
    assert not dialable(Endpoint.tcp((host, 5483)), allow_link_local=True)
    assert dialable(Endpoint.tcp((host, 5483)), allow_loopback=True)


@pytest.mark.parametrize("host", ["169.254.1.2", "fe80::1%eth0", "::ffff:169.254.1.2%3"])
def test_link_local_only_where_it_is_allowed(host: str) -> None:
    assert not dialable(Endpoint.utp((host, 5483)), allow_loopback=True)
    assert dialable(Endpoint.utp((host, 5483)), allow_link_local=True)


def test_link_local_without_a_scope_leads_nowhere() -> None:
    assert not dialable(Endpoint.tcp(("fe80::1", 5483)), allow_link_local=True)


@pytest.mark.parametrize("host", ROUTED)
def test_port_0_is_never_dialable(host: str) -> None:
    assert not dialable(Endpoint.tcp((host, 0)), allow_loopback=True, allow_link_local=True)


def test_a_stranger_does_not_choose_what_names_we_ask_for() -> None:
    assert not dialable(Endpoint.tcp("localhost:5483"), allow_loopback=True)
    assert not dialable(Endpoint.tcp("example.org:5483"))


def test_nobody_talks_us_into_clear_text() -> None:
    assert not dialable(Endpoint.tracer("192.0.2.7:5483"))
    assert not dialable(Endpoint.parse("relayed://192.0.2.7:5483"))


def test_the_numbers_of_sources_are_those_in_files() -> None:
    assert {source.name: source.value for source in Source} == {
        "CONFIG": 1,
        "FALLBACK": 2,
        "CACHE": 3,
        "BEACON": 4,
        "GOSSIP": 5,
        "CONNECTED": 6,
    }


def test_a_contact_is_a_value() -> None:
    peer = Identity().peer_id
    contact = Contact((Endpoint.tcp("192.0.2.7:1"),), peer, Source.GOSSIP)
    assert contact == Contact((Endpoint.tcp("192.0.2.7:1"),), peer, Source.GOSSIP)
    assert len({contact, Contact(contact.endpoints, None, Source.GOSSIP)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        contact.peer_id = None  # type: ignore[misc]
