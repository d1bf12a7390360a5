"""A way between two TCP ports that can misbehave: it freezes without closing, spoils bytes, or cuts."""

import selectors
import socket
import threading
from collections.abc import Callable
from typing import Self

from crust import Endpoint
from tests.manager.helpers import LOOPBACK, PATIENCE

_CHUNK = 65536


class _Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket, towards_target: bool) -> None:
        self.source = source
        self.target = target
        self.towards_target = towards_target
        self.carried = 0  # bytes so far


class Proxy:
    """Carries connections from a port of its own to ``target``. Use ``with``. One thread, so what it does is in order.

    Args:
        target: where to.
        change: gets every piece that is carried, with its position in the stream and whether it goes towards the
            target; gives what is carried instead, or ``None`` to cut the connection.
    """

    def __init__(self, target: Endpoint, change: Callable[[bytes, int, bool], bytes | None] | None = None) -> None:
        self._target = target
        self._change = change
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.endpoint = Endpoint.tcp(self._listener.getsockname())
        self._wake_send, self._wake = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._sockets: list[socket.socket] = []
        self._frozen = False
        self._is_frozen = threading.Event()
        self._ended = False
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, name="test-proxy")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._wake_send.send(b"\0")
        self._thread.join(PATIENCE)
        self._selector.close()
        for sock in (*self._sockets, self._listener, self._wake, self._wake_send):
            sock.close()

    def freeze(self) -> None:
        """From now on carry nothing more on the connections that there are, and close none of them either.

        What comes after `freeze` returns is not carried; new connections are.
        """
        self._frozen = True
        self._is_frozen.clear()
        self._wake_send.send(b"\0")
        assert self._is_frozen.wait(PATIENCE)

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake:
                    self._wake.recv(64)
                    self._freeze_if_asked()
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data is not None and not self._ended:
                    self._carry(key.data)

    def _freeze_if_asked(self) -> None:
        if self._frozen:
            self._frozen = False
            for sock in self._sockets:
                self._forget(sock)
            self._is_frozen.set()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection((self._target.host, self._target.port), PATIENCE)
        self.accepted += 1
        self._sockets += [near, far]
        for way in (_Way(near, far, True), _Way(far, near, False)):
            way.source.settimeout(PATIENCE)
            self._selector.register(way.source, selectors.EVENT_READ, way)

    def _carry(self, way: _Way) -> None:
        try:
            data = way.source.recv(_CHUNK)
            if not data:
                self._forget(way.source)
                way.target.shutdown(socket.SHUT_WR)
                return
            changed = self._change(data, way.carried, way.towards_target) if self._change else data
            way.carried += len(data)
            if changed is not None:
                way.target.sendall(changed)
                return
        except OSError:
            pass
        for sock in (way.source, way.target):
            self._forget(sock)
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _forget(self, sock: socket.socket) -> None:
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            pass
