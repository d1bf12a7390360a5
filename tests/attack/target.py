"""The node that is attacked: ``python -m tests.attack.target SETTINGS``, a process that obeys (`benches.child`).

It answers the messages of honest peers, and counts whatever a program would be told of an attack.
"""

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import crust
from benches.child import obey
from benches.process_state import allow_descriptors
from crust import Config, ConnectionManager, CrustError, Endpoint, Event, Protocol
from crust.nat.stun_responder import StunResponder
from crust.nat.stun_server import StunServer
from crust.threads.workers import start_thread
from tests.attack.honest import ANSWER, BULK, HEAD, PING, number_of

DESCRIPTORS = 8192
MAX_TEXTS = 200  # different lines of the log that are told


class Log(logging.Handler):
    """What the library warns of, the same text once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.msg if isinstance(record.msg, str) else repr(record.msg)
        key = f"{record.name}: {text}" if text != "%r" else f"{record.name}: an event"
        if key in self.texts or len(self.texts) < MAX_TEXTS:
            self.texts[key] += 1
        if record.exc_info is not None:
            self.texts[f"{record.name}: exception {record.getMessage()}"[:500]] += 1


class Target:
    """A manager, and the program that uses it.

    Args:
        config: of the manager.
    """

    def __init__(self, config: Config) -> None:
        allow_descriptors(DESCRIPTORS)
        self._log = Log()
        logging.getLogger("crust").addHandler(self._log)
        self._events = crust.channel()
        self._manager = ConnectionManager(self._events, config)
        self._expected: dict[Endpoint, int] = {}  # the number of the next message
        self._told: Counter[str] = Counter()
        self._floods: Counter[str] = Counter()
        self._crimes: Counter[str] = Counter()
        self._answers: dict[bytes, Callable[[bytes], bytes]] = {PING: bytes, BULK: lambda data: ANSWER + data[1:HEAD]}
        self._thread = start_thread("target", self._run)

    def _run(self) -> None:
        for event in self._events:
            self._told[type(event).__name__] += 1
            match event:
                case Event.NewMessage(endpoint, data):
                    self._take(endpoint, data)
                case Event.NewConnection(endpoint):
                    self._expected[endpoint] = 0
                case Event.LostConnection(endpoint):
                    self._expected.pop(endpoint, None)
                case Event.Flood(_, _, kind):
                    self._floods[kind] += 1
                case Event.Misbehaviour(_, _, reason):
                    self._crimes[reason if len(self._crimes) < MAX_TEXTS else "more"] += 1
                case Event.Stopped():
                    return

    def _take(self, endpoint: Endpoint, data: bytes) -> None:
        """Answer an honest peer's message."""
        answer = self._answers.get(data[:1])
        if answer is None:
            return
        expected = self._expected.get(endpoint, 0)
        if number_of(data) != expected:
            self._told["disorder"] += 1
        self._expected[endpoint] = number_of(data) + 1
        try:
            self._manager.send(endpoint, answer(data))
        except CrustError:
            self._told["unanswered"] += 1

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        if command["do"] == "listen":
            ports = {port.protocol: port.port for port in self._manager.start_listening()}
            for sock in self._manager._started().utp.sockets:
                if not sock._multiplexer.handlers:  # a node that tells others where it sees them
                    sock.add_handler(StunResponder(StunServer(), sock.send_datagram))
            beacon = self._manager._beacon_acceptor_port()
            return {"tcp": ports[Protocol.TCP], "utp": ports[Protocol.UTP], "beacon": beacon}
        if command["do"] == "told":
            counters = {name: dict(found) for name, found in self._counted().items()}
            return {**counters, "half_open": self._manager._started().half_open}
        raise ValueError(f"no such command: {command}")

    def _counted(self) -> dict[str, Counter[str]]:
        return {
            "events": self._told.copy(),
            "floods": self._floods.copy(),
            "crimes": self._crimes.copy(),
            "log": self._log.texts.copy(),
        }

    def close(self) -> None:
        """End."""
        self._manager.stop(timeout=0)
        self._thread.join()


def main() -> None:
    """Obey until the input ends."""
    targets: list[Target] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        targets.append(Target(Config(**json.loads(sys.argv[1]))))
        return targets[0].do

    obey(start, lambda: targets[0].close())


if __name__ == "__main__":
    main()
