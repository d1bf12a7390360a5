"""What both ends of a transfer need of the disk: the hash, and what the errors of the system mean for a person."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from crust.cli.transfer_wire import HASH_SIZE, Code, TransferError
from crust.limits import MIB

READ_SIZE: Final = MIB  # bytes per read where a file is only hashed
REPORT_EVERY: Final = 64 * MIB  # bytes hashed between two reports: about 0.1 s


def new_hash() -> "hashlib.blake2b":
    """The hash of a transfer: BLAKE2b with 32 bytes."""
    return hashlib.blake2b(digest_size=HASH_SIZE)


@contextmanager
def as_transfer_errors(where: str) -> Iterator[None]:
    """What the system says, as what a person needs; the one place that knows. ``where``: "the sender" ..."""
    try:
        yield
    except OSError as error:
        code, text = {
            errno.ENOSPC: (Code.NO_SPACE, f"the disk of {where} is full; make room and send it again to go on"),
            errno.EDQUOT: (
                Code.NO_SPACE,
                f"the disk quota of {where} is used up; make room and send it again to go on",
            ),
            errno.EFBIG: (Code.TOO_LARGE, f"the file system of {where} cannot hold a file of that size"),
            errno.EACCES: (Code.DENIED, f"permission denied on the disk of {where}"),
            errno.EPERM: (Code.DENIED, f"permission denied on the disk of {where}"),
            errno.EROFS: (Code.DENIED, f"the disk of {where} is read-only"),
            errno.ENOENT: (Code.DISK, f"the file or folder of {where} has vanished"),
            errno.ENAMETOOLONG: (Code.BAD_NAME, f"the name is too long for the disk of {where}"),
            errno.EILSEQ: (Code.BAD_NAME, f"the disk of {where} cannot have that name"),
            errno.EMFILE: (Code.BUSY, f"{where} has too many files open"),
        }.get(error.errno or 0, (Code.DISK, f"the disk of {where} failed"))
        raise TransferError(code, text, str(error)) from error


def hash_file(descriptor: int, count: int, checked: Callable[[int], None]) -> "hashlib.blake2b":
    """Hash the first ``count`` bytes; the position of the descriptor is behind them afterwards."""
    hasher = new_hash()
    os.lseek(descriptor, 0, os.SEEK_SET)
    done = 0
    while done < count:
        data = os.read(descriptor, min(READ_SIZE, count - done))
        if not data:
            raise TransferError(Code.DISK, "a file got shorter while it was read")
        hasher.update(data)
        if done // REPORT_EVERY != (done + len(data)) // REPORT_EVERY:
            checked(done + len(data))
        done += len(data)
    return hasher
