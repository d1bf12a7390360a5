"""`BlacklistFile`: a file with an entry of a blacklist on each line, read again when it has changed."""

import logging
import os
import stat
from collections.abc import Callable
from typing import Final

from crust.defence.blacklist import Rules, read
from crust.errors import ConfigError

log = logging.getLogger("crust.blacklist")

FILE_CHECK: Final = 5.0
"""Seconds between looks whether the file has changed: soon enough for whoever edits it."""
MAX_FILE: Final = 8 * 1024 * 1024
"""Bytes of the file: some hundred thousand networks, which are read in ten seconds or two; more is the wrong file."""


class GivenUp(Exception):
    """Nobody wants to know any more what stands in the file."""


def parse(text: str, name: str, given_up: Callable[[], bool] = lambda: False) -> Rules:
    """The entries of a file: one on each line, where ``#`` begins a comment.

    Args:
        text: what stands in the file.
        name: of the file.
        given_up: whether nobody wants to know any more; asked at each line.

    Raises:
        ConfigError: a line is no entry; the message names the file and the line.
        GivenUp: in between.
    """
    rules = Rules()
    for number, line in enumerate(text.splitlines(), 1):
        if given_up():
            raise GivenUp
        entry = line.partition("#")[0].strip()
        if entry:
            try:
                rules.add(read(entry))
            except ConfigError as error:
                raise ConfigError(f"{name}, line {number}: {error}") from None
    return rules


class BlacklistFile:
    """See the module's text. Belongs to one thread at a time; any may call `give_up`.

    Args:
        path: the file, UTF-8.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: object = None
        self._given_up = False

    def read(self) -> Rules:
        """What stands in the file.

        Raises:
            ConfigError: it cannot be read, or a line is no entry.
            GivenUp: in between.
        """
        self._seen = self._look()
        try:
            with open(self._path, "rb", opener=_open_at_once) as source:
                if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    raise ConfigError(f"{self._path}: the blacklist cannot be read: it is no regular file")
                data = source.read(MAX_FILE + 1)
        except OSError as error:
            raise ConfigError(f"{self._path}: the blacklist cannot be read: {error.strerror or error}") from error
        if len(data) > MAX_FILE:
            raise ConfigError(f"{self._path}: a blacklist of more than {MAX_FILE} bytes: is that the right file?")
        try:
            return parse(data.decode("utf-8-sig"), self._path, lambda: self._given_up)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{self._path}, line {line}: is not UTF-8 text") from None

    @property
    def has_changed(self) -> bool:
        """Whether the file has changed since it was read last. Takes no time, unlike reading it."""
        return self._look() != self._seen

    def news(self) -> Rules | None:
        """What stands there now, if the file has changed since it was looked at last and can be understood.

        Otherwise ``None``: a mistake is logged once, and what was read before stays in force.
        """
        if not self.has_changed:
            return None
        try:
            return self.read()
        except ConfigError as error:
            log.error("%s; what was read before stays in force", error)
            return None
        except GivenUp:
            return None

    def give_up(self) -> None:
        """Nobody wants to know any more: who is reading it comes to an end soon."""
        self._given_up = True

    def _look(self) -> object:
        """Something that changes when the file does."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            return error.errno
        return found.st_mtime_ns, found.st_size, found.st_ino


def _open_at_once(path: str, flags: int) -> int:
    # What is no file, such as a pipe that nobody writes to, must not keep us.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
