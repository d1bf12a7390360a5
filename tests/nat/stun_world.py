"""STUN servers in the network of `tests.nat.nats`, and a survey from a host in it."""

from crust.endpoint import Address
from crust.nat.stun_server import Corners, StunServer
from crust.nat.survey import SPARE, Findings, Survey
from tests.nat.nats import Host, World

PORT, SPARE_PORT = 5000, 5999


def corner_server(world: World, hosts: tuple[str, str], ports: tuple[int, int] = (3478, 3479)) -> Address:
    """A server with two addresses, as RFC 5780 has it; its first address and port."""
    corners = Corners(hosts, ports)
    server, host = StunServer(corners=corners), Host(world, world.internet, *hosts)

    def receive(data: bytes, source: Address, to: Address) -> None:
        answer = server.answer(data, source, world.now, to)
        if answer is not None:
            host.send(answer.origin or to, source, answer.data)

    for one in hosts:
        for port in ports:
            host.bind(port, receive, one)
    return hosts[0], ports[0]


def plain_server(world: World, name: str, port: int = 3478) -> Address:
    """A server with one address."""
    server, host = StunServer(), Host(world, world.internet, name)

    def receive(data: bytes, source: Address, to: Address) -> None:
        answer = server.answer(data, source, world.now)
        if answer is not None:
            host.send(to, source, answer.data)

    return host.bind(port, receive)


def survey(world: World, host: Host, servers: list[Address]) -> Findings:
    """Let a host find out about its NAT."""
    sources: dict[int, Address] = {}

    def receive(data: bytes, source: Address, to: Address) -> None:
        running.receive(data, source, world.now, SPARE if to[1] == SPARE_PORT else 0)
        go_on()

    def go_on() -> None:
        for data, to, number, _ in running.outgoing():
            host.send(sources[number], to, data)

    def tick() -> None:
        running.tick(world.now)
        go_on()
        due = running.next_deadline()
        if due is not None:
            world.after(max(due - world.now, 0.01), tick)

    sources[0] = host.bind(PORT, receive)
    sources[SPARE] = host.bind(SPARE_PORT, receive)
    running = Survey(servers, set(host.hosts), PORT, world.now, world.rng.randbytes)
    tick()
    world.run(world.now + 60.0, lambda: running.findings is not None)
    assert running.findings is not None
    return running.findings
