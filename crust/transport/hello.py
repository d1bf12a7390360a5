"""What peers tell each other inside the handshake (docs/protocol.md, 2): a small JSON object, then spaces as padding.

Message 1 tells the version only, as it is protected by nothing but the network's key. Message 2 adds the responder's
session and ciphers, and where it sees the initiator; message 3 the initiator's session, its choice of the cipher, and
what the connection managers need to find duplicate connections. Unknown keys are ignored, so later versions can add
some. No sockets, threads or clocks.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

from crust.endpoint import Address, Endpoint
from crust.errors import EndpointError, Malformed

PROTOCOL_VERSION: Final = 1
MAX_HELLO: Final = 512
"""Bytes of the JSON object, at most."""
MAX_PADDING: Final = 255
"""Bytes of padding, at most; each message has as many as a random byte says."""
SESSION_SIZE: Final = 8  # bytes; random, made anew by each run of a node

_MAX_CIPHERS: Final = 8
_MAX_AGENT: Final = 64  # characters
_MAX_SEEN: Final = 47  # characters: an IPv6 address in brackets, and a port
_CIPHER_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_SESSION: Final = re.compile(f"[0-9a-f]{{{2 * SESSION_SIZE}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The payload of one handshake message. What a message does not tell has its default."""

    version: int = PROTOCOL_VERSION
    """Of the protocol, 1 to 65535."""
    session: bytes = b""
    """Which run of the node this is: `SESSION_SIZE` bytes, or none."""
    ciphers: tuple[str, ...] = ()
    """What the sender can use for records, best first."""
    cipher: str | None = None
    """What the sender chose for records."""
    serial: int = 0
    """Which of the sender's attempts this is, 0 to 2**63 - 1."""
    alone: bool = False
    """Whether the sender knows of no other connection with the receiver."""
    agent: str | None = None
    """The sender's program, for people: at most 64 printable characters."""
    seen: Address | None = None
    """Where the sender sees who has dialled it: IP address and port."""

    def encode(self, padding: int = 0) -> bytes:
        """The payload: fields that differ from their defaults, then ``padding`` spaces.

        Raises:
            ValueError: a field is longer than the peer would take.
        """
        optional: dict[str, Any] = {
            "session": self.session.hex(),
            "ciphers": self.ciphers,
            "cipher": self.cipher,
            "serial": self.serial,
            "alone": self.alone,
            "agent": self.agent,
            "seen": None if self.seen is None else _written(self.seen),
        }
        fields = {"version": self.version} | {name: value for name, value in optional.items() if value}
        payload = json.dumps(fields, separators=(",", ":")).encode("ascii")
        if len(payload) > MAX_HELLO or not 0 <= padding <= MAX_PADDING:
            raise ValueError(f"a hello has at most {MAX_HELLO} bytes, and {MAX_PADDING} of padding")
        return payload + b" " * padding

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read what `encode` gives.

        Of another version than ours only the version is read: what else it says, that version decides.

        Raises:
            Malformed: not a hello.
        """
        fields = _load(payload)
        version = _number(fields, "version", 1, 65535, None)
        if version != PROTOCOL_VERSION:
            return cls(version=version)
        cipher = _take(fields, "cipher", str, None)
        alone = _take(fields, "alone", bool, False)
        return cls(
            version=version,
            session=_session(fields),
            ciphers=_ciphers(fields),
            cipher=None if cipher is None else _cipher_name(cipher),
            serial=_number(fields, "serial", 0, 2**63 - 1, 0),
            alone=alone,
            agent=_agent(fields),
            seen=_seen(fields),
        )


def _load(payload: bytes) -> dict[str, object]:
    body = payload.rstrip(b" ")
    if len(body) > MAX_HELLO or len(payload) > MAX_HELLO + MAX_PADDING:
        raise Malformed("a hello is too long")
    try:
        fields = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("a hello is not JSON") from None
    if not isinstance(fields, dict):
        raise Malformed("a hello is not a JSON object")
    return fields


def _take(fields: dict[str, object], name: str, kind: type, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    if type(value) is not kind:  # exactly: True is not a number here
        raise Malformed(f"{name} in a hello is not of type {kind.__name__}")
    return value


def _number(fields: dict[str, object], name: str, least: int, most: int, default: int | None) -> int:
    value = _take(fields, name, int, default)
    if value is None or not least <= value <= most:
        raise Malformed(f"{name} in a hello is missing or out of range")
    number: int = value
    return number


def _session(fields: dict[str, object]) -> bytes:
    text = _take(fields, "session", str, "")
    if text and not _SESSION.fullmatch(text):
        raise Malformed("session in a hello is malformed")
    return bytes.fromhex(text)


def _cipher_name(value: object) -> str:
    if not isinstance(value, str) or not _CIPHER_NAME.fullmatch(value):
        raise Malformed("a cipher's name in a hello is malformed")
    return value


def _ciphers(fields: dict[str, object]) -> tuple[str, ...]:
    names = _take(fields, "ciphers", list, [])
    if len(names) > _MAX_CIPHERS:
        raise Malformed("a hello has too many ciphers")
    return tuple(map(_cipher_name, names))


def _agent(fields: dict[str, object]) -> str | None:
    text: str | None = _take(fields, "agent", str, None)
    # It may end up on a terminal: no control characters.
    if text is not None and (len(text) > _MAX_AGENT or not text.isprintable()):
        raise Malformed("agent in a hello is too long or not printable")
    return text


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _seen(fields: dict[str, object]) -> Address | None:
    text: str | None = _take(fields, "seen", str, None)
    if text is None:
        return None
    try:
        endpoint = Endpoint.tcp(text[: _MAX_SEEN + 1])
    except EndpointError:
        raise Malformed("seen in a hello is no address and port") from None
    if len(text) > _MAX_SEEN or endpoint.is_name or "%" in endpoint.host or not endpoint.port:
        raise Malformed("seen in a hello is no address and port")
    return endpoint.address
