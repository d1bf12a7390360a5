"""The secure handshake of a connection, both sides: bytes in, bytes out (docs/protocol.md, 2).

Noise XXpsk0 in masked envelopes with hellos as payloads::

    Initiator                                    Responder
    start()           -- 1: version        -->   receive(): no byte comes back unless it is from our network
    receive()         <-- 2: version, session, ciphers, seen --
    finish()          -- 3: session, cipher, ... -->   receive(): done

No sockets, threads or clocks. An object belongs to one thread at a time. Whatever the peer sends, the only exception is
`HandshakeFailed`, and every call after it raises it again; using the objects out of turn is a `RuntimeError`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from crust.endpoint import Address
from crust.errors import HandshakeFailed, Malformed
from crust.identity import Identity, PeerId
from crust.transport.hello import MAX_PADDING, PROTOCOL_VERSION, SESSION_SIZE, Hello
from crust.transport.masking import NetworkKeys, Unmasker, envelope
from crust.transport.noise import DHLEN, PROTOCOL, HandshakeState

_T = TypeVar("_T")

PROLOGUE: Final = b"crust"
"""Of the Noise handshake: keeps Crust apart from other users of the same Noise protocol and key."""
ROOM_TO_ANSWER: Final = 192
"""Bytes of padding of the first message, at least. The longest second one needs 168 of them; the rest lets it vary."""
_ANSWER_OVERHEAD: Final = 48  # bytes that the second message has more than the first, beside their payloads


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What the record layer needs."""

    send_key: bytes = field(repr=False)
    """32 bytes; the peer's ``receive_key``."""
    receive_key: bytes = field(repr=False)
    """32 bytes; the peer's ``send_key``."""
    cipher: str
    """Of the records: `crust.transport.aead.AEGIS256` or `CHACHA20`."""
    handshake_hash: bytes
    """64 bytes that name this session, the same on both sides."""


class Unopened(HandshakeFailed):
    """What came is not the message that was due from somebody with the same keys; it is not known what it is."""


class _Side:
    """What both sides share.

    Args:
        identity: ours.
        network: the keys of our network.
        session: `SESSION_SIZE` bytes that name this run of the node.
        ciphers: what we can use for records, best first; see `crust.transport.aead.supported_ciphers`.
        random: gives that many random bytes.
        mask: False leaves the masks out, for tests against other implementations of Noise.
        version: the protocol version to speak.

    Raises:
        ValueError: the session has another size, or there are no ciphers.
    """

    _initiator: bool

    def __init__(
        self,
        identity: Identity,
        network: NetworkKeys,
        session: bytes,
        ciphers: tuple[str, ...],
        *,
        random: Callable[[int], bytes] = os.urandom,
        mask: bool = True,
        version: int = PROTOCOL_VERSION,
    ) -> None:
        if len(session) != SESSION_SIZE or not ciphers:
            raise ValueError(f"a handshake needs a session of {SESSION_SIZE} bytes and at least one cipher")
        self._session = session
        self._ciphers = ciphers
        self._random = random
        self._mask_key = network.mask_key if mask else None
        self._version = version
        self._noise = HandshakeState(
            PROTOCOL,
            initiator=self._initiator,
            static=identity.private_key,
            static_public=bytes(identity.peer_id),
            prologue=PROLOGUE,
            psks=[network.psk],
            random=random,
        )
        self._unmasker = Unmasker(self._mask_key, 2 if self._initiator else 1)
        self._own_ephemeral: bytes | None = None
        self._peer_id: PeerId | None = None
        self._peer_hello: Hello | None = None
        self._keys: SessionKeys | None = None
        self.failure: HandshakeFailed | None = None
        """Why the handshake cannot succeed any more. A `Responder` may have bytes to send all the same."""

    @property
    def done(self) -> bool:
        """Whether `keys` are there."""
        return self._keys is not None

    @property
    def peer_id(self) -> PeerId:
        """The identity that the peer proved.

        Raises:
            RuntimeError: it did not yet.
        """
        return _known(self._peer_id)

    @property
    def peer_hello(self) -> Hello:
        """What the proved peer told last.

        Raises:
            RuntimeError: nothing yet.
        """
        return _known(self._peer_hello)

    @property
    def keys(self) -> SessionKeys:
        """The keys of the records that follow.

        Raises:
            RuntimeError: the handshake is not done.
        """
        return _known(self._keys)

    @property
    def unused(self) -> bytes:
        """What was received after the last handshake message: the beginning of the records."""
        return self._unmasker.unused

    def _write(self, number: int, hello: Hello, least: int = 0, most: int = MAX_PADDING) -> bytes:
        """A message with a random number of bytes of padding between these two."""
        payload = hello.encode(padding=least + self._random(1)[0] % (most - least + 1))
        message = self._noise.write_message(payload)
        if number == 1:
            self._own_ephemeral = message[:DHLEN]  # which it begins with
        return envelope(self._mask_key, number, message, self._random)

    def _read(self, data: bytes, reason: str) -> bytes | None:
        """The payload of the message that is due, once it is complete; ``reason`` explains one that is `Unopened`."""
        try:
            message = self._unmasker.feed(data)
            return None if message is None else self._noise.read_message(message)
        except (Malformed, HandshakeFailed) as error:
            raise Unopened(reason) from error

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever fails in it is `failure` from then on, and raised again by all that follows."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except HandshakeFailed as error:
            self.failure = error
            raise

    def _parse(self, payload: bytes) -> Hello:
        try:
            hello = Hello.parse(payload)
        except Malformed as error:
            raise HandshakeFailed(f"the peer's handshake makes no sense: {error}") from error
        if hello.version != self._version:
            raise _OtherVersion(_version_mismatch(ours=self._version, theirs=hello.version))
        return hello

    def _parse_proved(self, payload: bytes) -> Hello:
        """The payload of a message that came with the peer's static key."""
        hello = self._parse(payload)
        if not hello.session or self._noise.remote_static is None:
            raise HandshakeFailed("the peer's handshake makes no sense: it names no session")
        self._peer_id = PeerId(self._noise.remote_static)
        self._peer_hello = hello
        return hello

    def _split(self, cipher: str) -> None:
        first, second = (_known(state.k) for state in self._noise.split())
        send, receive = (first, second) if self._initiator else (second, first)
        self._keys = SessionKeys(send, receive, cipher, self._noise.handshake_hash)


