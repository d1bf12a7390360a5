"""`crust.discovery.beacon` on real networks: broadcast and multicast over bridges, several interfaces, changes. Whole
managers are in `test_finding.py`."""

import random
import sys
import threading

import pytest

from crust.threads.clock import Deadline
from tests.lab.attempts import attempts
from tests.lab.beacon_program import Remote
from tests.lab.namespaces import Lab, Node
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

SOON = 3.0  # seconds: what is promised
PATIENCE = 20.0  # for what has no bound of its own; the machine may be busy. Less than RESCAN_INTERVAL of the beacon
LOOK = 0.1  # seconds between two looks at counters
SILENCE = 2.0  # in which it would have come


def host(lab: Lab, number: int, into: Node) -> Node:
    """A node on a switch, with an IPv4 address and what IPv6 gives it by itself."""
    node = lab.node(f"h{number}")
    plug(node, "eth0", into, f"10.0.0.{number}/24")
    return node


def start_at_random_times(remotes: list[Remote], seed: int) -> float:
    """Start all within two seconds; when the last one was."""
    rng = random.Random(seed)
    when = 0.0
    for remote in remotes:
        threading.Event().wait(rng.uniform(0, 2 / len(remotes)))
        when = remote.ask("start")
    return when


def finds_each_other(remotes: list[Remote]) -> float:
    """Each finds all the others of these and nobody else; when the last one was found."""
    names, last = {remote.name for remote in remotes}, 0.0
    for remote in remotes:
        found = remote.ask("peers", len(names) - 1, PATIENCE)
        assert set(found) == names - {remote.name}
        last = max(last, *(when for when, *_ in found.values()))
    return last


def test_ten_hosts_without_any_address_find_each_other() -> None:
    """And nobody of a second network on the same wire ever appears (TRAPS T-36)."""
    for attempt in attempts():
        with Lab() as lab:
            wire = switch(lab, "wire")
            ours = [Remote(host(lab, number, wire)) for number in range(1, 11)]
            others = [Remote(host(lab, number, wire), network="other") for number in range(11, 14)]
            start_at_random_times(others, 1)
            last = start_at_random_times(ours, 2)
            found = [finds_each_other(ours), finds_each_other(others)]
            assert ours[0].ask("counters")["foreign"] > 0
        with attempt:
            assert max(found) < last + SOON


def test_a_host_with_two_interfaces_is_found_on_both() -> None:
    for attempt in attempts():
        with Lab() as lab:
            left, right = switch(lab, "left"), switch(lab, "right")
            middle = lab.node("middle")
            plug(middle, "eth0", left, "10.0.1.1/24")
            plug(middle, "eth1", right, "10.0.2.1/24")
            one, other = lab.node("one"), lab.node("other")
            plug(one, "eth0", left, "10.0.1.2/24")
            plug(other, "eth0", right, "10.0.2.2/24")
            remotes = [Remote(node) for node in (one, middle, other)]
            last = start_at_random_times(remotes, 4)
            found = [remote.ask("peers", count, PATIENCE) for remote, count in zip(remotes, (1, 2, 1), strict=True)]
        ends, centre = {remotes[0].name, remotes[2].name}, {remotes[1].name}
        assert [set(each) for each in found] == [centre, ends, centre]
        with attempt:
            assert all(when < last + SOON for each in found for when, *_ in each.values())


def test_two_interfaces_on_one_network_are_both_spoken_on(lab: Lab) -> None:
    """As with a cable and wireless: routing alone would always choose the same."""
    left, right = switch(lab, "left"), switch(lab, "right")
    middle = lab.node("middle")
    plug(middle, "eth0", left, "10.0.0.1/24")
    plug(middle, "eth1", right, "10.0.0.2/24")
    for name in ("eth0", "eth1"):
        middle.run("ip", "-6", "address", "flush", "dev", name)  # only IPv4 is of interest here
    hosts = [lab.node("one"), lab.node("other")]
    for node, into, number in zip(hosts, (left, right), (3, 4), strict=True):
        plug(node, "eth0", into, f"10.0.0.{number}/24")
    seekers = [Remote(node) for node in hosts]
    for seeker in seekers:
        seeker.ask("start")
    Remote(middle).ask("start")
    deadline = Deadline(PATIENCE)
    for seeker in seekers:
        while not seeker.ask("counters").get("ask", 0):
            assert not deadline.expired, seeker.node
            threading.Event().wait(LOOK)


