"""The systems that are compared. Each module has a class that is a `benches.systems.base.Node`."""

import importlib
from dataclasses import dataclass

from benches.systems.base import Node


@dataclass(frozen=True, slots=True)
class System:
    """One row of the comparison."""

    name: str
    """What ``--only`` takes."""
    title: str
    """What tables and plots print."""
    module: str
    """Imported only in the processes that run it."""
    factory: str
    """The class in that module."""
    how: str
    """What exactly is measured, in a few words."""
    secure: bool = True
    """Whether what it sends is encrypted and authenticated."""

    def make(self) -> Node:
        """A new node of this system; raises ``ImportError`` when its package is not installed."""
        node: Node = getattr(importlib.import_module(f"benches.systems.{self.module}"), self.factory)()
        return node


SYSTEMS = (
    System(
        "raw", "raw sockets", "raw", "RawNode", "sendall / recv_into loop, bytes counted, no messages", secure=False
    ),
    System("zmq", "pyzmq plain", "pyzmq", "PlainNode", "PUSH to PULL; round trip DEALER to DEALER", secure=False),
    System("curve", "pyzmq CURVE", "pyzmq", "CurveNode", "PUSH to PULL; round trip DEALER to DEALER"),
    System("libp2p", "py-libp2p", "pylibp2p", "Libp2pNode", "one stream, its default stack, bytes counted"),
    System("crust", "crust", "crust", "ChannelNode", "send(timeout=None) to `for event in crust.channel()`"),
    System(
        "crust-queue", "crust, queue.Queue", "crust", "QueueNode", "send(timeout=None) to `match queue.Queue().get()`"
    ),
)
BY_NAME = {system.name: system for system in SYSTEMS}
BASELINE = "curve"
"""What the goals are ratios of."""
