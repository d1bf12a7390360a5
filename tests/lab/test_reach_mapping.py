"""A manager behind a real UPnP router is reached at the ports that the router maps for it."""

from typing import Final

import pytest

from crust.discovery.reach import ISOLATED
from tests.lab import gateways
from tests.lab.gateways import Gateway
from tests.lab.namespaces import Lab
from tests.lab.nat_program import Remote
from tests.lab.routers import Nat, home
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

OUTSIDE: Final = "11.1.1.2"
TCP, UTP = 5483, 5484
ENDPOINTS: Final = [f"tcp://{OUTSIDE}:{TCP}", f"utp://{OUTSIDE}:{UTP}"]
PATIENCE: Final = 40.0  # seconds for what takes one at most, on a busy machine


@pytest.fixture(autouse=True)
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where there is no such router. In its own namespaces a node may ask its router."""
    if reason := gateways.missing():
        pytest.skip(reason)
    monkeypatch.delenv(ISOLATED)


def test_a_manager_is_reached_at_mapped_ports_until_it_stops(lab: Lab) -> None:
    wan, router = switch(lab, "wan"), lab.node("router")
    inside = Remote(home(router, wan, f"{OUTSIDE}/24", "192.168.1", Nat.HOME), upnp=True, tcp_port=TCP, utp_port=UTP)
    node = lab.node("stranger")
    plug(node, "eth0", wan, "11.1.1.10/24")
    stranger = Remote(node)
    gateway = Gateway(router)
    for remote in (inside, stranger):
        remote.ready()
    stranger.ask("fresh")
    host = inside.ask("fresh")

    assert sorted(inside.ask("external", 2, PATIENCE)) == ENDPOINTS
    assert set(ENDPOINTS) < set(inside.ask("endpoints"))
    status = inside.ask("status")
    assert f"speaks PCP; its outside address is {OUTSIDE}." in status
    for endpoint, port in zip(ENDPOINTS, ("tcp:5483", "utp:5484"), strict=True):
        assert f"{endpoint} leads to our {port}" in status
        assert stranger.ask("join", endpoint), endpoint
        assert stranger.ask("met", host, "any", 0) == endpoint
        stranger.ask("fresh")

    gateway.stop()
    gateway.clear()
    assert gateway.mapped() == 0
    gateway.start()
    assert gateway.becomes_mapped(2, PATIENCE)
    assert sorted(inside.ask("external", 2, PATIENCE)) == ENDPOINTS
    assert stranger.ask("join", ENDPOINTS[0])

    inside.ask("stop")
    assert gateway.mapped() == 0
