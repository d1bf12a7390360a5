"""`BlacklistFile`: a file with an entry of a blacklist on each line, read again when it has changed."""

import logging
import os
from typing import Final

from crust.defence.blacklist import Rules, read
from crust.errors import ConfigError

log = logging.getLogger("crust.blacklist")

FILE_CHECK: Final = 5.0
"""Seconds between looks whether the file has changed: soon enough for whoever edits it."""
MAX_FILE: Final = 8 * 1024 * 1024
"""Bytes of the file: some hundred thousand networks, read in a second or two; more is the wrong file."""


def parse(text: str, name: str) -> Rules:
    """The entries of a file: one on each line, where ``#`` begins a comment.

    Raises:
        ConfigError: a line is no entry; the message names the file and the line.
    """
    rules = Rules()
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            try:
                rules.add(read(entry))
            except ConfigError as error:
                raise ConfigError(f"{name}, line {number}: {error}") from None
    return rules


class BlacklistFile:
    """See the module's text. Belongs to one thread at a time.

    Args:
        path: the file, UTF-8.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: object = None

    def read(self) -> Rules:
        """What stands in the file.

        Raises:
            ConfigError: it cannot be read, or a line is no entry.
        """
        self._seen = self._look()
        try:
            with open(self._path, "rb") as source:
                data = source.read(MAX_FILE + 1)
        except OSError as error:
            raise ConfigError(f"{self._path}: the blacklist cannot be read: {error.strerror or error}") from error
        if len(data) > MAX_FILE:
            raise ConfigError(f"{self._path}: a blacklist of more than {MAX_FILE} bytes: is that the right file?")
        try:
            return parse(data.decode("utf-8-sig"), self._path)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{self._path}, line {line}: is not UTF-8 text") from None

    def news(self) -> Rules | None:
        """What stands there now, if the file has changed since it was looked at last and can be understood.

        Otherwise ``None``: a mistake is logged once, and what was read before stays in force.
        """
        if self._look() == self._seen:
            return None
        try:
            return self.read()
        except ConfigError as error:
            log.error("%s; what was read before stays in force", error)
            return None

    def _look(self) -> object:
        """Something that changes when the file does."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            return error.errno
        return found.st_mtime_ns, found.st_size, found.st_ino
