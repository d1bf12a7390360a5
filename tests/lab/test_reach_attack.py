"""Whoever asks for meetings cannot make a node flood others, or look around in its own network."""

import json
import logging
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import pytest

from crust.nat.punch_gate import HOST_BURST, RELAY_BURST
from crust.nat.punch_plan import PEER_HOSTS, PUNCH_SECONDS, UNVOUCHED_PROBES
from crust.nat.tcp_punch import TCP_ATTEMPTS
from tests.lab.namespaces import Lab, Node
from tests.lab.nat_kinds import Kind, place_pair
from tests.lab.nat_program import Remote
from tests.lab.punch_program import serve_in
from tests.lab.reach_attack_program import Attacker
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab
log = logging.getLogger("lab")

SERVER, VICTIM, OPEN_VICTIM = "11.1.1.250", "11.1.1.2", "11.1.1.3"
HOSTS: Final = [f"11.1.1.{number}" for number in range(90, 100)]
"""Of somebody who never asked for anything."""
SILENT, REFUSING, SEARCHED, COUNTED, FLOODED, TOLD = HOSTS[4:]
SYNS: Final = 7
"""Of a dial that is not answered, in the 8 s that it lasts: Linux sends them after 0, 1, 2, 3, 4, 5 and 7 s since 6.5
(tcp_syn_linear_timeouts), and after 0, 1, 3 and 7 s before."""
MEMBERS: Final = 10
TIMES: Final = 30  # that each of them asks, in two seconds
SEVERAL: Final = range(2000, 2008)  # ports
ROUNDS: Final = 21  # of probes to an address, where they are not bounded otherwise
LATER: Final = 3  # meetings, at most, that are allowed in the time that a test takes, beyond those at once


class Seen(NamedTuple):
    """What came to a host."""

    udp: int
    tcp: int
    bytes: int


class Watch:
    """Counts what comes to a node, be it a packet of a connection or not."""

    def __init__(self, node: Node, hosts: Sequence[str]) -> None:
        self._node = node
        rules = "\n".join(
            f"    ip daddr {host} {protocol} dport 1-65535 counter" for host in hosts for protocol in ("udp", "tcp")
        )
        node.rules(
            f"table inet watch {{\n  chain input {{\n    type filter hook input priority raw;\n{rules}\n"
            f"    ip daddr {SILENT} drop\n  }}\n}}\n"
        )

    def seen(self) -> dict[str, Seen]:
        """So far, by host."""
        listing = json.loads(self._node.run("nft", "-j", "list", "table", "inet", "watch"))["nftables"]
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for rule in (entry["rule"]["expr"] for entry in listing if "rule" in entry):
            if "counter" in rule[-1]:
                host, protocol, _ = (part.get("match") for part in rule)
                counter = rule[-1]["counter"]
                found[host["right"], protocol["left"]["payload"]["protocol"]] = counter["packets"], counter["bytes"]
        return {
            host: Seen(found[host, "udp"][0], found[host, "tcp"][0], found[host, "udp"][1] + found[host, "tcp"][1])
            for host, _ in found
        }


def at(
    host: str, ports: Sequence[int] = (2000,), kind: str = "REFLEXIVE", protocols: str = "utp tcp"
) -> list[list[str]]:
    return [[kind, f"{protocol}://{host}:{port}"] for port in ports for protocol in protocols.split()]


def _tcp(remote: Remote) -> str:
    return str(next(each for each in remote.ask("endpoints") if each.startswith("tcp://11.")))


