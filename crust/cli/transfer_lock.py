"""One lock on an open file, so that two receivers never write to the same part; each system has its own way."""

import sys
from typing import Final

_LOCK_AT: Final = 2**62  # a byte that no file has: on Windows a locked byte cannot be read by others

if sys.platform == "win32":
    import msvcrt
    import os

    def try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed or the process ends; ``False`` if somebody else has it."""
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _LOCK_AT, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed or the process ends; ``False`` if somebody else has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a network file system without locks: go on without
        return True
