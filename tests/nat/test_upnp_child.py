"""`crust.nat.upnp_child`: what is asked of a gateway, with routers of many kinds in place of miniupnpc."""

from typing import Any

import pytest

from crust.nat.upnp_child import ANYWHERE, DESCRIPTION, NEAR, candidates, serve

US, OTHER = "192.168.1.2", "192.168.1.9"
URL = "http://192.168.1.1:5000/rootDesc.xml"


class FakeIgd:
    """A router as miniupnpc shows it.

    Attributes:
        table: (external port, protocol) -> (host, internal port, lease)
        refuse: texts of errors by the lease that is asked for; None for any.
    """

    def __init__(self, **features: Any) -> None:
        self.lanaddr = US
        self.table: dict[tuple[int, str], tuple[str, int, int]] = {}
        self.control = "http://192.168.1.1:5000/ctl"
        self.external: str | Exception = "11.1.1.2"
        self.tells_entries = True
        self.overwrites = False
        self.lies = False
        self.same_ports = False
        self.permanent_only: str | None = None
        self.error: str | None = None
        self.keeps: str | None = None
        self.most = 86_400
        self.added: list[tuple[int, int]] = []
        for name, value in features.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    def selectigd(self, url: str) -> str:
        if url != URL:
            raise Exception("No UPnP device discovered")
        return self.control

    def externalipaddress(self) -> str:
        if isinstance(self.external, Exception):
            raise self.external
        return self.external

    def addportmapping(
        self, external: int, protocol: str, host: str, internal: int, text: str, remote: str, lease: int
    ) -> bool:
        assert (text, remote) == (DESCRIPTION, "")
        self.added.append((external, lease))
        if self.error:
            raise Exception(self.error)
        if self.permanent_only and lease:
            raise Exception(self.permanent_only)
        if self.same_ports and external != internal:
            raise Exception("SamePortValuesRequired")
        there = self.table.get((external, protocol))
        if there and there[0] != host and not self.overwrites:
            raise Exception("ConflictInMappingEntry")
        if not self.lies:
            self.table[external, protocol] = host, internal, min(lease, self.most)
        return True

    def getspecificportmapping(self, external: int, protocol: str) -> tuple[Any, ...] | None:
        entry = self.table.get((external, protocol))
        if entry is None or not self.tells_entries:
            return None
        return entry[0], entry[1], "text", True, entry[2]

    def deleteportmapping(self, external: int, protocol: str) -> bool:
        if self.keeps:
            raise Exception(self.keeps)
        if self.table.pop((external, protocol), None) is None:
            raise Exception("NoSuchEntryInArray")
        return True


def ask(igd: FakeIgd, **changes: Any) -> dict[str, Any]:
    request = {"url": URL, "local": US, "lease": 3600, "map": [["TCP", 5483, 5483]], "unmap": [], **changes}
    return serve(request, igd)


def test_ports_are_mapped_as_wished() -> None:
    igd = FakeIgd()
    answer = ask(igd, map=[["TCP", 5483, 5483], ["UDP", 5484, 6000]])
    assert answer == {
        "external": "11.1.1.2",
        "mapped": [["TCP", 5483, 5483, 3600], ["UDP", 5484, 6000, 3600]],
        "failed": [],
        "left": [],
    }
    assert igd.table == {(5483, "TCP"): (US, 5483, 3600), (6000, "UDP"): (US, 5484, 3600)}


def test_renewing_keeps_the_port() -> None:
    igd = FakeIgd(table={(6000, "TCP"): (US, 5483, 17)})
    assert ask(igd, map=[["TCP", 5483, 6000]])["mapped"] == [["TCP", 5483, 6000, 3600]]
    assert len(igd.table) == 1


@pytest.mark.parametrize(("overwrites", "tells_entries"), [(False, False), (False, True), (True, True)])
def test_a_port_of_somebody_else_is_left_to_them(overwrites: bool, tells_entries: bool) -> None:
    """Even where the router would let us take it, if it lets us see it."""
    theirs = {(port, "TCP"): (OTHER, port, 0) for port in (5483, 5484)}
    igd = FakeIgd(table=dict(theirs), overwrites=overwrites, tells_entries=tells_entries)
    answer = ask(igd)
    assert answer["mapped"] == [["TCP", 5483, 5485, 3600]]
    assert theirs.items() <= igd.table.items()


def test_a_port_of_another_program_of_this_machine_is_left_to_it() -> None:
    igd = FakeIgd(table={(5483, "TCP"): (US, 80, 0)})
    assert ask(igd)["mapped"] == [["TCP", 5483, 5484, 3600]]
    assert igd.table[5483, "TCP"] == (US, 80, 0)


def test_the_other_protocol_is_no_conflict() -> None:
    igd = FakeIgd(table={(5483, "UDP"): (OTHER, 5483, 0)})
    assert ask(igd)["mapped"] == [["TCP", 5483, 5483, 3600]]


