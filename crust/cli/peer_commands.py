"""What can be typed at the prompt of ``crust peer``: lines in, commands out. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from crust.cli import nearest
from crust.endpoint import Endpoint
from crust.errors import EndpointError, Malformed
from crust.nat.connection_info import PREFIX, ConnectionInfo


class BadCommand(ValueError):
    """A line that is no command; the message says why and what to type instead."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect to one peer, which may have several addresses."""

    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Punch:
    """Reach the peer whose id ``peer`` selects, wherever it is."""

    peer: str


@dataclass(frozen=True, slots=True)
class Info:
    """Make the line with which a peer can meet this node."""


@dataclass(frozen=True, slots=True)
class ConnectInfo:
    """Meet the peer whose line was brought by other means."""

    info: ConnectionInfo


@dataclass(frozen=True, slots=True)
class Nat:
    """Show how this node can be reached."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text to the peer that ``peer`` selects."""

    peer: str
    text: str


@dataclass(frozen=True, slots=True)
class SendAll:
    """Send a text to every connected peer."""

    text: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection to the peer that ``peer`` selects."""

    peer: str


@dataclass(frozen=True, slots=True)
class Blacklist:
    """Talk to these no more: peers, addresses or networks; ``None`` shows who is on the list."""

    entries: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Unblacklist:
    """Take these off the blacklist."""

    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Only:
    """Talk to nobody but these; none of them: to everybody; ``None`` shows who they are."""

    entries: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ListPeers:
    """Show who is connected."""


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """Show our identity and addresses."""


@dataclass(frozen=True, slots=True)
class Status:
    """Show how the search for peers goes."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Switch the regular line about traffic on or off; ``None`` shows the totals once."""

    on: bool | None


