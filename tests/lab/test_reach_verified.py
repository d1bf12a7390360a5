"""That a node can be reached is said only where peers elsewhere have tried; and one network has one voice."""

from typing import Final

import pytest

from crust.discovery.reach import ISOLATED
from tests.lab import gateways
from tests.lab.gateways import Gateway
from tests.lab.namespaces import Lab, Node
from tests.lab.nat_program import Remote
from tests.lab.reach_liar_program import Liars
from tests.lab.routers import Nat, home
from tests.lab.wiring import forwards, plug, route, switch

pytestmark = pytest.mark.lab

TCP, UTP = 5483, 5484
PATIENCE: Final = 60.0  # seconds; a port that is not reached takes five, and there are two for each who asks
LIARS: Final = 3


@pytest.fixture(autouse=True)
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where there is no UPnP router. In its own namespaces a node may ask its router."""
    if reason := gateways.missing():
        pytest.skip(reason)
    monkeypatch.delenv(ISOLATED)


class World:
    """A wire with several networks, and a router between them: peers of one network have one voice."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.wan = switch(lab, "wan")
        core = lab.node("core")
        plug(core, "eth0", self.wan, *(f"11.1.{network}.254/24" for network in range(1, 7)))
        core.sysctl(net__ipv4__conf__all__send_redirects=0, net__ipv4__conf__eth0__send_redirects=0)
        forwards(core)

    def public(self, name: str, network: int) -> Node:
        node = self.lab.node(name)
        plug(node, "eth0", self.wan, f"11.1.{network}.10/24")
        route(node, f"11.1.{network}.254")
        return node

    def home(self, number: int) -> tuple[Node, Node]:
        """A router, and a host behind it."""
        router = self.lab.node(f"router-{number}")
        host = home(router, self.wan, f"11.1.1.{number}/24", f"192.168.{number}", Nat.HOME, gateway="11.1.1.254")
        return router, host


def test_who_can_be_reached_is_known_because_others_have_tried(lab: Lab) -> None:
    world = World(lab)
    peers = [Remote(world.public(f"peer-{network}", network)) for network in (2, 3, 4, 5)]
    liars = Liars(world.public("liars", 6), LIARS)
    mapped_router, mapped_host = world.home(3)
    walled_router, walled_host = world.home(4)
    public = Remote(world.public("public", 1), tcp_port=TCP, utp_port=UTP)
    masked = Remote(world.home(2)[1], tcp_port=TCP, utp_port=UTP)
    mapped = Remote(mapped_host, tcp_port=TCP, utp_port=UTP, upnp=True)
    walled = Remote(walled_host, tcp_port=TCP, utp_port=UTP, upnp=True)
    for router in (mapped_router, walled_router):
        Gateway(router)
    # It says that the ports are mapped, but lets nobody in: as a router does behind another one.
    walled_router.run(
        "nft", "insert", "rule", "ip", "home", "forward", "ct", "status", "dnat", "ct", "state", "new", "drop"
    )
    subjects = [public, masked, mapped, walled]
    for remote in (*peers, *subjects):
        remote.ready()
        remote.tell("fresh")
    for remote in (*peers, *subjects):
        remote.hear()
    addresses = [next(each for each in peer.ask("endpoints") if each.startswith("tcp://11.")) for peer in peers]
    # Of the four that see the same address of the one behind a NAT, it becomes known; of who lies only the walled one
    # hears, beside two who do not.
    for endpoint in addresses:
        for subject in (public, masked, mapped):
            assert subject.ask("join", endpoint)
    for endpoint in (*liars.endpoints(), *addresses[:2]):
        assert walled.ask("join", endpoint)
    assert len(walled.ask("peers", LIARS + 2, PATIENCE)) == LIARS + 2
    assert len(masked.ask("peers", 4, PATIENCE)) == 4

    outer = {public: "11.1.1.10", masked: "11.1.1.2", mapped: "11.1.1.3", walled: "11.1.1.4"}
    for subject, count in ((public, 2), (masked, 1), (mapped, 2), (walled, 2)):
        reached = subject in (public, mapped)
        verdicts = subject.ask("verified", str(reached).lower(), count, PATIENCE)
        assert set(verdicts) <= {f"tcp://{outer[subject]}:{TCP}", f"utp://{outer[subject]}:{UTP}"}, subject.node
        # The one behind a NAT may learn from all four, or too few, where it is seen over uTP: that is tried too, later.
        tried = [verdict for verdict in verdicts.values() if verdict is not None]
        assert len(tried) >= count, (subject.node, verdicts)
        assert set(tried) == {reached}, (subject.node, verdicts)
        status = subject.ask("status")
        assert ("Everybody can connect to this node: a peer elsewhere has tried." in status) is reached
        assert ("peers have tried it and did not get through" in status) is not reached
        assert subject.ask("nat")["direct"] is reached
    assert liars.lies() >= 2
