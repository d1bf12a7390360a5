"""The sending side of one file over one connection: messages in, messages out; no socket, thread or clock.

Where the bytes come from is behind `Source` (`transfer_files` has that of the disk). The states of a session::

    OFFERED --HAVE, START--> SENDING --all sent--> FINISHING --SAVED--> DONE
       \\___________________SAVED (it is there already)___________________/^
    any --REFUSED, or the source fails--> DONE
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from crust.cli import transfer_wire as wire
from crust.cli.transfer_wire import MAX_CHUNK, Code, TransferError
from crust.errors import Malformed
from crust.limits import KIB, MIB

CHUNK: Final = 256 * KIB
"""Bytes in a piece: the cost per message vanishes, and on the slowest link there is still progress to see."""
WINDOW: Final = 16 * MIB
"""Bytes sent but not yet reported as written: a full gigabit link over 130 ms, and memory that stays flat behind it."""


class Source(Protocol):
    """A file to send. Every method may raise `TransferError`."""

    size: int
    """Bytes in the file."""

    def read(self, position: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``position``."""

    def digest(self, count: int, checked: Callable[[int], None]) -> bytes:
        """The hash of the first ``count`` bytes; quick where `read` went through them in order.

        ``checked`` is called now and then with the bytes done.
        """

    def check_unchanged(self) -> None:
        """Raise `TransferError` if the file changed since it was opened."""


@dataclass(frozen=True, slots=True)
class Result:
    """How the transfer of one file ended."""

    ok: bool
    text: str
    """The name on the other side if it is there, else the reason."""
    already: bool = False
    """Whether it was there before."""
    code: Code = Code.OTHER
    here: bool = False
    """Whether the cause of a failure is on this side."""


class State(enum.Enum):
    """Where a session is; drawn in the module's text."""

    OFFERED = enum.auto()
    SENDING = enum.auto()
    FINISHING = enum.auto()
    DONE = enum.auto()


class SenderSession:
    """The sending side of one file over one connection. For one thread.

    Send `offer`; give every message of the peer to `receive` and send what it returns; whenever there is nothing to
    receive, send what `next_message` returns, until `result` is there.

    Args:
        transfer: the random name of the transfer, the same after a reconnect.
        name: what the file is to be called.
        source: its bytes.
        following: how many files come after it.
        chunk: bytes per CHUNK, at most `MAX_CHUNK`.
        window: bytes that may be sent ahead of what the receiver has written.
        checking: called now and then while a long check is going on, with the bytes done.
    """

    def __init__(
        self,
        transfer: bytes,
        name: str,
        source: Source,
        following: int = 0,
        *,
        chunk: int = CHUNK,
        window: int = WINDOW,
        checking: Callable[[int], None] = lambda position: None,
    ) -> None:
        self.offer: Final = wire.encode(wire.Offer(transfer, source.size, following, name))
        """The first message."""
        self.result: Result | None = None
        """How it ended, once it has."""
        self.started_at = 0
        """Where the receiver wanted the bytes from."""
        self.written = 0
        """Bytes that the receiver has."""
        self.size: Final = source.size
        """Bytes of the file."""
        self._transfer = transfer
        self._source = source
        self._chunk = min(chunk, MAX_CHUNK)
        self._window = window
        self._checking = checking
        self._state = State.OFFERED
        self._sent = 0
        self._digest: bytes | None = None
        self._proved = 0

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    def next_message(self) -> bytes | None:
        """The next message to send; ``None`` when it is the receiver's turn, or all is over."""
        try:
            if self._state is not State.SENDING:
                return None
            if self._sent == self._source.size:
                return self._finish()
            if self._sent - self.written >= self._window:
                return None
            data = self._source.read(self._sent, min(self._chunk, self._source.size - self._sent))
        except TransferError as error:
            return self._give_up(error)
        message = wire.encode(wire.Chunk(self._transfer, self._sent, memoryview(data)))
        self._sent += len(data)
        return message

    def receive(self, data: bytes) -> list[bytes]:
        """Handle one message of the peer.

        Returns:
            messages to send now.

        Raises:
            Malformed: no correct receiver says this, or says it now; the connection should end.
        """
        message = wire.parse_untrusted(data)
        if isinstance(message, wire.Refused) and message.transfer == wire.NO_TRANSFER:
            self._end(Result(False, message.text, code=message.code))  # about the connection, before it ends
        if message.transfer != self._transfer or self._state is State.DONE:
            return []  # about an earlier file
        try:
            return self._handle(message)
        except TransferError as error:
            return [self._give_up(error)]

    def _handle(self, message: wire.Message) -> list[bytes]:
        match message:
            case wire.Refused(_, code, text):
                self._end(Result(False, text, code=code))
            case wire.Have(_, position) if self._state is State.OFFERED and position <= self._source.size:
                self._proved = position
                digest = self._source.digest(position, self._checking)
                return [wire.encode(wire.Proof(self._transfer, position, digest))]
            case wire.Start(_, position) if self._state is State.OFFERED and position in (0, self._proved):
                self._state = State.SENDING
                self.started_at = self.written = self._sent = position
            case wire.Position(_, position):
                self._on_position(position)
            case wire.Saved() if self._state in (State.OFFERED, State.FINISHING):
                self._on_saved(message)
            case _:
                raise Malformed(f"{type(message).__name__.upper()} comes at the wrong time")
        return []

    def _on_position(self, position: int) -> None:
        if self._state is State.OFFERED:  # it checks what it has
            self._checking(min(position, self._source.size))
            return
        if self._state is State.SENDING and not self.written <= position <= self._sent:
            raise Malformed(f"the receiver is at {position}, but was sent {self.written} to {self._sent}")
        self.written = max(self.written, min(position, self._sent))

    def _on_saved(self, saved: wire.Saved) -> None:
        if self._digest is None:
            self._source.check_unchanged()
            self._digest = self._source.digest(self._source.size, self._checking)
        if saved.digest != self._digest:
            self._end(Result(False, "the receiver saved something else under that name", code=Code.CORRUPT))
            return
        self.written = self._source.size
        self._end(Result(True, saved.name, already=saved.already))

    def _finish(self) -> bytes:
        self._source.check_unchanged()
        self._digest = self._source.digest(self._source.size, self._checking)
        self._state = State.FINISHING
        return wire.encode(wire.Finish(self._transfer, self._source.size, self._digest))

    def _give_up(self, error: TransferError) -> bytes:
        self._end(Result(False, error.local, code=error.code, here=True))
        return wire.encode(wire.Cancel(self._transfer, error.text))

    def _end(self, result: Result) -> None:
        self._state = State.DONE
        self.result = result
