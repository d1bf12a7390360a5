"""The documentation as data: files, code blocks, tables, headings and links, for the tests that hold it to the code."""

import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tests.source_tree import ROOT

DOCUMENTS: Final = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benches/README.md",
    *sorted(ROOT.glob("docs/*.md")),
]
UNITS: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
NUMBER: Final = r"2\^\d+|\d[\d,]*(?:\.\d+)?"
"""As the documentation writes numbers: 2,048 or 0.25 or 2^31."""


class Block(NamedTuple):
    """A fenced block of code."""

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def name_of(file: Path) -> str:
    """The path as it is given to readers."""
    return file.relative_to(ROOT).as_posix()


@cache
def text_of(name: str) -> str:
    """A document, by its path from the root."""
    return (ROOT / name).read_text("utf-8")


@cache
def blocks(name: str) -> list[Block]:
    """The fenced blocks of a document."""
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL):
        line = text_of(name).count("\n", 0, match.start()) + 2
        found.append(Block(name, line, match[1], match[2]))
    return found


def prose(name: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(name), flags=re.MULTILINE | re.DOTALL)


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", text_of(name), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no heading {heading!r}"
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The rows of all tables in ``text``: their cells, without the lines of dashes."""
    lines = [line for line in text.splitlines() if line.startswith("|") and set(line) - set("|-: ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(text: str) -> float:
    """A number with its unit (MiB, bytes, s or none) as the documentation writes it."""
    digits, _, unit = text.partition(" ")
    value = 2.0 ** int(digits[2:]) if digits.startswith("2^") else float(digits.replace(",", ""))
    return value * UNITS.get(unit, 1)


def anchors(name: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(name: str) -> list[str]:
    """The targets of a document's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(name))
