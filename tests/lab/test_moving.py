"""A machine that loses an address, for good or for a moment, without a beacon: what becomes of its connections."""

from typing import Final

import pytest

from crust.finding.moves import ADDRESS_GRACE
from crust.threads import clock
from tests.lab.moving_program import Remote
from tests.lab.namespaces import Lab, Node
from tests.lab.wiring import forwards, plug, route, switch

pytestmark = pytest.mark.lab

HOME, OFFICE = "10.0.1.2", "10.0.2.2"
SOON: Final = 3.0
"""Seconds for what takes milliseconds, on a busy machine. Who was not told would notice after half a minute."""
transports = pytest.mark.parametrize("transport", ["tcp", "utp"])


def two_networks(lab: Lab) -> tuple[Node, Node]:
    """A laptop that is plugged into two networks and has an address on one of them, and a host elsewhere."""
    laptop, router, host = lab.node("laptop"), lab.node("router"), lab.node("host")
    laptop.sysctl(net__ipv6__conf__all__disable_ipv6=1)
    for number, name in enumerate(("core", "home", "office")):
        plug(router, f"eth{number}", switch(lab, name), f"10.0.{number}.254/24")
    forwards(router)
    plug(host, "eth0", lab.nodes["core"], "10.0.0.1/24")
    route(host, "10.0.0.254")
    plug(laptop, "eth0", lab.nodes["home"], f"{HOME}/24")
    plug(laptop, "eth1", lab.nodes["office"])
    route(laptop, "10.0.1.254")
    return laptop, host


def meet(lab: Lab, transport: str) -> tuple[Remote, Remote]:
    """The programs on both, connected."""
    only = {"tcp_port": None} if transport == "utp" else {"utp_port": None}
    laptop, host = two_networks(lab)
    friend = Remote(host, **only)
    mover = Remote(laptop, next(each for each in friend.endpoints if "10.0.0.1" in each), **only)
    assert "10.0.0.1" in mover.next("NewBootstrapConnection")[1]
    assert HOME in friend.next("NewConnection")[1]
    return mover, friend


@transports
def test_who_gets_another_address_is_connected_again_soon(lab: Lab, transport: str) -> None:
    mover, friend = meet(lab, transport)
    began = clock.now()
    mover.node.run("ip", "address", "del", f"{HOME}/24", "dev", "eth0")
    mover.node.run("ip", "address", "add", f"{OFFICE}/24", "dev", "eth1")
    route(mover.node, "10.0.2.254")
    lost, reason = mover.next("LostConnection")
    gone, reset = f"this machine no longer has the address {HOME}, which the connection needs", "the peer reset"
    # Over uTP the peer resets what comes from an address that it does not know, maybe before we have looked at ours.
    assert reason == gone or (transport == "utp" and reason.startswith((f"{gone}; {reset}", reset)))
    assert lost - began < ADDRESS_GRACE + SOON
    again, _ = mover.next("NewBootstrapConnection")
    assert again - lost < SOON
    friend.next("LostConnection")
    assert OFFICE in friend.next("NewConnection")[1]
    friend.send("welcome")
    assert mover.next("NewMessage")[1] == "welcome"


@transports
def test_an_address_that_is_away_for_a_moment_ends_nothing(lab: Lab, transport: str) -> None:
    mover, friend = meet(lab, transport)
    mover.node.run("ip", "address", "del", f"{HOME}/24", "dev", "eth0")
    assert HOME not in mover.next("OwnEndpointsChanged")[1]  # it has noticed
    mover.node.run("ip", "address", "add", f"{HOME}/24", "dev", "eth0")
    route(mover.node, "10.0.1.254")
    back, endpoints = mover.next("OwnEndpointsChanged")
    assert HOME in endpoints
    friend.send("how are you?")
    assert mover.next("NewMessage")[1] == "how are you?"
    # What has been decided by the time that this address comes was decided for the other one as well.
    while clock.now() < back + ADDRESS_GRACE:
        mover.node.run("ip", "address", "add", f"{OFFICE}/24", "dev", "eth1")
        assert OFFICE in mover.next("OwnEndpointsChanged")[1]
        mover.node.run("ip", "address", "del", f"{OFFICE}/24", "dev", "eth1")
        assert OFFICE not in mover.next("OwnEndpointsChanged")[1]
    mover.send("well")
    assert friend.next("NewMessage")[1] == "well"
