"""Peers that do not keep to the rules: raw sockets, and one that proves an identity and then does what it likes."""

import os
import socket
from typing import Any, Self

from crust import Config, Endpoint, Identity, PeerId, Protocol
from crust.transport.aead import supported_ciphers
from crust.transport.framing import BYE, CHOOSE, CHOSEN, Decoder, control_frame, encode_messages
from crust.transport.handshake import Initiator, Responder
from crust.transport.hello import SESSION_SIZE
from crust.transport.masking import network_keys
from crust.transport.records import Opener, Sealer
from tests.manager.helpers import LOOPBACK, PATIENCE
from tests.manager.utp_wire import UtpWire


def raw_socket(target: Endpoint, source: str = LOOPBACK) -> Any:
    """A connected socket, or what looks like one over uTP, whose every operation has a deadline."""
    if target.protocol is Protocol.UTP:
        return UtpWire(target, source, PATIENCE)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(PATIENCE)
        sock.bind((source, 0))
        sock.connect((target.host, target.port))
    except OSError:
        sock.close()
        raise
    return sock


def read_to_end(sock: socket.socket | UtpWire) -> bytes:
    """Everything that comes until the other side ends, in order or not."""
    received = bytearray()
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionError:
        pass
    return bytes(received)


class WirePeer:
    """Proves an identity over a socket; from then on every frame is the test's. Use ``with``.

    Args:
        sock: connected.
        dials: whether it has the initiator's part.
        identity: who it is; ``None`` for somebody new.
        network: whose network it is of.
        session: of this peer; ``None`` for a new one.
    """

    def __init__(
        self,
        sock: Any,
        *,
        dials: bool = True,
        identity: Identity | None = None,
        network: Config | None = None,
        session: bytes | None = None,
    ) -> None:
        config = network or Config()
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.identity = identity or Identity()
        self._session = session or os.urandom(SESSION_SIZE)
        keys = network_keys(config.network, config.network_key)
        side = Initiator if dials else Responder
        self._handshake: Any = side(self.identity, keys, self._session, supported_ciphers())
        self._dials = dials
        self._decoder = Decoder(config.max_message_size)

    @classmethod
    def dial(cls, target: Endpoint, **arguments: Any) -> Self:
        """Connect and prove who we are."""
        peer = cls(raw_socket(target), **arguments)
        peer.prove()
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def id(self) -> PeerId:
        """Who it is."""
        return self.identity.peer_id

    # --- the handshake ----------------------------------------------------------------------------

    def prove(self, serial: int = 1, alone: bool = True) -> None:
        """The whole handshake, up to and without the choice."""
        if self._dials:
            self.sock.sendall(self._handshake.start())
            while not self._handshake.receive(self._receive()):
                pass
            self.sock.sendall(self._handshake.finish(serial, alone))
        else:
            while not self._handshake.done:
                answer = self._handshake.receive(self._receive())
                if answer:
                    self.sock.sendall(answer)
        keys = self._handshake.keys
        self._sealer = Sealer(keys.send_key, keys.cipher)
        self._opener = Opener(keys.receive_key, keys.cipher)
        self._open(self._handshake.unused)
        self._greater = self.id > self._handshake.peer_id

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the node closed the connection during the handshake")
        return data

    def settle(self) -> None:
        """The choice, as an honest peer would make or await it."""
        if self._greater:
            self.send_frame(control_frame(CHOOSE, {"serial": 1}))
        else:
            self.await_control(CHOOSE)
            self.send_frame(control_frame(CHOSEN, {"serial": 1}))

    # --- frames -----------------------------------------------------------------------------------

    def seal(self, plaintext: bytes) -> bytes:
        """One record."""
        return self._sealer.seal(plaintext)

    def send_frame(self, *frames: bytes) -> None:
        """Send frames as one record."""
        self.sock.sendall(self.seal(b"".join(frames)))

    def send_messages(self, *messages: bytes) -> None:
        """Send messages as an honest peer would."""
        for pieces, _, _ in encode_messages(list(messages)):
            self.send_frame(b"".join(pieces))

    def say_goodbye(self) -> None:
        """End in order."""
        self.send_frame(control_frame(BYE, {"reason": "bye", "text": "the peer closed the connection"}))
        self.sock.shutdown(socket.SHUT_WR)

    def read_controls(self) -> list[tuple[int, dict[str, Any]]]:
        """The next control frames that come; none when the other side has ended."""
        while not (controls := self._decoder.take_controls()) and self._fill():
            pass
        return controls

    def await_control(self, kind: int) -> dict[str, Any]:
        """Read on to a control frame of that kind; what it says."""
        while controls := self.read_controls():
            for found, content in controls:
                if found == kind:
                    return content
        raise ConnectionError(f"the node ended without a frame of kind 0x{kind:02x}")

    def read_messages(self, count: int) -> list[bytes]:
        """That many messages (fewer when the other side ends before)."""
        messages: list[bytes] = []
        while True:
            messages += self._decoder.take_messages()[0]
            if len(messages) >= count or not self._fill():
                return messages

    def read_until_closed(self) -> None:
        """Take everything until the other side has ended."""
        while self._fill():
            self._decoder.take_messages()

    def _fill(self) -> bool:
        """Open what comes next; whether anything came."""
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        self._open(data)
        return bool(data)

    def _open(self, data: bytes) -> None:
        self._opener.feed(data)
        while (plaintext := self._opener.open_next()) is not None:
            self._decoder.feed(plaintext)
