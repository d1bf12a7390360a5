"""Names of files, and writing them so that a reader, another process or a crash never meets half a file."""

import errno
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from crust.errors import ConfigError

_APP: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def app_file(app: str, ending: str) -> str:
    """``APP.ENDING``: the name of a file that a program has for itself.

    Raises:
        ConfigError: ``app`` is no name for a file.
    """
    if not _APP.fullmatch(app):
        raise ConfigError(f"{app!r} cannot name a file: use 1 to 64 letters, digits, '-', '_' and '.'")
    return f"{app}.{ending}"


def others_may_read(mode: int) -> bool:
    """Whether users beside the owner have any right to a file of that mode, where files have modes (POSIX)."""
    return os.name == "posix" and bool(stat.S_IMODE(mode) & 0o077)


def write_whole(path: str | os.PathLike[str], text: str, *, mode: int = 0o666, replace: bool = True) -> None:
    """Write ``text`` (UTF-8) beside ``path`` and move it into place in one step.

    Args:
        path: the file; a symbolic link is followed.
        text: all of it.
        mode: permission bits, less the process's umask (POSIX only).
        replace: whether an existing file is replaced.

    Raises:
        FileExistsError: it exists and is not to be replaced.
        OSError: it cannot be written, or is no regular file. An existing file is as it was.
    """
    file = Path(os.path.realpath(path))
    if replace and file.exists() and not file.is_file():  # moving a file to /dev/null would take it from everybody
        raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        if replace:
            os.replace(draft, file)
        else:
            _move_unless_there(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _move_unless_there(draft: Path, file: Path) -> None:
    try:
        os.link(draft, file)  # fails when the file exists, also when another process makes it just now
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if file.exists():
            raise FileExistsError(f"{file} exists") from None
        os.replace(draft, file)
