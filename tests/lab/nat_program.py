"""A manager behind a NAT that obeys line by line: ``python -m tests.lab.nat_program SETTINGS``, a JSON object.

SETTINGS are those of `Config`; the router is asked for nothing unless ``upnp`` is set (and `ISOLATED` is not).

fresh               -> its id: stops the manager, if there is one, and makes a new one that listens
endpoints           -> where it is
join ENDPOINT       -> whether it is connected there within 10 s
surveyed            -> [mapping, filtering, allocation] of its NAT, once that is known
meet ID HOW SECONDS -> what came of connect_peer(): [endpoint or null, seconds, reasons by method]; with "direct" for
                       HOW, a relayed connection will not do
met ID HOW SECONDS  -> the endpoint of the connection with that peer, once there is one; null if none comes
talk ID             -> whether a message came back (the other one has to be told to `echo`)
echo                -> from now on messages go back to where they came from
drop ID             -> whether there was a connection
status              -> what nat_status() says, as text
line                -> the line of prepare_connection_info()
meet_line LINE SECONDS -> as ``meet``, by rendezvous_connect()
peers N SECONDS     -> the ids of peers, once there are N of them
gone ID SECONDS     -> whether there is no connection with that peer within that time
external N SECONDS  -> the latest Event.ExternalEndpoints, once it has N
moved TEXT SECONDS  -> the latest Event.OwnEndpointsChanged, once TEXT is in it
says TEXT SECONDS   -> what nat_status() says, once TEXT is in it
nat                 -> what nat_status() says, for machines
verified WORD N SECONDS -> {endpoint: whether peers reached it}, once WORD ("true", "false") is the verdict on N
told ID             -> frames about addresses, meetings and relays that came from that peer
stop                -> stops the manager

Times are those of a clock that all nodes of a lab share.
"""

import contextlib
import json
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from crust import Config, ConnectionManager, Endpoint, Event, PeerId
from crust.errors import NotConnected, SendQueueFull
from crust.nat.connection_info import ConnectionInfo
from crust.threads import clock
from tests.lab.namespaces import Node, say

PATIENCE = 10.0  # seconds for what takes next to none


class Remote:
    """The program in a node, as seen from the test."""

    def __init__(self, node: Node, **settings: Any) -> None:
        self.node = node
        self._running = node.python("tests.lab.nat_program", json.dumps(settings))

    def ready(self) -> None:
        """Wait until it is there."""
        self._running.line()

    def tell(self, *words: object) -> None:
        """Tell it something; `hear` has to follow."""
        self._running.stdin.write(" ".join(map(str, words)) + "\n")
        self._running.stdin.flush()

    def hear(self) -> Any:
        """What it answers."""
        return json.loads(self._running.line())

    def ask(self, *words: object) -> Any:
        """Both at once."""
        self.tell(*words)
        return self.hear()


class Obeying:
    """The far end of `Remote`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.changed = threading.Condition()  # of what follows
        self.manager: ConnectionManager | None = None
        self.connected: dict[PeerId, tuple[Endpoint, float]] = {}
        self.failed: dict[PeerId | None, tuple[dict[str, str], float]] = {}
        self.messages: dict[Endpoint, list[bytes]] = {}
        self.line = ""
        self.external: list[str] = []
        self.own: list[str] = []
        self.echoes = False

    def fresh(self) -> ConnectionManager:
        """A manager that nobody knows yet."""
        if self.manager is not None:
            self.manager.stop(timeout=1.0)
        events: queue.Queue[Any] = queue.Queue()
        manager = ConnectionManager(events, self.config)
        with self.changed:
            self.connected, self.failed, self.messages, self.manager = {}, {}, {}, manager
            self.line, self.external, self.own = "", [], []
        threading.Thread(target=self._take_events, args=(manager, events), daemon=True).start()
        manager.start_listening()
        return manager

    def _take_events(self, manager: ConnectionManager, events: "queue.Queue[Any]") -> None:
        while True:
            event = events.get()
            if isinstance(event, Event.Stopped):
                return
            if isinstance(event, Event.NewMessage) and self.echoes:
                with contextlib.suppress(NotConnected, SendQueueFull):
                    manager.send(event.endpoint, event.data)
            with self.changed:
                if manager is self.manager:
                    self._note(event)
                    self.changed.notify_all()

    def _note(self, event: Any) -> None:
        match event:
            case Event.NewConnection(endpoint, peer):
                self.connected[peer] = endpoint, clock.now()
            case Event.LostConnection(_, peer):
                self.connected.pop(peer, None)
            case Event.NewMessage(endpoint, data):
                self.messages.setdefault(endpoint, []).append(data)
            case Event.ConnectionFailed(endpoints, reason, peer, methods):
                reasons = {str(endpoint): reason.get(endpoint, "") for endpoint in endpoints} | dict(methods)
                self.failed[peer] = reasons, clock.now()
            case Event.ConnectionInfoPrepared(_, info):
                self.line = info.encode()
            case Event.ExternalEndpoints(found):
                self.external = list(map(str, found))
            case Event.OwnEndpointsChanged(found):
                self.own = list(map(str, found))

    def _wait(self, condition: Any, seconds: float) -> bool:
        with self.changed:
            return bool(self.changed.wait_for(condition, seconds))

    def _is_there(self, peer: PeerId, how: str) -> bool:
        found = self.connected.get(peer)
        return found is not None and (how != "direct" or not found[0].is_relayed)

    def outcome(self, peer: PeerId, began: float, seconds: float, how: str = "") -> Any:
        """What came of an attempt to reach a peer."""
        self._wait(lambda: self._is_there(peer, how) or peer in self.failed, seconds)
        if peer in self.connected:
            endpoint, when = self.connected[peer]
            return [str(endpoint), when - began, {}]
        reasons, when = self.failed.get(peer, ({"nothing": "no event came"}, clock.now()))
        return [None, when - began, reasons]

    def do(self, words: list[str]) -> Any:
        manager = self.manager
        if manager is None or words == ["fresh"]:
            return self.fresh().identity.peer_id.hex()
        match words:
            case ["endpoints"]:
                return [str(endpoint) for endpoint in manager.get_own_endpoints()]
            case ["join", text]:
                manager.connect(Endpoint.parse(text))
                return self._wait(lambda: self.connected, PATIENCE)
            case ["surveyed"]:
                return self._surveyed(manager)
            case ["meet", peer, how, seconds]:
                began = clock.now()
                manager.connect_peer(PeerId.parse(peer))
                return self.outcome(PeerId.parse(peer), began, float(seconds), how)
            case ["meet_line", line, seconds]:
                return self._meet_line(manager, line, float(seconds))
            case ["line"]:
                manager.prepare_connection_info()
                self._wait(lambda: self.line, PATIENCE)
                return self.line
            case ["met", peer, how, seconds]:
                self._wait(lambda: self._is_there(PeerId.parse(peer), how), float(seconds))
                found = self.connected.get(PeerId.parse(peer))
                return None if found is None else str(found[0])
            case ["talk", peer]:
                endpoint, _ = self.connected[PeerId.parse(peer)]
                manager.send(endpoint, b"hello")
                return self._wait(lambda: b"hello" in self.messages.get(endpoint, []), PATIENCE)
            case ["echo"]:
                self.echoes = True
                return True
            case ["drop", peer]:
                found = self.connected.pop(PeerId.parse(peer), None)
                if found is not None:
                    manager.drop_node(found[0])
                return found is not None
            case ["status"]:
                return str(manager.nat_status())
            case ["stop"]:
                manager.stop(timeout=PATIENCE)
                return True
            case _:
                return self._tell_of_reach(manager, words)

    def _tell_of_reach(self, manager: ConnectionManager, words: list[str]) -> Any:
        match words:
            case ["peers", count, seconds]:
                self._wait(lambda: len(self.connected) >= int(count), float(seconds))
                return [peer.hex() for peer in self.connected]
            case ["gone", peer, seconds]:
                return self._wait(lambda: PeerId.parse(peer) not in self.connected, float(seconds))
            case ["external", count, seconds]:
                self._wait(lambda: len(self.external) == int(count), float(seconds))
                return self.external
            case ["moved", text, seconds]:
                self._wait(lambda: any(text in each for each in self.own), float(seconds))
                return self.own
            case ["told", peer]:
                connection = manager._core.reach._connections.with_peer(PeerId.parse(peer))  # type: ignore[union-attr]
                return None if connection is None else connection.told_taken
            case ["says", text, seconds]:
                _poll(lambda: text in str(manager.nat_status()), float(seconds))
                return str(manager.nat_status())
            case ["nat"]:
                return manager.nat_status().as_dict()
            case ["verified", word, count, seconds]:
                return self._verified(manager, word == "true", int(count), float(seconds))
        sys.exit(f"not understood: {words}")

    def _verified(
        self, manager: ConnectionManager, verdict: bool, count: int, seconds: float
    ) -> dict[str, bool | None]:
        _poll(lambda: list(manager.nat_status().verified.values()).count(verdict) >= count, seconds)
        return {str(endpoint): found for endpoint, found in manager.nat_status().verified.items()}

    def _surveyed(self, manager: ConnectionManager) -> list[str]:
        _poll(lambda: manager.nat_status().nat.asked, PATIENCE)
        behaviour = manager.nat_status().nat.behaviour
        return [behaviour.mapping.name, behaviour.filtering.name, behaviour.allocation.name]

    def _meet_line(self, manager: ConnectionManager, line: str, seconds: float) -> Any:
        began = clock.now()
        manager.rendezvous_connect(line)
        return self.outcome(ConnectionInfo.parse(line).peer_id, began, seconds)


def _poll(condition: Callable[[], object], seconds: float) -> None:
    """Wait for what nobody tells of."""
    deadline = clock.Deadline(seconds)
    while not (condition() or deadline.expired):
        threading.Event().wait(0.1)


def main() -> None:
    """Obey until standard input ends."""
    given = json.loads(sys.argv[1])
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    obeying = Obeying(Config(**{"bootstrap_cache": False, "beacon_port": None, "upnp": False, **settings}))
    say("ready")
    for line in sys.stdin:
        say(json.dumps(obeying.do(line.split())))
    if obeying.manager is not None:
        obeying.manager.stop(timeout=1.0)


if __name__ == "__main__":
    main()
