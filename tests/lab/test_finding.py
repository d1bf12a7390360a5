"""Whole managers on real networks, none of which is given an address: they find each other, and nobody else."""

import random
import threading
from pathlib import Path

import pytest

from crust.discovery.reach import ISOLATED
from crust.threads.clock import Deadline
from tests.lab.attempts import attempts
from tests.lab.manager_program import Remote
from tests.lab.namespaces import Lab
from tests.lab.test_beacon import PATIENCE, SOON, host
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

WANTED = 3


@pytest.fixture(autouse=True)
def _speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own namespaces a node may speak to its LAN. (The cache is off, or in a temporary directory.)"""
    monkeypatch.delenv(ISOLATED)


def start_at_random_times(remotes: list[Remote], seed: int) -> float:
    """Start all within two seconds; when the last one was."""
    rng = random.Random(seed)
    when = 0.0
    for remote in remotes:
        threading.Event().wait(rng.uniform(0, 2 / len(remotes)))
        when = remote.ask("start")
    return when


def all_connected(remotes: list[Remote]) -> float:
    """Each is connected to at least three others of these and to nobody else; when the last one was."""
    names, last = {remote.name for remote in remotes}, 0.0
    for remote in remotes:
        peers = remote.ask("connected", WANTED, PATIENCE)
        assert set(peers) <= names - {remote.name}
        times = sorted(when for when, _ in peers.values())
        assert len(times) >= WANTED, remote.ask("status")
        last = max(last, times[WANTED - 1])
    return last


def test_ten_hosts_without_any_address_are_connected_to_three_others_within_three_seconds() -> None:
    """And nobody of a second network on the same wire ever appears (TRAPS T-36)."""
    for attempt in attempts():
        with Lab() as lab:
            wire = switch(lab, "wire")
            ours = [Remote(host(lab, number, wire), target=WANTED) for number in range(1, 11)]
            others = [Remote(host(lab, number, wire), "other", WANTED) for number in range(11, 13)]
            start_at_random_times(others, 1)
            last = start_at_random_times(ours, 2)
            connected = all_connected(ours)
            for remotes in (ours, others):
                names = {remote.name for remote in remotes}
                for remote in remotes:
                    wanted = len(others) - 1 if remotes is others else 0
                    assert set(remote.ask("connected", wanted, PATIENCE)) <= names
        with attempt:
            assert connected < last + SOON


def test_hosts_with_two_interfaces() -> None:
    """Half of them have both; the others are on one wire or the other."""
    for attempt in attempts():
        with Lab() as lab:
            left, right = switch(lab, "left"), switch(lab, "right")
            remotes = []
            for number in range(1, 11):
                node = lab.node(f"h{number}")
                if number <= 5 or number % 2:
                    plug(node, "eth0", left, f"10.0.1.{number}/24")
                if number <= 5 or not number % 2:
                    plug(node, "eth1", right, f"10.0.2.{number}/24")
                remotes.append(Remote(node, target=WANTED))
            last = start_at_random_times(remotes, 3)
            connected = all_connected(remotes)
        with attempt:
            assert connected < last + SOON


def test_addresses_that_come_and_go_are_noticed_at_once(lab: Lab) -> None:
    """Within `PATIENCE` means at once: whoever is not told by the system looks later."""
    wire = switch(lab, "wire")
    remote = Remote(host(lab, 1, wire))
    remote.ask("start")
    for change in ("add", "del"):
        remote.node.run("ip", "address", change, "10.0.9.1/24", "dev", "eth0")
        deadline, there = Deadline(PATIENCE), change == "del"
        while there != (change == "add"):  # its address of IPv6 may be news as well
            endpoints = remote.ask("addresses", deadline.remaining())
            assert endpoints is not None
            there = any("10.0.9.1" in endpoint for endpoint in endpoints)


def test_a_host_that_comes_back_to_another_network_finds_its_friends_by_the_cache(tmp_path: Path) -> None:
    """No beacon reaches across a router; what worked before does."""
    for number, attempt in enumerate(attempts()):
        with Lab() as lab:
            took = comes_back(lab, str(tmp_path / f"cache-{number}"))
        with attempt:
            assert max(took) < SOON


def comes_back(lab: Lab, cache: str) -> list[float]:
    """How long it took on either network, in seconds."""
    near, far = switch(lab, "near"), switch(lab, "far")
    router = lab.node("router")
    plug(router, "eth0", near, "10.0.1.254/24")
    plug(router, "eth1", far, "10.0.2.254/24")
    router.sysctl(net__ipv4__ip_forward=1)
    friend = lab.node("friend")
    friend.sysctl(net__ipv6__conf__default__disable_ipv6=1)  # else it may be reached by what is worth nothing elsewhere
    plug(friend, "eth0", near, "10.0.1.1/24")
    friend.run("ip", "route", "add", "default", "via", "10.0.1.254")
    other = Remote(friend)
    other.ask("start")
    names, took = [], []
    for into, address, gateway in ((near, "10.0.1.2/24", "10.0.1.254"), (far, "10.0.2.2/24", "10.0.2.254")):
        node = lab.node(f"on-{into.name}")
        plug(node, "eth0", into, address)
        node.run("ip", "route", "add", "default", "via", gateway)
        remote = Remote(node, cache=cache)
        began = remote.ask("bootstrap", 1)
        ((when, endpoint),) = remote.ask("connected", 1, PATIENCE).values()
        assert "10.0.1.1" in endpoint, remote.ask("status")
        took.append(when - began)
        names.append(remote.name)
    assert set(other.ask("connected", 2, PATIENCE)) == set(names)
    return took
