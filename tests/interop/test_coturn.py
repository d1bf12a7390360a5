"""STUN with coturn, both ways round: our client asks its server, its clients ask ours."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.stun_server import Corners, StunServer
from tests.interop.coturn import ask, coturn, our_corners, run, serving, survey

OPEN = Behaviour(Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT, Allocation.PRESERVING)


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Corners]:
    with coturn(tmp_path) as corners:
        yield corners


def test_our_client_and_their_server(theirs: Corners) -> None:
    """It is told the truth, and finds out all about loopback, whose way is as open as can be."""
    server = theirs.hosts[0], theirs.ports[0]
    reply = ask(server)
    assert reply.seen is not None
    assert reply.seen[0] == "127.0.0.1"
    assert reply.other == (theirs.hosts[1], theirs.ports[1])
    findings, own = survey([server])
    assert findings.behaviour == OPEN
    assert {sighting.seen for sighting in findings.sightings} == {own}
    assert len(findings.sightings) == 3, "the server, its other address, and its other port"


def test_our_client_and_our_server() -> None:
    corners = our_corners()
    with serving(StunServer(corners=corners), corners):
        findings, own = survey([(corners.hosts[0], corners.ports[0])])
    assert findings.behaviour == OPEN
    assert {sighting.seen for sighting in findings.sightings} == {own}


def test_their_client_and_our_server() -> None:
    """It does not pad, so it needs a server of the public."""
    corners = our_corners()
    server = StunServer(bare=True)
    with serving(server, corners):
        said = run("turnutils_stunclient", "-p", str(corners.ports[0]), corners.hosts[0])
    assert re.search(r"UDP reflexive addr: 127\.0\.0\.1:\d+", said), said
    assert server.counters["answered"] >= 1
    strict = StunServer()
    assert strict.answer(bytes.fromhex("000100002112a442") + b"transaction!", ("127.0.0.1", 1), 0.0) is None


@pytest.mark.parametrize(
    ("test", "says"),
    [("-m", "NAT with Endpoint Independent Mapping"), ("-f", "NAT with Endpoint Independent Filtering")],
)
def test_their_discovery_of_nats_and_our_server(test: str, says: str) -> None:
    corners = our_corners()
    with serving(StunServer(bare=True, corners=corners), corners):
        said = run("turnutils_natdiscovery", test, "-p", str(corners.ports[0]), corners.hosts[0])
    assert re.search(says, said), said
