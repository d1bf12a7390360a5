"""Where a configuration file is looked for when none is named, and which one is found. Reads none of them."""

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

import platformdirs

from crust.files import app_file

VARIABLE: Final = "CRUST_CONFIG"
"""Environment variable that names the file. With ``os.devnull`` in it, every setting has its default."""
ENDING: Final = "crust.yaml"
BY_ARGUMENT: Final = "argument"
BY_VARIABLE: Final = f"environment, {VARIABLE}"
OF_USER: Final = "of the user"


class Place(NamedTuple):
    """One place of the search."""

    what: str
    """Which place, in words for people."""
    path: Path | None
    """The file that would be there; ``None`` where the place does not exist this time."""
    named: bool = False
    """Whether the user named the file: then it is an error if it is missing."""

    @property
    def counts(self) -> bool:
        """Whether this file is the one, if none of an earlier place is."""
        return self.path is not None and (self.named or os.path.lexists(self.path))


def places(path: str | os.PathLike[str] | None = None, app: str | None = None) -> list[Place]:
    """Every place, in the order of the search.

    Args:
        path: a file that the user named.
        app: whose file it is: ``APP.crust.yaml``. By default the name of the running program.

    Raises:
        ConfigError: ``app`` cannot name a file.
    """
    program = _program()
    name = f"{program_name()}.{ENDING}" if app is None else app_file(app, ENDING)
    variable = os.environ.get(VARIABLE)
    return [
        Place(BY_ARGUMENT, None if path is None else Path(path), named=True),
        Place(BY_VARIABLE, Path(variable) if variable else None, named=True),
        Place("beside the program", program and program.parent / name),
        Place(OF_USER, platformdirs.user_config_path("crust", appauthor=False) / name),
        Place("of the system", platformdirs.site_config_path("crust", appauthor=False) / name),
    ]


def find(path: str | os.PathLike[str] | None = None, app: str | None = None) -> Path | None:
    """The file that counts: one that is named, there or not, or else the first of those that are there.

    Raises:
        ConfigError: ``app`` cannot name a file.
    """
    return next((place.path for place in places(path, app) if place.counts), None)


def program_name() -> str:
    """The name of the running program without its ending, or ``crust`` where it has none, as at Python's prompt."""
    program = _program()
    if program is None:
        return "crust"
    return program.parent.name if program.name == "__main__.py" else program.stem


def _program() -> Path | None:
    started = sys.argv[0] if sys.argv else ""
    # "-c" and "-m" stand for no file. A link leads to the program: its settings are there too, like its modules.
    return None if started in ("", "-c", "-m") else Path(os.path.realpath(started))
