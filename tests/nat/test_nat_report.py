"""`crust.nat.nat_report`: every combination says something, and the words fit the facts."""

import itertools
import json

import pytest

from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.nat_report import NatReport
from crust.nat.observations import Believed, Confidence

ADDRESS = Believed(("203.0.113.9", 40000), Confidence.CONFIRMED, 5)


def report(mapping: Mapping, filtering: Filtering = Filtering.UNKNOWN, **more: object) -> NatReport:
    return NatReport(Behaviour(mapping, filtering, **more), ADDRESS, 2, 2)  # type: ignore[arg-type]


def test_every_combination_says_something() -> None:
    for mapping, filtering, allocation, hairpin in itertools.product(
        Mapping, Filtering, Allocation, (None, True, False)
    ):
        for address in (None, ADDRESS):
            found = NatReport(Behaviour(mapping, filtering, allocation, 1, hairpin), address, 2, 2)
            assert found.lines()
            assert found.reach().endswith(".")
            assert all(line.endswith((".", ")")) for line in [*found.lines(), *found.advice()])
            assert json.loads(json.dumps(found.as_dict()))["mapping"] == mapping.name.lower()


def test_the_address_is_told_and_how_sure_that_is() -> None:
    assert "The outer address is 203.0.113.9:40000 (confirmed by 5 observers)." in report(Mapping.UNKNOWN).lines()
    for address, said in (
        (Believed(("2001:db8::1", 7), Confidence.LIKELY, 2), "[2001:db8::1]:7 (2 observers agree)"),
        (Believed(("203.0.113.9", 0), Confidence.HEARD, 1), "203.0.113.9 (one observer says so)"),
        (Believed(("203.0.113.9", 7), Confidence.HEARD, 2), "203.0.113.9:7 (observers do not agree)"),
    ):
        assert said in " ".join(NatReport(Behaviour(), address, 2, 2).lines())


@pytest.mark.parametrize(
    ("found", "reach", "advice"),
    [
        (report(Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT), "Everybody", None),
        (report(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT), "Everybody", None),
        (report(Mapping.NONE, Filtering.ADDRESS_DEPENDENT), "hole punching", "firewall"),
        (report(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT), "hole punching", "UPnP"),
        (
            report(Mapping.ADDRESS_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=2),
            "predicted ports",
            "full cone",
        ),
        (report(Mapping.ENDPOINT_DEPENDENT, allocation=Allocation.RANDOM), "only relayed", "full cone"),
        (report(Mapping.UNKNOWN), "Probably", None),
        (NatReport(Behaviour()), "Probably", "stun_servers"),
        (NatReport(Behaviour(), asked=2), "nobody", "let UDP out"),
    ],
)
def test_who_can_connect_and_what_to_do(found: NatReport, reach: str, advice: str | None) -> None:
    assert reach in found.reach()
    if advice is None:
        assert found.advice() == []
    else:
        assert advice in " ".join(found.advice())


def test_a_prediction_tells_its_steps() -> None:
    found = report(Mapping.ADDRESS_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=2, hairpin=False)
    assert "steps of 2" in " ".join(found.lines())
    assert "cannot reach each other" in " ".join(found.lines())


def test_blocked() -> None:
    assert NatReport(Behaviour(), asked=2).blocked
    assert not NatReport(Behaviour()).blocked
    assert "blocked" in NatReport(Behaviour(), asked=2).lines()[0]


def test_servers_that_told_nothing_are_named_and_why() -> None:
    failed = (("stun.example:3478", "the host name cannot be resolved"),)
    said = "The server stun.example:3478 told nothing: the host name cannot be resolved."
    for found in (
        NatReport(Behaviour(), failed=failed),
        NatReport(Behaviour(), asked=1, failed=failed),
        NatReport(Behaviour(Mapping.ENDPOINT_INDEPENDENT), ADDRESS, 2, 1, failed),
    ):
        assert found.lines()[-1] == said
        assert "Check stun_servers" in " ".join(found.advice())
        assert "Name servers" not in " ".join(found.advice())
        assert found.as_dict()["failed"] == dict(failed)


def test_without_a_utp_port_servers_are_of_no_use() -> None:
    found = NatReport(Behaviour(), utp=False)
    assert "(utp_port)" in " ".join(found.lines())
    assert "too few could be asked" not in " ".join(found.lines())
    assert found.advice() == [
        "Set utp_port: servers and peers tell where they see this node only if they are asked from there."
    ]
