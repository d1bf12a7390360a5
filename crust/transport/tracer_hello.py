"""How a tracer connection begins (docs/protocol.md, "Tracer"): both sides of it, bytes in, bytes out. Pure.

A tracer connection is in clear text, to be watched: no keys, no records, and nobody proves who they are. Each direction
is a magic, then frames as in `crust.transport.framing`, of which the first are::

    magic 16 bytes: "CRUST TRACER" CR LF SUB NUL
    HELLO 0x70   control: who I am, the first frame of each direction
                 {"version": number, "network": 16 digits, "peer": 64 digits, "session": 16 digits,
                  "capabilities": [names], "agent": text}
    READY 0x71   control: {"version": number, "serial": number, "alone": true}   the initiator's second frame

    Initiator                                    Responder
    start()           -- magic, HELLO      -->   receive(): no byte comes back unless it names our network, and
    receive()         <-- magic, HELLO     --               never more than came
    finish()          -- READY             -->   receive(): done

As a frame, the first four bytes of the magic would be a control frame of 5 MiB, which no peer may send; so whoever
watches can tell the two apart anywhere in a stream. An object belongs to one thread at a time. Whatever the peer sends,
the only exception is `HandshakeFailed`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Self, TypeVar

from crust.errors import HandshakeFailed, Malformed
from crust.identity import KEY_SIZE, Identity, UnprovenPeerId
from crust.transport.framing import HEADER, Chunk, control_frame, parse_control
from crust.transport.hello import MAX_HELLO, PROTOCOL_VERSION, SESSION_SIZE, Hello
from crust.transport.masking import NetworkKeys

_T = TypeVar("_T")

MAGIC: Final = b"CRUST TRACER\r\n\x1a\0"
"""The first bytes of each direction."""
HELLO: Final = 0x70
READY: Final = 0x71
NETWORK_TAG_SIZE: Final = 8
"""Bytes that say of which network a node is. Whoever watches can copy them: they keep networks apart, nobody out."""
CAPABILITIES: Final[tuple[str, ...]] = ()
"""What this version can do beyond version 1 of the protocol: nothing yet."""
MAX_CAPABILITIES: Final = 16

_AGENT: Final = "crust"
_CAPABILITY: Final = re.compile(r"[a-z0-9-]{1,32}")
_DIGITS: Final = re.compile(r"(?:[0-9a-f]{2})*")


def tracer_network_tag(keys: NetworkKeys) -> bytes:
    """`NETWORK_TAG_SIZE` bytes that follow from the network's name and key and do not give the key away."""
    return blake2b(b"", digest_size=NETWORK_TAG_SIZE, key=keys.psk, person=b"crust tracer").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TracerHello:
    """The content of a HELLO frame. Of another version than ours only the version and the network are known."""

    version: int = PROTOCOL_VERSION
    """1 to 65535."""
    network: bytes = b""
    """`NETWORK_TAG_SIZE` bytes."""
    peer_id: UnprovenPeerId | None = None
    """Who the sender says it is."""
    session: bytes = b""
    """Which run of the node this is: `SESSION_SIZE` bytes."""
    capabilities: tuple[str, ...] = CAPABILITIES
    """At most `MAX_CAPABILITIES` names of ``a-z``, ``0-9`` and ``-``."""
    agent: str | None = None
    """The sender's program, for people: at most 64 printable characters."""

    def encode(self, most: int = HEADER.size + MAX_HELLO) -> bytes:
        """The frame, its header included, with what may be missing only if it fits into ``most`` bytes.

        Nobody's frame of the same version and network is shorter than what is always told.
        """
        fields: dict[str, Any] = {"version": self.version, "network": self.network.hex()}
        if self.peer_id is not None:
            fields["peer"] = self.peer_id.hex()
        if self.session:
            fields["session"] = self.session.hex()
        optional: dict[str, Any] = {"capabilities": list(self.capabilities)} if self.session else {}
        if self.agent:
            optional["agent"] = self.agent
        whole = control_frame(HELLO, fields | optional)
        return whole if len(whole) <= most else control_frame(HELLO, fields)

    @classmethod
    def parse(cls, body: Chunk, spoken: int = PROTOCOL_VERSION) -> Self:
        """Read what `encode` gives, without the frame's header.

        Args:
            body: at most `MAX_HELLO` bytes.
            spoken: the version that we speak.

        Raises:
            Malformed: not such a frame.
        """
        basics = Hello.parse(bytes(body))
        content = parse_control(body)
        network = _binary(content, "network", NETWORK_TAG_SIZE)
        if basics.version != spoken:
            return cls(version=basics.version, network=network)
        return cls(
            network=network,
            peer_id=UnprovenPeerId(_binary(content, "peer", KEY_SIZE)),
            session=_binary(content, "session", SESSION_SIZE),
            capabilities=_capabilities(content.get("capabilities", [])),
            agent=basics.agent,
        )


def _binary(content: dict[str, Any], key: str, size: int) -> bytes:
    text = content.get(key)
    if not isinstance(text, str) or len(text) != 2 * size or not _DIGITS.fullmatch(text):
        raise Malformed(f"a tracer's hello without {2 * size} digits of {key!r}")
    return bytes.fromhex(text)


