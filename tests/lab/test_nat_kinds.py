"""Each kind of NAT does what its name says, seen from real sockets on both sides."""

import contextlib
import itertools
import select
import socket
import threading
import time
from typing import NamedTuple

import pytest

from tests.lab.namespaces import Lab, Node
from tests.lab.nat_kinds import Kind, place, place_pair
from tests.lab.tun_nat_sockets import PATIENCE, Address, Sockets
from tests.lab.tun_nat_table import Allocation, Behaviour, Dependence
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

HOME, OTHER_HOME = 2, 3
SAME_HOST: tuple[Address, Address] = ("11.1.1.250", 6000), ("11.1.1.250", 6001)
SERVERS = (*SAME_HOST, ("11.1.1.251", 6000))
SILENCE = 0.3  # seconds in which it would have come, there is next to no delay

OWN = Dependence.PORT
EXPECTED = {  # mapping, filtering, how ports are chosen
    Kind.NONE: (Dependence.NONE, Dependence.NONE, Allocation.PRESERVING),
    Kind.FULL_CONE: (Dependence.NONE, Dependence.NONE, Allocation.RANDOM),
    Kind.ADDRESS_RESTRICTED: (Dependence.NONE, Dependence.HOST, Allocation.RANDOM),
    Kind.PORT_RESTRICTED: (Dependence.NONE, Dependence.PORT, Allocation.RANDOM),
    Kind.MASQUERADE: (Dependence.NONE, Dependence.PORT, Allocation.PRESERVING),
    Kind.SYMMETRIC_SEQUENTIAL: (Dependence.PORT, Dependence.PORT, Allocation.SEQUENTIAL),
    Kind.SYMMETRIC_RANDOM: (Dependence.PORT, Dependence.PORT, Allocation.RANDOM),
    Kind.CARRIER: (Dependence.NONE, Dependence.PORT, Allocation.PRESERVING),
}


class Outside(NamedTuple):
    """What is on the net outside: a switch, and a node with the addresses of `SERVERS`."""

    wan: Node
    servers: Sockets


@pytest.fixture
def outside(lab: Lab) -> Outside:
    wan, servers = switch(lab, "wan"), lab.node("servers")
    plug(servers, "eth0", wan, *(f"{host}/24" for host in ("11.1.1.250", "11.1.1.251")))
    return Outside(wan, Sockets(servers))


