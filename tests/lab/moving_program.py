"""A manager in a node that keeps its one contact, if any: ``python -m tests.lab.moving_program SETTINGS [CONTACT]``.

SETTINGS are those of `Config`, a JSON object. It prints its endpoints, a JSON list, and then a line for each event:
``[when, kind, text, ...]``. Each line that it reads is sent to whoever it is connected to.

Times are those of a clock that all nodes of a lab share.
"""

import json
import queue
import sys
import threading
from typing import Any

from crust import Config, ConnectionManager, Endpoint, Event
from crust.threads import clock
from tests.lab.namespaces import Node, say


class Remote:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, contact: str = "", **settings: Any) -> None:
        self.node = node
        self._running = node.python("tests.lab.moving_program", json.dumps(settings), *([contact] if contact else []))
        self.endpoints: list[str] = json.loads(self._running.line())

    def next(self, kind: str) -> tuple[float, str]:
        """The next event of a kind: when, and what it says. Nobody may be lost before."""
        while True:
            when, found, text = json.loads(self._running.line())
            if found == kind:
                return when, text
            assert found != "LostConnection", text

    def send(self, text: str) -> None:
        """To whoever it is connected to."""
        self._running.stdin.write(text + "\n")
        self._running.stdin.flush()


def describe(event: Any) -> str:
    """What a test wants to know of an event."""
    match event:
        case Event.LostConnection(_, _, reason):
            return str(reason)
        case Event.NewConnection(endpoint, _) | Event.NewBootstrapConnection(endpoint, _):
            return str(endpoint)
        case Event.NewMessage(_, data):
            return str(data, "utf-8")
        case Event.OwnEndpointsChanged(endpoints):
            return " ".join(map(str, endpoints))
    return ""


def print_events(events: "queue.Queue[Any]") -> None:
    """Until the manager ends."""
    while not isinstance(event := events.get(), Event.Stopped):
        say(json.dumps([clock.now(), type(event).__name__, describe(event)]))


def main() -> None:
    """Obey until standard input ends."""
    settings, *contacts = sys.argv[1:]
    events: queue.Queue[Any] = queue.Queue()
    config = Config(**{"bootstrap_cache": False, "upnp": False, "beacon_port": None, **json.loads(settings)})
    manager = ConnectionManager(events, config, fallback_endpoints=[Endpoint.parse(each) for each in contacts])
    manager.start_listening()
    say(json.dumps([str(each) for each in manager.get_own_endpoints()]))
    threading.Thread(target=print_events, args=(events,), daemon=True).start()
    if contacts:
        manager.bootstrap(keep_going=True)
    for line in sys.stdin:
        for connection in manager.connections():
            manager.send(connection.endpoint, line.strip().encode())
    manager.stop(timeout=1.0)


if __name__ == "__main__":
    main()
