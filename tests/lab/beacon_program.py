"""A beacon in a node that obeys line by line: ``python -m tests.lab.beacon_program PORT NETWORK``.

start            -> when: begins to listen and to seek
peers N SECONDS  -> {peer: [when, host, ...]} of those found, once there are N or the time is over
counters         -> what the beacon counted

Peers are named by the first eight digits of their ids. Times are those of a clock that all nodes of a lab share.
"""

import json
import sys
import threading
from typing import Any

from crust import Config, Identity
from crust.discovery.beacon import Beacon
from crust.discovery.beacon_packet import Announcement
from crust.discovery.contact import Contact
from crust.threads import clock
from tests.lab.namespaces import Node, say


class Remote:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, network: str = "lab", port: int = 5483) -> None:
        self.node = node
        self._running = node.python("tests.lab.beacon_program", str(port), network)
        self.name = self._running.line()

    def ask(self, *words: object) -> Any:
        """Tell it something; what it answers."""
        self.tell(*words)
        return self.answer()

    def tell(self, *words: object) -> None:
        self._running.stdin.write(" ".join(map(str, words)) + "\n")
        self._running.stdin.flush()

    def answer(self) -> Any:
        return json.loads(self._running.line())


class Obeying:
    """The far end of `Remote`."""

    def __init__(self, port: int, network: str) -> None:
        self.identity = Identity()
        self.config = Config(beacon_port=port, network=network)
        self.about = Announcement(self.identity.peer_id, 1000, 2000)
        self.beacon = Beacon(self.config, lambda: self.about, self._found)
        self.changed = threading.Condition()
        self.peers: dict[str, list[Any]] = {}

    def _found(self, contact: Contact) -> None:
        with self.changed:
            self.peers.setdefault(str(contact.peer_id), [clock.now()]).append(contact.endpoints[0].host)
            self.changed.notify_all()

    def _wait(self, count: str, seconds: str) -> dict[str, list[Any]]:
        with self.changed:
            self.changed.wait_for(lambda: len(self.peers) >= int(count), float(seconds))
            return dict(self.peers)

    def do(self, words: list[str]) -> Any:
        match words:
            case ["start"]:
                when = clock.now()
                self.beacon.start()
                return when
            case ["peers", count, seconds]:
                return self._wait(count, seconds)
            case ["counters"]:
                return self.beacon.counters
        sys.exit(f"not understood: {words}")


def main() -> None:
    """Obey until standard input ends."""
    obeying = Obeying(int(sys.argv[1]), sys.argv[2])
    say(str(obeying.identity.peer_id))
    for line in sys.stdin:
        say(json.dumps(obeying.do(line.split())))
    obeying.beacon.stop()


if __name__ == "__main__":
    main()
