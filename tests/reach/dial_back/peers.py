"""Connections without a network, for tests of dialling back: what is sent over them, the test sees."""

from typing import Any

from crust import Endpoint, PeerId
from crust.reach.dial_back.notes import DialBackNote, parse_dial_back
from crust.transport.framing import ADDRESS, Decoder


class Line:
    """Stands for a `Connection` and its outbox.

    Args:
        endpoint: where the peer is.
        peer_id: who it is.
    """

    def __init__(self, endpoint: str, peer_id: PeerId | None = None) -> None:
        self.endpoint = Endpoint.parse(endpoint)
        self.peer_id = peer_id or PeerId(hash(endpoint).to_bytes(9, signed=True).ljust(32, b"\1"))
        self.outbox = self
        self.sent: list[DialBackNote] = []

    def put_control(self, frame: bytes) -> bool:
        """A frame is to be sent."""
        decoder = Decoder(0)
        decoder.feed(frame)
        ((kind, content),) = decoder.take_controls()
        assert kind == ADDRESS
        self.sent.append(parse_dial_back(content))
        return True

    def take(self) -> list[Any]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent
