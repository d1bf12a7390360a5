"""Surveys and hole punching through NATs of the Linux kernel."""

import pytest

from crust.nat.punch_plan import BIRTHDAY_SECONDS
from tests.lab.attempts import attempts
from tests.lab.namespaces import Lab
from tests.lab.punch_program import Peer, Punched, serve_in
from tests.lab.routers import Nat, home
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

BUSY = 5.0  # seconds by which a busy machine may find out later that time is over


def meet(lab: Lab, nats: tuple[Nat, Nat]) -> tuple[Punched, Punched]:
    """Two peers behind two routers, and a server that both can ask."""
    wan = switch(lab, "wan")
    server = lab.node("server")
    plug(server, "eth0", wan, "11.1.1.8/24", "11.1.1.9/24")
    serve_in(server, "11.1.1.8", "11.1.1.9")
    hosts = [
        home(lab.node(name), wan, f"11.1.1.{number}/24", f"192.168.{number}", nat)
        for number, name, nat in zip((2, 3), ("left", "right"), nats, strict=True)
    ]
    peers = [Peer(host, f"192.168.{number}.2", 5000, "11.1.1.8") for number, host in zip((2, 3), hosts, strict=True)]
    lines = [peer.line() for peer in peers]
    for peer, line in zip(peers, reversed(lines), strict=True):
        peer.tell(line)
    first, second = (peer.result() for peer in peers)
    return first, second


def test_two_behind_home_routers() -> None:
    for attempt in attempts():
        with Lab() as lab:
            results = meet(lab, (Nat.HOME, Nat.HOME))
        for result, peer in zip(results, ("192.168.3.2", "192.168.2.2"), strict=True):
            assert (result.error, result.greeting, result.method) == ("", peer, "PROBE")
            assert (result.mapping, result.filtering) == ("ENDPOINT_INDEPENDENT", "ADDRESS_AND_PORT_DEPENDENT")
        with attempt:
            assert max(result.seconds for result in results) < 2.0


def test_random_ports_on_one_side(lab: Lab) -> None:
    """The birthday method, with its 256 sockets."""
    first, second = meet(lab, (Nat.SYMMETRIC, Nat.HOME))
    assert (first.error, second.error) == ("", "")
    assert (first.greeting, second.greeting) == ("192.168.3.2", "192.168.2.2")
    assert (first.method, second.method) == ("OPEN_MANY", "SEARCH")
    assert first.mapping == "ADDRESS_AND_PORT_DEPENDENT"
    assert max(first.seconds, second.seconds) < BIRTHDAY_SECONDS + BUSY
