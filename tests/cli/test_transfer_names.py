"""Which names a receiver takes, and that a sender can always find one that it does."""

import ntpath
import os
import posixpath
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crust.cli.transfer_names import MAX_NAME_BYTES, BadName, check_name, numbered_name, suggest_name

GOOD = [
    "a",
    "report.pdf",
    "two words.tar.gz",
    "Übersicht – März.ods",
    "日本語.txt",
    "connect.py",
    "common.log",
    "x" * MAX_NAME_BYTES,
    "a..b",
    "100% #1 (final) [2] {x} 'q' & $HOME;",
]
HOSTILE = [
    "",
    ".",
    "..",
    "...",
    "../x",
    "..\\x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:x",
    "C:\\x",
    "file.txt:stream",
    "\\\\server\\share",
    "x\0y",
    "x\ny",
    "x\x1b[2Jy",
    "x\x7fy",
    "x\x85y",
    "x\u2028y",
    "invoice\u202efdp.exe",
    "x\ud800",
    ".bashrc",
    ".ssh",
    "-rf",
    "~root",
    " x",
    "x ",
    "x.",
    "x. .",
    "CON",
    "con.txt",
    "Nul",
    "aux .c",
    "COM1",
    "com0.tar.gz",
    "LPT9.txt",
    "com¹",
    "CONIN$",
    "*",
    "a?",
    "a|b",
    "<a>",
    'a"b',
    "x" * (MAX_NAME_BYTES + 1),
    "é" * (MAX_NAME_BYTES // 2) + "x",
]


@pytest.mark.parametrize("name", GOOD)
def test_good_names_are_taken_and_kept(name: str) -> None:
    check_name(name)
    assert suggest_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_and_have_a_harmless_relative(name: str) -> None:
    with pytest.raises(BadName) as refusal:
        check_name(name)
    assert str(refusal.value).isprintable()
    check_name(suggest_name(name))


@given(st.text(max_size=300))
@example("\ud800" * 300)
@example("x" * 300 + ".jpeg")
@example("." * 300)
@example("a" * 239 + "." * 30 + "b" * 20)
def test_a_sender_always_finds_a_good_name(name: str) -> None:
    check_name(suggest_name(name))


@given(st.text(max_size=40))
@example("..")
def test_a_name_that_is_taken_stays_in_its_folder(name: str) -> None:
    try:
        check_name(name)
    except BadName:
        return
    for path in (posixpath, ntpath):
        assert path.basename(name) == name
        assert path.normpath(path.join("into", name)) == path.join("into", name)
        assert not path.isabs(name)
    assert Path(os.path.abspath(Path("/into") / name)).parent == Path("/into")


@given(st.text(max_size=300), st.integers(2, 9999))
def test_a_numbered_name_is_still_good(name: str, number: int) -> None:
    numbered = numbered_name(suggest_name(name), number)
    assert len(numbered.encode()) <= 255
    if len(numbered.encode()) <= MAX_NAME_BYTES:
        check_name(numbered)


def test_the_number_comes_before_the_extension() -> None:
    assert numbered_name("report.pdf", 2) == "report (2).pdf"
    assert numbered_name("a.tar.gz", 3) == "a.tar (3).gz"
    assert numbered_name("README", 2) == "README (2)"


def test_a_long_name_keeps_its_extension() -> None:
    assert suggest_name("x" * 300 + ".jpeg").endswith("x.jpeg")