class Initiator(_Side):
    """The side that dialled: `start`, then `receive` until it gives True, then `finish`. Arguments: see `_Side`."""

    _initiator = True
    _cipher = ""

    @property
    def replay_token(self) -> bytes:
        """What tells our first message from all others: our ephemeral key, 32 bytes; see `Responder.replay_token`.

        Raises:
            RuntimeError: there is no first message yet.
        """
        return _known(self._own_ephemeral)

    def start(self) -> bytes:
        """The first message."""
        return self._write(1, Hello(version=self._version), least=ROOM_TO_ANSWER)

    def receive(self, data: bytes) -> bool:
        """Take received bytes.

        Returns:
            True once the second message is there: the peer is proved, and `peer_id` and `peer_hello` are known.

        Raises:
            Unopened: this is no second message of our network.
            HandshakeFailed: the peer has another version, or no cipher in common with us.
        """
        with self._guarded():
            if self._peer_id is None:
                self._receive_second(data)
            else:
                self._unmasker.feed(data)
        return self._peer_id is not None

    def finish(self, serial: int = 0, alone: bool = False) -> bytes:
        """The third message; then `keys` are there, and records may follow at once.

        Args:
            serial: which of our attempts this is, 0 to 2**63 - 1.
            alone: whether we know of no other connection with this peer.

        Raises:
            RuntimeError: `receive` did not give True yet.
        """
        if self._peer_id is None or self._keys is not None:
            raise RuntimeError("finish() comes once, after receive() gave True")
        message = self._write(
            3, Hello(version=self._version, session=self._session, cipher=self._cipher, serial=serial, alone=alone)
        )
        self._split(self._cipher)
        return message

    def _receive_second(self, data: bytes) -> None:
        payload = self._read(
            data, "the answer is not from our network: it has another name or key, or is not Crust at all"
        )
        if payload is None:
            return
        hello = self._parse_proved(payload)
        for cipher in self._ciphers:
            if cipher in hello.ciphers:
                self._cipher = cipher
                return
        self._peer_id = None
        raise HandshakeFailed(
            f"no cipher in common: the peer has {', '.join(hello.ciphers)}, this node {', '.join(self._ciphers)}"
        )


