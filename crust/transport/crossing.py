"""`Crossing`: a handshake for a stream of which both ends may have dialled (docs/protocol.md, 2). Pure.

TCP hole punching makes such streams, and no end can see whether the other one dialled as well or its listener accepted.
So whoever dialled sends message 1, and what comes back tells::

    message 2               they are the responder, we the initiator, as ever
    their own message 1     both dialled: the greater ephemeral key stays the initiator and passes over the other's
                            message 1; the other answers it as the responder does, and forgets its own

An object belongs to one thread at a time. Whatever the peer sends, the only exception is `HandshakeFailed`, and every
call after it raises it again.
"""

import copy

from crust.errors import HandshakeFailed
from crust.transport.handshake import Initiator, Responder, Unopened


class Crossing:
    """Both sides in one, until it is clear which one we are: `start`, then `receive` until there is one of the two.

    Args:
        initiator: new; from now on it is ours.
        responder: new, of the same node; from now on it is ours. Its ``is_replay`` is told of the peer's message 1,
            also where that is passed over.
    """

    def __init__(self, initiator: Initiator, responder: Responder) -> None:
        self.initiator: Initiator | None = None
        """What to go on with, once that is our side. ``receive(b"")`` tells whether message 2 is there already."""
        self.responder: Responder | None = None
        """What to go on with, once that is our side. Look at its ``failure`` after sending what `receive` gave."""
        self.failure: HandshakeFailed | None = None
        """Why neither can succeed any more."""
        self._own = initiator
        self._peer = responder
        self._trial: Initiator | None = None
        self._data = b""

    def start(self) -> bytes:
        """Our message 1."""
        message = self._own.start()
        self._trial = copy.deepcopy(self._own)
        return message

    def receive(self, data: bytes) -> bytes:
        """Take received bytes; what follows those that make our side clear is handed to it.

        Returns:
            What to send, which is nothing or our message 2.

        Raises:
            HandshakeFailed: the peer is of another network or version, or repeats a message, perhaps our own.
            RuntimeError: our side is clear already, so it is its turn.
        """
        if self.failure is not None:
            raise self.failure
        if self.initiator or self.responder:
            raise RuntimeError("it is clear which side we are: go on with that one")
        try:
            return self._receive(data)
        except HandshakeFailed as error:
            self.failure = error
            raise

    def _receive(self, data: bytes) -> bytes:
        self._data += data
        try:
            heard = self._peer.hear(data)
        except Unopened:
            # So it can only be message 2, whole or in part.
            self._become_initiator(self._data)
            return b""
        if heard:
            return self._crossed()
        self._try_as_answer(data)
        return b""

    def _crossed(self) -> bytes:
        """Both have dialled."""
        ours, theirs = self._own.replay_token, self._peer.replay_token
        if ours == theirs:
            raise HandshakeFailed("our own first message came back: whoever answers there is no peer, or this node")
        if ours > theirs:
            self._become_initiator(self._peer.unused)
            return b""
        answer = self._peer.answer()
        self.responder = self._peer
        return answer

    def _become_initiator(self, data: bytes) -> None:
        self._own.receive(data)
        self.initiator = self._own

    def _try_as_answer(self, data: bytes) -> None:
        """Message 2 may be waiting to become a message 1: about 1 in 68 has a length that is possible for both.

        The other way round it would be fatal to read message 1 as message 2, so a copy of our side does this.
        """
        try:
            if self._trial is not None and self._trial.receive(data):
                self.initiator = self._trial
        except Unopened:
            self._trial = None
