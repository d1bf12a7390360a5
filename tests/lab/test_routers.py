"""The routers do what those at home do."""

import pytest

from tests.lab.namespaces import Lab, Node
from tests.lab.routers import Nat, home
from tests.lab.udp_program import RECEIVE_TIMEOUT, SILENCE, Udp
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab


def one_home(lab: Lab, nat: Nat) -> tuple[Node, Node, Node]:
    """A host behind a router, and two servers on the net outside."""
    wan = switch(lab, "wan")
    host = home(lab.node("router"), wan, "11.1.1.2/24", "192.168.1", nat)
    servers = [lab.node(name) for name in ("server-1", "server-2")]
    for number, server in enumerate(servers):
        plug(server, "eth0", wan, f"11.1.1.{10 + number}/24")
    return host, servers[0], servers[1]


@pytest.mark.parametrize("nat", [Nat.HOME, Nat.ANSWERING])
def test_a_home_router_keeps_the_port_for_every_destination(lab: Lab, nat: Nat) -> None:
    host, *servers = one_home(lab, nat)
    inside = Udp(host, 5000)
    for number, server in enumerate(servers):
        outside = Udp(server, 6000)
        inside.send(f"11.1.1.{10 + number}", 6000, "hello")
        seen = outside.receive()
        assert seen is not None
        assert seen == ("11.1.1.2", 5000, "hello")
        outside.send(seen.host, seen.port, "back")
        assert inside.receive() == (f"11.1.1.{10 + number}", 6000, "back")


def test_a_symmetric_router_takes_a_new_port_for_each_destination(lab: Lab) -> None:
    host, *servers = one_home(lab, Nat.SYMMETRIC)
    inside, ports = Udp(host, 5000), set()
    for number, server in enumerate(servers):
        outside = Udp(server, 6000)
        for _ in range(2):
            inside.send(f"11.1.1.{10 + number}", 6000, "hello")
            seen = outside.receive()
            assert seen is not None
            ports.add(seen.port)
    assert len(ports) == 2


@pytest.mark.parametrize("nat", [Nat.HOME, Nat.SYMMETRIC, Nat.ANSWERING])
def test_who_was_not_asked_does_not_get_in(lab: Lab, nat: Nat) -> None:
    host, asked, stranger = one_home(lab, nat)
    inside, server, other = Udp(host, 5000), Udp(asked, 6000), Udp(stranger, 6000)
    inside.send("11.1.1.10", 6000, "hello")
    seen = server.receive()
    assert seen is not None
    other.send(seen.host, seen.port, "let-me-in")
    assert inside.receive(SILENCE) is None


@pytest.mark.parametrize(
    ("nat", "answer", "patience"), [(Nat.HOME, "silence", SILENCE), (Nat.ANSWERING, "refused", RECEIVE_TIMEOUT)]
)
def test_what_comes_unasked_is_dropped_or_answered(lab: Lab, nat: Nat, answer: str, patience: float) -> None:
    _, server, _ = one_home(lab, nat)
    assert Udp(server, 6000).dial("11.1.1.2", 5000, patience) == answer


def test_an_early_packet_from_outside_does_not_take_the_port(lab: Lab) -> None:
    host, server, _ = one_home(lab, Nat.HOME)
    inside, outside = Udp(host, 5000), Udp(server, 6000)
    outside.send("11.1.1.2", 5000, "too-early")
    inside.send("11.1.1.10", 6000, "hello")
    assert outside.receive() == ("11.1.1.2", 5000, "hello")


def test_two_routers_in_a_row(lab: Lab) -> None:
    wan = switch(lab, "wan")
    carrier_host = home(lab.node("carrier"), wan, "11.1.1.2/24", "100.64.0", Nat.HOME)
    host = home(
        lab.node("router"), lab.nodes["carrier-lan"], "100.64.0.9/24", "192.168.1", Nat.HOME, gateway="100.64.0.1"
    )
    server = lab.node("server")
    plug(server, "eth0", wan, "11.1.1.10/24")
    inside, outside = Udp(host, 5000), Udp(server, 6000)
    inside.send("11.1.1.10", 6000, "hello")
    assert outside.receive() == ("11.1.1.2", 5000, "hello")
    assert carrier_host.name == "carrier-pc"
