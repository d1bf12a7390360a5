"""Ports are mapped by a real router, miniupnpd, and peers outside come in through them."""

import sys

import pytest

from crust.nat.mapping_report import Method
from tests.lab import gateways
from tests.lab.gateways import Gateway
from tests.lab.mapper_program import PATIENCE, Remote
from tests.lab.namespaces import Lab, Node
from tests.lab.routers import Nat, home
from tests.lab.udp_program import RECEIVE_TIMEOUT, SILENCE, Udp
from tests.lab.wiring import Interface, plug, route, switch

pytestmark = pytest.mark.lab

OUTSIDE = "11.1.1.2"
HOST_IPV6 = "2a00:1::2"
PORT = 5483
LEASE = 6  # seconds, where the end of one is waited for
METHODS = list(Method)


@pytest.fixture(autouse=True)
def possible() -> None:
    """Skip where there is no such router."""
    if reason := gateways.missing():
        pytest.skip(reason)


class World:
    """Hosts behind a router, a server outside, and in the router what maps ports."""

    def __init__(self, lab: Lab, outside: str = OUTSIDE) -> None:
        wan = switch(lab, "wan")
        self.router = lab.node("router")
        self.hosts = [home(self.router, wan, f"{outside}/24", "192.168.1", Nat.HOME)]
        server = lab.node("server")
        plug(server, "eth0", wan, "11.1.1.10/24")
        # Two, because routers keep a flow that has begun when the mapping by which it came in is gone.
        self.strangers = [Udp(server, 6000), Udp(server, 6001)]

    def host(self) -> Node:
        """Another host behind the router."""
        number = len(self.hosts) + 2
        node = self.router.lab.node(f"pc-{number}")
        plug(node, "eth0", self.router.lab.nodes["router-lan"], f"192.168.1.{number}/24")
        route(node, "192.168.1.1")
        self.hosts.append(node)
        return node

    def assert_reach(self, wanted: tuple[str, str | None], tcp: int, udp: int, stranger: int = 0) -> None:
        """A stranger outside meets that at these ports: over TCP, and over UDP."""
        outside, patience = self.strangers[stranger], SILENCE if wanted == SHUT else RECEIVE_TIMEOUT
        dialled = outside.dial(OUTSIDE, tcp, patience)
        outside.send(OUTSIDE, udp, "hello")
        back = outside.receive(patience)
        assert (dialled, back.text if back else None) == wanted


OPEN, SHUT = ("connected", "hello"), ("silence", None)


def one_of_each(world: World, lease: int = 0) -> list[Remote]:
    """On one host a mapper for each method, each with a port of its own."""
    found = [Remote(world.hosts[0], method, port=PORT + at, lease=lease) for at, method in enumerate(METHODS)]
    for mapper, method in zip(found, METHODS, strict=True):
        assert mapper.mapped()["methods"] == [method.name]
    return found


def test_mapped_ports_are_used_from_outside_and_gone_in_the_end(lab: Lab) -> None:
    world = World(lab)
    gateway = Gateway(world.router)
    world.assert_reach(SHUT, PORT, PORT)
    mappers = one_of_each(world)
    for port, mapper in enumerate(mappers, PORT):
        report = mapper.mapped()
        assert report["externals"] == report["endpoints"] == [f"tcp://11.1.1.2:{port}", f"utp://11.1.1.2:{port}"]
        assert all(3500 < lease <= 3600 for lease in report["leases"])
        assert report["warnings"] == []
        world.assert_reach(OPEN, port, port)
    for mapper in mappers:
        mapper.ask("stop", PATIENCE)
    assert gateway.mapped() == 0
    world.assert_reach(SHUT, PORT, PORT, stranger=1)


def test_the_quickest_method_is_used(lab: Lab) -> None:
    world = World(lab)
    Gateway(world.router)
    assert Remote(world.hosts[0]).mapped()["methods"] == ["PCP"]


