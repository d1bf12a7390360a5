"""The routers people have at home, as far as packets can tell."""

from enum import Enum

from tests.lab.namespaces import Node
from tests.lab.wiring import forwards, plug, route, switch

INSIDE, OUTSIDE = "lan", "wan"


class Nat(Enum):
    """What a router does with connections between its inside and outside."""

    NONE = "forwards everything both ways, translates nothing"
    HOME = "keeps the port where it can for all destinations; drops silently what comes unasked for"
    SYMMETRIC = "a new random port for each destination; drops silently what comes unasked for"
    ANSWERING = "as HOME, but what comes unasked for the router itself gets its answer: a RST or an ICMP error"


# A router that accepted unasked packets for itself would keep a record of them that takes the port: the inside host's
# own packets from that port would leave from another one, and hole punching would fail as it does not at home.
_DROP_UNASKED = f"""
  chain input {{
    type filter hook input priority filter;
    iifname {OUTSIDE} ct state established,related accept
    iifname {OUTSIDE} drop
  }}
"""


def _rules(nat: Nat) -> str:
    masquerade = "masquerade random,fully-random" if nat is Nat.SYMMETRIC else "masquerade"
    return f"""
table ip home {{
  chain translate {{
    type nat hook postrouting priority srcnat;
    oifname {OUTSIDE} {masquerade}
  }}
  chain forward {{
    type filter hook forward priority filter;
    iifname {OUTSIDE} ct state new,invalid drop
  }}
  {"" if nat is Nat.ANSWERING else _DROP_UNASKED}
}}
"""


def make_router(node: Node, nat: Nat) -> None:
    """Make a node with the interfaces `INSIDE` and `OUTSIDE` a router of that kind."""
    forwards(node)
    if nat is not Nat.NONE:
        node.rules(_rules(nat))


def home(node: Node, wan: Node, outside: str, inside: str, nat: Nat, *, gateway: str | None = None) -> Node:
    """A home: a router on ``wan`` (a switch) and behind it a new host with one interface ``eth0``.

    Args:
        node: becomes the router.
        wan: where its outside is plugged in. Another home's inside works as well: two NATs in a row.
        outside: its address there, as ``11.1.1.2/24``.
        inside: the first three numbers of the network behind it, ``192.168.1``; the router is ``.1``, the host ``.2``.
        nat: its kind.
        gateway: where it sends what is for elsewhere; None: nowhere.
    Returns:
        The host.
    """
    plug(node, OUTSIDE, wan, outside)
    lan = switch(node.lab, f"{node.name}-lan")
    plug(node, INSIDE, lan, f"{inside}.1/24")
    make_router(node, nat)
    if gateway:
        route(node, gateway)
    host = node.lab.node(f"{node.name}-pc")
    plug(host, "eth0", lan, f"{inside}.2/24")
    route(host, f"{inside}.1")
    return host
