"""What RELAY frames say: a relayed connection is asked for, accepted, refused, broken off (docs/nat.md, Relays). Pure.

::

    {"open": channel, "to": peer id, "credit": number}      to the one in the middle, from who wants the connection
    {"open": channel, "from": peer id, "credit": number}    from the one in the middle, to whom it is for
    {"accepted": channel, "credit": number}                 back, the same way
    {"refused": channel, "reason": word}                    or this
    {"abort": channel, "text": for people}                  either way: the channel is over, at once

Channels are numbered by the end of the carrying connection that opens them, each time by a greater number: odd ones by
the node with the greater peer id, even ones by the other.
"""

from typing import Any, Final, NamedTuple

from crust.errors import CrustError, Malformed
from crust.identity import PeerId
from crust.transport.relay.carried import CHANNEL_LIMIT, LEAST_CREDIT, RELAY_WINDOW

REFUSALS: Final = {
    "off": "it does not relay (relay: true in its configuration would let it)",
    "full": "it relays as many connections as it allows",
    "busy": "it was asked too often; try again in a minute",
    "unknown": "it has no direct connection with that peer",
    "no": "that peer does not want the connection",
    "silent": "that peer did not answer it",
    "relayed": "its own connection with this node is relayed",
}
"""Words and what they mean."""
_TEXT_LENGTH: Final = 200
_ID_DIGITS: Final = 64


class Opening(NamedTuple):
    """A connection is asked for."""

    channel: int
    peer: PeerId
    """Whom it is for; if it was passed on, who asks."""
    credit: int
    passed_on: bool = False

    def content(self) -> dict[str, Any]:
        """For a RELAY frame."""
        way = "from" if self.passed_on else "to"
        return {"open": self.channel, way: self.peer.hex(), "credit": self.credit}


class Acceptance(NamedTuple):
    """It is there."""

    channel: int
    credit: int

    def content(self) -> dict[str, Any]:
        """For a RELAY frame."""
        return {"accepted": self.channel, "credit": self.credit}


class Refusal(NamedTuple):
    """It will not be."""

    channel: int
    reason: str

    def content(self) -> dict[str, Any]:
        """For a RELAY frame."""
        return {"refused": self.channel, "reason": self.reason}

    @property
    def text(self) -> str:
        """Why, for people."""
        return REFUSALS.get(self.reason, "it refused")


class Abort(NamedTuple):
    """It is over."""

    channel: int
    text: str

    def content(self) -> dict[str, Any]:
        """For a RELAY frame."""
        return {"abort": self.channel, "text": self.text[:_TEXT_LENGTH]}


Note = Opening | Acceptance | Refusal | Abort


def parse_relay_note(content: dict[str, Any]) -> Note | None:
    """Read what the ``content()`` of a note gives; ``None`` for one of a later version.

    Raises:
        Malformed: it is none.
    """
    if "open" in content:
        return _parse_opening(content)
    if "accepted" in content:
        return Acceptance(_channel(content["accepted"]), _credit(content))
    if "refused" in content:
        reason = content.get("reason")
        return Refusal(_channel(content["refused"]), reason if isinstance(reason, str) else "no")
    if "abort" in content:
        return Abort(_channel(content["abort"]), _text(content.get("text")))
    return None


def _parse_opening(content: dict[str, Any]) -> Opening:
    if ("to" in content) == ("from" in content):
        raise Malformed("a relayed connection is either to or from somebody")
    passed_on = "from" in content
    peer = content["from" if passed_on else "to"]
    if not isinstance(peer, str) or len(peer) != _ID_DIGITS:
        raise Malformed("a relayed connection with nobody")
    try:
        peer_id = PeerId.parse(peer)
    except (CrustError, ValueError) as error:
        raise Malformed("a relayed connection with nobody") from error
    return Opening(_channel(content["open"]), peer_id, _credit(content), passed_on)


def _channel(number: object) -> int:
    if type(number) is not int or not 0 < number < CHANNEL_LIMIT:
        raise Malformed("a relayed channel without a number")
    return number


def _credit(content: dict[str, Any]) -> int:
    credit = content.get("credit")
    if type(credit) is not int or not LEAST_CREDIT <= credit <= RELAY_WINDOW:
        raise Malformed("a relayed channel without credit, or with too much or too little")
    return credit


def _text(text: object) -> str:
    """What a stranger says, fit for a log."""
    if not isinstance(text, str):
        return ""
    return "".join(char if char.isprintable() else "?" for char in text[:_TEXT_LENGTH])