def test_a_router_that_knows_only_upnp_is_used_all_the_same(lab: Lab) -> None:
    world = World(lab)
    Gateway(world.router, enable_natpmp="no")
    assert Remote(world.hosts[0]).mapped()["methods"] == ["UPNP"]


def test_a_port_that_another_host_has_is_replaced_by_one_near_it(lab: Lab) -> None:
    world = World(lab)
    gateway = Gateway(world.router)
    first = Remote(world.hosts[0], Method.UPNP)
    before = first.mapped()["externals"]
    assert before == [f"tcp://11.1.1.2:{PORT}", f"utp://11.1.1.2:{PORT}"]
    others = [Remote(world.host(), method) for method in METHODS]
    for other in others:
        ports = [int(external.rpartition(":")[2]) for external in other.mapped()["externals"]]
        assert PORT not in ports
        assert all(abs(port - PORT) < 10 for port in ports)
        world.assert_reach(OPEN, *ports)
    for other in others:
        other.ask("stop", PATIENCE)
    assert gateway.mapped() == 2
    assert first.mapped()["externals"] == before


def test_leases_are_renewed_and_end_after_a_crash(lab: Lab) -> None:
    world = World(lab)
    gateway = Gateway(world.router)
    mappers = one_of_each(world, LEASE)
    assert all(0 < lease <= LEASE for mapper in mappers for lease in mapper.mapped()["leases"])
    gateway.let_pass(2 * LEASE)
    assert gateway.becomes_mapped(2 * len(mappers), PATIENCE)
    for mapper in mappers:
        mapper.running.kill()
    assert gateway.becomes_mapped(0, PATIENCE)


def test_a_router_that_restarts_gets_its_mappings_again(lab: Lab) -> None:
    """It announces that over NAT-PMP, which is heard whatever method is used: nobody waits for the next renewal."""
    world = World(lab)
    gateway = Gateway(world.router)
    mappers = one_of_each(world)
    gateway.stop()
    gateway.clear()
    world.assert_reach(SHUT, PORT, PORT)
    gateway.start()
    assert gateway.becomes_mapped(2 * len(mappers), PATIENCE)
    world.assert_reach(OPEN, PORT, PORT, stranger=1)


def test_an_outside_address_that_changes_is_noticed(lab: Lab) -> None:
    world = World(lab)
    gateway = Gateway(world.router)
    mappers = one_of_each(world)
    gateway.stop()
    gateway.clear()
    world.router.run("ip", "address", "flush", "dev", "wan")
    world.router.run("ip", "address", "add", "11.1.1.77/24", "dev", "wan")
    gateway.start()
    assert gateway.becomes_mapped(2 * len(mappers), PATIENCE)
    for port, mapper in enumerate(mappers, PORT):
        assert mapper.ask("reached", f"tcp://11.1.1.77:{port}", PATIENCE) == "yes"


def test_another_address_of_this_machine_is_noticed(lab: Lab) -> None:
    """As when a laptop comes into another network: address and route go, and others come."""
    world = World(lab)
    gateway, host = Gateway(world.router), world.hosts[0]
    host.run("ip", "address", "flush", "dev", "eth0")
    mapper = Remote(host)
    assert mapper.mapped(0)["warnings"] == []
    for address in ("192.168.1.55", "192.168.1.66"):
        host.run("ip", "address", "flush", "dev", "eth0")
        Interface(host, "eth0").address(f"{address}/24")
        route(host, "192.168.1.1")
        assert gateway.maps_to(address, PATIENCE)


def with_ipv6(world: World) -> None:
    """Give all public IPv6 addresses: there is only a firewall in between."""
    host, server = world.hosts[0], world.router.lab.nodes["server"]
    for node, interface, address in (
        (world.router, "lan", "2a00:1::1/64"),
        (world.router, "wan", "2a00:2::1/64"),
        (host, "eth0", f"{HOST_IPV6}/64"),
        (server, "eth0", "2a00:2::10/64"),
    ):
        Interface(node, interface).address(address)
    host.run("ip", "-6", "route", "add", "default", "via", "2a00:1::1")
    server.run("ip", "-6", "route", "add", "default", "via", "2a00:2::1")