@pytest.mark.parametrize("only", [4, 6])
def test_one_version_of_ip_will_do(lab: Lab, only: int) -> None:
    wire = switch(lab, "wire")
    hosts = [lab.node("one"), lab.node("other")]
    for number, node in enumerate(hosts, 1):
        if only == 4:
            node.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        plug(node, "eth0", wire, *([f"10.0.0.{number}/24"] if only == 4 else []))
    remotes = [Remote(node) for node in hosts]
    for remote in remotes:
        remote.ask("start")
    for remote, other in zip(remotes, reversed(remotes), strict=True):
        found = remote.ask("peers", 1, PATIENCE)
        [_, where] = found[other.name][:2]
        assert where.startswith("10.0.0.") if only == 4 else where.startswith("fe80::")


def test_a_node_on_an_interface_that_appears_later_is_found(lab: Lab) -> None:
    wire = switch(lab, "wire")
    early = Remote(host(lab, 1, wire))
    late = Remote(lab.node("late"))
    for remote in (early, late):
        remote.ask("start")
    assert late.ask("peers", 1, SILENCE) == {}
    plug(late.node, "eth0", wire, "10.0.0.2/24")
    for remote, other in ((early, late), (late, early)):
        assert set(remote.ask("peers", 1, PATIENCE)) == {other.name}


def test_a_cable_that_is_plugged_in_later_is_noticed(lab: Lab) -> None:
    wire = switch(lab, "wire")
    early, late = (Remote(host(lab, number, wire)) for number in (1, 2))
    wire.run("ip", "link", "set", "dev", "to-h2", "down")
    for remote in (early, late):
        remote.ask("start")
    assert late.ask("peers", 1, SILENCE) == {}
    wire.run("ip", "link", "set", "dev", "to-h2", "up")
    for remote, other in ((early, late), (late, early)):
        assert set(remote.ask("peers", 1, PATIENCE)) == {other.name}


def test_processes_of_one_host_and_another_host_all_find_each_other() -> None:
    """TRAPS T-67: only one listener per host and port."""
    for attempt in attempts():
        with Lab() as lab:
            wire = switch(lab, "wire")
            crowd, alone = host(lab, 1, wire), host(lab, 2, wire)
            remotes = [Remote(crowd), Remote(crowd), Remote(crowd), Remote(alone)]
            last = start_at_random_times(remotes, 5)
            found = finds_each_other(remotes)
        with attempt:
            assert found < last + SOON


def test_processes_of_a_machine_without_a_network_find_each_other(lab: Lab) -> None:
    node = lab.node("alone")
    remotes = [Remote(node), Remote(node)]
    for remote in remotes:
        remote.ask("start")
    for remote, other in zip(remotes, reversed(remotes), strict=True):
        assert remote.ask("peers", 1, PATIENCE)[other.name][1] == "127.0.0.1"


def test_a_scan_lists_who_answers_and_tells_nobody_of_itself(lab: Lab) -> None:
    wire = switch(lab, "wire")
    remotes = [Remote(host(lab, number, wire)) for number in (1, 2, 3)]
    start_at_random_times(remotes, 6)
    for remote in remotes:
        remote.ask("peers", 2, PATIENCE)
    code = """
from crust import Config
from crust.discovery.scan import scan
for _ in range(5):
    found = scan(Config(network="lab"), 2.0)
    if len(found) == 3:
        break
for contact in found:
    print(contact.peer_id, *contact.endpoints)
"""
    seeker = host(lab, 4, wire).start(sys.executable, "-c", code)
    lines = [seeker.line().split() for _ in remotes]
    assert {line[0]: line[1] for line in lines} == {
        remote.name: f"tcp://10.0.0.{number}:1000" for number, remote in enumerate(remotes, 1)
    }
    for remote in remotes:
        assert len(remote.ask("peers", 3, 0)) == 2


def test_an_interface_that_breaks_does_not_keep_the_other(lab: Lab) -> None:
    """TRAPS T-67: an error kills it."""
    left, right = switch(lab, "left"), switch(lab, "right")
    middle = lab.node("middle")
    plug(middle, "eth0", left, "10.0.1.1/24")
    plug(middle, "eth1", right, "10.0.2.1/24")
    ours = Remote(middle)
    ours.ask("start")
    middle.run("ip", "link", "delete", "dev", "eth0")
    other = lab.node("other")
    plug(other, "eth0", right, "10.0.2.2/24")
    friend = Remote(other)
    friend.ask("start")
    assert set(friend.ask("peers", 1, PATIENCE)) == {ours.name}
    assert set(ours.ask("peers", 1, PATIENCE)) == {friend.name}
