"""Places for configuration files that are a test's own, and the command run there."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import platformdirs
import pytest

from crust import cli
from crust.settings import search

NAME = "crust.crust.yaml"
Run: TypeAlias = Callable[..., tuple[int, str, str]]
"""Runs ``crust config`` with these arguments: exit code, output, errors."""


def use(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Let the directories of user and system be in ``place``; neither exists yet."""
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name, appauthor: place / "user")
    monkeypatch.setattr(platformdirs, "site_config_path", lambda name, appauthor: place / "system")
    monkeypatch.setattr("sys.argv", [str(place / "bin" / "crust")])
    monkeypatch.delenv(search.VARIABLE, raising=False)
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """See `Run`."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main(["config", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run
