"""A host with several addresses on one network is reached at each of them, over uTP as over TCP."""

import pytest

from tests.lab.moving_program import Remote
from tests.lab.namespaces import Lab
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

ADDRESSES = ("10.0.0.1", "10.0.0.9", "fd00::1", "fd00::9")


@pytest.mark.parametrize("transport", ["tcp", "utp"])
def test_every_address_of_a_host_leads_to_it(lab: Lab, transport: str) -> None:
    """Its answers come from the address that was asked, whichever the routes would choose."""
    only = {"tcp_port": None} if transport == "utp" else {"utp_port": None}
    host, guest, core = lab.node("host"), lab.node("guest"), switch(lab, "core")
    for node in (host, guest):
        node.sysctl(net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0)
    plug(host, "eth0", core, *(f"{address}/{64 if ':' in address else 24}" for address in ADDRESSES))
    plug(guest, "eth0", core, "10.0.0.2/24", "fd00::2/64")
    server = Remote(host, **only)
    for address in ADDRESSES:
        contact = next(each for each in server.endpoints if f"{address}]:" in each or f"{address}:" in each)
        client = Remote(guest, contact, **only)
        assert client.next("NewBootstrapConnection")[1] == contact
        server.next("NewConnection")
        client.send(f"to {address}")
        assert server.next("NewMessage")[1] == f"to {address}"
        server.send("welcome")
        assert client.next("NewMessage")[1] == "welcome"
