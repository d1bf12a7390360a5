"""A file that is sent: `DiskSource`."""

import os
import stat
from collections.abc import Callable

from crust.cli.transfer_disk import as_transfer_errors, hash_file, new_hash
from crust.cli.transfer_wire import Code, TransferError


class DiskSource:
    """A file to send; see `transfer_sender.Source`. A context manager that closes it.

    Raises:
        TransferError: it is not there, not a plain file, or may not be read.
    """

    def __init__(self, path: str) -> None:
        with as_transfer_errors("the sender"):
            try:
                mode = os.stat(path).st_mode
            except FileNotFoundError:
                raise TransferError(Code.DISK, "there is no such file") from None
            if stat.S_ISDIR(mode):
                name = os.path.basename(os.path.abspath(path)) or "folder"
                advice = f"pack it into one file first, as in: tar -czf {name}.tar.gz {name}"
                raise TransferError(Code.OTHER, f"is a folder, and only files are sent; {advice}")
            if not stat.S_ISREG(mode):
                raise TransferError(Code.OTHER, "is not a plain file, and only those have a size and can be resumed")
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self._seen = (status.st_size, status.st_mtime_ns)
        self._hasher = new_hash()
        self._hashed = 0

    def __enter__(self) -> "DiskSource":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, position: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``position``."""
        with as_transfer_errors("the sender"):
            self._file.seek(position)
            data = self._file.read(count)
            while len(data) < count:
                more = self._file.read(count - len(data))
                if not more:
                    raise TransferError(Code.DISK, "the file got shorter while it was sent; send it again")
                data += more
        if position == 0:
            self._hasher, self._hashed = new_hash(), 0
        if position == self._hashed:
            self._hasher.update(data)
            self._hashed += count
        return data

    def digest(self, count: int, checked: Callable[[int], None]) -> bytes:
        """The hash of the first ``count`` bytes: at once if they were just read in order, else by reading them."""
        if count != self._hashed:
            with as_transfer_errors("the sender"):
                self._hasher = hash_file(self._file.fileno(), count, checked)
            self._hashed = count
        return self._hasher.digest()

    def check_unchanged(self) -> None:
        """Raise `TransferError` if the file was written to since it was opened."""
        status = os.fstat(self._file.fileno())
        if (status.st_size, status.st_mtime_ns) != self._seen:
            raise TransferError(Code.DISK, "the file was changed while it was sent; send it again")
