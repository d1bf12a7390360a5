"""Dialling from the port that is listened on: what others, and NATs, see of it then holds for both directions.

| system | how a dialling socket shares the port of a listener |
|---|---|
| Linux | SO_REUSEADDR and SO_REUSEPORT on both, and the same user |
| BSD, macOS | the same, whoever the user is |
| Windows | not at all: the listener has its port for itself (SO_EXCLUSIVEADDRUSE), or anybody could take it over |
"""

import errno
import logging
import os
import socket
from typing import Final

from crust.endpoint import Address

log = logging.getLogger("crust.tcp")

TAKEN: Final = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})
"""There is a connection between the two ports, or was until just now. Linux says the one, BSD the other."""


def can_share() -> bool:
    """Whether this system has what it takes."""
    return os.name == "posix" and hasattr(socket, "SO_REUSEPORT")


def let_it_dial_too(listener: socket.socket) -> None:
    """Let sockets of ours dial from the port of a listener.

    Only once it listens: had it been set before the port was bound, a port that another program listens on in this way
    would have been shared instead of busy. From now on those may share it that ask for that and belong to the same user
    (Linux) or at least ask for that (elsewhere); who wants the port for itself, as other nodes do, finds it busy.
    """
    if can_share():
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            log.debug("nobody can dial from the listening port: %s", error)


def share_port(sock: socket.socket, listening: Address) -> str:
    """Let a socket dial from the port that a listener of ours is bound to.

    Args:
        sock: a TCP socket that is not connected or bound.
        listening: where the listener is bound.
    Returns:
        Why it cannot, and dials from a port of its own; empty if it can.
    """
    try:
        if not can_share():
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(listening)
    except OSError as error:
        problem = f"this system does not let us dial from the listening port {listening[1]}: {error.strerror}"
        log.debug("%s", problem)
        return problem
    return ""
