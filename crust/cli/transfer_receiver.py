"""The receiving side of file transfers over one connection: messages in, answers out; no socket, thread or clock.

Where the bytes go is behind two small interfaces, `Folder` and `Slot` (`transfer_files` has those of the disk). The
states of a session::

    IDLE --OFFER--> PROVING --PROOF--> RECEIVING --FINISH--> IDLE
      \\_______________START at 0_________/^

`TransferError` from a slot ends the transfer with a REFUSED to the sender; `Malformed` ends the connection.
"""

import enum
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from crust.cli import transfer_wire as wire
from crust.cli.transfer_names import BadName, check_name
from crust.cli.transfer_wire import Code, TransferError
from crust.errors import Malformed

REMEMBERED: Final = 1024
"""Finished transfers that are remembered, so that a sender who missed the last word can ask again."""


class Slot(Protocol):
    """The place of one file that is being received. Every method may raise `TransferError`."""

    position: int
    """Bytes of the file that are there already."""
    complete: bool
    """Whether a finished file of the same name and size exists: it may be the very file."""

    def digest_of_complete(self, checked: Callable[[int], None]) -> bytes:
        """The hash of that finished file; ``checked`` is called now and then with the bytes done."""

    def digest(self, checked: Callable[[int], None]) -> bytes:
        """The hash of the first `position` bytes."""

    def replace_complete(self) -> None:
        """The finished file turned out to be another one: may it make way? Raises `TransferError` if not."""

    def restart(self) -> None:
        """Forget what is there; `position` is 0 again."""

    def write(self, data: memoryview) -> None:
        """Add bytes at `position`."""

    def place(self) -> str:
        """Write everything through to the disk and give the file its name; returns that name."""

    def close(self) -> None:
        """Let go of it; what was written stays for another time. Idempotent, never raises."""


class Folder(Protocol):
    """Where files go."""

    def open(self, name: str, size: int) -> Slot:
        """The slot for a file whose name was checked. Raises `TransferError` if it is not wanted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this to the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Began:
    """A file begins to come, or goes on behind ``position``."""

    name: str
    size: int
    position: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The file that is coming is there up to ``position``."""

    position: int


@dataclass(frozen=True, slots=True)
class Done:
    """A file is on the disk, checked. ``saved_as`` is its name there; ``already``: it was there before."""

    name: str
    saved_as: str
    size: int
    already: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A file was refused or given up; ``final``: the sender will not try again by itself."""

    name: str
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The sender has no more files."""


Action: TypeAlias = Reply | Began | Moved | Done | Failed | Ended


class State(enum.Enum):
    """Where a session is; drawn in the module's text."""

    IDLE = enum.auto()
    PROVING = enum.auto()
    RECEIVING = enum.auto()


class Finished:
    """The transfers that were finished lately; shared by all sessions of a receiver."""

    def __init__(self) -> None:
        self._saved: OrderedDict[bytes, wire.Saved] = OrderedDict()

    def add(self, saved: wire.Saved) -> None:
        """Remember one, and forget the oldest if there are too many."""
        self._saved[saved.transfer] = saved
        if len(self._saved) > REMEMBERED:
            self._saved.popitem(last=False)

    def get(self, transfer: bytes) -> wire.Saved | None:
        """What was said at the end of ``transfer``."""
        return self._saved.get(transfer)


