"""A dissected conversation, as a window of Wireshark shows one; every word in it is tshark's, from `dissected.txt`.

``python img/dissected.py`` runs tshark on a real capture of two nodes and writes that file again.
"""

import os
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
TEXT: Final = HERE / "dissected.txt"
CAPTURE: Final = HERE.parent / "tests" / "dissector" / "data" / "real.pcap"
CHOSEN: Final = 20
"""The number of the packet whose tree is shown: the second half of a large message."""
COLUMNS: Final = ("_ws.col.No.", "_ws.col.Time", "tcp.srcport", "tcp.dstport", "_ws.col.Protocol", "_ws.col.Info")
HEADINGS: Final = ("No.", "Time", "From", "To", "Protocol", "Info")
TREE_LINES: Final = 30
LINE_WIDTH: Final = 104  # characters

WIDTH: Final = 880
LINE: Final = 17
PLACES: Final = (18, 62, 150, 208, 266, 340)
MONO: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
BACKGROUNDS: Final = {"HELLO": "#fff8e1", "MESSAGE": "#e3f2fd", "NEXT": "#e3f2fd", "P": "#f1f8e9", "BYE": "#fce4ec"}


def tshark(*options: str) -> list[str]:
    """The lines that it prints about the capture."""
    sys.path.insert(0, str(HERE.parent))
    from crust.dissector import source

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "crust.lua"
        script.write_text(source(), "utf-8")
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "LC_ALL": "C.UTF-8"}
        command = ["tshark", "-n", "-2", "-X", f"lua_script:{script}", "-r", str(CAPTURE), *options]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [line.rstrip() for line in done.stdout.splitlines()]


def record() -> str:
    """What the picture says: the packets of ours, a line of dashes, and the tree of one of them."""
    wanted = [word for column in COLUMNS for word in ("-e", column)]
    packets = tshark("-Y", "crust", "-T", "fields", "-t", "r", *wanted)
    tree = tshark("-O", "crust", "-Y", f"frame.number == {CHOSEN}")
    first = next(number for number, line in enumerate(tree) if line.startswith("Crust "))
    shown = [line[:LINE_WIDTH] for line in tree[first:] if line]
    return "\n".join([*packets, "---", *shown[:TREE_LINES]]) + "\n"


def _text(x: float, y: float, words: str, size: float = 12, extra: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" xml:space="preserve"{extra}>{escape(words)}</text>'


def _rectangle(y: float, height: float, fill: str) -> str:
    return f'<rect x="8" y="{y:g}" width="{WIDTH - 16}" height="{height:g}" fill="{fill}"/>'


def _background(info: str) -> str:
    found = [colour for word, colour in BACKGROUNDS.items() if word in info]
    return found[0] if found else "#ffffff"


def draw() -> str:
    """The picture."""
    packets, _, tree = TEXT.read_text("utf-8").partition("---\n")
    rows = [line.split("\t") for line in packets.splitlines()]
    parts: list[str] = []
    y = 34.0
    parts += [_text(x, y, word, extra=' font-weight="600"') for x, word in zip(PLACES, HEADINGS, strict=True)]
    for row in rows:
        chosen = row[0] == str(CHOSEN)
        parts.append(_rectangle(y + 4, LINE, "#b6d4f5" if chosen else _background(row[-1])))
        y += LINE
        row[1] = f"{float(row[1]):.6f}"
        parts += [_text(x, y, word) for x, word in zip(PLACES, row, strict=True)]
    y += LINE
    parts.append(f'<line x1="8" y1="{y - 6:g}" x2="{WIDTH - 8}" y2="{y - 6:g}" stroke="#d0d7de"/>')
    for line in tree.splitlines():
        y += LINE
        head = not line.startswith(" ")
        if head:
            parts.append(_rectangle(y - 13, LINE, "#f6f8fa"))
        parts.append(_text(18, y, line, extra=' font-weight="600"' if head else ""))
    height = int(y + 18)
    frame = f'<rect x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="8" fill="#ffffff" stroke="#d0d7de"/>'
    title = "A conversation of two nodes over a tracer connection, dissected by tshark"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="{MONO}" fill="#1f2328">',
            f"<title>{title}</title>",
            frame,
            *parts,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    TEXT.write_text(record(), "utf-8", newline="\n")
    print(TEXT)
