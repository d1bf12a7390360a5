"""Sockets of the test's own process in the nodes of a lab: as real as those of a program there, and at once."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.lab.namespaces import LabError, Node

_CLONE_NEWNET = 0x40000000
PATIENCE = 10.0  # seconds for what must come

Address = tuple[str, int]


@contextmanager
def within(node: Node) -> Iterator[None]:
    """Sockets that this thread makes meanwhile are in that node, and stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with ExitStack() as stack:
        here = stack.enter_context(open("/proc/thread-self/ns/net", "rb"))
        there = stack.enter_context(open(f"/proc/{node.lab.pid}/root/run/netns/{node.name}", "rb"))
        if libc.setns(there.fileno(), _CLONE_NEWNET):
            raise LabError(f"cannot enter node {node.name}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(here.fileno(), _CLONE_NEWNET):
                os._exit(70)  # nothing that follows would be in the right place


class Sockets:
    """Makes them; they are closed with the lab of their node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def _open(self, kind: socket.SocketKind, address: Address) -> socket.socket:
        with within(self._node):
            made = socket.socket(socket.AF_INET, kind)
        self._node.lab.cleanup.callback(made.close)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
        made.settimeout(PATIENCE)
        return made

    def udp(self, address: Address) -> socket.socket:
        return self._open(socket.SOCK_DGRAM, address)

    def tcp(self, address: Address) -> socket.socket:
        """For dialling."""
        return self._open(socket.SOCK_STREAM, address)

    def listener(self, address: Address) -> socket.socket:
        made = self._open(socket.SOCK_STREAM, address)
        made.listen()
        return made

    def accept(self, listener: socket.socket) -> tuple[socket.socket, Address]:
        accepted, peer = listener.accept()
        self._node.lab.cleanup.callback(accepted.close)
        accepted.settimeout(PATIENCE)
        return accepted, peer
