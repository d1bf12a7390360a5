"""`crust.nat.tcp_dials`: attempts from the port that is listened on, on loopback; and from elsewhere, where need be."""

import errno
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from crust.endpoint import Address
from crust.nat import tcp_dials
from crust.nat.tcp_dials import Dialling, Ending
from crust.nat.tcp_punch import Outcome
from crust.transport import shared_port
from crust.transport.shared_port import can_share
from crust.transport.tcp import listen
from tests.transport.test_tcp import LOOPBACKS

PATIENCE = 20.0  # seconds


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(stack: ExitStack, host: str = "127.0.0.1") -> tuple[socket.socket, Address]:
    listener = stack.enter_context(closing(listen(host, 0)))
    listener.setblocking(True)
    listener.settimeout(PATIENCE)
    return listener, listener.getsockname()[:2]


def outcome(dialling: Dialling) -> Ending:
    ending = dialling.begin()
    if ending is None:
        with selectors.DefaultSelector() as selector:
            selector.register(dialling, selectors.EVENT_WRITE)
            assert selector.select(PATIENCE)
        ending = dialling.ending()
    return ending


sharing = pytest.mark.skipif(not can_share(), reason="this system has no SO_REUSEPORT")


@sharing
@pytest.mark.parametrize("host", LOOPBACKS)
def test_it_dials_from_the_listening_port(stack: ExitStack, host: str) -> None:
    ours, own = listening(stack, host)
    theirs, there = listening(stack, host)
    dialling = Dialling(own, there)
    assert (dialling.problem, outcome(dialling)) == ("", Ending(Outcome.CONNECTED))
    sock = stack.enter_context(dialling.release())
    accepted, address = theirs.accept()
    stack.enter_context(accepted)
    assert address[:2] == own == sock.getsockname()[:2]
    visitor = stack.enter_context(socket.create_connection(own, PATIENCE))
    assert stack.enter_context(ours.accept()[0]).getpeername() == visitor.getsockname(), "it still listens"
    linger = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert linger[:4] == bytes(4), "what is queued when it is closed is still sent"


@sharing
@pytest.mark.parametrize("host", LOOPBACKS)
def test_two_that_dial_each_other_meet_or_are_refused_at_once(stack: ExitStack, host: str) -> None:
    """Without listeners there is nobody to refuse, and nobody but the other to connect to."""
    for sock in (one := listening(stack, host), other := listening(stack, host)):
        sock[0].close()
    first, second = stack.enter_context(closing(Dialling(one[1], other[1]))), Dialling(other[1], one[1])
    stack.enter_context(closing(second))
    assert {outcome(first).outcome, outcome(second).outcome} <= {Outcome.REFUSED, Outcome.CONNECTED}


def test_a_refusal(stack: ExitStack) -> None:
    _, own = listening(stack)
    nobody, there = listening(stack)
    nobody.close()
    with closing(Dialling(own, there)) as dialling:
        ending = outcome(dialling)
    assert ending.outcome is Outcome.REFUSED
    assert ending.why.startswith("refused: ")


@sharing
def test_a_second_connection_between_the_same_ports(stack: ExitStack) -> None:
    _, own = listening(stack)
    _, there = listening(stack)
    first, second = Dialling(own, there), Dialling(own, there)
    stack.enter_context(closing(first))
    stack.enter_context(closing(second))
    assert outcome(first).outcome is Outcome.CONNECTED
    assert outcome(second) == Ending(Outcome.TAKEN, tcp_dials._TAKEN_IN_WORDS)
    first.close()
    with closing(Dialling(own, there)) as third:
        assert outcome(third).outcome is Outcome.CONNECTED, "closing leaves nothing behind"


@sharing
def test_nobody_dials_itself(stack: ExitStack) -> None:
    listener, own = listening(stack)
    listener.close()
    with closing(Dialling(own, own)) as dialling:
        assert outcome(dialling) == Ending(Outcome.UNREACHABLE, tcp_dials._OURSELVES)