@pytest.mark.parametrize("text", ["OnlyPermanentLeasesSupported", "Invalid Args"])
def test_a_router_that_knows_no_leases_gets_none(text: str) -> None:
    igd = FakeIgd(permanent_only=text)
    assert ask(igd)["mapped"] == [["TCP", 5483, 5483, 0]]
    assert igd.added == [(5483, 3600), (5483, 0)]


def test_a_shorter_lease_is_noticed() -> None:
    assert ask(FakeIgd(most=600))["mapped"] == [["TCP", 5483, 5483, 600]]


def test_a_router_that_cannot_be_asked_is_believed() -> None:
    assert ask(FakeIgd(tells_entries=False))["mapped"] == [["TCP", 5483, 5483, 3600]]


def test_same_ports_where_the_router_wants_that() -> None:
    igd = FakeIgd(same_ports=True)
    assert ask(igd, map=[["TCP", 5483, 6000]])["mapped"] == [["TCP", 5483, 5483, 3600]]


def test_everything_taken_is_said() -> None:
    everything = {(port, "TCP"): (OTHER, port, 0) for port in range(65536)}
    answer = ask(FakeIgd(table=everything))
    assert answer["mapped"] == []
    assert answer["failed"] == [["TCP", 5483, "did not map the port: has no free port near ours"]]


def test_a_refusal_is_not_repeated_with_other_ports() -> None:
    igd = FakeIgd(error="Action not authorized")
    assert ask(igd)["failed"] == [["TCP", 5483, "did not map the port: Action not authorized"]]
    assert len(igd.added) == 1


def test_what_a_router_says_is_cut_and_printable() -> None:
    said = ask(FakeIgd(error="\x1b[31m" + "a" * 10_000))["failed"][0][2]
    assert said.isprintable()
    assert len(said) < 200


def test_a_router_that_maps_to_somebody_else_is_not_believed() -> None:
    igd = FakeIgd(lies=True)
    igd.getspecificportmapping = lambda *_: (OTHER, 5483, "", True, 0) if igd.added else None  # type: ignore[method-assign]
    assert ask(igd)["failed"] == [["TCP", 5483, "says it has mapped the port, but has not"]]


def test_one_failure_does_not_stop_the_others() -> None:
    igd = FakeIgd(external=Exception("Action Failed"), table={(port, "UDP"): (OTHER, port, 0) for port in range(65536)})
    answer = ask(igd, map=[["UDP", 1, 1], ["TCP", 5483, 5483]])
    assert answer["mapped"] == [["TCP", 5483, 5483, 3600]]
    assert answer["external"] is None
    assert [row[:2] for row in answer["failed"]] == [["", 0], ["UDP", 1]]


def test_ours_are_ended_and_only_ours() -> None:
    igd = FakeIgd(table={(5483, "TCP"): (US, 5483, 9), (5484, "TCP"): (OTHER, 5484, 9), (1, "UDP"): (US, 2, 9)})
    unmap = [["TCP", 5483, 5483], ["TCP", 5484, 5484], ["UDP", 1, 1], ["UDP", 7, 7]]
    answer = ask(igd, map=[], unmap=unmap)
    assert (answer["failed"], answer["left"]) == ([], [])
    assert igd.table == {(5484, "TCP"): (OTHER, 5484, 9), (1, "UDP"): (US, 2, 9)}


def test_a_mapping_that_the_router_keeps_is_told_of() -> None:
    igd = FakeIgd(keeps="Action not authorized", table={(6000, "TCP"): (US, 5483, 9)})
    answer = ask(igd, map=[], unmap=[["TCP", 5483, 6000]])
    assert answer["left"] == [
        ["TCP", 5483, "did not end the mapping of external port 6000: Action not authorized"],
    ]


def test_the_outside_address_is_asked_for_only_with_ports() -> None:
    assert ask(FakeIgd(external=Exception("boom")), map=[])["failed"] == []


@pytest.mark.parametrize(
    ("features", "url", "said"),
    [
        ({}, "http://192.168.1.1/other", "No UPnP device discovered"),
        ({"control": ""}, URL, "nothing that maps ports"),
        ({"control": "http://192.168.1.1:5000/"}, URL, "nothing that maps ports"),
        ({"control": "http://198.51.100.1/ctl"}, URL, "another device"),
        ({"lanaddr": OTHER}, URL, "reached from 192.168.1.9"),
    ],
)
def test_descriptions_that_lead_nowhere(features: dict[str, Any], url: str, said: str) -> None:
    assert said in ask(FakeIgd(**features), url=url)["error"]


def test_ports_to_try_begin_with_the_best() -> None:
    ports = list(candidates(5483, 6000))
    assert ports[: NEAR + 2] == [6000, 5483, 5484, 5485, 5486, 5487]
    assert len(ports) <= NEAR + 2 + ANYWHERE
    assert len(set(ports)) == len(ports)
    assert all(1024 <= port < 65536 for port in ports[NEAR + 2 :])
    assert next(candidates(65535, 65535)) == 65535
    assert max(candidates(65534, 65534)) <= 65535
