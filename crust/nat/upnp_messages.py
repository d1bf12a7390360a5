"""What `crust.nat.upnp` asks the process that speaks with a gateway, and what that answers: values and bytes. Pure."""

import ipaddress
import json
from dataclasses import dataclass
from typing import Any, Final

from crust.endpoint import Port
from crust.errors import Malformed, RemoteError

_LARGEST_ANSWER: Final = 65_536
_MOST: Final = 64  # mappings in an answer
_LONGEST_TEXT: Final = 400  # characters
_LONGEST_LEASE: Final = 2**31

NO_HOLE: Final = -1
"""In place of the number of a hole in a firewall that there is not yet."""


class NoAnswer(RemoteError):
    """A call came to nothing; the text goes on ``the router``, or says what is missing here."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A port to map or unmap, and the external port that is liked; for IPv6 the number of the hole, or `NO_HOLE`."""

    port: Port
    external: int


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask of a gateway.

    Attributes:
        url: of its description.
        local: our address towards it; an IPv6 one asks for holes in a firewall.
        wanted: ports to map.
        unwanted: mappings to end.
        lease: seconds.
    """

    url: str
    local: str
    wanted: tuple[Wish, ...]
    unwanted: tuple[Wish, ...]
    lease: int


@dataclass(frozen=True, slots=True)
class Given:
    """A mapping that the gateway says it has made; ``lease`` in seconds, 0 for no end.

    ``external`` is the port, or for IPv6 the number of the hole.
    """

    external: int
    lease: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a `Call`.

    Attributes:
        external: its address on its other side; ``None``: it does not tell.
        given: of the ports that are mapped.
        refused: why the others are not; in words that go on ``the router``.
        problem: what else is wrong; in such words.
        left: why mappings that are not wanted any more may still be there; in such words.
    """

    external: str | None
    given: dict[Port, Given]
    refused: dict[Port, str]
    problem: str | None
    left: tuple[str, ...] = ()


def encode(call: Call, seconds: float, path: list[str]) -> bytes:
    """A call, for the other process.

    Args:
        call: what to ask.
        seconds: how long it is waited for; a second later the process ends itself.
        path: where miniupnpc is looked for: where this interpreter finds it, however it was installed.
    """
    request = {
        "url": call.url,
        "local": call.local,
        "lease": call.lease,
        "seconds": seconds + 1,
        "path": path,
        "map": [[*_name(wish.port), wish.external] for wish in call.wanted],
        "unmap": [[*_name(wish.port), wish.external] for wish in call.unwanted],
    }
    return json.dumps(request).encode() + b"\n"


def _name(port: Port) -> tuple[str, int]:
    return "UDP" if port.protocol.name == "UTP" else "TCP", port.port


def parse(output: bytes, call: Call) -> Answer:
    """What the other process says: it has read what the gateway says, so nothing in it is taken on trust.

    Raises:
        Malformed: it is not an answer to this call.
        NoAnswer: it says that nothing came of it.
    """
    if len(output) > _LARGEST_ANSWER:
        raise Malformed("an answer that is too long")
    try:
        said = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no answer: {error}") from None
    if not isinstance(said, dict):
        raise Malformed("no answer")
    if "error" in said:
        raise NoAnswer(_text(said["error"]))
    ports = {_name(wish.port): wish.port for wish in call.wanted}
    ended = {_name(wish.port): wish.port for wish in call.unwanted}
    ipv6 = ":" in call.local
    given = {
        ports[_key(row, ports)]: Given(_number(row[2], 0 if ipv6 else 1, 65535), _number(row[3], 0, _LONGEST_LEASE))
        for row in _rows(said, "mapped", 4)
    }
    failures = _rows(said, "failed", 3)
    refused = {ports[_key(row, ports)]: _text(row[2]) for row in failures if row[0]}
    problems = [_text(row[2]) for row in failures if not row[0]]
    left = tuple(f"{_text(row[2])} ({ended[_key(row, ended)]})" for row in _rows(said, "left", 3))
    external = call.local if ipv6 else _external(said.get("external"))
    return Answer(external, given, refused, problems[0] if problems else None, left)


def _rows(said: dict[str, Any], name: str, size: int) -> list[list[Any]]:
    rows = said.get(name)
    if not isinstance(rows, list) or len(rows) > _MOST:
        raise Malformed(f"{name!r} is not a list of that length")
    for row in rows:
        if not isinstance(row, list) or len(row) != size or not isinstance(row[0], str):
            raise Malformed(f"{name!r} has something else in it")
    return rows


def _key(row: list[Any], ports: dict[tuple[str, int], Port]) -> tuple[str, int]:
    key = row[0], _number(row[1], 1, 65535)
    if key not in ports:
        raise Malformed("about a port that was not asked for")
    return key


def _number(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Malformed("a number that is out of range")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise Malformed("a text that is not one")
    return value


def _external(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(ipaddress.IPv4Address(value)) if isinstance(value, str) else None
    except ValueError:
        raise Malformed(f"an outside address that is none: {str(value)[:40]!r}") from None