@pytest.mark.parametrize(
    ("code", "at_once", "expected"),
    [
        (errno.ENETUNREACH, True, Outcome.UNREACHABLE),
        (errno.ENETUNREACH, False, Outcome.REFUSED),  # a router said so
        (errno.ECONNREFUSED, True, Outcome.REFUSED),
        (errno.ETIMEDOUT, False, Outcome.REFUSED),
        (errno.ENOMEM, True, Outcome.REFUSED),
    ],
)
def test_what_is_tried_again(stack: ExitStack, code: int, at_once: bool, expected: Outcome) -> None:
    with closing(Dialling(None, ("127.0.0.1", 1))) as dialling:
        ending = dialling._ending(code, at_once)
    assert ending.outcome is expected
    assert ending.why


def test_what_is_over_again_at_once(stack: ExitStack) -> None:
    with closing(Dialling(None, ("127.0.0.1", 1))) as dialling:
        assert dialling._ending(0, at_once=False).outcome is Outcome.REFUSED, "it is not connected after all"
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        dialling.release()


def test_a_system_that_cannot_share_dials_from_elsewhere(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_port, "can_share", lambda: False)
    _, own = listening(stack)
    theirs, there = listening(stack)
    with closing(Dialling(own, there)) as dialling:
        assert outcome(dialling).outcome is Outcome.CONNECTED
        accepted, address = theirs.accept()
        with accepted:
            assert address[:2] != own
        assert f"the listening port {own[1]}" in dialling.problem


@sharing
def test_a_port_that_somebody_keeps_for_themselves(stack: ExitStack) -> None:
    """As a listener of another program, or of another user, does."""
    theirs, there = listening(stack)
    alone = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    with closing(Dialling(alone.getsockname(), there)) as dialling:
        assert outcome(dialling).outcome is Outcome.CONNECTED
        assert dialling.problem
        theirs.accept()[0].close()


def test_a_family_that_is_not_listened_on(stack: ExitStack) -> None:
    theirs, there = listening(stack)
    with closing(Dialling(None, there)) as dialling:
        assert dialling.problem == "no port of that family is listened on"
        assert outcome(dialling).outcome is Outcome.CONNECTED
        theirs.accept()[0].close()


def test_out_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Dialling, local: Address | None) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Dialling, "_bind", broken)
    with pytest.raises(OSError, match="too many"):
        Dialling(None, ("127.0.0.1", 1))


@sharing
def test_a_listener_that_cannot_be_shared_still_listens(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "SO_REUSEPORT", 9999)  # as on a kernel that has never heard of it
    _, own = listening(stack)
    theirs, there = listening(stack)
    with closing(Dialling(own, there)) as dialling:
        assert outcome(dialling).outcome is Outcome.CONNECTED
        assert dialling.problem
        theirs.accept()[0].close()


# --- who else can have the port ---------------------------------------------------------------------------------------

_BIND = """
import os, socket, sys
user, port, shared = map(int, sys.argv[1:])
if user != os.getuid():
    os.setuid(user)
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if shared:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
try:
    sock.bind(("127.0.0.1", port))
    sock.listen()
    print("listens")
except OSError as error:
    print("busy")
"""


def another(user: int, port: int, shared: bool) -> str:
    command = [sys.executable, "-c", _BIND, str(user), str(port), str(int(shared))]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.strip()


@sharing
def test_another_node_finds_the_port_busy(stack: ExitStack) -> None:
    """So it takes another one, as ever; while we dial from the port as well."""
    _, own = listening(stack)
    _, there = listening(stack)
    with closing(Dialling(own, there)) as dialling:
        outcome(dialling)
        with pytest.raises(Exception, match="another program uses that port"):
            listen(*own)
        assert another(os.getuid(), own[1], shared=False) == "busy"


@pytest.mark.skipif(sys.platform != "linux", reason="who may share a port is known for Linux only")
def test_another_user_cannot_share_the_port(stack: ExitStack) -> None:
    if os.getuid() != 0:
        pytest.skip("becoming another user takes root")
    _, own = listening(stack)
    assert another(65534, own[1], shared=True) == "busy"
