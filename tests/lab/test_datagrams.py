"""`crust.transport.utp.datagrams` where loopback cannot show it: full buffers, and paths that carry less than asked."""

import errno

import pytest

from tests.lab.datagram_program import Remote
from tests.lab.namespaces import Lab
from tests.lab.shaping import bottleneck
from tests.lab.udp_program import RECEIVE_TIMEOUT, SILENCE
from tests.lab.wiring import Interface, cable, forwards, route

pytestmark = [pytest.mark.lab, pytest.mark.parametrize("way", ["offload", "plain"])]

PORT = 7000
NARROW = 1300  # bytes; the MTU behind the router
V4 = ("10.0.1.2", "10.0.0.2")
V6 = ("fd01::2", "fd00::2")


def behind_a_router(lab: Lab) -> tuple[Interface, Interface]:
    """The nodes ``near`` and ``far`` with a router between them, behind which the link carries only `NARROW` bytes.

    Returns the interfaces of near and of the router towards far.
    """
    near, router, far = lab.node("near"), lab.node("router"), lab.node("far")
    first, second = cable(near, "eth0", router, "left")
    third, fourth = cable(router, "right", far, "eth0")
    for interface, number, host in ((first, 1, 2), (second, 1, 1), (third, 0, 1), (fourth, 0, 2)):
        interface.address(f"10.0.{number}.{host}/24", f"fd0{number}::{host}/64")
    forwards(router)
    for node, number in ((near, 1), (far, 0)):
        route(node, f"10.0.{number}.1")
        node.run("ip", "-6", "route", "add", "default", "via", f"fd0{number}::1")
    for interface in (third, fourth):
        interface.node.run("ip", "link", "set", "dev", interface.name, "mtu", str(NARROW))
    return first, third


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])
def test_a_probe_too_big_for_the_path_comes_back_as_an_error(lab: Lab, way: str, addresses: tuple[str, str]) -> None:
    behind_a_router(lab)
    near = Remote(lab.nodes["near"], addresses[0], PORT, way)
    far = Remote(lab.nodes["far"], addresses[1], PORT, way)
    for _ in range(2):  # the system must not keep to itself what it has learned from the first
        assert near.ask("probe", addresses[1], PORT, 1400) == 1
        assert near.ask("errors", RECEIVE_TIMEOUT) == [[errno.EMSGSIZE, NARROW]]
    assert far.ask("receive", 1, SILENCE) == []
    assert near.ask("probe", addresses[1], PORT, 1200) == 1
    assert near.ask("send", addresses[1], PORT, 5, 1400) == 5  # fragmented
    assert far.ask("receive", 6, RECEIVE_TIMEOUT) == [2, 3, 4, 5, 6, 7]
    assert near.ask("errors", SILENCE) == []


def test_a_probe_too_big_for_the_interface_names_its_mtu(lab: Lab, way: str) -> None:
    behind_a_router(lab)
    near = Remote(lab.nodes["near"], V4[0], PORT, way)
    assert near.ask("probe", V4[1], PORT, 1600) == 1
    assert near.ask("errors", RECEIVE_TIMEOUT) == [[errno.EMSGSIZE, 1500]]


def test_a_host_that_is_not_there_is_reported(lab: Lab, way: str) -> None:
    behind_a_router(lab)
    near = Remote(lab.nodes["near"], V4[0], PORT, way)
    near.ask("send", "10.0.0.77", PORT, 1, 100)
    assert near.ask("errors", RECEIVE_TIMEOUT) == [[errno.EHOSTUNREACH, None]]


def test_a_full_buffer_takes_less_and_nothing_is_lost_or_doubled(lab: Lab, way: str) -> None:
    first, _ = behind_a_router(lab)
    bottleneck(first, 64e3, 150.0)  # a packet in 130 ms: next to nothing leaves while the buffer is filled
    near, far = Remote(lab.nodes["near"], V4[0], PORT, way), Remote(lab.nodes["far"], V4[1], PORT, way)
    taken = [near.ask("send", V4[1], PORT, 40, 1000) for _ in range(20)]
    assert taken[0] == 40
    assert taken[-1] < 40
    assert not near.ask("writable", 0)
    assert sum(taken) * 1000 < 500_000
    bottleneck(first, 2e6, 4.8)  # the same queue, which leaves more quickly
    assert near.ask("writable", RECEIVE_TIMEOUT)
    taken.append(near.ask("send", V4[1], PORT, 40, 1000))
    assert far.ask("receive", sum(taken), RECEIVE_TIMEOUT) == list(range(sum(taken)))
    assert near.ask("counters")["lost"] == 0
    assert near.ask("counters")["sent"] == sum(taken)


def test_what_a_full_interface_drops_does_not_keep_the_sender(lab: Lab, way: str) -> None:
    first, _ = behind_a_router(lab)
    bottleneck(first, 80e3, 5.0)  # 50 packets in the queue, and one in 100 ms leaves it
    near, _far = Remote(lab.nodes["near"], V4[0], PORT, way), Remote(lab.nodes["far"], V4[1], PORT, way)
    assert {near.ask("send", V4[1], PORT, 40, 1000) for _ in range(10)} == {40}
    assert near.ask("writable", 0)
    assert near.ask("counters")["lost"] > 100
    assert near.ask("errors", 0) == []
