"""The version is one, and reads as PEP 440 has it."""

import re
from pathlib import Path

import crust
from crust import _version

ROOT = Path(__file__).resolve().parent.parent


def test_it_is_a_release_or_pre_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", _version.__version__)


def test_the_package_has_it() -> None:
    assert crust.__version__ == _version.__version__


def test_the_changelog_tells_of_it() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == _version.__version__
