"""File names that came from a stranger: `check_name` refuses every name that could mean more than a file in one folder.

One rule for all systems, so that what one receiver takes every receiver takes, and a folder can be copied from one
system to another. Nothing is repaired on the receiving side: a name is good, or the file is refused. An honest sender
calls `suggest_name` first and offers that.
"""

import re
import unicodedata
from typing import Final

MAX_NAME_BYTES: Final = 240
"""Bytes of a name in UTF-8: common file systems take 255, and ``--rename`` needs some for its number."""

_FORBIDDEN: Final = frozenset('/\\:*?"<>|')  # separators, drives and streams, and what Windows and shells expand
_CONTROL: Final = frozenset({"Cc", "Cs", "Cn", "Co", "Zl", "Zp"})
# Marks that change the direction of text: with one, "gpj.exe" can be shown as "exe.jpg".
_DIRECTION: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Devices on Windows in every folder, whatever stands behind a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?\Z", re.IGNORECASE)
_LEADING: Final = frozenset(".-~ ")  # hidden files and "..", options of commands (rm *), home folders


class BadName(ValueError):
    """A name that no file gets; the message says why."""


def _is_control(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in _CONTROL


def check_name(name: str) -> None:
    """Make sure that ``name`` can be the name of a new file in a folder, on any system, and nothing else.

    Raises:
        BadName: it cannot; the message says why and is safe to show.
    """
    if not name:
        raise BadName("the name is empty")
    if any(map(_is_control, name)):
        raise BadName("the name has control characters in it")
    if bad := sorted(_FORBIDDEN.intersection(name)):
        raise BadName(f"the name has {' '.join(bad)} in it")
    if name[0] in _LEADING:
        raise BadName(f"the name begins with {name[0]!r}")
    if name[-1] in ". ":
        raise BadName(f"the name ends with {name[-1]!r}")
    if _DEVICE.match(name):
        raise BadName("the name is that of a device on Windows")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise BadName(f"the name is longer than {MAX_NAME_BYTES} bytes")


def suggest_name(name: str) -> str:
    """A name like ``name`` that `check_name` takes; ``name`` itself if it is good already."""
    try:
        check_name(name)
    except (BadName, UnicodeEncodeError):
        pass
    else:
        return name
    name = "".join("_" if character in _FORBIDDEN or _is_control(character) else character for character in name)
    name = _shortened(name.rstrip(". "), MAX_NAME_BYTES - 1)
    if not name or name[0] in _LEADING or _DEVICE.match(name):
        name = f"_{name}"
    return name


def _shortened(name: str, most: int) -> str:
    """``name`` in at most ``most`` bytes of UTF-8, its extension kept where that is short."""
    if len(name.encode()) <= most:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > 16:
        stem, extension = name, ""
    ending = f"{dot}{extension}" if extension else ""
    return stem.encode()[: most - len(ending.encode())].decode(errors="ignore").rstrip(". ") + ending


def numbered_name(name: str, number: int) -> str:
    """``report.pdf`` with 2 is ``report (2).pdf``; used where a file of that name exists."""
    stem, dot, extension = name.rpartition(".")
    return f"{stem} ({number}){dot}{extension}" if stem else f"{name} ({number})"