@dataclass(frozen=True, slots=True)
class Help:
    """Explain one command, or list all."""

    topic: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Deliver what is queued, close every connection and end."""


Command: TypeAlias = (
    Connect
    | Punch
    | Info
    | ConnectInfo
    | Send
    | SendAll
    | Drop
    | Blacklist
    | Unblacklist
    | Only
    | ListPeers
    | WhoAmI
    | Status
    | Nat
    | Traffic
    | Help
    | Stop
)


def _connect(rest: str) -> Command:
    if not rest:
        raise BadCommand("to whom? connect ADDRESS, as in: connect 192.0.2.7:5483")
    try:
        return Connect(tuple(Endpoint.parse(word) for word in rest.split()))
    except EndpointError as error:
        raise BadCommand(str(error)) from None


def _punch(rest: str) -> Command:
    if not rest or " " in rest:
        raise BadCommand("to whom? punch PEER-ID, or the first digits of it (status and whoami show ids)")
    return Punch(rest)


def _connect_info(rest: str) -> Command:
    if not rest:
        raise BadCommand(f"with which line? connect-info LINE: what info shows at the peer; it begins with {PREFIX}")
    try:
        return ConnectInfo(ConnectionInfo.parse(rest))
    except Malformed as error:
        raise BadCommand(str(error)) from None


def _send(rest: str) -> Command:
    peer, _, text = rest.partition(" ")
    if not peer or not text:
        raise BadCommand("send what to whom? send PEER TEXT, as in: send 1 hello (list shows the peers)")
    return Send(peer, text)


def _send_all(rest: str) -> Command:
    if not rest:
        raise BadCommand("send what? send-all TEXT, as in: send-all hello")
    return SendAll(rest)


def _drop(rest: str) -> Command:
    if not rest or " " in rest:
        raise BadCommand("drop whom? drop PEER, as in: drop 1 (list shows the peers)")
    return Drop(rest)


def _blacklist(rest: str) -> Command:
    if not rest:
        raise BadCommand("whom? blacklist ENTRY ..., as in: blacklist 1 192.0.2.0/24 (blacklisted shows the list)")
    return Blacklist(tuple(rest.split()))


def _unblacklist(rest: str) -> Command:
    if not rest:
        raise BadCommand("whom? unblacklist ENTRY ..., as in: unblacklist 192.0.2.0/24 (blacklisted shows the list)")
    return Unblacklist(tuple(rest.split()))


def _only(rest: str) -> Command:
    entries = tuple(rest.split())
    if [word.lower() for word in entries] == ["off"]:
        return Only(())
    return Only(entries or None)


def _traffic(rest: str) -> Command:
    word = rest.lower()
    if word not in ("", "on", "off"):
        raise BadCommand(f"traffic {rest}? Type traffic on, traffic off, or traffic alone for the totals")
    return Traffic(None if not word else word == "on")


def _help(rest: str) -> Command:
    if not rest:
        return Help(None)
    return Help(_known(rest.split()[0]))


def _alone(command: Command, name: str) -> Callable[[str], Command]:
    def parse_nothing(rest: str) -> Command:
        if rest:
            raise BadCommand(f"{name} takes nothing after it")
        return command

    return parse_nothing


class Spec(NamedTuple):
    """How a command is typed, what it does in one line, and how the rest of its line is read."""

    usage: str
    text: str
    parse: Callable[[str], Command]


SPECS: Final[dict[str, Spec]] = {
    "connect": Spec(
        "connect ADDRESS ...",
        "connect to a peer, as in: connect 192.0.2.7:5483; several addresses are tried as addresses of one peer",
        _connect,
    ),
    "punch": Spec(
        "punch PEER-ID",
        "connect to a peer by its id, through routers: a peer that both are connected to brings the two together",
        _punch,
    ),
    "info": Spec(
        "info",
        "show a line to give to a peer (by e-mail, say) that no peer in common can bring here",
        _alone(Info(), "info"),
    ),
    "connect-info": Spec(
        "connect-info LINE",
        "meet the peer whose line it is, through routers; the peer does the same with ours within a minute",
        _connect_info,
    ),
    "send": Spec("send PEER TEXT", "send a text to one peer", _send),
    "send-all": Spec("send-all TEXT", "send a text to every connected peer", _send_all),
    "drop": Spec("drop PEER", "deliver what is queued for a peer, then close the connection", _drop),
    "blacklist": Spec(
        "blacklist ENTRY ...",
        "talk to peers, ids, addresses or networks (such as 192.0.2.0/24) no more; connections with them end at once",
        _blacklist,
    ),
    "unblacklist": Spec(
        "unblacklist ENTRY ...", "take these off the blacklist, as blacklisted shows them", _unblacklist
    ),
    "blacklisted": Spec(
        "blacklisted", "show everything that is on the blacklist", _alone(Blacklist(None), "blacklisted")
    ),
    "only": Spec(
        "only [ENTRY ...|off]",
        "talk to nobody but these peers, ids, addresses or networks; connections with others end at once; "
        "off: to everybody again; alone: show them",
        _only,
    ),
    "list": Spec("list", "show the connected peers and the traffic with each", _alone(ListPeers(), "list")),
    "whoami": Spec("whoami", "show this node's id and the addresses where others reach it", _alone(WhoAmI(), "whoami")),
    "status": Spec(
        "status", "show how the search for peers goes: who was tried, and why not", _alone(Status(), "status")
    ),
    "nat": Spec("nat", "show how this node can be reached, what its router does, and what to do", _alone(Nat(), "nat")),
    "traffic": Spec("traffic [on|off]", "show what was received every 10 seconds; alone: the totals so far", _traffic),
    "help": Spec("help [COMMAND]", "show this list, or explain one command", _help),
    "stop": Spec("stop", "deliver what is queued, close every connection and end", _alone(Stop(), "stop")),
}
ALIASES: Final[dict[str, str]] = {"quit": "stop", "exit": "stop", "?": "help"}
TAKES_PEER: Final = frozenset({"send", "drop", "blacklist", "only"})
TAKES_SEVERAL: Final = frozenset({"blacklist", "unblacklist", "only"})
TAKES_LISTED: Final = frozenset({"unblacklist"})
TAKES_ID: Final = frozenset({"punch"})
PEER_HELP: Final = "PEER is a number or the first digits of an id, as list shows them, or an address."


def _known(word: str) -> str:
    if word.startswith(PREFIX):
        raise BadCommand("this is the line of a node: type connect-info before it")
    name = word.lower()
    name = ALIASES.get(name, name)
    if name not in SPECS:
        raise BadCommand(f"there is no command {word!r}{nearest(word, [*SPECS, *ALIASES])} (help lists them)")
    return name


def parse(line: str) -> Command | None:
    """Read one line.

    Args:
        line: what was typed. The text of a message is taken as it stands, inner and trailing spaces included.

    Returns:
        the command; ``None`` for an empty line or a comment (``#`` at the start).

    Raises:
        BadCommand: it is none.
    """
    line = line.rstrip("\r\n").lstrip()
    if not line.strip() or line.startswith("#"):
        return None
    word, _, rest = line.partition(" ")
    name = _known(word)
    rest = rest.lstrip() if name in ("send", "send-all") else rest.strip()
    return SPECS[name].parse(rest)


def help_lines(topic: str | None) -> list[str]:
    """The text of ``help``, or of ``help TOPIC`` for a known command."""
    if topic is not None:
        spec = SPECS[topic]
        also = [alias for alias, name in ALIASES.items() if name == topic]
        lines = [spec.usage, f"  {spec.text}"]
        if also:
            lines.append(f"  also: {', '.join(also)}")
        return [*lines, f"  {PEER_HELP}"] if topic in TAKES_PEER else lines
    width = max(len(spec.usage) for spec in SPECS.values())
    return [*(f"{spec.usage.ljust(width)}  {spec.text}" for spec in SPECS.values()), PEER_HELP]
