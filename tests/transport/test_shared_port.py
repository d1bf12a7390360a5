"""Dialling from the port that is listened on, and who else may have it."""

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from crust.endpoint import Address, Endpoint
from crust.threads.clock import Deadline
from crust.transport import shared_port
from crust.transport.shared_port import TAKEN, can_share, let_it_dial_too, share_port
from crust.transport.tcp import dial, listen
from tests.together import PATIENCE

LOOPBACK = "127.0.0.1"
sharing = pytest.mark.skipif(not can_share(), reason="this system has no SO_REUSEPORT")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        let_it_dial_too(listener)
        yield listener


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as peer:
        yield peer


def came_to(listener: socket.socket) -> Address:
    """Where the next one comes from."""
    accepted, address = listener.accept()
    accepted.close()
    return str(address[0]), int(address[1])


@sharing
def test_a_socket_dials_from_the_port_of_the_listener_which_goes_on(
    listener: socket.socket, peer: socket.socket
) -> None:
    with socket.socket() as dialling:
        assert share_port(dialling, listener.getsockname()) == ""
        dialling.connect(peer.getsockname())
        assert dialling.getsockname() == listener.getsockname()
        assert came_to(peer) == listener.getsockname()
        with socket.create_connection(listener.getsockname()) as guest:
            assert came_to(listener) == guest.getsockname()


@sharing
def test_who_wants_the_port_for_itself_finds_it_busy(listener: socket.socket) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match=r"in use") as caught:
            other.bind(listener.getsockname())
        assert caught.value.errno == errno.EADDRINUSE


@sharing
def test_the_same_way_twice_at_once_is_told(listener: socket.socket, peer: socket.socket) -> None:
    with socket.socket() as first, socket.socket() as second:
        for dialling in (first, second):
            assert share_port(dialling, listener.getsockname()) == ""
        first.connect(peer.getsockname())
        assert second.connect_ex(peer.getsockname()) in TAKEN


def test_where_it_cannot_be_the_reason_is_told_and_any_port_serves(
    listener: socket.socket, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_port, "can_share", lambda: False)
    with socket.socket() as dialling:
        assert f"listening port {listener.getsockname()[1]}" in share_port(dialling, listener.getsockname())
        dialling.connect(peer.getsockname())
        assert dialling.getsockname() != listener.getsockname()


def test_a_listener_that_is_closed_cannot_be_shared(caplog: pytest.LogCaptureFixture) -> None:
    closed = socket.create_server((LOOPBACK, 0))
    closed.close()
    with caplog.at_level("DEBUG", "crust.tcp"):
        let_it_dial_too(closed)
    assert "nobody can dial from the listening port" in caplog.text or not can_share()


@sharing
def test_a_port_from_which_no_way_leads_there_is_not_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux says EINVAL to who dials from loopback to elsewhere."""
    connect, sources = socket.socket.connect_ex, []

    class Sock(socket.socket):
        def connect_ex(self, address: Any) -> int:
            sources.append(self.getsockname()[1])
            return errno.EINVAL if len(sources) == 1 else connect(self, address)

    with listen(LOOPBACK, 0) as ours, listen(LOOPBACK, 0) as theirs:
        monkeypatch.setattr(socket, "socket", Sock)
        target = Endpoint.tcp(theirs.getsockname())
        with closing(dial(target, Deadline(PATIENCE), source=ours.getsockname())):
            assert sources == [ours.getsockname()[1], 0]
