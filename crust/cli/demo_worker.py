"""One peer of ``crust demo``: a process that is told what to do in lines of JSON on its standard input, and reports
everything that happens, and nothing else, in lines of JSON on its standard output.

Told: ``{"do": "listen"}``, and look for the others where there is a beacon; ``connect`` (``to``: endpoints, each a peer
of its own), ``say`` (``to``: ids, ``text``), ``send`` (``to``: an id, ``path``), ``count`` and ``stop``. Reports have a
key ``is``: ``ready``, ``listening``, ``new``, ``message``, ``lost``, ``failed``, ``connections``, ``offered``,
``moved``, ``sent``, ``received``, ``stopped``.

The end of the input ends the process: no peer outlives the demo, however that ends.
"""

import argparse
import json
import logging
import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

from crust.channel import Channel
from crust.cli import transfer_wire as wire
from crust.cli.transfer_folder import DiskFolder
from crust.cli.transfer_receiver import Began, Done, Failed, Finished, ReceiverSession, Reply
from crust.cli.transfer_sender import SenderSession
from crust.cli.transfer_source import DiskSource
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import CrustError, NotConnected
from crust.event import Event
from crust.threads.workers import start_thread

SEND_TIMEOUT: Final = 10.0  # seconds for room in a queue; on one machine there is some in milliseconds
_OUTPUT_LOCK = threading.Lock()
UTP_KEEPALIVE: Final = 0.5
"""Seconds: short, because one of the peers will be killed, and who watches does not want to wait."""


def report(kind: str, **fields: Any) -> None:
    """Write one line for the demo to read."""
    line = json.dumps({"is": kind, **fields})
    with _OUTPUT_LOCK:
        print(line, flush=True)