class ReceiverSession:
    """The receiving side of one connection. For one thread.

    Args:
        folder: where the files go.
        finished: what was finished lately, over any connection.
        checking: called with an encoded message that should go out at once, while a long check is going on.
    """

    def __init__(self, folder: Folder, finished: Finished, checking: Callable[[bytes], None]) -> None:
        self._folder = folder
        self._finished = finished
        self._checking = checking
        self._state = State.IDLE
        self._offer = wire.Offer(wire.NO_TRANSFER, 0, 0, "")
        self._slot: Slot | None = None
        self._actions: list[Action] = []
        self.all_answered = False
        """Whether the last of the sender's files was saved or refused; only END is still to come."""

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    def receive(self, data: bytes) -> list[Action]:
        """Handle one message of the peer.

        Returns:
            what to do, in this order.

        Raises:
            Malformed: no correct sender says this, or says it now; the connection should end.
        """
        message = wire.parse_untrusted(data)
        try:
            self._handle(message)
        except TransferError as error:
            self._refuse(error)
        actions, self._actions = self._actions, []
        return actions

    def close(self) -> None:
        """The connection is over: let go of the file; what has come of it stays."""
        self._state = State.IDLE
        if self._slot is not None:
            self._slot.close()
            self._slot = None

    def _handle(self, message: wire.Message) -> None:
        match message:
            case wire.Offer():
                self._on_offer(message)
            case wire.End():
                if self._state is not State.IDLE:
                    raise Malformed("the sender says that it has no more files in the middle of one")
                self._actions.append(Ended())
            case wire.Proof() | wire.Chunk() | wire.Finish() | wire.Cancel():
                # What belongs to another transfer was under way when that one was refused.
                if message.transfer == self._offer.transfer and self._slot is not None:
                    self._on_content(message, self._slot)
            case _:
                raise Malformed(f"{type(message).__name__.upper()} is for receivers to say")

    def _reply(self, message: wire.Message) -> None:
        self._actions.append(Reply(wire.encode(message)))

    def _on_offer(self, offer: wire.Offer) -> None:
        if self._state is not State.IDLE:
            raise Malformed("the sender offers a file in the middle of another")
        self._offer = offer
        self.all_answered = False
        if (saved := self._finished.get(offer.transfer)) is not None:
            self._reply(saved)
            self.all_answered = not offer.following
            return
        try:
            check_name(offer.name)
        except BadName as error:
            raise TransferError(Code.BAD_NAME, f"{error}; send it under another name") from None
        self._slot = slot = self._folder.open(offer.name, offer.size)
        if slot.complete:
            self._ask_for_proof(offer.size)
        elif slot.position:
            self._ask_for_proof(slot.position)
        else:
            self._start(slot)

    def _ask_for_proof(self, position: int) -> None:
        self._state = State.PROVING
        self._reply(wire.Have(self._offer.transfer, position))

    def _start(self, slot: Slot) -> None:
        self._state = State.RECEIVING
        self._reply(wire.Start(self._offer.transfer, slot.position))
        self._actions.append(Began(self._offer.name, self._offer.size, slot.position))

    def _on_content(self, message: wire.Proof | wire.Chunk | wire.Finish | wire.Cancel, slot: Slot) -> None:
        match message:
            case wire.Cancel(_, text):
                self._end(Failed(self._offer.name, f"the sender gave up: {text}", final=True))
            case wire.Proof() if self._state is State.PROVING:
                self._on_proof(message, slot)
            case wire.Chunk() if self._state is State.RECEIVING:
                self._on_chunk(message, slot)
            case wire.Finish() if self._state is State.RECEIVING:
                self._on_finish(message, slot)
            case _:
                raise Malformed(f"{type(message).__name__.upper()} comes at the wrong time")

    def _on_proof(self, proof: wire.Proof, slot: Slot) -> None:
        if proof.position != (self._offer.size if slot.complete else slot.position):
            raise Malformed(f"the sender proves {proof.position} bytes, which it was not asked for")
        if not slot.complete:
            if slot.digest(self._checked) != proof.digest:
                slot.restart()
            self._start(slot)
        elif slot.digest_of_complete(self._checked) == proof.digest:
            self._saved(proof.digest, self._offer.name, already=True)
        else:
            slot.replace_complete()
            slot.complete = False
            if slot.position:
                self._ask_for_proof(slot.position)
            else:
                self._start(slot)

    def _checked(self, position: int) -> None:
        self._checking(wire.encode(wire.Position(self._offer.transfer, position)))

    def _on_chunk(self, chunk: wire.Chunk, slot: Slot) -> None:
        if chunk.position != slot.position or slot.position + len(chunk.data) > self._offer.size:
            raise Malformed(f"a piece at {chunk.position} of a file that is at {slot.position} of {self._offer.size}")
        slot.write(chunk.data)
        self._reply(wire.Position(self._offer.transfer, slot.position))
        self._actions.append(Moved(slot.position))

    def _on_finish(self, finish: wire.Finish, slot: Slot) -> None:
        if finish.size != self._offer.size or slot.position != self._offer.size:
            raise Malformed(f"the sender ends at {slot.position} of {self._offer.size}")
        if slot.digest(self._checked) != finish.digest:
            slot.restart()
            raise TransferError(Code.CORRUPT, "what came is not what was sent; send it again")
        self._saved(finish.digest, slot.place(), already=False)

    def _saved(self, digest: bytes, name: str, already: bool) -> None:
        saved = wire.Saved(self._offer.transfer, already, digest, name)
        self._finished.add(saved)
        self._reply(saved)
        self._end(Done(self._offer.name, name, self._offer.size, already))

    def _refuse(self, error: TransferError) -> None:
        self._reply(wire.Refused(self._offer.transfer, error.code, error.text))
        self._end(Failed(self._offer.name, error.local, final=error.code is not Code.BUSY))

    def _end(self, action: Done | Failed) -> None:
        self._actions.append(action)
        self.all_answered = not self._offer.following and (isinstance(action, Done) or action.final)
        self.close()
