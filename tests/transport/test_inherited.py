"""`crust.transport.inherited`: what children that are forked off keep open."""

import os
import socket

import pytest

from crust.endpoint import Endpoint
from crust.threads.clock import Deadline
from crust.transport.inherited import not_for_children
from crust.transport.tcp import dial, listen
from crust.transport.utp.udp_options import open_socket
from tests.processes import Process

SCRIPT = """
import os, socket
from crust.transport.inherited import not_for_children
ours, theirs = not_for_children(socket.socket()), socket.socket()
child = os.fork()
if child == 0:
    os._exit((ours.fileno() == -1) + 2 * (theirs.fileno() != -1))
print("child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent:", ours.fileno() != -1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_child_closes_ours_and_leaves_others_alone() -> None:
    with Process("-W", "ignore", "-c", SCRIPT) as process:
        assert process.end() == (0, ["child: 3", "parent: True"])


def test_which_sockets_are_meant() -> None:
    from crust.transport import inherited

    listener = listen("127.0.0.1", 0)
    stream = dial(Endpoint.tcp(listener.getsockname()), Deadline(90.0))
    udp = open_socket("127.0.0.1", 0)
    try:
        assert {listener, stream._sock, udp} <= set(inherited._ours)
    finally:
        for each in (listener, stream, udp):
            each.close()


def test_a_socket_that_nobody_refers_to_is_forgotten() -> None:
    from crust.transport import inherited

    sock = socket.socket()
    assert not_for_children(sock) is sock
    before = len(inherited._ours)
    sock.close()
    del sock
    assert len(inherited._ours) == before - 1
