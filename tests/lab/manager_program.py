"""A manager in a node that obeys line by line: ``python -m tests.lab.manager_program NETWORK TARGET [CACHE]``.

start               -> when: listens; nobody tells it any address
bootstrap N         -> when: and looks for peers
connected N SECONDS -> {peer: [when, endpoint]} of all that were connected so far, once there are N or the time is over
status              -> what bootstrap_status() says, as text
addresses SECONDS   -> own endpoints, as soon as an event says that they have changed; null if none does

Peers are named by the first eight digits of their ids. Times are those of a clock that all nodes of a lab share.
"""

import json
import queue
import sys
import threading
from typing import Any

from crust import Config, ConnectionManager, Event
from crust.threads import clock
from tests.lab.namespaces import Node, say


class Remote:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, network: str = "lab", target: int = 0, cache: str = "") -> None:
        self.node = node
        self._running = node.python("tests.lab.manager_program", network, str(target), cache)
        self.name = self._running.line()

    def ask(self, *words: object) -> Any:
        """Tell it something; what it answers."""
        self._running.stdin.write(" ".join(map(str, words)) + "\n")
        self._running.stdin.flush()
        return json.loads(self._running.line())


class Obeying:
    """The far end of `Remote`."""

    def __init__(self, network: str, target: int, cache: str) -> None:
        config = Config(
            network=network, target_connections=target, cache_file=cache or None, bootstrap_cache=bool(cache)
        )
        self.events: queue.Queue[Any] = queue.Queue()
        self.manager = ConnectionManager(self.events, config)
        self.changed = threading.Condition()
        self.connected: dict[str, list[Any]] = {}
        self.endpoints: list[str] | None = None
        threading.Thread(target=self._take_events, daemon=True).start()

    def _take_events(self) -> None:
        while True:
            event = self.events.get()
            with self.changed:
                match event:
                    case Event.NewConnection(endpoint, peer) | Event.NewBootstrapConnection(endpoint, peer):
                        self.connected.setdefault(str(peer), [clock.now(), str(endpoint)])
                    case Event.OwnEndpointsChanged(endpoints):
                        self.endpoints = [str(endpoint) for endpoint in endpoints]
                    case Event.Stopped():
                        return
                self.changed.notify_all()

    def do(self, words: list[str]) -> Any:
        match words:
            case ["start"]:
                when = clock.now()
                self.manager.start_listening()
                return when
            case ["bootstrap", count]:
                when = clock.now()
                self.manager.bootstrap(int(count))
                return when
            case ["connected", count, seconds]:
                with self.changed:
                    self.changed.wait_for(lambda: len(self.connected) >= int(count), float(seconds))
                    return dict(self.connected)
            case ["status"]:
                return str(self.manager.bootstrap_status())
            case ["addresses", seconds]:
                with self.changed:
                    self.changed.wait_for(lambda: self.endpoints is not None, float(seconds))
                    endpoints, self.endpoints = self.endpoints, None
                    return endpoints
        sys.exit(f"not understood: {words}")


def main() -> None:
    """Obey until standard input ends."""
    network, target, cache = sys.argv[1:]
    obeying = Obeying(network, int(target), cache)
    say(str(obeying.manager.identity.peer_id))
    for line in sys.stdin:
        say(json.dumps(obeying.do(line.split())))
    obeying.manager.stop(timeout=1.0)


if __name__ == "__main__":
    main()