class Peer:
    """A node, and what it was told and knows. For one thread.

    Args:
        into: the folder for files that come.
        config: of the node.
    """

    def __init__(self, into: Path, config: Config) -> None:
        self._events: Channel[Any] = Channel()
        self._manager = ConnectionManager(self._events, config)
        self._folder = DiskFolder(into)
        self._finished = Finished()
        self._ids: dict[Endpoint, str] = {}
        self._receiving: dict[Endpoint, ReceiverSession] = {}
        self._sending: tuple[Endpoint, SenderSession, DiskSource] | None = None

    def run(self) -> None:
        """Do what is told until the end of the input."""
        report("ready", id=self._manager.identity.peer_id.hex())
        # Commands come through the same channel as events: one thread, one order.
        start_thread("demo-commands", self._read_commands)
        while True:
            item = self._events.get()
            if isinstance(item, Event.Stopped):
                report("stopped")
                return
            if isinstance(item, bytes):
                self._obey(json.loads(item))
            elif item is None:  # nobody tells us anything any more
                self._manager.stop(timeout=0.0)
            else:
                self._on_event(item)

    def _read_commands(self) -> None:
        # Unbuffered: this thread may be waiting for a line when the process ends, and must not hold a lock then.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                self._events.put(line)
        self._events.put(None)

    def _obey(self, command: dict[str, Any]) -> None:
        try:
            self._do(command)
        except CrustError as error:
            report("failed", to=command["do"], reason=str(error))

    def _do(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "listen":
                self._listen()
            case "connect":
                for place in command["to"]:
                    self._manager.connect(Endpoint.parse(place))
            case "say":
                for peer in command["to"]:
                    self._manager.send(self._endpoint(peer), command["text"].encode(), timeout=SEND_TIMEOUT)
            case "send":
                self._offer(self._endpoint(command["to"]), command["path"])
            case "count":
                report("connections", ids=[info.peer_id.hex() for info in self._manager.connections()])
            case "stop":
                self._manager.stop()
            case unknown:
                raise ValueError(f"told to {unknown!r}")

    def _listen(self) -> None:
        self._manager.start_listening()
        (place,) = map(str, self._manager.get_own_endpoints())
        report("listening", place=place)
        if wanted := self._manager.config.target_connections:
            self._manager.bootstrap(wanted)

    def _endpoint(self, peer: str) -> Endpoint:
        for endpoint, known in self._ids.items():
            if known == peer:
                return endpoint
        raise NotConnected(f"not connected to {peer[:8]}")

    def _on_event(self, event: Any) -> None:
        match event:
            case Event.NewConnection(endpoint, peer_id) | Event.NewBootstrapConnection(endpoint, peer_id):
                self._ids[endpoint] = peer_id.hex()
                report("new", id=peer_id.hex(), at=str(endpoint))
            case Event.NewMessage(endpoint, data) if wire.is_transfer(data):
                self._on_transfer(endpoint, data)
            case Event.NewMessage(endpoint, data):
                report("message", id=self._ids.get(endpoint), text=data.decode(errors="replace"))
            case Event.LostConnection(endpoint, peer_id, reason):
                self._ids.pop(endpoint, None)
                report("lost", id=peer_id.hex(), reason=reason)
            case Event.ConnectionFailed(endpoints, reason):
                report("failed", to=str(endpoints[0]), reason=reason[endpoints[0]])
            case _:
                report("failed", to="", reason=repr(event))

    def _offer(self, endpoint: Endpoint, path: str) -> None:
        source = DiskSource(path)
        session = SenderSession(secrets.token_bytes(wire.TRANSFER_SIZE), os.path.basename(path), source)
        self._sending = (endpoint, session, source)
        self._manager.send(endpoint, session.offer)

    def _on_transfer(self, endpoint: Endpoint, data: bytes) -> None:
        if self._sending is not None and self._sending[0] == endpoint:
            self._go_on_sending(data, *self._sending)
            return
        if endpoint not in self._receiving:
            self._receiving[endpoint] = ReceiverSession(
                self._folder, self._finished, lambda data: self._manager.send(endpoint, data)
            )
        for action in self._receiving[endpoint].receive(data):
            match action:
                case Reply(answer):
                    self._manager.send(endpoint, answer)
                case Began(name, size):
                    report("offered", name=name, size=size)
                case Done(_, saved_as):
                    report("received", path=str(self._folder.path / saved_as))
                case Failed(name, text):
                    report("failed", to=name, reason=text)

    def _go_on_sending(self, data: bytes, endpoint: Endpoint, session: SenderSession, source: DiskSource) -> None:
        messages = session.receive(data)
        while (message := session.next_message()) is not None:
            messages.append(message)
            for ready in messages:
                self._manager.send(endpoint, ready, timeout=SEND_TIMEOUT)
            messages.clear()
        for ready in messages:
            self._manager.send(endpoint, ready, timeout=SEND_TIMEOUT)
        report("moved", position=session.written)
        if session.result is not None:
            source.close()
            self._sending = None
            report("sent", ok=session.result.ok, text=session.result.text)


def config_of(args: argparse.Namespace) -> Config:
    """The settings of a peer that nobody but its crew can find."""
    tcp_port, utp_port = (None, 0) if args.transport == "utp" else (0, None)
    config = Config(
        listen_addresses=("127.0.0.1",),
        tcp_port=tcp_port,
        utp_port=utp_port,
        beacon_port=args.beacon,
        network=args.network,
        target_connections=args.wanted,
        upnp=False,
    )
    # Of a process that was killed TCP tells at once, UDP only when something is sent there.
    return config.replace(keepalive_interval=UTP_KEEPALIVE) if args.transport == "utp" else config


def main() -> None:
    """Run one peer; the arguments are the folder for files that come, the transport, and how others are found."""
    parser = argparse.ArgumentParser(prog="crust demo (one peer)")
    parser.add_argument("into", type=Path)
    parser.add_argument("transport", choices=("tcp", "utp"))
    parser.add_argument("--network", default="crust demo")
    parser.add_argument("--beacon", type=int)
    parser.add_argument("--wanted", type=int, default=0)
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo, which then ends our input
    logging.basicConfig(level=logging.ERROR, format=f"%(levelname)s %(name)s [{os.getpid()}] %(message)s")
    try:
        Peer(args.into, config_of(args)).run()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the demo has gone; nor is there a last word


if __name__ == "__main__":
    main()
