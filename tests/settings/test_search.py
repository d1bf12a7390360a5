"""Where a configuration file is looked for, and which one wins."""

import os
import sys
from pathlib import Path

import platformdirs
import pytest

from crust import Config, ConfigError
from crust.settings import search
from crust.settings.search import Place, find, places, program_name

NAME = "node.crust.yaml"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program in a directory of its own, and a user and a system with theirs."""
    for name in ("bin", "user", "system", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv(search.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "node.py"), "--argument"])
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name, appauthor: tmp_path / "user")
    monkeypatch.setattr(platformdirs, "site_config_path", lambda name, appauthor: tmp_path / "system")
    monkeypatch.chdir(tmp_path / "elsewhere")


def test_the_first_place_with_a_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find() is None
    for number, directory in enumerate(["system", "user", "bin"]):
        file = tmp_path / directory / NAME
        file.write_text(f"tcp_port: {number}")
        assert (find(), Config.load().tcp_port) == (file, number)
    (tmp_path / "by_variable").write_text("tcp_port: 7")
    monkeypatch.setenv("CRUST_CONFIG", str(tmp_path / "by_variable"))
    assert Config.load().tcp_port == 7
    (tmp_path / "named").write_text("tcp_port: 8")
    assert Config.load(tmp_path / "named").tcp_port == 8


def test_without_a_file_everything_has_its_default() -> None:
    assert Config.load() == Config()


def test_the_working_directory_is_no_place(tmp_path: Path) -> None:
    """Otherwise whoever unpacks an archive could be given settings by it."""
    (tmp_path / "elsewhere" / NAME).write_text("tcp_port: 1")
    assert find() is None


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_file_that_is_named_and_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "user" / NAME).write_text("tcp_port: 1")
    missing = tmp_path / "missing.yaml"
    monkeypatch.setenv("CRUST_CONFIG", str(missing) if how == "variable" else "")
    with pytest.raises(ConfigError, match=r"missing\.yaml: there is no such configuration file"):
        Config.load(missing if how == "argument" else None)


@pytest.mark.parametrize("broken", ["a link to nothing", "a directory", "nonsense"])
def test_a_file_that_is_there_and_broken_is_an_error_and_the_next_does_not_count(tmp_path: Path, broken: str) -> None:
    (tmp_path / "system" / NAME).write_text("tcp_port: 1")
    file = tmp_path / "user" / NAME
    if broken == "a link to nothing":
        file.symlink_to(tmp_path / "nothing")
    elif broken == "a directory":
        file.mkdir()
    else:
        file.write_text("tcp_prot: 7")
    with pytest.raises(ConfigError, match=r"node\.crust\.yaml"):
        Config.load()


def test_no_file_counts_with_the_null_device_in_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user" / NAME).write_text("tcp_port: 1")
    monkeypatch.setenv("CRUST_CONFIG", os.devnull)
    assert Config.load() == Config()


def test_an_application_can_have_another_name_than_its_program(tmp_path: Path) -> None:
    (tmp_path / "user" / "other.crust.yaml").write_text("tcp_port: 5")
    assert Config.load().tcp_port == 0
    assert Config.load(app="other").tcp_port == 5


@pytest.mark.parametrize("app", ["", "../etc", "a/b", "a b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(app: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a file"):
        Config.load(app=app)


@pytest.mark.parametrize(
    ("started", "name"),
    [
        ("/opt/chat.py", "chat"),
        ("/opt/chat", "chat"),
        ("/opt/my chat.v2.py", "my chat.v2"),
        ("/opt/crust/__main__.py", "crust"),
        ("-c", "crust"),
        ("", "crust"),
    ],
)
def test_the_name_of_the_program(monkeypatch: pytest.MonkeyPatch, started: str, name: str) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    assert program_name() == name


def test_without_a_program_there_is_no_place_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    beside = places()[2]
    assert beside == Place("beside the program", None)
    assert not beside.counts


def test_beside_the_program_means_where_its_link_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin" / "node.py").touch()
    (tmp_path / "elsewhere" / "node").symlink_to(tmp_path / "bin" / "node.py")
    (tmp_path / "bin" / NAME).write_text("")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "elsewhere" / "node")])
    assert find() == tmp_path / "bin" / NAME


def test_places_in_a_found_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "user" / NAME).write_text("cache_file: mine.cache")
    assert Config.load().cache_file == str(tmp_path / "user" / "mine.cache")
