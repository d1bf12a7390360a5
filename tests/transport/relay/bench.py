"""Relayed channels without connections, for tests: what would go over a connection is moved by a thread of the test."""

from typing import Self

from crust.endpoint import Endpoint
from crust.errors import PeerMisbehaved
from crust.links.outbox import Outbox
from crust.transport.framing import RELAY, Decoder
from crust.transport.relay.carried import RELAY_WINDOW
from crust.transport.relay.channels import Channels, hear_relay_note, take_relayed
from crust.transport.relay.stream import RelayStream
from tests.together import Running

HERE, THERE = Endpoint.parse("relayed://127.0.0.1:1"), Endpoint.parse("relayed://192.0.2.1:1")


class Wire:
    """One direction of a connection: moves what is in an outbox to the channels at the other end, until it is closed.

    Args:
        outbox: of the end that sends.
        channels: of the end that receives.
    """

    def __init__(self, outbox: Outbox, channels: Channels) -> None:
        self._outbox = outbox
        self._channels = channels
        self.frames: list[bytes] = []
        self.misbehaved: PeerMisbehaved | None = None
        self._running = Running(self._run)

    def _run(self) -> None:
        decoder = Decoder(1)
        while (work := self._outbox.take()) is not None:
            for frame in work[0]:
                self.frames.append(frame)
                decoder.feed(frame)
                try:
                    take_relayed(self._channels, decoder.take_relayed())
                except PeerMisbehaved as error:
                    self.misbehaved = error
                for kind, content in decoder.take_controls():
                    assert kind == RELAY
                    hear_relay_note(self._channels, content)

    def join(self) -> None:
        """Wait until it is closed and empty."""
        self._running.result()


class Side:
    """One end of a connection."""

    def __init__(self, odd: bool) -> None:
        self.outbox = Outbox("peer", 1000)
        self.channels = Channels(odd)

    def stream(self, number: int = 1, credit: int = RELAY_WINDOW) -> RelayStream:
        """A stream that was accepted."""
        stream = RelayStream(self.outbox, self.channels, number, HERE, THERE)
        assert self.channels.add(number, stream)
        if credit:
            stream.credited(credit)
        return stream


class Link:
    """A connection: two ends and what moves between them."""

    def __init__(self) -> None:
        self.left, self.right = Side(True), Side(False)
        self.left.channels.new_number()
        assert self.right.channels.opened(1)
        self.rightwards = Wire(self.left.outbox, self.right.channels)
        self.leftwards = Wire(self.right.outbox, self.left.channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for outbox in (self.left.outbox, self.right.outbox):
            outbox.close()
        for wire in (self.rightwards, self.leftwards):
            wire.join()
