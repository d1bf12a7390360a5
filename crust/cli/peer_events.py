"""What ``crust peer`` says about events and traffic: values in, lines out. Pure; time comes in as an argument."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from crust.cli.console import count_of, one_line
from crust.cli.peer_table import PeerTable
from crust.endpoint import Endpoint
from crust.event import ConnectionFailed, Event

TRAFFIC_WINDOW: Final = 10.0  # seconds between two lines about traffic; the original's interval
SHOWN_CHARACTERS: Final = 2000  # of one message on a terminal: about a screen
SHOWN_PER_SECOND: Final = 50  # messages on a terminal: more cannot be read, and drawing them would starve the prompt


class Line(NamedTuple):
    """A line to print, and its style in `crust.cli.console.STYLES`."""

    text: str
    style: str | None = None


def message_text(data: bytes, most: int | None = None) -> str:
    """A message for the screen: text with control characters escaped, or ``N bytes`` if it is not UTF-8.

    Args:
        data: the message.
        most: characters to show; ``None`` shows all.
    """
    head = data if most is None else data[: 4 * most + 4]  # a character has at most 4 bytes
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) == len(data) or error.start < len(head) - 3:
            return count_of(len(data), "byte")
        text = head[: error.start].decode()  # only the cut went through a character
    if most is None or len(text) <= most:
        return one_line(text)
    return f"{one_line(text[:most])}... ({count_of(len(data), 'byte')} in all)"


def describe(event: object, peers: PeerTable, most: int | None = None) -> list[Line]:
    """Bring the table up to date with an event, and say what happened.

    Args:
        event: what the manager reported.
        peers: the table; changed.
        most: characters of a message to show; ``None`` shows all.
    """
    match event:
        case Event.NewMessage(endpoint, data):
            sender = peers.at(endpoint)
            return [Line(f"From {sender or endpoint}: {message_text(data, most)}", "peer")]
        case Event.NewConnection(endpoint, peer_id):
            peer = peers.connected(endpoint, peer_id)
            return [Line(f"Connected to {peer} {_where(endpoint)} (id {peer_id}). {_how_many(peers)}", "good")]
        case Event.NewBootstrapConnection(endpoint, peer_id):
            peer = peers.connected(endpoint, peer_id)
            return [Line(f"Bootstrapped to {peer} {_where(endpoint)} (id {peer_id}). {_how_many(peers)}", "good")]
        case Event.LostConnection(endpoint, _, reason):
            lost = peers.lost(endpoint)
            who = f"{lost} at {endpoint}" if lost else str(endpoint)
            return [Line(f"Lost connection to {who}: {_sentence(reason)} {_how_many(peers)}", "warn")]
        case Event.ConnectionFailed():
            return _failure(event)
        case Event.ListenerFailed(port, reason):
            return [Line(f"No longer listening on {port}: {one_line(reason)}", "bad")]
        case Event.OwnEndpointsChanged(endpoints):
            where = ", ".join(map(str, endpoints))
            return [Line(f"Reached at {where} now." if where else "Reached nowhere now.", "note")]
        case Event.ExternalEndpoints(endpoints):
            where = ", ".join(map(str, endpoints))
            if not where:
                return [Line("Peers elsewhere cannot reach this node by itself any more.", "note")]
            return [Line(f"Peers elsewhere can reach this node at {where} (nat tells more).", "note")]
        case Event.ConnectionInfoPrepared(_, info):
            todo = "Give this line to the peer, and type connect-info with the peer's, both within a minute:"
            return [Line(todo, "note"), Line(info.encode())]
        case Event.Flood(endpoint, peer_id, kind, rate, limit):
            sender = peers.at(endpoint) if peer_id else None
            told = f"Too many {kind} from {sender or endpoint}: {rate:.0f} a second, where {limit:g} are allowed."
            return [Line(f"{told} They are slowed down.", "warn")]
        case Event.Misbehaviour(endpoint, peer_id, reason):
            return [Line(f"{peers.at(endpoint) or peer_id} at {endpoint} misbehaves: {_sentence(reason)}", "warn")]
        case Event.Stopped():
            return [Line("Stopped.")]
        case _:
            return [Line(repr(event))]


def _where(endpoint: Endpoint) -> str:
    return f"at {endpoint}, carried by another peer" if endpoint.is_relayed else f"at {endpoint}"


def _failure(event: ConnectionFailed) -> list[Line]:
    """What every way met: the addresses that were dialled, and the others by their names; what is said of a way as a
    whole is not said of each of its addresses again."""
    reasons = {each: event.reason[each] for each in event.endpoints if each in event.reason}
    methods = set(event.methods.values())
    whys = [f"{each}: {one_line(reason)}" for each, reason in reasons.items() if reason not in methods]
    if len(whys) == 1 and not event.methods:
        return [Line(f"Could not connect to {whys[0]}", "warn")]
    whys += [f"{name}: {one_line(reason)}" for name, reason in event.methods.items()]
    who = f"the peer {event.peer_id}" if event.peer_id else "that peer"
    return [Line(f"Could not connect to {who}:", "warn"), *(Line(f"  {why}", "warn") for why in whys)]


def _sentence(reason: str) -> str:
    return one_line(reason).rstrip(".") + "."


def _how_many(peers: PeerTable) -> str:
    return f"{count_of(len(peers), 'connected peer')}." if len(peers) else "No connected peers."


@dataclass(slots=True)
class Traffic:
    """Counts messages, in all and for the regular line. Not thread-safe: guard it."""

    on: bool = False
    messages: int = 0
    size: int = 0
    _window_messages: int = 0
    _window_size: int = 0
    _window_end: float | None = field(default=None)

    def switch(self, on: bool) -> None:
        """Begin or end the regular line."""
        self.on = on
        self._window_end = None

    def received(self, size: int, now: float) -> None:
        """A message of ``size`` bytes came at ``now`` seconds."""
        self.messages += 1
        self.size += size
        if not self.on:
            return
        if self._window_end is None:
            self._window_end = now + TRAFFIC_WINDOW
            self._window_messages = self._window_size = 0
        self._window_messages += 1
        self._window_size += size

    def due(self) -> float | None:
        """When `report` has something to say, in seconds; ``None`` when nothing came."""
        return self._window_end

    def report(self, now: float) -> list[Line]:
        """The regular line, once its time has come."""
        if self._window_end is None or now < self._window_end:
            return []
        self._window_end = None
        return [
            Line(f"{_received(self._window_messages, self._window_size)} in the last {TRAFFIC_WINDOW:.0f} s.", "note")
        ]

    def total(self) -> Line:
        """What came since the start."""
        return Line(f"{_received(self.messages, self.size)} since the start.")


def _received(messages: int, size: int) -> str:
    return f"Received {count_of(messages, 'message')}, {count_of(size, 'byte')}"


@dataclass(slots=True)
class Gate:
    """Lets so many messages a second through to a terminal, and sums up the others.

    Args:
        rate: messages shown a second; ``None`` shows all.
    """

    rate: int | None
    _second_end: float = 0.0
    _shown: int = 0
    _hidden: int = 0
    _hidden_size: int = 0

    def lets_through(self, size: int, now: float) -> bool:
        """Whether a message of ``size`` bytes that came at ``now`` seconds is shown."""
        if self.rate is None:
            return True
        if now >= self._second_end and not self._hidden:
            self._second_end, self._shown = now + 1.0, 0
        if self._shown < self.rate:
            self._shown += 1
            return True
        self._hidden += 1
        self._hidden_size += size
        return False

    def due(self) -> float | None:
        """When `report` has something to say, in seconds."""
        return self._second_end if self._hidden else None

    def report(self, now: float, *, early: bool = False) -> list[Line]:
        """The line about what was not shown, once the second is over, or ``early``: before something else is shown."""
        if not self._hidden or (now < self._second_end and not early):
            return []
        text = f"{count_of(self._hidden, 'more message')}, {count_of(self._hidden_size, 'byte')}, not shown"
        self._hidden = self._hidden_size = 0
        return [Line(f"... {text} (faster than can be read; traffic counts them)", "note")]
