"""What a child that is forked off must not keep open.

A child of ``fork()`` has a copy of every descriptor. As long as it keeps them, a port that the parent gives up stays
taken, and peers of a parent that crashed do not learn of its end. So the child closes its copies at once; that alone
says nothing to anybody.
"""

import os
import socket
from typing import Final
from weakref import WeakSet

_ours: Final["WeakSet[socket.socket]"] = WeakSet()


def not_for_children(sock: socket.socket) -> socket.socket:
    """Have it closed in every child that is forked off from now on; the socket itself, for convenience."""
    _ours.add(sock)
    return sock


def _close_all() -> None:
    for sock in list(_ours):
        sock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)