class Responder(_Side):
    """The side that was dialled: `receive` until `done`, sending what it gives. Arguments: see `_Side`.

    Args:
        is_replay: told `replay_token` once the first message is authenticated and before any Diffie-Hellman work;
            True refuses it.
        seen: where the other side comes from, for it to know; ``None``: it is not told.
    """

    _initiator = False

    def __init__(
        self,
        identity: Identity,
        network: NetworkKeys,
        session: bytes,
        ciphers: tuple[str, ...],
        *,
        random: Callable[[int], bytes] = os.urandom,
        mask: bool = True,
        version: int = PROTOCOL_VERSION,
        is_replay: Callable[[bytes], bool] | None = None,
        seen: Address | None = None,
    ) -> None:
        super().__init__(identity, network, session, ciphers, random=random, mask=mask, version=version)
        self._is_replay = is_replay
        self._seen = seen
        self._first: bytes | None = None
        self._answered = False

    @property
    def replay_token(self) -> bytes:
        """What tells the first message from all others: the initiator's ephemeral key, 32 bytes.

        Raises:
            RuntimeError: the first message is not there yet.
        """
        return _known(self._noise.remote_ephemeral)

    def receive(self, data: bytes) -> bytes:
        """Take received bytes.

        Returns:
            What to send, often nothing. If `failure` is set beside it (another version), send, then give up.

        Raises:
            HandshakeFailed: the peer is of another network, repeats an old message, or broke the protocol. Send
                nothing, so that a stranger does not learn what this is.
        """
        if not self._answered:
            return self.answer() if self.hear(data) else b""
        with self._guarded():
            if self.done:
                self._unmasker.feed(data)
            else:
                self._receive_third(data)
        return b""

    def hear(self, data: bytes) -> bool:
        """The first half of `receive`: take received bytes, up to the first message and what came with it.

        Returns:
            True once it is there, authentic and new: `replay_token` is known, and either `answer` follows or nothing.

        Raises:
            Unopened: this is no first message of our network.
            HandshakeFailed: it repeats an old one.
        """
        with self._guarded():
            self._first = self._read(
                data, "the first message is not from our network: it has another name or key, or is not Crust at all"
            )
            if self._first is None:
                return False
            if self._is_replay is not None and self._is_replay(self.replay_token):
                raise HandshakeFailed("the first message is a copy of an earlier one")
        return True

    def answer(self) -> bytes:
        """The second half of `receive`: what to send once `hear` gave True; `failure` as there.

        Raises:
            HandshakeFailed: the first message makes no sense. Send nothing.
            RuntimeError: `hear` did not give True yet.
        """
        with self._guarded():
            try:
                self._parse(_known(self._first))
            except _OtherVersion as error:
                # Answered all the same, so that the other side learns it as well.
                self.failure = error
            hello = Hello(version=self._version, session=self._session, ciphers=self._ciphers, seen=self._seen)
            # Never more than came: nobody is to be had as an amplifier.
            room = len(_known(self._first)) - _ANSWER_OVERHEAD - len(hello.encode())
            if room < 0 and self._mask_key is not None:
                raise HandshakeFailed("the first message is shorter than its answer has to be")
            answer = self._write(2, hello, most=min(max(room, 0), MAX_PADDING))
        early = self._unmasker.unused
        self._unmasker = Unmasker(self._mask_key, 3)
        self._answered = True
        if early and self.failure is None:
            self._receive_early(early)
        return answer

    def _receive_early(self, data: bytes) -> None:
        """Bytes that came with the first message, which no honest peer sends; the answer goes out as ever."""
        try:
            self._receive_third(data)
        except HandshakeFailed as error:
            self.failure = error

    def _receive_third(self, data: bytes) -> None:
        payload = self._read(data, "the third handshake message does not authenticate: it was changed on the way")
        if payload is None:
            return
        hello = self._parse_proved(payload)
        if hello.cipher not in self._ciphers:
            raise HandshakeFailed("the peer chose a cipher that was not offered")
        self._split(hello.cipher)


class _OtherVersion(HandshakeFailed):
    """The peer speaks another version of the protocol."""


def _version_mismatch(*, ours: int, theirs: int) -> str:
    older = "this node" if ours < theirs else "the peer"
    return f"this node speaks version {ours} of the protocol and the peer version {theirs}: upgrade {older}"


def _known(value: _T | None) -> _T:
    if value is None:
        raise RuntimeError("the handshake has not come that far")
    return value
