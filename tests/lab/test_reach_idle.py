"""To be reachable costs no packets while nothing happens."""

import logging
import re
import threading
from typing import Final, NamedTuple

import pytest

from crust.discovery.reach import ISOLATED
from crust.threads.clock import Deadline
from tests.lab import gateways
from tests.lab.gateways import Gateway
from tests.lab.namespaces import Lab, Node
from tests.lab.nat_program import Remote
from tests.lab.punch_program import serve_in
from tests.lab.routers import Nat, home
from tests.lab.wiring import plug, route, switch

pytestmark = pytest.mark.lab
log = logging.getLogger("lab")

SERVER, OTHER = "11.1.1.250", "11.1.1.251"
PATIENCE: Final = 40.0  # seconds for what takes a few
PORT: Final = 5483
IDLE: Final = (
    10.0  # seconds, for which packets are counted; by hand more, as keep-alives of a mapping come after 15 to 30
)
QUIET: Final = 4.0  # seconds without a packet, after which everything has settled
NO_SIGN_OF_LIFE: Final = {"keepalive_interval": 3600.0, "dead_after": 7200.0}


@pytest.fixture(autouse=True)
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where there is no UPnP router. In its own namespaces a node may ask its router."""
    if reason := gateways.missing():
        pytest.skip(reason)
    monkeypatch.delenv(ISOLATED)


class Sent(NamedTuple):
    """Packets that a node has sent."""

    to_peer: int
    """On the connection that it has: mostly gossip, now and then, at random."""
    elsewhere: int


class Counter:
    """Counts what a node sends, beside what every system does on its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        node.rules(f"""
table inet idle {{
  chain output {{
    type filter hook output priority filter;
    ip daddr {SERVER} tcp dport {PORT} counter accept
    meta l4proto {{ tcp, udp }} counter
  }}
}}
""")

    def sent(self) -> Sent:
        """So far."""
        found = re.findall(r"packets (\d+)", self._node.run("nft", "list", "table", "inet", "idle"))
        return Sent(*map(int, found))


def settled(counters: list[Counter]) -> bool:
    """Whether nobody sends any more."""
    deadline = Deadline(PATIENCE)
    while not deadline.expired:
        before = [counter.sent().elsewhere for counter in counters]
        threading.Event().wait(QUIET)
        if before == [counter.sent().elsewhere for counter in counters]:
            return True
    return False


def test_who_is_mapped_and_surveyed_sends_no_more_than_others(lab: Lab) -> None:
    """Two behind one router, connected to the same peer over TCP. Neither sends anything else, and no frames on that
    connection are about how they are reached."""
    wan, router, common = switch(lab, "wan"), lab.node("router"), lab.node("common")
    plug(common, "eth0", wan, f"{SERVER}/24", f"{OTHER}/24")
    serve_in(common, SERVER, OTHER)
    busy = home(router, wan, "11.1.1.2/24", "192.168.1", Nat.HOME)
    plain = lab.node("plain")
    plug(plain, "eth0", lab.nodes["router-lan"], "192.168.1.3/24")
    route(plain, "192.168.1.1")
    gateway = Gateway(router)
    counters = [Counter(node) for node in (busy, plain)]
    peer = Remote(common, tcp_port=PORT, **NO_SIGN_OF_LIFE)
    reachable = Remote(busy, stun_servers=[f"{SERVER}:3478"], upnp=True, **NO_SIGN_OF_LIFE)
    other = Remote(plain, **NO_SIGN_OF_LIFE)
    for remote in (peer, reachable, other):
        remote.ready()
        remote.tell("fresh")
    _, *ids = [remote.hear() for remote in (peer, reachable, other)]
    for remote in (reachable, other):
        assert remote.ask("join", f"tcp://{SERVER}:{PORT}")
    assert len(reachable.ask("external", 2, PATIENCE)) == 2
    assert reachable.ask("surveyed")[0] == "ENDPOINT_INDEPENDENT"
    assert settled(counters)

    before = [counter.sent() for counter in counters]
    told = [peer.ask("told", each) for each in ids]
    threading.Event().wait(IDLE)
    after = [counter.sent() for counter in counters]
    for who, was, now in zip(("which is reached", "which only dials"), before, after, strict=True):
        on, elsewhere = now.to_peer - was.to_peer, now.elsewhere - was.elsewhere
        log.info("%g idle seconds of a node %s: %d packets to its peer, %d elsewhere", IDLE, who, on, elsewhere)
        assert elsewhere == 0
    assert [peer.ask("told", each) for each in ids] == told
    assert gateway.mapped() == 2
    assert len(peer.ask("peers", 2, 0)) == 2
