"""The Wireshark dissector, in Lua: the parts that are beside this file, put together into one script.

Wireshark loads every file of its plugin folder by itself and in no order that one could rely on, so what is installed
is one file.
"""

from importlib import resources
from typing import Final

PARTS: Final = (
    "protocol",
    "json",
    "state",
    "text",
    "frames",
    "control",
    "reach",
    "stream",
    "xchacha",
    "datagrams",
    "statistics",
)
"""The parts, in the order in which they need each other."""
FILE_NAME: Final = "crust.lua"
FIRST_LINE: Final = "-- The Crust dissector for Wireshark and tshark 4.0 and newer."
"""By which a file of ours is known."""

_HEAD: Final = f"""\
{FIRST_LINE} Made by `crust dissector`; see docs/cli.md of Crust.
-- Licence: GPL-3.0.

local crust = {{}}
"""


def source() -> str:
    """The whole script."""
    folder = resources.files(__name__)
    parts = [(name, (folder / f"{name}.lua").read_text("utf-8")) for name in PARTS]
    # A Lua chunk has at most 200 local names: each part is a function of its own. The script's arguments go to all.
    blocks = [f"\n-- === {name} ===\ndo\nlocal function part(...)\n{text}end\npart(...)\nend\n" for name, text in parts]
    return _HEAD + "".join(blocks)
