"""The folder that receives: `DiskFolder`, and `DiskSlot` for each file on its way in.

While a file comes in, its bytes are in ``.NAME.SIZE.HASH.part`` beside its future place; no name that a sender may give
begins with a dot, so the two never meet. A receiver that was killed finds that file again when the same name and size
are offered, and the sender proves that it begins the same. The file gets its name only when it is complete, checked
and written through to the disk, in one step that never replaces anything unless that was asked for.
"""

import enum
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crust.cli.console import human_bytes
from crust.cli.transfer_disk import as_transfer_errors, hash_file, new_hash
from crust.cli.transfer_lock import try_lock
from crust.cli.transfer_names import numbered_name
from crust.cli.transfer_wire import Code, TransferError

MOST_NUMBERED: Final = 9999  # files of one name that --rename tells apart
_PART = re.compile(r"\.(?P<name>.+)\.(?P<size>[0-9]{1,19})\.[0-9a-f]{16}\.part")
# O_NOFOLLOW: a symbolic link in the folder must not lead out of it. O_NONBLOCK: nor may a pipe hold us up.
_SAFE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})


class IfExists(enum.Enum):
    """What to do where a file of the offered name exists."""

    REFUSE = enum.auto()
    OVERWRITE = enum.auto()
    RENAME = enum.auto()


class DiskFolder:
    """The folder that receives; see `transfer_receiver.Folder`.

    Args:
        path: the folder; it exists.
        if_exists: what to do where a file of that name exists.
        max_size: the largest file to take, in bytes; ``None`` for any.
    """

    def __init__(self, path: Path, if_exists: IfExists = IfExists.REFUSE, max_size: int | None = None) -> None:
        self.path = path.resolve()
        self.if_exists = if_exists
        self._max_size = max_size

    def open(self, name: str, size: int) -> "DiskSlot":
        """The slot for a file whose name was checked. Raises `TransferError` if it is not wanted."""
        if self._max_size is not None and size > self._max_size:
            text = f"it has {human_bytes(size)}, and the receiver takes up to {human_bytes(self._max_size)}"
            raise TransferError(Code.TOO_LARGE, text, "--max-size allows more")
        with as_transfer_errors("the receiver"):
            slot = DiskSlot(self, name, size)
            try:
                slot.open()
            except BaseException:
                slot.close()
                raise
        return slot

    def unfinished(self) -> list[tuple[str, int, int]]:
        """The files that have come in part: name, bytes there, bytes in all; names that were long are cut."""
        found = []
        for entry in os.scandir(self.path):
            match = _PART.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found.append((match["name"], entry.stat(follow_symlinks=False).st_size, int(match["size"])))
        return sorted(found)


def part_name(name: str, size: int) -> str:
    """The name under which the first bytes of ``name`` wait for the others."""
    mark = hashlib.blake2b(f"{size}/{name}".encode(), digest_size=8).hexdigest()
    shown = name.encode()[:200].decode(errors="ignore")
    return f".{shown}.{size}.{mark}.part"