def echoes(world: World, port: int) -> bool:
    """Whether the host sends back over UDP what comes from outside."""
    program = (
        "import socket, sys\n"
        "udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        f"udp.settimeout({RECEIVE_TIMEOUT})\n"
        f"udp.sendto(b'hello', ('{HOST_IPV6}', {port}))\n"
        "print(udp.recv(100).decode())\n"
    )
    return world.router.lab.nodes["server"].run(sys.executable, "-c", program).strip() == "hello"


@pytest.mark.parametrize(("methods", "used"), [(METHODS, "PCP"), ([Method.UPNP], "UPNP")])
def test_over_ipv6_the_firewall_of_the_router_gets_a_hole(lab: Lab, methods: list[Method], used: str) -> None:
    """One for each port, whatever the router knows: PCP is enough where there is both."""
    world = World(lab)
    with_ipv6(world)
    gateway = Gateway(world.router)
    stranger = world.strangers[0]
    assert stranger.dial(HOST_IPV6, PORT, SILENCE) == "silence"
    mapper = Remote(world.hosts[0], *methods)
    report = mapper.mapped(4)
    assert report["methods"] == [used]
    assert report["warnings"] == []
    assert {f"tcp://[{HOST_IPV6}]:{PORT}", f"utp://[{HOST_IPV6}]:{PORT}"} <= set(report["endpoints"])
    assert gateway.holes(HOST_IPV6) == 2
    assert stranger.dial(HOST_IPV6, PORT, PATIENCE) == "connected"
    assert echoes(world, PORT)
    mapper.ask("stop", PATIENCE)
    assert gateway.holes(HOST_IPV6) == 0
    assert stranger.dial(HOST_IPV6, PORT, SILENCE) == "silence"


def test_holes_over_upnp_are_renewed_and_end_after_a_crash(lab: Lab) -> None:
    """Also after a restart of the router, which then gives the same numbers to other holes."""
    world = World(lab)
    with_ipv6(world)
    gateway = Gateway(world.router, http_port="5555")  # the same after a restart
    ports = [PORT, PORT + 1]
    mappers = [Remote(world.hosts[0], Method.UPNP, port=port, lease=LEASE) for port in ports]
    for mapper in mappers:
        mapper.mapped(4)
    gateway.let_pass(1.5 * LEASE)
    # One whose renewal came too late, on a busy machine, is there again with the next; without renewals none is.
    assert gateway.becomes_open(HOST_IPV6, 4, PATIENCE)
    gateway.stop()
    gateway.clear()
    assert gateway.holes(HOST_IPV6) == 0
    gateway.start()
    assert gateway.becomes_open(HOST_IPV6, 4, PATIENCE)
    for port in ports:
        assert world.strangers[0].dial(HOST_IPV6, port, PATIENCE) == "connected"
    for mapper in mappers:
        mapper.running.kill()
    assert gateway.becomes_open(HOST_IPV6, 0, PATIENCE)
    assert world.strangers[1].dial(HOST_IPV6, PORT, SILENCE) == "silence"


def test_a_router_behind_a_carriers_nat_is_told_of(lab: Lab) -> None:
    """miniupnpd does nothing there; routers that map the port all the same are in tests/nat/test_gateway_session.py."""
    world = World(lab, outside="100.64.0.9")
    Gateway(world.router)
    report = Remote(world.hosts[0]).mapped(0)
    assert report["endpoints"] == []
    assert report["warnings"]


def test_a_router_that_maps_nothing_is_told_of(lab: Lab) -> None:
    report = Remote(World(lab).hosts[0]).mapped(0)
    assert "opens no ports when asked" in report["warnings"][0]
    assert "forward TCP port 5483 and UDP port 5483 to 192.168.1.2" in report["warnings"][0]
