"""Managers that say of every endpoint that they have reached it: ``python -m tests.lab.reach_liar_program COUNT``.

They say where they listen, as JSON, and then obey:

lies -> how many endpoints they have said so of
"""

import json
import queue
import sys
from typing import Any

from crust import Config, ConnectionManager
from crust.links.connection import Connection
from crust.reach.dial_back.notes import Answer, Request, Result
from crust.reach.dial_back.service import DialBackService
from crust.transport.framing import ADDRESS, control_frame
from tests.lab.namespaces import Node, Running, say


class Liars:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, count: int) -> None:
        self._running: Running = node.python("tests.lab.reach_liar_program", str(count))

    def endpoints(self) -> list[str]:
        """Where they listen; once."""
        return [str(endpoint) for endpoint in json.loads(self._running.line())]

    def lies(self) -> int:
        """How many endpoints they have praised so far."""
        self._running.stdin.write("lies\n")
        self._running.stdin.flush()
        return int(self._running.line())


def main() -> None:
    """Lie until standard input ends."""
    lies = 0

    def asked(self: DialBackService, connection: Connection, request: Request) -> None:
        nonlocal lies
        lies += len(request.endpoints)
        answer = Answer(request.number, (Result.REACHABLE,) * len(request.endpoints))
        connection.outbox.put_control(control_frame(ADDRESS, answer.content()))

    DialBackService.asked = asked  # type: ignore[method-assign]
    managers = []
    for _ in range(int(sys.argv[1])):
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        managers.append(
            ConnectionManager(events, Config(bootstrap_cache=False, beacon_port=None, utp_port=None, upnp=False))
        )
        managers[-1].start_listening()
    say(json.dumps([str(manager.get_own_endpoints()[0]) for manager in managers]))
    for _ in sys.stdin:
        say(str(lies))
    for manager in managers:
        manager.stop(timeout=1.0)


if __name__ == "__main__":
    main()
