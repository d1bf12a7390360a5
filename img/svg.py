"""A few shapes, written out as SVG text: enough for the pictures of this folder, and the same bytes each time."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

FONT: Final = "-apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Helvetica, Arial, sans-serif"
LINE_HEIGHT: Final = 16
BLACK: Final = "#1f2328"
GREY: Final = "#57606a"

# kind: background, border
KINDS: Final = {
    "user": ("#fff8e1", "#b7791f"),
    "thread": ("#e3f2fd", "#1e5f99"),
    "queue": ("#f1f8e9", "#4a7c29"),
    "network": ("#fce4ec", "#a3305f"),
    "plain": ("#ffffff", "#57606a"),
    "area": ("#f6f8fa", "#d0d7de"),
}


class Box(NamedTuple):
    """A rectangle and the points on it where arrows end."""

    x: float
    y: float
    width: float
    height: float

    def at(self, side: str, share: float = 0.5) -> tuple[float, float]:
        """The point on a side (``left right top bottom``), ``share`` of the way along it."""
        match side:
            case "left":
                return self.x, self.y + self.height * share
            case "right":
                return self.x + self.width, self.y + self.height * share
            case "top":
                return self.x + self.width * share, self.y
            case _:
                return self.x + self.width * share, self.y + self.height


class Drawing:
    """A picture of ``width`` by ``height`` points; `text` gives the SVG."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, title: str = "", lines: Sequence[str] = ()
    ) -> Box:
        """A rectangle with a bold title and smaller lines in its middle (at the top of an area)."""
        fill, border = KINDS[kind]
        dash = ' stroke-dasharray="5 4"' if kind == "queue" else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{fill}" '
            f'stroke="{border}" stroke-width="1.5"{dash}/>'
        )
        rows = [(title, True)] * bool(title) + [(line, False) for line in lines]
        top = y + 22 if kind == "area" else y + height / 2 - (len(rows) - 1) * LINE_HEIGHT / 2 + 5
        for number, (row, bold) in enumerate(rows):
            self.words(x + width / 2, top + number * LINE_HEIGHT, row, bold=bold, size=14 if bold else 12)
        return Box(x, y, width, height)

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        bold: bool = False,
        size: int = 12,
        anchor: str = "middle",
        colour: str = "",
    ) -> None:
        """One line of text whose base line is at ``y``."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{weight} '
            f'fill="{colour or (BLACK if bold else GREY)}">{escape(text)}</text>'
        )

    def lines(self, x: float, y: float, lines: Iterable[str], *, anchor: str = "middle") -> None:
        """Several lines of small text; the base line of the first is at ``y``."""
        for number, line in enumerate(lines):
            self.words(x, y + number * LINE_HEIGHT, line, anchor=anchor)

    def arrow(self, *points: tuple[float, float], both: bool = False, dashed: bool = False) -> None:
        """A line through ``points`` with a head at its end (and at its start, with ``both``)."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        extra = ' marker-start="url(#head)"' if both else ""
        extra += ' stroke-dasharray="3 4"' if dashed else ""
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.5" marker-end="url(#head)"{extra}/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], colour: str, *, width: float = 1.5, dash: str = "") -> None:
        """A line through ``points`` without a head; coordinates are rounded to tenths, which nobody sees."""
        path = " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in points)
        extra = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{extra}/>')

    def text(self) -> str:
        """The whole picture."""
        width, height = self._size
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                f'height="{height}" role="img" font-family="{FONT}">',
                f"<title>{escape(self._title)}</title>",
                '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
                f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{GREY}"/></marker></defs>',
                f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
                *self._parts,
                "</svg>",
                "",
            ]
        )
