"""A machine that comes into another network is reached there."""

from typing import Final

import pytest

from crust.discovery.reach import ISOLATED
from tests.lab.namespaces import Lab
from tests.lab.nat_kinds import Kind, place
from tests.lab.nat_program import Remote
from tests.lab.punch_program import serve_in
from tests.lab.routers import Nat, home
from tests.lab.wiring import plug, route, switch

pytestmark = pytest.mark.lab

SERVER, OTHER = "11.1.1.250", "11.1.1.251"
PATIENCE: Final = 45.0  # seconds for what takes a few


@pytest.fixture(autouse=True)
def _speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own namespaces a node may have a beacon, which is told of changes at once; others look now and then."""
    monkeypatch.delenv(ISOLATED)


def test_another_router_is_noticed_and_met_through(lab: Lab) -> None:
    """As a laptop that goes from one home to another: the cable goes, and with it address and route; another one
    comes. The peer in common takes it back, and others meet it through the new router."""
    wan, common = switch(lab, "wan"), lab.node("common")
    plug(common, "eth0", wan, f"{SERVER}/24", f"{OTHER}/24")
    serve_in(common, SERVER, OTHER)
    laptop = place(lab, Kind.MASQUERADE, wan, 2).node
    router = lab.node("router")
    home(router, wan, "11.1.1.4/24", "192.168.4", Nat.HOME)
    servers = [f"{SERVER}:3478"]
    moving = Remote(laptop, stun_servers=servers, beacon_port=5483)
    carrier, friend = Remote(common), Remote(place(lab, Kind.MASQUERADE, wan, 3).node, stun_servers=servers)
    everybody = [carrier, moving, friend]
    for remote in everybody:
        remote.ready()
        remote.tell("fresh")
    ids = [remote.hear() for remote in everybody]
    endpoint = next(each for each in carrier.ask("endpoints") if each.startswith("tcp://11."))
    for remote in (moving, friend):
        assert remote.ask("join", endpoint)
        remote.tell("surveyed")
    for remote in (moving, friend):
        assert remote.hear()[0] == "ENDPOINT_INDEPENDENT"
    assert "11.1.1.2" in moving.ask("status")

    laptop.run("ip", "link", "delete", "eth0")
    plug(laptop, "eth1", lab.nodes["router-lan"], "192.168.4.7/24")
    route(laptop, "192.168.4.1")
    own = moving.ask("moved", "192.168.4.7", PATIENCE)
    assert all("//192.168.4.7:" in each for each in own if "[" not in each), own
    assert moving.ask("gone", ids[0], PATIENCE)
    assert moving.ask("join", endpoint)
    status = moving.ask("says", "11.1.1.4", PATIENCE)
    assert "11.1.1.4" in status
    assert "11.1.1.2" not in status

    friend.ask("echo")
    there, _, reasons = moving.ask("meet", ids[2], "direct", PATIENCE)
    assert there is not None, reasons
    assert "11.1.1.3:" in there
    seen = friend.ask("met", ids[1], "direct", PATIENCE)
    assert "11.1.1.4:" in seen
    assert moving.ask("talk", ids[2])
