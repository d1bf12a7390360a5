"""Cables, switches and addresses between the nodes of a lab."""

from typing import NamedTuple

from tests.lab.namespaces import Lab, LabError, Node

BRIDGE = "bridge"


class Interface(NamedTuple):
    """A network interface of a node."""

    node: Node
    name: str

    def address(self, *addresses: str) -> "Interface":
        """Give it addresses, each with its prefix length: ``10.0.1.2/24``, ``fd00::1/64``."""
        for address in addresses:
            # Without duplicate address detection an IPv6 address is usable at once.
            nodad = ["nodad"] if ":" in address else []
            self.node.run("ip", "address", "add", address, "dev", self.name, *nodad)
        return self


def up(node: Node, name: str) -> Interface:
    """Bring an interface up, as a network card without offloads: what it carries are packets of real size."""
    node.run("ip", "link", "set", "dev", name, "gso_max_segs", "1", "up")
    return Interface(node, name)


def cable(left: Node, left_name: str, right: Node, right_name: str) -> tuple[Interface, Interface]:
    """Connect two nodes directly."""
    pair = ["type", "veth", "peer", "name", right_name, "netns", right.name]
    left.lab.outside.run("ip", "-n", left.name, "link", "add", left_name, *pair)
    return up(left, left_name), up(right, right_name)


def switch(lab: Lab, name: str) -> Node:
    """A node that is only a switch: what is plugged in shares one network."""
    node = lab.node(name)
    node.run("ip", "link", "add", BRIDGE, "type", "bridge")
    up(node, BRIDGE)
    return node


def plug(node: Node, name: str, into: Node, *addresses: str) -> Interface:
    """Connect a node to a switch, and give the new interface addresses."""
    port = f"to-{node.name}"
    if len(port) > 15:
        raise LabError(f"an interface name has at most 15 letters: {port!r}; give the node a shorter name")
    interface, _ = cable(node, name, into, port)
    into.run("ip", "link", "set", "dev", port, "master", BRIDGE)
    return interface.address(*addresses)


def route(node: Node, via: str, destination: str = "default") -> None:
    """Send what goes to ``destination`` to the router ``via``."""
    node.run("ip", "route", "add", destination, "via", via)


def forwards(node: Node) -> None:
    """Make a node a router."""
    node.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
