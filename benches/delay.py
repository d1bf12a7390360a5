"""A TCP forwarder that makes loopback as slow as a long line: every byte takes ``delay`` seconds each way.

It opens connections as slowly as well. A program in user space cannot hold back the answer to a SYN, so what a real
line would do to the opening of a connection is done to its first bytes instead::

    at 0 d   the client connects; over a real line it could send no byte before 2 d, when the answer is back
    at 3 d   the server accepts: then the client's first bytes, or its ACK alone, are there

So bytes that the client sends before 2 d count as sent at 2 d, and the server is dialled at 3 d.
"""

import heapq
import itertools
import queue
import socket
import threading
import time
from typing import Any

READ_SIZE = 64 * 1024  # bytes


class Schedule:
    """One thread that does things at their time."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="delay line", daemon=True)
        self._thread.start()

    def at(self, when: float, function: Any, *args: Any) -> None:
        """Call ``function(*args)`` at ``when`` (of ``time.monotonic``); what has the same time stays in order."""
        self._inbox.put((when, function, args))

    def _run(self) -> None:
        due: list[Any] = []
        order = itertools.count()
        while True:
            timeout = max(due[0][0] - time.monotonic(), 0.0) if due else None
            try:
                item = self._inbox.get(timeout=timeout)
            except queue.Empty:
                _, _, function, args = heapq.heappop(due)
                function(*args)
                continue
            if item is None:
                return
            heapq.heappush(due, (item[0], next(order), item[1], item[2]))

    def close(self) -> None:
        """Forget everything and end."""
        self._inbox.put(None)
        self._thread.join()


class _Relay:
    """One forwarded connection."""

    def __init__(self, line: "DelayLine", client: socket.socket) -> None:
        self._line = line
        self._client = client
        self._server: socket.socket | None = None
        self._early: list[bytes] = []  # due at the same moment as the dialling, and first by a rounding error
        self._opened = time.monotonic()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.schedule.at(self._opened + 3 * line.delay, self._dial)
        line.spawn(self._pump, client, self._opened + 2 * line.delay, self._to_server)

    def _dial(self) -> None:
        try:
            self._server = socket.create_connection(self._line.target)
        except OSError:
            self.close()
            return
        self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in self._early:
            _pass_on(self._server, data)
        self._line.spawn(self._pump, self._server, 0.0, self._to_client)

    def _pump(self, source: socket.socket, not_before: float, deliver: Any) -> None:
        """Read ``source`` and have what it sent delivered later; an end is delivered as b""."""
        while True:
            try:
                data = source.recv(READ_SIZE)
            except OSError:
                data = b""
            self._line.schedule.at(max(time.monotonic(), not_before) + self._line.delay, deliver, data)
            if not data:
                return

    def _to_server(self, data: bytes) -> None:
        if self._server is None:
            self._early.append(data)
        else:
            _pass_on(self._server, data)

    def _to_client(self, data: bytes) -> None:
        _pass_on(self._client, data)

    def close(self) -> None:
        for end in (self._client, self._server):
            if end is not None:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it ended by itself
                end.close()


def _pass_on(sink: socket.socket, data: bytes) -> None:
    try:
        if data:
            sink.sendall(data)
        else:
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # that end is gone; the other one will notice


class DelayLine:
    """Listens on loopback and forwards to ``target``. A context manager.

    Args:
        target: host and port.
        delay: seconds, each way.
    """

    def __init__(self, target: tuple[str, int], delay: float) -> None:
        self.target = target
        self.delay = delay
        self.schedule = Schedule()
        self._relays: list[_Relay] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.spawn(self._accept)

    def spawn(self, function: Any, *args: Any) -> None:
        """Run something on a thread of its own."""
        thread = threading.Thread(target=function, args=args, name="delay line", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._relays.append(_Relay(self, client))

    def __enter__(self) -> "DelayLine":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not everywhere is that allowed for a listener; closing suffices there
        self._listener.close()
        self._threads[0].join()  # the one that accepts: what it was accepting is among the relays now
        self.schedule.close()
        for relay in self._relays:
            relay.close()
        for thread in self._threads:
            thread.join()
