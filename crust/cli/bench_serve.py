"""``crust bench --serve``: the end that answers."""

import contextlib
import dataclasses
import logging
import sys
import threading
from typing import Final, assert_never

from crust.channel import channel
from crust.cli import console
from crust.cli.bench_protocol import Action, Drop, Flood, Reply, Server, bulk
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import CrustError
from crust.event import AnyEvent, LostConnection, NewConnection, NewMessage, Stopped
from crust.threads.clock import Deadline, now
from crust.threads.workers import WorkerPool, start_thread

log = logging.getLogger("crust.cli.bench")

LISTENING: Final = "listening on "
"""What the lines begin with that say where."""
MAX_CLIENTS: Final = 64
"""Connections at a time: a client uses two."""
TAKE_TIMEOUT: Final = 10.0
"""Seconds that a peer may take nothing of what it asked for, before the flood ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Flooded:
    """A flood is over; put among the events, so that one thread owns the state."""

    messages: int
    error: str


class BenchServer:
    """Serves until the manager stops. `run` belongs to one thread, `close` to any.

    Args:
        config: of the manager.
    """

    def __init__(self, config: Config) -> None:
        config = dataclasses.replace(config, max_connections=min(config.max_connections, MAX_CLIENTS))
        self._events = channel()
        self._manager = ConnectionManager(self._events, config)
        self._state: Server[Endpoint] = Server(config.max_message_size)
        self._pool = WorkerPool("bench flood", 1)
        self._stopping = threading.Event()

    def listen(self) -> list[Endpoint]:
        """Begin to listen; where clients can connect."""
        self._manager.start_listening()
        return self._manager.get_own_endpoints()

    def run(self) -> None:
        """Answer until `close` is called."""
        state = self._state
        for event in self._events:
            if type(event) is NewMessage:
                action = state.message(event.endpoint, event.data, now())
                if action is not None:
                    self._act(action)
            elif isinstance(event, Stopped):
                return
            else:
                self._notice(event)

    def _notice(self, event: AnyEvent | _Flooded) -> None:
        match event:
            case NewConnection(endpoint, peer_id):
                self._state.joined(endpoint)
                log.info("%s (%s) connected", endpoint, peer_id)
            case LostConnection(endpoint, peer_id):
                self._state.left(endpoint)
                log.info("%s (%s) is gone", endpoint, peer_id)
            case _Flooded(messages, error):
                if error:
                    console.warn(f"a measurement ended early: {error}")
                reply = self._state.flooded(messages)
                if reply is not None:
                    self._act(reply)

    def _act(self, action: Action[Endpoint]) -> None:
        match action:
            case Reply(peer, data):
                try:
                    self._manager.send(peer, data)
                except CrustError as error:  # it does not take its replies, or is gone
                    self._act(Drop(peer, str(error)))
            case Drop(peer, reason):
                self._state.left(peer)
                self._manager.drop_node(peer)
                console.warn(f"{peer} was dropped: {reason}")
            case Flood():
                self._pool.submit(lambda: self._flood(action))
            case _:
                assert_never(action)

    def _flood(self, order: Flood[Endpoint]) -> None:
        """Send what was asked for; on the thread of the pool."""
        message, deadline, sent, reason = bulk(order.size), Deadline(order.seconds), 0, ""
        try:
            while not deadline.expired and not self._stopping.is_set():
                self._manager.send(order.peer, message, timeout=TAKE_TIMEOUT)
                sent += 1
        except CrustError as error:
            reason = str(error)
        self._events.put(_Flooded(sent, reason))

    def close(self) -> None:
        """End; idempotent."""
        self._stopping.set()
        self._manager.stop()
        self._pool.close()
        self._pool.join(TAKE_TIMEOUT)

    def close_at_eof(self) -> None:
        """Wait for the end of standard input, then `close`."""
        while sys.stdin.buffer.read(4096):
            pass
        self.close()


def serve(config: Config, *, until_eof: bool = False) -> int:
    """Serve until Ctrl-C.

    Args:
        config: of the manager.
        until_eof: end as well when standard input ends: whoever started this process has gone then.

    Returns:
        the exit code.
    """
    server = BenchServer(config)
    with contextlib.closing(server):
        for endpoint in server.listen():
            console.say(f"{LISTENING}{endpoint}")
        console.say("on the other machine: crust bench HOST:PORT    (Ctrl-C ends this)", style="note")
        if until_eof:
            start_thread("bench end of input", server.close_at_eof)
        server.run()
    return console.Exit.OK
