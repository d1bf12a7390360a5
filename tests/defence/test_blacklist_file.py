"""`crust.defence.blacklist_file`: what a file says, and what becomes of mistakes in it."""

import os
from pathlib import Path

import pytest

from crust.defence import blacklist_file
from crust.defence.blacklist import Rules
from crust.defence.blacklist_file import BlacklistFile, parse
from crust.errors import ConfigError
from crust.identity import PeerId
from tests.together import Running

BAD = PeerId.parse("ba" * 32)
TEXT = f"""\ufeff# whom we do not want
192.0.2.0/24      # an office

{BAD.hex()}
tcp://[2001:db8::1]:5483
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blacklist.txt"


def change(path: Path, data: bytes) -> None:
    """Write it so that it is seen to have changed, whatever the clock of the file system."""
    path.write_bytes(data)
    stamp = path.stat().st_mtime_ns + 10**9 * len(data)
    os.utime(path, ns=(stamp, stamp))


def entries(rules: Rules | None) -> list[object]:
    assert rules is not None
    return list(rules.entries())


def test_entries_and_comments(path: Path) -> None:
    path.write_text(TEXT, "utf-8")
    assert entries(BlacklistFile(str(path)).read()) == [BAD, "192.0.2.0/24", "2001:db8::1"]


def test_a_mistake_has_a_file_and_a_line() -> None:
    with pytest.raises(ConfigError, match=r"^bad\.txt, line 3: blacklist: 'example\.org' is none of: a peer id"):
        parse("192.0.2.1\n\nexample.org # no name\n", "bad.txt")


@pytest.mark.parametrize(
    ("data", "told"), [(b"192.0.2.1\n\xff\xfe", "line 2: is not UTF-8"), (b"# " * 600, "is that the right file")]
)
def test_what_is_no_list(path: Path, data: bytes, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blacklist_file, "MAX_FILE", 1000)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=told):
        BlacklistFile(str(path)).read()


def test_a_missing_file_is_an_error(path: Path) -> None:
    with pytest.raises(ConfigError, match="blacklist cannot be read"):
        BlacklistFile(str(path)).read()


def test_a_pipe_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="blacklist cannot be read: it is no regular file"):
        Running(BlacklistFile(str(path)).read).result()


def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match="blacklist cannot be read"):
        BlacklistFile(str(path)).read()


def test_who_reads_a_list_that_nobody_wants_any_more_ends(path: Path) -> None:
    path.write_bytes(b"192.0.2.1\n")
    file = BlacklistFile(str(path))
    file.give_up()
    assert file.news() is None


def test_it_is_read_again_when_it_has_changed(path: Path) -> None:
    change(path, b"192.0.2.1\n")
    file = BlacklistFile(str(path))
    file.read()
    assert file.news() is None
    change(path, b"192.0.2.2 \n")
    assert entries(file.news()) == ["192.0.2.2"]
    assert file.news() is None


def test_a_mistake_in_a_changed_file_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, b"192.0.2.1\n")
    file = BlacklistFile(str(path))
    file.read()
    change(path, b"192.0.2.2\noops\n")
    for _ in range(3):
        assert file.news() is None
    assert caplog.text.count("line 2") == 1
    assert "stays in force" in caplog.text
    change(path, b"192.0.2.3\n")
    assert entries(file.news()) == ["192.0.2.3"]


def test_a_file_that_goes_away_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, b"192.0.2.1\n")
    file = BlacklistFile(str(path))
    file.read()
    path.unlink()
    for _ in range(3):
        assert file.news() is None
    assert caplog.text.count("cannot be read") == 1
    change(path, b"192.0.2.4\n")
    assert entries(file.news()) == ["192.0.2.4"]
