"""A folder and a source in memory, and a way to run both sides of a transfer against each other without any I/O."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from crust.cli.transfer_receiver import Action, Finished, ReceiverSession, Reply
from crust.cli.transfer_sender import SenderSession
from crust.cli.transfer_wire import Code, TransferError

ID = b"0123456789abcdef"


def hash_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


@dataclass
class MemoryFolder:
    """`files` are complete, `parts` came in part; `error` is raised by whatever touches the disk next."""

    files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    overwrite: bool = False
    error: TransferError | None = None
    in_use: set[tuple[str, int]] = field(default_factory=set)

    def open(self, name: str, size: int) -> "MemorySlot":
        self.fail_if_told()
        if name in self.files and len(self.files[name]) != size and not self.overwrite:
            raise TransferError(Code.EXISTS, "another file of that name exists")
        return MemorySlot(self, name, size)

    def fail_if_told(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error


class MemorySlot:
    def __init__(self, folder: MemoryFolder, name: str, size: int) -> None:
        self.folder = folder
        self.key = (name, size)
        self.complete = name in folder.files and len(folder.files[name]) == size
        self.data = folder.parts.get(self.key, b"")
        self.closed = False
        if self.key in folder.in_use:
            raise TransferError(Code.BUSY, "busy")
        folder.in_use.add(self.key)

    @property
    def position(self) -> int:
        return len(self.data)

    @position.setter
    def position(self, position: int) -> None:
        raise AssertionError("the session must not move the slot")

    def digest_of_complete(self, checked: Callable[[int], None]) -> bytes:
        checked(1)
        return hash_of(self.folder.files[self.key[0]])

    def digest(self, checked: Callable[[int], None]) -> bytes:
        self.folder.fail_if_told()
        return hash_of(self.data)

    def replace_complete(self) -> None:
        if not self.folder.overwrite:
            raise TransferError(Code.EXISTS, "another file of that name exists")

    def restart(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> None:
        assert not self.closed
        self.folder.fail_if_told()
        self.data += data

    def place(self) -> str:
        self.folder.fail_if_told()
        assert len(self.data) == self.key[1]
        self.folder.files[self.key[0]] = self.data
        self.data = b""
        return self.key[0]

    def close(self) -> None:
        if not self.closed:
            self.folder.in_use.discard(self.key)
            self.folder.parts.pop(self.key, None)
            if self.data:
                self.folder.parts[self.key] = self.data
        self.closed = True


class MemorySource:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.error: TransferError | None = None

    def read(self, position: int, count: int) -> bytes:
        if self.error is not None:
            raise self.error
        data = self.data[position : position + count]
        assert len(data) == count
        return data

    def digest(self, count: int, checked: Callable[[int], None]) -> bytes:
        checked(count)
        return hash_of(self.data[:count])

    def check_unchanged(self) -> None:
        if len(self.data) != self.size:
            raise TransferError(Code.DISK, "the file was changed")


def receiver(folder: MemoryFolder, finished: Finished | None = None) -> ReceiverSession:
    return ReceiverSession(folder, finished or Finished(), lambda data: None)


def sender(data: bytes, name: str = "name", *, chunk: int = 3, window: int = 7, transfer: bytes = ID) -> SenderSession:
    return SenderSession(transfer, name, MemorySource(data), chunk=chunk, window=window)


def run_pair(sending: SenderSession, receiving: ReceiverSession, most: int = 10_000) -> list[Action]:
    """Carry messages both ways, in order, until nothing more happens or ``most`` were carried; what was reported."""
    reports: list[Action] = []
    to_receiver = [sending.offer]
    to_sender: list[bytes] = []
    for _ in range(most):
        if to_sender:
            to_receiver += sending.receive(to_sender.pop(0))
        elif to_receiver:
            actions = receiving.receive(to_receiver.pop(0))
            to_sender += [action.data for action in actions if isinstance(action, Reply)]
            reports += [action for action in actions if not isinstance(action, Reply)]
        elif (message := sending.next_message()) is not None:
            to_receiver.append(message)
        else:
            break
    return reports
