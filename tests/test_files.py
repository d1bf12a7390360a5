"""Files are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from crust import files


def test_a_file_is_written_in_utf_8_with_plain_line_ends(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "a", "ä\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\n"
    assert os.listdir(tmp_path) == ["a"]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a longer text")
    files.write_whole(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_an_existing_file_stays_when_it_is_not_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(*args: object) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    files.write_whole(tmp_path / "a", "first", replace=False)
    with pytest.raises(FileExistsError):
        files.write_whole(tmp_path / "a", "second", replace=False)
    assert (tmp_path / "a").read_text() == "first"
    assert os.listdir(tmp_path) == ["a"]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("old")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    except OSError:
        return  # this user may not make any
    files.write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")

    def fail(*args: object) -> None:
        raise OSError("crash")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="crash"):
        files.write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_the_mode_holds_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = os.fsync

    def look(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    files.write_whole(tmp_path / "a", "secret", mode=0o600)
    assert seen == [0o600]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes, which this system does not have")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """It could be the null device, which others need."""
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="is not a regular file"):
        files.write_whole(tmp_path / "a", "b")
    assert stat.S_ISFIFO((tmp_path / "a").stat().st_mode)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize(
    ("mode", "told"), [(0o100600, False), (0o400, False), (0o640, True), (0o602, True), (0o601, True)]
)
def test_who_has_rights_to_a_file(mode: int, told: bool) -> None:
    assert files.others_may_read(mode) is told