def datagrams(sock: socket.socket, wanted: set[str]) -> set[str]:
    """All that came up to the moment when everything wanted is there."""
    came: set[str] = set()
    deadline = time.monotonic() + PATIENCE
    while not wanted <= came and select.select([sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
        came.add(sock.recv(2048).decode())
    return came


def dependence(seen: list[Address]) -> Dependence:
    """What of a server's endpoint the endpoint depends on that it saw; asked in the order of `SERVERS`."""
    if len(set(seen)) == 1:
        return Dependence.NONE
    assert len(set(seen)) == (2 if seen[0] == seen[1] else 3)
    return Dependence.HOST if seen[0] == seen[1] else Dependence.PORT


def allocation(seen: list[Address], own: int) -> Allocation:
    ports = [port for _, port in seen]
    if own in ports:
        return Allocation.PRESERVING
    steps = {later - earlier for earlier, later in itertools.pairwise(ports)}
    return Allocation.SEQUENTIAL if steps == {1} else Allocation.RANDOM


def let_in(filtering: Dependence) -> set[str]:
    """Whose datagrams arrive where only the first server was sent to."""
    return {"0"} | {Dependence.NONE: {"1", "2"}, Dependence.HOST: {"1"}, Dependence.PORT: set()}[filtering]


@pytest.mark.parametrize("kind", list(Kind))
def test_udp(lab: Lab, outside: Outside, kind: Kind) -> None:
    host = place(lab, kind, outside.wan, HOME)
    mapping, filtering, ports = EXPECTED[kind]
    inside = Sockets(host.node)
    servers = [outside.servers.udp(address) for address in SERVERS]
    sock, seen = inside.udp((host.address, 5000)), []
    for server, address in zip(servers, SERVERS, strict=True):
        sock.sendto(b"hello", address)
        seen.append(server.recvfrom(2048)[1])
    assert {address for address, _ in seen} == {host.outer}
    assert (dependence(seen), allocation(seen, 5000)) == (mapping, ports)

    fresh = inside.udp((host.address, 5001))
    fresh.sendto(b"hello", SERVERS[0])
    _, outer = servers[0].recvfrom(2048)
    for number in (2, 1, 0):  # the one that was sent to comes last, and shows that the others do not come
        servers[number].sendto(str(number).encode(), outer)
    assert datagrams(fresh, let_in(filtering)) == let_in(filtering)

    nobody = inside.udp((host.address, 5002))
    nobody.connect(("11.1.1.250", 1))
    nobody.send(b"hello")
    with pytest.raises(ConnectionRefusedError):  # the ICMP error came back
        nobody.recv(2048)
    host.node.run("ping", "-c", "1", "-W", str(int(PATIENCE)), "11.1.1.251")


def echoed(left: socket.socket, right: socket.socket) -> None:
    """A few bytes to and fro: what was sent before has arrived by then, and so has the answer."""
    for _ in range(2):
        for one, other in ((left, right), (right, left)):
            one.sendall(b"ping")
            assert other.recv(4, socket.MSG_WAITALL) == b"ping"


def dial(sock: socket.socket, address: Address) -> None:
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)


def connected(sock: socket.socket, timeout: float) -> bool:
    """Whether the dialled socket comes to be connected."""
    _, writable, _ = select.select([], [sock], [], timeout)
    return bool(writable) and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize("kind", list(Kind))
def test_tcp(lab: Lab, outside: Outside, kind: Kind) -> None:
    host = place(lab, kind, outside.wan, HOME)
    mapping, filtering, ports = EXPECTED[kind]
    inside = Sockets(host.node)
    listeners = [outside.servers.listener(address) for address in SERVERS]
    seen = []
    for listener, address in zip(listeners, SERVERS, strict=True):
        sock = inside.tcp((host.address, 5000))
        sock.connect(address)
        accepted, peer = outside.servers.accept(listener)
        seen.append(peer)
        echoed(sock, accepted)
    assert {address for address, _ in seen} == {host.outer}
    assert (dependence(seen), allocation(seen, 5000)) == (mapping, ports)

    inside.listener((host.address, 5001))
    sock = inside.tcp((host.address, 5001))
    sock.connect(SERVERS[0])
    accepted, outer = outside.servers.accept(listeners[0])
    callers = {}
    for number in (2, 1):
        callers[str(number)] = outside.servers.tcp(SERVERS[number])
        dial(callers[str(number)], outer)
    echoed(accepted, sock)
    wanted = let_in(filtering)
    assert {name for name, caller in callers.items() if connected(caller, PATIENCE * (name in wanted))} | {
        "0"
    } == wanted

    with pytest.raises(ConnectionRefusedError):  # the RST came back
        inside.tcp((host.address, 5002)).connect(("11.1.1.250", 1))


@pytest.mark.parametrize("kind", [Kind.FULL_CONE, Kind.SYMMETRIC_RANDOM, Kind.MASQUERADE])
@pytest.mark.parametrize("answers", [False, True])
def test_what_comes_unasked_is_dropped_or_answered(lab: Lab, outside: Outside, kind: Kind, answers: bool) -> None:
    host = place(lab, kind, outside.wan, HOME, answers=answers)
    caller, sender = outside.servers.tcp(SERVERS[0]), outside.servers.udp(SERVERS[0])
    sender.connect((host.outer, 7))
    sender.settimeout(PATIENCE if answers else SILENCE)
    caller.settimeout(PATIENCE if answers else SILENCE)
    with pytest.raises(ConnectionRefusedError if answers else TimeoutError):
        caller.connect((host.outer, 7))
    sender.send(b"hello")
    with pytest.raises(ConnectionRefusedError if answers else TimeoutError):
        sender.recv(2048)


def test_a_behaviour_of_ones_own(lab: Lab, outside: Outside) -> None:
    backwards = Behaviour(mapping=OWN, allocation=Allocation.SEQUENTIAL, step=-3)
    host = place(lab, Kind.SYMMETRIC_SEQUENTIAL, outside.wan, HOME, behaviour=backwards)
    sock, ports = Sockets(host.node).udp((host.address, 5000)), []
    for address in SERVERS:
        server = outside.servers.udp(address)
        sock.sendto(b"hello", address)
        ports.append(server.recvfrom(2048)[1][1])
    assert (ports[1] - ports[0], ports[2] - ports[1]) == (-3, -3)
    assert host.boxes[0].finish()["out"] == 3


def outer_endpoints(outside: Outside, *socks: socket.socket) -> list[Address]:
    """Where a server sees these UDP sockets."""
    seen = []
    with outside.servers.udp(SERVERS[0]) as server:
        for sock in socks:
            sock.sendto(b"hello", SERVERS[0])
            seen.append(server.recvfrom(2048)[1])
            server.sendto(b"server", seen[-1])
            assert sock.recv(2048) == b"server"
    return seen


@pytest.mark.parametrize(("kind", "hairpin"), [
    (Kind.PORT_RESTRICTED, True),
    (Kind.PORT_RESTRICTED, False),
    (Kind.MASQUERADE, True),
    (Kind.MASQUERADE, False),
    (Kind.CARRIER, False),
])  # fmt: skip
def test_two_behind_one_nat(lab: Lab, outside: Outside, kind: Kind, hairpin: bool) -> None:
    """With a hairpin they reach each other by their outer addresses, as those; without one they do not."""
    hosts = place_pair(lab, kind, outside.wan, HOME, hairpin=hairpin, isolated=True)
    socks = [Sockets(host.node).udp((host.address, 5000)) for host in hosts]
    outers = outer_endpoints(outside, *socks)
    assert len(set(outers)) == 2
    assert {address for address, _ in outers} == {hosts[0].outer}
    socks[0].sendto(b"first", outers[1])  # opens the way
    socks[1].sendto(b"second", outers[0])
    socks[0].settimeout(PATIENCE if hairpin else SILENCE)
    if not hairpin:
        with pytest.raises(TimeoutError):
            socks[0].recvfrom(2048)
        return
    assert socks[0].recvfrom(2048) == (b"second", outers[1])
    socks[0].sendto(b"third", outers[1])
    assert socks[1].recvfrom(2048) == (b"third", outers[0])


def test_tcp_through_a_hairpin(lab: Lab, outside: Outside) -> None:
    hosts = place_pair(lab, Kind.FULL_CONE, outside.wan, HOME, hairpin=True, isolated=True)
    first, second = (Sockets(host.node) for host in hosts)
    server, listener = outside.servers.listener(SERVERS[0]), first.listener((hosts[0].address, 5000))
    sock = first.tcp((hosts[0].address, 5000))
    sock.connect(SERVERS[0])
    _, outer = outside.servers.accept(server)
    caller = second.tcp((hosts[1].address, 5000))
    caller.connect(outer)
    accepted, seen = first.accept(listener)
    assert seen[0] == hosts[1].outer
    echoed(caller, accepted)


@pytest.mark.parametrize("isolated", [False, True])
def test_neighbours_on_a_lan(lab: Lab, outside: Outside, isolated: bool) -> None:
    hosts = place_pair(lab, Kind.MASQUERADE, outside.wan, HOME, hairpin=False, isolated=isolated)
    listener = Sockets(hosts[0].node).listener((hosts[0].address, 5000))
    caller = Sockets(hosts[1].node).tcp((hosts[1].address, 0))
    dial(caller, listener.getsockname())
    assert connected(caller, SILENCE if isolated else PATIENCE) is not isolated


@pytest.mark.parametrize("kind", [Kind.NONE, Kind.FULL_CONE, Kind.CARRIER])
def test_a_long_way(lab: Lab, outside: Outside, kind: Kind) -> None:
    """A round trip takes twice the delay, and little more when nothing else holds it up."""
    delay = 0.04
    host = place(lab, kind, outside.wan, HOME, delay=delay)
    sock, server = Sockets(host.node).udp((host.address, 5000)), outside.servers.udp(SERVERS[0])
    trips = []
    for _ in range(10):
        began = time.monotonic()
        sock.sendto(b"hello", SERVERS[0])
        server.sendto(*server.recvfrom(2048))
        sock.recv(2048)
        trips.append(time.monotonic() - began)
    assert 2 * delay <= min(trips) < 2 * delay + 0.02


def test_the_nat_is_at_the_near_end_of_the_way(lab: Lab, outside: Outside) -> None:
    """What comes meets the mappings of the time when it is there: who sends while it is under way lets it in."""
    hosts = [place(lab, Kind.PORT_RESTRICTED, outside.wan, number, delay=0.1) for number in (HOME, OTHER_HOME)]
    socks = [Sockets(host.node).udp((host.address, 5000)) for host in hosts]
    outers = outer_endpoints(outside, *socks)
    for sock, outer in zip(socks, reversed(outers), strict=True):
        sock.sendto(b"punch", outer)
    assert [sock.recvfrom(2048) for sock in socks] == [(b"punch", outer) for outer in reversed(outers)]


@pytest.mark.parametrize("kinds", [
    (Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED),
    (Kind.ADDRESS_RESTRICTED, Kind.CARRIER),
])  # fmt: skip
def test_both_dial_at_once(lab: Lab, outside: Outside, kinds: tuple[Kind, Kind]) -> None:
    """A simultaneous open of real TCP passes two NATs that drop what comes unasked."""
    hosts = [place(lab, kind, outside.wan, HOME + number, delay=0.05) for number, kind in enumerate(kinds)]
    insides = [Sockets(host.node) for host in hosts]
    listener, outers = outside.servers.listener(SERVERS[0]), []
    for host, inside in zip(hosts, insides, strict=True):
        inside.tcp((host.address, 5000)).connect(SERVERS[0])
        outers.append(outside.servers.accept(listener)[1])
    callers = [inside.tcp((host.address, 5000)) for host, inside in zip(hosts, insides, strict=True)]
    for caller, outer in zip(callers, reversed(outers), strict=True):
        dial(caller, outer)
    assert [connected(caller, PATIENCE) for caller in callers] == [True, True]
    for caller in callers:
        caller.settimeout(PATIENCE)
    echoed(callers[0], callers[1])


def _rate(sender: socket.socket, receiver: socket.socket, size: int) -> float:
    """Bytes per second, until the last one has arrived."""
    sending = threading.Thread(target=sender.sendall, args=(bytes(size),))
    began = time.monotonic()
    sending.start()
    left = size
    while left:
        left -= len(receiver.recv(min(left, 1 << 16)))
    sending.join()
    return size / (time.monotonic() - began)


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_it_is_fast_enough(lab: Lab, outside: Outside, delay: float) -> None:
    """Megabytes a second, in packets of real size; the best of three, as others may use the machine."""
    host = place(lab, Kind.PORT_RESTRICTED, outside.wan, HOME, delay=delay)
    listener, sock = outside.servers.listener(SERVERS[0]), Sockets(host.node).tcp((host.address, 5000))
    sock.connect(SERVERS[0])
    accepted, _ = outside.servers.accept(listener)
    rates: list[float] = []
    while len(rates) < 3 and max(rates, default=0.0) < 3e6:
        rates.append(_rate(sock, accepted, 4_000_000))
    assert max(rates) > 3e6


def test_what_cannot_be_built(lab: Lab, outside: Outside) -> None:
    with pytest.raises(ValueError, match="no pair behind a NAT"):
        place_pair(lab, Kind.NONE, outside.wan, HOME, hairpin=False)
    with pytest.raises(ValueError, match="no hairpin"):
        place_pair(lab, Kind.CARRIER, outside.wan, HOME, hairpin=True)
