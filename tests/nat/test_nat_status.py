"""`crust.nat.nat_status`: sentences for people, values for programs, in every state of knowledge."""

import itertools
import json
from typing import Any

import pytest

from crust import Endpoint, Port
from crust.nat.behaviour import UNKNOWN, Behaviour, Filtering, Mapping
from crust.nat.mapping_report import GatewayReport, MappingReport, Method
from crust.nat.mapping_report import Mapping as MappedPort
from crust.nat.nat_report import NatReport
from crust.nat.nat_status import NatStatus
from crust.nat.observations import Believed, Confidence

OWN = Endpoint.tcp("192.168.1.2:5483")
OUTSIDE = Endpoint.tcp("203.0.113.9:5483")
MAPPED = MappedPort(Port.tcp(5483), OUTSIDE, 3600.0)
CONE = NatReport(
    Behaviour(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Believed(("203.0.113.9", 5483), Confidence.CONFIRMED, 5),
    5,
    5,
)


def gateway(**more: Any) -> GatewayReport:
    usual: dict[str, Any] = {
        "interface": "eth0",
        "local": "192.168.1.2",
        "gateway": "192.168.1.1",
        "method": Method.PCP,
        "external_address": "203.0.113.9",
        "mappings": (MAPPED,),
        "warnings": (),
        "settled": True,
    }
    return GatewayReport(**{**usual, **more})


STATUSES = {
    "nothing": NatStatus(),
    "all": NatStatus(
        (OWN,),
        (OUTSIDE,),
        MappingReport((gateway(warnings=("the lease has no end",)),), True),
        CONE,
        {OUTSIDE: True, OWN: False},
        True,
    ),
    "asking": NatStatus((OWN,), (), MappingReport((gateway(method=None, settled=False, mappings=()),), True)),
    "no router": NatStatus((OWN,), (), MappingReport((gateway(gateway=None, method=None, mappings=()),), True)),
    "blocked": NatStatus(nat=NatReport(UNKNOWN, None, 4, 0)),
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
def test_it_can_be_printed_and_sent_to_machines(status: NatStatus) -> None:
    assert status.lines()
    assert all(line.strip() for line in status.lines())
    assert str(status) == "\n".join(status.lines())
    values = status.as_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["reach"] == status.lines()[0]


def test_what_is_known_is_said() -> None:
    assert STATUSES["all"].lines() == [
        "Everybody can connect to this node: a peer elsewhere has tried.",
        *[f"  {line}" for line in CONE.lines()],
        "This machine:",
        "  tcp://192.168.1.2:5483  (peers have tried it and did not get through)",
        "From elsewhere:",
        "  tcp://203.0.113.9:5483  (verified: a peer has reached it)",
        "The router 192.168.1.1 (eth0, 192.168.1.2) speaks PCP; its outside address is 203.0.113.9.",
        "  tcp://203.0.113.9:5483 leads to our tcp:5483",
        "  the lease has no end",
        "This node carries connections of others that cannot reach each other (relay: true).",
    ]


def test_what_is_known_is_told_to_programs() -> None:
    values = STATUSES["all"].as_dict()
    assert values["direct"] is True
    assert values["own"] == [str(OWN)]
    assert values["external"] == [str(OUTSIDE)]
    assert values["verified"] == {str(OUTSIDE): True, str(OWN): False}
    assert values["relays"] is True
    assert values["advice"] == []
    assert values["mappings_settled"] is True
    (router,) = values["gateways"]
    assert router["method"] == "PCP"
    assert router["mappings"] == [{"port": "tcp:5483", "external": str(OUTSIDE), "lease": 3600.0}]
    assert STATUSES["asking"].as_dict()["gateways"][0]["method"] is None
    assert STATUSES["asking"].as_dict()["mappings_settled"] is False


def test_a_router_that_maps_nothing() -> None:
    assert "lets nobody map ports" in "".join(STATUSES["no router"].lines())
    assert "The router that is not known (eth0, 192.168.1.2)" in "".join(STATUSES["no router"].lines())
    assert "is being asked" in "".join(STATUSES["asking"].lines())
    unknown = NatStatus(mappings=MappingReport((gateway(external_address=None),), True))
    assert "its outside address is not known" in "".join(unknown.lines())


def test_over_ipv6_a_firewall_opens() -> None:
    ours = Endpoint.tcp("[2001:db8::2]:5483")
    usual = {"local": "2001:db8::2", "gateway": "fe80::1", "external_address": "2001:db8::2", "method": Method.UPNP}

    def said(**more: Any) -> list[str]:
        return NatStatus(
            nat=CONE, mappings=MappingReport((gateway(**{**usual, **more}),), True), verified={ours: True}
        ).lines()[-2:]

    hole = MappedPort(Port.tcp(5483), ours, 3600.0)
    assert said(mappings=(hole,)) == [
        "The router fe80::1 (eth0, 2001:db8::2) opens its IPv6 firewall over UPnP.",
        "  tcp://[2001:db8::2]:5483 leads to our tcp:5483",
    ]
    assert said(method=None, mappings=(), warnings=("its firewall is off",)) == [
        "The router fe80::1 (eth0, 2001:db8::2) does not open its IPv6 firewall (neither over PCP nor over UPnP).",
        "  its firewall is off",
    ]
    assert said(method=None, mappings=(), settled=False)[-1].endswith("is being asked.")


@pytest.mark.parametrize("verdicts", list(itertools.product([True, False, None], repeat=2)))
def test_direct_is_who_was_reached_at_one_endpoint_at_least(verdicts: tuple[bool | None, bool | None]) -> None:
    status = NatStatus(nat=CONE, verified=dict(zip((OWN, OUTSIDE), verdicts, strict=True)))
    assert status.direct == (True in verdicts)
    assert ("What to do:" in status.lines()) == (not status.direct), "who is reached needs no advice"
    assert bool(status.as_dict()["advice"]) == (not status.direct)


OWN6 = Endpoint.tcp("[2001:db8::2]:5483")
SEEN = Endpoint.utp("203.0.113.9:5484")


def test_who_is_reached_over_ipv6_alone_is_not_reached_by_everybody() -> None:
    """Most have no IPv6."""
    status = NatStatus(own=(OWN, OWN6), nat=CONE, verified={OWN6: True})
    assert status.lines()[0] == (
        "Everybody who has IPv6 can connect to this node: a peer elsewhere has tried. Over IPv4: "
        "Others can connect with the help of a peer that both know (hole punching)."
    )
    assert status.as_dict()["advice"] == CONE.advice()
    alone = NatStatus(own=(OWN6,), verified={OWN6: True})
    assert alone.lines()[0] == "Everybody who has IPv6 can connect to this node: a peer elsewhere has tried."
    assert alone.as_dict()["advice"] == []


def test_who_is_reached_over_ipv4_alone_is_told_so() -> None:
    verified = {OUTSIDE: True, OWN6: False}
    status = NatStatus(own=(OWN, OWN6), external=(OUTSIDE,), nat=CONE, verified=verified)
    assert status.lines()[0] == "Everybody can connect to this node over IPv4: a peer elsewhere has tried."
    assert status.as_dict()["advice"] == []


def test_an_address_that_lets_nobody_in_is_shown_as_such() -> None:
    lines = NatStatus(own=(OWN,), nat=CONE, verified={SEEN: False}).lines()
    place = lines.index("Where others see it, and nobody gets in unasked:")
    assert lines[place + 1] == f"  {SEEN}  (peers have tried it and did not get through)"
    assert "From elsewhere:" not in lines


def test_who_does_not_listen_is_not_told_that_others_can_connect() -> None:
    status = NatStatus(listening=False)
    assert status.lines()[0] == "This node does not listen: nobody can dial it."
    assert status.as_dict()["listening"] is False
    assert status.as_dict()["advice"] == [], "names of servers would be of no use"