class DiskSlot:
    """The place of one file that is coming in; see `transfer_receiver.Slot`. Made by `DiskFolder.open`."""

    def __init__(self, folder: DiskFolder, name: str, size: int) -> None:
        self.position = 0
        self.complete = False
        self._folder = folder
        self._name = name
        self._size = size
        self._target = folder.path / name
        self._part = folder.path / part_name(name, size)
        self._descriptor = -1
        self._hasher = new_hash()
        self._hashed = 0

    def open(self) -> None:
        """Look at what is there, and take hold of the part. May raise OSError."""
        try:
            status = os.lstat(self._target)
        except FileNotFoundError:
            self._open_part()
            return
        if stat.S_ISREG(status.st_mode) and status.st_size == self._size:
            self.complete = True
        else:
            self._make_way(plain=stat.S_ISREG(status.st_mode))
            self._open_part()

    def _make_way(self, plain: bool) -> None:
        if self._folder.if_exists is IfExists.RENAME or (self._folder.if_exists is IfExists.OVERWRITE and plain):
            return
        what = "another file of that name exists" if plain else "something that is not a file has that name"
        raise TransferError(Code.EXISTS, f"{what}; send it under another name", "--rename or --overwrite takes it")

    def _open_part(self) -> None:
        if os.path.islink(self._part):  # where there is no O_NOFOLLOW
            raise self._odd("is a link")
        flags = os.O_RDWR | os.O_CREAT | _SAFE
        descriptor = os.open(self._part, flags, 0o666)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._odd("is not a file")
            if not try_lock(descriptor) or not os.path.samestat(status, os.lstat(self._part)):
                raise TransferError(Code.BUSY, "the receiver is busy with a file of that name")
            if status.st_nlink != 1:
                # A receiver died between giving the file its name and dropping this one: writing would change it.
                os.unlink(self._part)
                fresh = os.open(self._part, flags | os.O_EXCL, 0o666)
                descriptor, old = fresh, descriptor
                os.close(old)
                try_lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._use_what_is_there()

    def _odd(self, what: str) -> TransferError:
        return TransferError(Code.DENIED, "something odd is in the receiver's folder", f"{self._part} {what}")

    def _use_what_is_there(self) -> None:
        self.position = os.fstat(self._descriptor).st_size
        if self.position > self._size:
            self.restart()
        if shutil.disk_usage(self._folder.path).free < self._size - self.position:
            detail = f"{human_bytes(self._size - self.position)} more are needed"
            raise TransferError(Code.NO_SPACE, "the disk of the receiver has not enough room", detail)

    def digest_of_complete(self, checked: Callable[[int], None]) -> bytes:
        """The hash of the finished file of that name."""
        with as_transfer_errors("the receiver"):
            descriptor = os.open(self._target, os.O_RDONLY | _SAFE)
            try:
                return hash_file(descriptor, self._size, checked).digest()
            finally:
                os.close(descriptor)

    def digest(self, checked: Callable[[int], None]) -> bytes:
        """The hash of the first `position` bytes: at once if they were just written, else by reading them."""
        if self._hashed != self.position:
            with as_transfer_errors("the receiver"):
                self._hasher = hash_file(self._descriptor, self.position, checked)
            self._hashed = self.position
        return self._hasher.digest()

    def replace_complete(self) -> None:
        """The finished file is another one: take hold of the part if it may make way."""
        self._make_way(plain=True)
        with as_transfer_errors("the receiver"):
            self._open_part()

    def restart(self) -> None:
        """Forget what is there."""
        with as_transfer_errors("the receiver"):
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hasher, self._hashed, self.position = new_hash(), 0, 0

    def write(self, data: memoryview) -> None:
        """Add bytes at `position`; the descriptor stands there, since checking a hash reads up to it."""
        with as_transfer_errors("the receiver"):
            rest = data
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._hasher.update(data)
        self.position += len(data)
        self._hashed = self.position

    def place(self) -> str:
        """Write everything through to the disk and give the file its name; returns that name."""
        with as_transfer_errors("the receiver"):
            os.fsync(self._descriptor)
            if os.name == "nt":  # where an open file cannot be renamed
                os.close(self._descriptor)
                self._descriptor = -1
            name = self._give_name()
            self._sync_folder()
        self.close()
        return name

    def _give_name(self) -> str:
        if self._folder.if_exists is IfExists.OVERWRITE:
            os.replace(self._part, self._target)
            return self._name
        if self._claim(self._target):
            return self._name
        self._make_way(plain=True)
        for number in range(2, MOST_NUMBERED + 1):
            name = numbered_name(self._name, number)
            if self._claim(self._folder.path / name):
                return name
        raise TransferError(Code.EXISTS, f"there are {MOST_NUMBERED} files of that name")

    def _claim(self, target: Path) -> bool:
        """Give the part the name ``target`` unless something has it; whether that worked. One step, no race."""
        try:
            os.link(self._part, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            os.unlink(self._part)
            return True
        try:  # a file system without links: take the name with an empty file, then put ours in its place
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o666))
        except FileExistsError:
            return False
        os.replace(self._part, target)
        return True

    def _sync_folder(self) -> None:
        """Make the new name survive a power cut, where the system can."""
        if os.name == "nt":
            return
        descriptor = os.open(self._folder.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError:
            pass  # some file systems cannot; the file itself is on the disk
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the part; one without any byte is removed."""
        if self._descriptor < 0:
            return
        if not self.position:
            try:
                os.unlink(self._part)
            except OSError:
                pass  # an empty file stays
        os.close(self._descriptor)
        self._descriptor = -1
