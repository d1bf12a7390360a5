"""A way between two TCP ports that breaks: it cuts the first connection after some bytes and passes later ones."""

import socket
import threading
from typing import Self


class CuttingProxy:
    """Use ``with``. What was passed on before the cut arrives, and then the end.

    Args:
        target: the port to lead to, on this machine.
        cut_after: bytes towards the target that the first connection passes on.
    """

    def __init__(self, target: int, cut_after: int) -> None:
        self._target = target
        self._cut_after: int | None = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="test-proxy")]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            _end(sock)
        for thread in self._threads:
            thread.join(10)
        for sock in (*self._sockets, self._listener):
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target), 10)
            self.connections += 1
            self._sockets += [near, far]
            cut_after, self._cut_after = self._cut_after, None
            for pair in ((near, far, cut_after), (far, near, None)):
                self._threads.append(threading.Thread(target=_carry, args=pair, name="test-proxy"))
                self._threads[-1].start()


def _carry(source: socket.socket, target: socket.socket, cut_after: int | None) -> None:
    try:
        while cut_after is None or cut_after > 0:
            data = source.recv(65536)
            if not data:
                break
            data = data[:cut_after]
            target.sendall(data)
            if cut_after is not None:
                cut_after -= len(data)
    except OSError:
        pass
    for sock in (source, target):
        _end(sock)


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