def _capabilities(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_CAPABILITIES:
        raise Malformed("a tracer's hello with a wrong list of capabilities")
    if not all(isinstance(name, str) and _CAPABILITY.fullmatch(name) for name in value):
        raise Malformed("a tracer's hello with a malformed capability")
    return tuple(value)


@dataclass(slots=True)
class _Incoming:
    """What came and was not taken yet; knows where the magic and the first frames end."""

    data: bytearray = field(default_factory=bytearray)
    begun: bool = False

    def magic(self) -> None:
        """Take the magic, as far as it is there."""
        if not self.begun:
            if bytes(self.data[: len(MAGIC)]) != MAGIC[: len(self.data)]:
                raise HandshakeFailed(
                    "what came is not the beginning of a tracer connection: the other side speaks TCP's secure "
                    "protocol (tcp://, not tracer://) or is not Crust at all"
                )
            self.begun = len(self.data) >= len(MAGIC)
            if self.begun:
                del self.data[: len(MAGIC)]

    def frame(self, kind: int) -> bytes | None:
        """The body of the next frame, which has to be of that kind; ``None`` until it is there."""
        if len(self.data) < HEADER.size:
            return None
        (word,) = HEADER.unpack_from(self.data)
        length = word >> 8
        if word & 0xFF != kind or length > MAX_HELLO:
            raise HandshakeFailed(f"a tracer connection begins with a frame 0x{word & 0xFF:02x} of {length} bytes")
        end = HEADER.size + length
        if len(self.data) < end:
            return None
        body = bytes(self.data[HEADER.size : end])
        del self.data[:end]
        return body


class _Side:
    """What both sides share.

    Args:
        identity: ours, of which the peer id is told.
        network: the keys of our network.
        session: `SESSION_SIZE` bytes that name this run of the node.
        version: the protocol version to speak.
    """

    def __init__(
        self, identity: Identity, network: NetworkKeys, session: bytes, *, version: int = PROTOCOL_VERSION
    ) -> None:
        self._tag = tracer_network_tag(network)
        self._version = version
        self._own = TracerHello(
            version=version,
            network=self._tag,
            peer_id=UnprovenPeerId(bytes(identity.peer_id)),
            session=session,
            agent=_AGENT,
        )
        self._incoming = _Incoming()
        self._peer: TracerHello | None = None
        self._serial, self._alone = 0, False
        self.failure: HandshakeFailed | None = None
        """Why it cannot succeed any more. A `TracerResponder` may have bytes to send all the same."""

    @property
    def peer_id(self) -> UnprovenPeerId:
        """Who the peer says it is.

        Raises:
            RuntimeError: it did not say so yet.
        """
        if self._peer is None or self._peer.peer_id is None:
            raise RuntimeError("the peer's hello is not there yet")
        return self._peer.peer_id

    @property
    def peer_hello(self) -> Hello:
        """What the peer told, as the secure handshake has it."""
        session = b"" if self._peer is None else self._peer.session
        return Hello(session=session, serial=self._serial, alone=self._alone)

    @property
    def unused(self) -> bytes:
        """What was received after the last message: the beginning of the frames."""
        return bytes(self._incoming.data)

    def _take_hello(self) -> TracerHello | None:
        self._incoming.magic()
        body = self._incoming.frame(HELLO) if self._incoming.begun else None
        if body is None:
            return None
        hello = _understood(lambda said: TracerHello.parse(said, self._version), body)
        if hello.network != self._tag:
            raise HandshakeFailed("the tracer connection is of another network: it has another name or key")
        if hello.version == self._version:
            self._peer = hello
        return hello

    def _other_version(self, theirs: int) -> HandshakeFailed:
        older = "this node" if self._version < theirs else "the peer"
        return HandshakeFailed(
            f"this node speaks version {self._version} of the protocol and the peer version {theirs}: upgrade {older}"
        )


class TracerInitiator(_Side):
    """The side that dialled: `start`, then `receive` until it gives True, then `finish`. Arguments: see `_Side`."""

    def start(self) -> bytes:
        """The first bytes."""
        return MAGIC + self._own.encode()

    def receive(self, data: bytes) -> bool:
        """Take received bytes; True once the answer is there, and `peer_id` is known.

        Raises:
            HandshakeFailed: the peer is of another network or version, or no tracer.
        """
        self._incoming.data += data
        hello = self._take_hello() if self._peer is None else self._peer
        if hello is not None and hello.version != self._version:
            raise self._other_version(hello.version)
        return hello is not None

    def finish(self, serial: int = 0, alone: bool = False) -> bytes:
        """The last bytes; frames may follow at once.

        Args:
            serial: which of our attempts this is, 0 to 2**63 - 1.
            alone: whether we know of no other connection with this peer.
        """
        return control_frame(READY, {"version": self._version, "serial": serial, "alone": alone})


class TracerResponder(_Side):
    """The side that was dialled: `receive` until `done`, sending what it gives. Arguments: see `_Side`."""

    done = False
    """Whether the frames follow."""

    def receive(self, data: bytes) -> bytes:
        """Take received bytes.

        Returns:
            What to send, often nothing. If `failure` is set beside it (another version), send, then give up.

        Raises:
            HandshakeFailed: the peer is of another network, or no tracer: send nothing.
        """
        self._incoming.data += data
        answer = b"" if self._peer is not None else self._answer()
        if self._peer is not None and not self.done:
            body = self._incoming.frame(READY)
            if body is not None:
                ready = _understood(Hello.parse, body)
                self._serial, self._alone, self.done = ready.serial, ready.alone, True
        return answer

    def _answer(self) -> bytes:
        waiting = len(self._incoming.data)
        hello = self._take_hello()
        if hello is None:
            return b""
        if hello.version != self._version:
            # Answered all the same, so that the other side learns it as well.
            self.failure = self._other_version(hello.version)
            return MAGIC + TracerHello(version=self._version, network=self._tag).encode()
        return MAGIC + self._own.encode(most=waiting - len(self._incoming.data))


def _understood(parse: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return parse(body)
    except Malformed as error:
        raise HandshakeFailed(f"the peer's hello makes no sense: {error}") from error
