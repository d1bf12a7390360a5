"""Notes by which a node has a connected peer try its endpoints, in ADDRESS frames (docs/nat.md, "Verified"). Pure.

::

    ADDRESS  {"ask": number, "at": [endpoints]}         try to reach me there, and say what came of it
    ADDRESS  {"due": number, "bytes": size}             not all of that is where I see you: first send so many bytes
    ADDRESS  {"paid": number, "pad": text}              some of them
    ADDRESS  {"told": number, "results": [words]}       what came of it, a word for each endpoint

The number is the asker's, and the same in all notes about one request.
"""

import enum
from typing import Any, Final, NamedTuple, TypeAlias

from crust.endpoint import Endpoint
from crust.errors import EndpointError, Malformed
from crust.transport.framing import number_in

MAX_ASKED_ABOUT: Final = 4
"""Endpoints in one request: TCP and uTP, each over IPv4 and IPv6."""
MAX_PAD: Final = 3900
"""Characters of padding in one frame: with what is around them they stay below 4 KiB."""
MAX_BILL: Final = 65_536
"""Bytes that we pay for one request; who wants more gets nothing."""
_MAX_TEXT: Final = 96  # characters of an endpoint: an IPv6 address with the longest scope


class Result(enum.Enum):
    """What came of an endpoint. The words are sent: they never change."""

    REACHABLE = "reachable"
    """Whoever asked proved to be there."""
    UNREACHABLE = "unreachable"
    """Nobody, or somebody else, answers there."""
    REFUSED = "refused"
    """That one would never be tried for whoever asks."""
    NOT_TRIED = "not tried"
    """There was no time, no room, or no way there."""


class Request(NamedTuple):
    """A peer wants to know whether it can be reached."""

    number: int
    endpoints: tuple[Endpoint, ...]
    """At least one, at most `MAX_ASKED_ABOUT`; none twice, none a name."""

    def content(self) -> dict[str, Any]:
        """For an ADDRESS frame."""
        return {"ask": self.number, "at": [str(endpoint) for endpoint in self.endpoints]}


class Bill(NamedTuple):
    """What it costs."""

    number: int
    size: int
    """In bytes of padding."""

    def content(self) -> dict[str, Any]:
        """For an ADDRESS frame."""
        return {"due": self.number, "bytes": self.size}


class Payment(NamedTuple):
    """Some of that."""

    number: int
    size: int
    """In bytes, at most `MAX_PAD`."""

    def content(self) -> dict[str, Any]:
        """For an ADDRESS frame."""
        return {"paid": self.number, "pad": "x" * self.size}


class Answer(NamedTuple):
    """What came of a request."""

    number: int
    results: tuple[Result, ...]
    """In the order of the endpoints."""

    def content(self) -> dict[str, Any]:
        """For an ADDRESS frame."""
        return {"told": self.number, "results": [result.value for result in self.results]}


DialBackNote: TypeAlias = Request | Bill | Payment | Answer


def payments(bill: Bill) -> list[Payment]:
    """What pays a bill."""
    whole, rest = divmod(bill.size, MAX_PAD)
    return [Payment(bill.number, MAX_PAD)] * whole + [Payment(bill.number, rest)] * bool(rest)


def parse_dial_back(content: object) -> DialBackNote:
    """Read what the ``content()`` of a note gives; keys beside it are for later versions.

    Raises:
        Malformed: it is none.
    """
    if not isinstance(content, dict):
        raise Malformed("a note about dialling back is an object")
    kinds = [key for key in ("ask", "due", "paid", "told") if key in content]
    if len(kinds) != 1:
        raise Malformed("a note about dialling back asks, says what is due, pays, or answers")
    number = number_in(content, kinds[0])
    match kinds[0]:
        case "ask":
            return Request(number, _parse_endpoints(content.get("at")))
        case "due":
            return Bill(number, number_in(content, "bytes"))
        case "paid":
            return Payment(number, _size_of(content.get("pad")))
        case _:
            return Answer(number, _parse_results(content.get("results")))


def _parse_endpoints(texts: object) -> tuple[Endpoint, ...]:
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_ASKED_ABOUT:
        raise Malformed(f"a request is about 1 to {MAX_ASKED_ABOUT} endpoints")
    found = tuple(map(_parse_endpoint, texts))
    if len(set(found)) < len(found):
        raise Malformed("a request names an endpoint twice")
    return found


def _parse_endpoint(text: object) -> Endpoint:
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise Malformed("a request names an endpoint that is none")
    try:
        endpoint = Endpoint.parse(text)
    except EndpointError as error:
        raise Malformed("a request names an endpoint that is none") from error
    if endpoint.is_name:  # a stranger shall not choose what we ask name servers for
        raise Malformed("a request names a host by its name")
    return endpoint


def _size_of(pad: object) -> int:
    if not isinstance(pad, str) or not 1 <= len(pad) <= MAX_PAD or not pad.isascii():
        raise Malformed("a payment is no padding")
    return len(pad)


def _parse_results(words: object) -> tuple[Result, ...]:
    if not isinstance(words, list) or not 1 <= len(words) <= MAX_ASKED_ABOUT:
        raise Malformed(f"an answer is about 1 to {MAX_ASKED_ABOUT} endpoints")
    try:
        return tuple(map(Result, words))
    except (ValueError, TypeError) as error:  # TypeError: of something that cannot be looked up
        raise Malformed("an answer has a word that is none") from error
