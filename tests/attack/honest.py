"""Peers that mean well: ``python -m tests.attack.honest TRANSPORT PORT`` keeps one connection and measures it.

Messages are a letter, a number of eight bytes that counts them, and whatever else. Small ones come back as they are;
large ones are acknowledged. All honest processes share the time: for a while all of them measure round trips, then each
transport sends as much as it can while the others rest.

With ``new`` before the transport it comes as somebody new, again and again.
"""

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import crust
from benches.child import obey
from crust import Config, ConnectionManager, CrustError, Endpoint, Event
from crust.threads.workers import start_thread

PING, BULK, ANSWER = b"P", b"B", b"A"
HEAD = 9  # bytes of letter and number
SMALL, LARGE = 64, 256 * 1024
WINDOW = 8  # large messages on their way
TURN = 0.2  # seconds that each part of the work lasts
TURNS = {"tcp": 1, "utp": 2}  # of three; in the first all measure round trips
PAUSE = 0.002  # seconds between round trips
PATIENCE = 30.0  # seconds for an answer; a node under attack that needs longer does not serve
NEWCOMERS_EVERY = 0.3  # seconds
CONFIG = Config(listen_addresses=("127.0.0.1",), beacon_port=None, upnp=False, dial_timeout=PATIENCE / 2)


def number_of(data: bytes) -> int:
    """Which message it is."""
    return int.from_bytes(data[1:HEAD])


def target_of(transport: str, port: int) -> Endpoint:
    """Where the target is."""
    return (Endpoint.utp if transport == "utp" else Endpoint.tcp)(("127.0.0.1", port))


class Resident:
    """Keeps a connection and measures it.

    Args:
        transport: "tcp" or "utp".
        port: of the target, on loopback.
    """

    def __init__(self, transport: str, port: int) -> None:
        self._target = target_of(transport, port)
        self._turn = TURNS[transport]
        self._events = crust.channel()
        self._manager = ConnectionManager(self._events, CONFIG)
        self._pongs: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._room = threading.Semaphore(WINDOW)
        self._up, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self.lost: list[str] = []
        self.sent = self.answered = 0
        self._trips: list[float] = []
        self._bytes, self._seconds = 0, 0.0
        self._manager.start_listening()  # so our UDP port is bound to one address, and a forger can have it at another
        self._manager.connect(self._target)
        self._threads = [start_thread("honest-events", self._read)]
        if not self._up.wait(PATIENCE):
            self.close()
            raise TimeoutError("the target did not let an honest peer in")
        self._threads.append(start_thread("honest-work", self._work))

    def _read(self) -> None:
        for event in self._events:
            match event:
                case Event.NewMessage(_, data):
                    with self._lock:
                        self.answered += 1
                    if data[:1] == PING:
                        self._pongs.put(number_of(data))
                    else:
                        self._room.release()
                case Event.NewConnection():
                    self._up.set()
                case Event.Stopped():
                    return
                case _:
                    self.lost.append(repr(event))

    def _send(self, kind: bytes, size: int) -> int:
        number = self.sent
        self._manager.send(self._target, kind + number.to_bytes(HEAD - 1) + bytes(size - HEAD), timeout=PATIENCE)
        self.sent += 1
        return number

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and not self.lost:
                turn = int(time.monotonic() / TURN) % 3
                if turn == 0:
                    self._ping()
                    self._stop.wait(PAUSE)
                elif turn == self._turn:
                    self._pour(turn)
                else:
                    self._stop.wait(TURN / 10)
        except (CrustError, queue.Empty, TimeoutError) as error:
            self.lost.append(f"{type(error).__name__}: {error}")

    def _ping(self) -> None:
        start = time.monotonic()
        number = self._send(PING, SMALL)
        while self._pongs.get(timeout=PATIENCE) != number:
            pass
        with self._lock:
            self._trips.append(time.monotonic() - start)

    def _pour(self, turn: int) -> None:
        start, count = time.monotonic(), 0
        while int(time.monotonic() / TURN) % 3 == turn and not self._stop.is_set():
            self._take_place()
            self._send(BULK, LARGE)
            count += 1
        for _ in range(WINDOW):
            self._take_place()
        self._room.release(WINDOW)
        with self._lock:
            self._bytes += count * LARGE
            self._seconds += time.monotonic() - start

    def _take_place(self) -> None:
        if not self._room.acquire(timeout=PATIENCE):
            raise TimeoutError("a large message was not acknowledged")

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        if command["do"] == "port":  # of our end; over uTP
            sock = self._manager._started().utp.sockets[0]
            return {"port": sock.local_address[1]}
        if command["do"] == "finish":  # send no more, and wait for what is missing
            self._stop.set()
            self._threads[-1].join()
        return self._figures()

    def _figures(self) -> dict[str, Any]:
        """Since the last time."""
        with self._lock:
            trips, self._trips = sorted(self._trips), []
            amount, self._bytes = self._bytes, 0
            seconds, self._seconds = self._seconds, 0.0
        found: dict[str, Any] = {"sent": self.sent, "answered": self.answered, "lost": self.lost[:5]}
        if trips:
            found |= {"p50": statistics.median(trips), "p95": trips[int(0.95 * (len(trips) - 1))], "trips": len(trips)}
        if seconds:
            found["throughput"] = amount / seconds
        return found

    def close(self) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads[1:]:
            thread.join()
        self._manager.stop(timeout=0)
        self._threads[0].join()


class Newcomers:
    """Somebody new every now and then, who says one thing, hears the answer and goes.

    Args:
        ports: of the target, by transport; they have their turns.
    """

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._tried = 0
        self._times: list[float] = []
        self._failures: list[str] = []
        self._thread: threading.Thread | None = None

    def _run(self) -> None:
        while not self._stop.is_set():
            transport = list(self._ports)[self._tried % len(self._ports)]
            start = time.monotonic()
            failure = self._come(target_of(transport, self._ports[transport]))
            with self._lock:
                self._tried += 1
                if failure is None:
                    self._times.append(time.monotonic() - start)
                else:
                    self._failures.append(f"{transport}: {failure}")
            self._stop.wait(NEWCOMERS_EVERY)

    def _come(self, target: Endpoint) -> str | None:
        """Why it came to nothing; ``None`` if it did not."""
        events = crust.channel()
        with ConnectionManager(events, CONFIG) as manager:
            try:
                manager.connect(target)
                came = events.get(timeout=PATIENCE)
                if not isinstance(came, Event.NewConnection):
                    return repr(came)
                manager.send(target, PING + bytes(SMALL))
                heard = events.get(timeout=PATIENCE)
                return None if isinstance(heard, Event.NewMessage) else repr(heard)
            except (CrustError, queue.Empty) as error:
                return repr(error)

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        if command["do"] == "begin":
            self._stop.clear()
            self._thread = start_thread("honest-newcomers", self._run)
            return {}
        self.close()
        with self._lock:
            found: dict[str, Any] = {"tried": self._tried, "in": len(self._times), "failures": self._failures[:5]}
            if self._times:
                found["p50"] = statistics.median(self._times)
            self._tried, self._times, self._failures = 0, [], []
        return found

    def close(self) -> None:
        """Nobody comes any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


def main(arguments: list[str]) -> None:
    """Obey until the input ends."""
    ends: list[Resident | Newcomers] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        if arguments[0] == "new":
            ends.append(Newcomers(dict(zip(arguments[1::2], map(int, arguments[2::2]), strict=True))))
        else:
            ends.append(Resident(arguments[0], int(arguments[1])))
        return ends[0].do

    obey(start, lambda: ends[0].close())


if __name__ == "__main__":
    main(sys.argv[1:])
