"""`StunClient`: asks servers which address our requests come from (RFC 8489 section 6.2.1). Pure."""

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, NamedTuple

from crust.endpoint import Address
from crust.errors import Malformed
from crust.nat import stun
from crust.nat.stun import Attribute, Kind, Message

RTO: Final = 0.5  # seconds until a request is repeated; then twice that, and so on. RFC 8489 section 6.2.1
MAX_SENDS: Final = 7  # Rc in RFC 8489 section 6.2.1: how often a request is sent
LAST_WAIT: Final = 16  # Rm in RFC 8489 section 6.2.1: times RTO, after the last one
MAX_ASKED: Final = 64
"""Transactions under way: what a survey of a NAT needs, several times over."""
REQUEST_SIZE: Final = 112
"""Bytes of a request. It is padded so that no answer has to be larger: one with three IPv6 addresses has 100."""

_NAME: Final = b"crust"
_OVERHEAD: Final = stun.HEADER_SIZE + 4 + 8  # the header, that of SOFTWARE, and the fingerprint
_UNDERSTOOD: Final = (
    Attribute.MAPPED_ADDRESS,
    Attribute.MESSAGE_INTEGRITY,
    Attribute.ERROR_CODE,
    Attribute.UNKNOWN_ATTRIBUTES,
    Attribute.MESSAGE_INTEGRITY_SHA256,
    Attribute.XOR_MAPPED_ADDRESS,
    Attribute.PADDING,
)


class Reply(NamedTuple):
    """What became of a request."""

    tag: Hashable
    """What the request was given."""
    server: Address
    """Who was asked."""
    seen: Address | None
    """The address that the request came from; ``None`` if there was no answer, or none that makes sense."""
    other: Address | None = None
    """The other address and port of the server (RFC 5780), if it has one and says so."""
    error: str = ""
    """Why there is no address."""
    round_trip: float | None = None
    """Seconds, if the request was sent once."""


@dataclass(slots=True)
class _Asked:
    server: Address
    answers_from: Address
    tag: Hashable
    data: bytes
    sends: int
    began: float
    due: float
    sent: int = 0


class StunClient:
    """See the module's text. Belongs to one thread; all times are seconds on one clock.

    Args:
        random: gives that many random bytes. Nobody may guess them: who can, can answer in a server's name.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._asked: dict[bytes, _Asked] = {}
        self._replies: list[Reply] = []
        self._outgoing: list[tuple[bytes, Address]] = []

    def ask(
        self,
        server: Address,
        now: float,
        *,
        tag: Hashable = None,
        change: int = 0,
        answers_from: Address | None = None,
        sends: int = MAX_SENDS,
    ) -> bytes:
        """Ask a server.

        Args:
            server: an IP address and a port.
            now: seconds.
            tag: given back in the `Reply`.
            change: `stun.CHANGE_HOST`, `stun.CHANGE_PORT`: what the server should change to answer.
            answers_from: where the answer has to come from, if not from ``server``.
            sends: how often to ask before giving up; 1 to `MAX_SENDS`.
        Returns:
            The transaction; empty if too much is under way, and there will be no reply.
        """
        if len(self._asked) >= MAX_ASKED:
            return b""
        transaction = self._random(stun.TRANSACTION_SIZE)
        data = _request(transaction, change)
        self._asked[transaction] = _Asked(server, answers_from or server, tag, data, sends, now, now)
        self.tick(now)
        return transaction

    def is_ours(self, data: bytes) -> bool:
        """Whether it is a request of our own that came back to us: the NAT turns around what is for its own outside."""
        try:
            message = stun.parse(data)
        except Malformed:
            return False
        return message.kind is Kind.REQUEST and message.transaction in self._asked

    def cancel(self, tag: Hashable) -> None:
        """Forget the requests with that tag."""
        for transaction in [each for each, asked in self._asked.items() if asked.tag == tag]:
            del self._asked[transaction]

    # --- datagrams in ---
    def receive(self, data: bytes, source: Address, now: float) -> bool:
        """Whether a datagram answers one of our requests. What comes from elsewhere than from where we asked does not.

        Args:
            data: what came.
            source: where from.
            now: seconds.
        """
        try:
            message = stun.parse(data)
        except Malformed:
            return False
        asked = self._asked.get(message.transaction)
        if asked is None or message.kind not in (Kind.SUCCESS, Kind.ERROR) or source[:2] != asked.answers_from:
            return False
        del self._asked[message.transaction]
        round_trip = now - asked.began if asked.sent == 1 else None
        try:
            seen, other = _content(message)
        except Malformed as error:
            self._replies.append(Reply(asked.tag, asked.server, None, None, str(error), round_trip))
        else:
            self._replies.append(Reply(asked.tag, asked.server, seen, other, "", round_trip))
        return True

    # --- time, and what comes out ---
    def tick(self, now: float) -> None:
        """Do what is due."""
        for transaction, asked in list(self._asked.items()):
            while asked.due <= now:
                if asked.sent >= asked.sends:
                    del self._asked[transaction]
                    self._replies.append(Reply(asked.tag, asked.server, None, None, "no answer"))
                    break
                wait = RTO * 2**asked.sent
                asked.sent += 1
                asked.due = now + (min(wait, RTO * LAST_WAIT) if asked.sent >= asked.sends else wait)
                self._outgoing.append((asked.data, asked.server))

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; ``None``: never."""
        return min((asked.due for asked in self._asked.values()), default=None)

    def outgoing(self) -> list[tuple[bytes, Address]]:
        """Take what is to be sent now: datagrams and where to."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def replies(self) -> list[Reply]:
        """Take what became of requests since the last call."""
        taken, self._replies = self._replies, []
        return taken


def _request(transaction: bytes, change: int) -> bytes:
    """A request of `REQUEST_SIZE` bytes. What pads it is the one text that servers have to take and need not read."""
    changes = ((Attribute.CHANGE_REQUEST, stun.encode_change(change)),) if change else ()
    padding = REQUEST_SIZE - _OVERHEAD - 8 * len(changes)
    return Message(Kind.REQUEST, transaction, ((Attribute.SOFTWARE, _NAME.ljust(padding)), *changes)).encode()


def _content(message: Message) -> tuple[Address, Address | None]:
    """What a success says; raises Malformed with the reason if it is none."""
    if message.kind is Kind.ERROR:
        # ALTERNATE-SERVER (300) is not followed: a server shall not choose whom we ask.
        code, reason = stun.parse_error(message.get(Attribute.ERROR_CODE) or b"")
        raise Malformed(f"the server refused: {code} {reason}".rstrip())
    if message.not_understood(_UNDERSTOOD):
        raise Malformed("the server's answer has attributes that have to be understood and are not known")
    xored, plain = message.get(Attribute.XOR_MAPPED_ADDRESS), message.get(Attribute.MAPPED_ADDRESS)
    if xored is not None:
        seen = stun.parse_xor_address(xored, message.transaction)
    elif plain is not None:
        seen = stun.parse_address(plain)
    else:
        raise Malformed("the server's answer has no address")
    other = message.get(Attribute.OTHER_ADDRESS)
    return seen, None if other is None else stun.parse_address(other)