class World:
    """A victim behind a NAT with a neighbour, one in the open who carries letters, and hosts of somebody else."""

    def __init__(self, lab: Lab) -> None:
        self._wan = switch(lab, "wan")
        common = lab.node("common")
        plug(common, "eth0", self._wan, f"{SERVER}/24", "11.1.1.251/24")
        serve_in(common, SERVER, "11.1.1.251")
        victim, neighbour = place_pair(lab, Kind.MASQUERADE, self._wan, 2, hairpin=False)
        third = lab.node("third")
        plug(third, "eth0", self._wan, *(f"{host}/24" for host in HOSTS))
        self.neighbour = neighbour.address
        self._watches = [Watch(third, HOSTS), Watch(neighbour.node, [self.neighbour])]
        attacking, in_the_open = lab.node("attacking"), lab.node("open")
        plug(attacking, "eth0", self._wan, "11.1.1.67/24")
        plug(in_the_open, "eth0", self._wan, f"{OPEN_VICTIM}/24")
        nodes = [Remote(node, stun_servers=[f"{SERVER}:3478"]) for node in (common, victim.node, in_the_open)]
        self.members, self.liar = Attacker(attacking), Attacker(attacking)
        for remote in nodes:
            remote.ready()
            remote.tell("fresh")
        _, self.id, self.open_id = (remote.hear() for remote in nodes)
        carrier, victim_in_the_open = (_tcp(remote) for remote in (nodes[0], nodes[2]))
        for remote in nodes[1:]:
            assert remote.ask("join", carrier)
            remote.ask("surveyed")
        assert self.members.join(carrier, MEMBERS) == MEMBERS
        assert self.liar.join(victim_in_the_open, 1) == 1

    def seen(self) -> dict[str, Seen]:
        """What came so far, by host: nobody else sends there."""
        return {host: seen for watch in self._watches for host, seen in watch.seen().items()}


def test_who_asks_for_meetings_cannot_have_others_flooded(lab: Lab) -> None:
    world = World(lab)
    lies = [  # a member tells each
        (at(REFUSING, SEVERAL), "usual"),
        (at(SILENT, SEVERAL), "usual"),
        (at(world.neighbour, SEVERAL, "HOST"), "usual"),
        (at(VICTIM) + at(world.neighbour, SEVERAL[1:], "HOST"), "usual"),
        (at(SEARCHED, protocols="utp"), "random"),
        (at(COUNTED), "counting"),
        ([each for host in (*HOSTS[:PEER_HOSTS], FLOODED, TOLD) for each in at(host)], "usual"),
    ]
    for member, (candidates, behaviour) in enumerate(lies):
        told = world.members.attack(world.id, candidates, members=[member], behaviour=behaviour)
        assert told["accept"] == 1, told
    few = world.seen()
    for host in (FLOODED, TOLD):
        assert few[host] == (0, 0, 0)
    flood = world.members.attack(world.id, at(FLOODED, SEVERAL), members=list(range(MEMBERS)), times=TIMES)
    told = world.liar.attack(world.open_id, at(TOLD, SEVERAL), seen=TOLD, times=TIMES)
    threading.Event().wait(PUNCH_SECONDS)

    seen = world.seen()
    for host in (REFUSING, SEARCHED, COUNTED, *HOSTS[:PEER_HOSTS]):
        assert 0 < seen[host].udp <= UNVOUCHED_PROBES, host
        assert seen[host].tcp <= UNVOUCHED_PROBES, host
    assert 0 < seen[SILENT].udp <= UNVOUCHED_PROBES
    assert 0 < seen[SILENT].tcp <= SYNS * UNVOUCHED_PROBES
    assert seen[world.neighbour] == (0, 0, 0)

    assert len(lies) + flood["accept"] <= RELAY_BURST + LATER
    assert 0 < seen[FLOODED].udp <= flood["accept"] * UNVOUCHED_PROBES
    assert 0 < seen[FLOODED].tcp <= flood["accept"] * UNVOUCHED_PROBES
    log.info("a flood: %s; %s; %.1f bytes for one", flood, seen[FLOODED], seen[FLOODED].bytes / flood["sent"])

    assert told["accept"] <= RELAY_BURST + LATER
    assert seen[TOLD].udp <= HOST_BURST * ROUNDS * len(SEVERAL) + told["accept"] * UNVOUCHED_PROBES
    assert seen[TOLD].tcp <= HOST_BURST * TCP_ATTEMPTS + told["accept"] * UNVOUCHED_PROBES
    log.info("a liar who carries: %s; %s; %.1f bytes for one", told, seen[TOLD], seen[TOLD].bytes / told["sent"])
