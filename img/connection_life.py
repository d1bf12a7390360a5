"""The states of a connection and what leads from one to the next: a table, and the picture made of it."""

from typing import Final, NamedTuple

from svg import Box, Drawing

START: Final = "(a handshake)"
STATES: Final = {
    "candidate": ("identity proved,", "nothing said yet"),
    "chosen": ("one of the two nodes", "has decided to keep it"),
    "live": ("announced to the user,", "with its two threads"),
    "ending": ("out of the table,", "the rest goes out"),
    "gone": ("threads joined,", "socket closed"),
}
"""Each state and what it means, in the order of a life."""


class Step(NamedTuple):
    """One row of the table."""

    source: str
    target: str
    cause: str
    code: str
    """The function that does it, as ``room.module.Class.function``."""
    event: str
    """What the user is told."""


STEPS: Final = (
    Step(START, "candidate", "the peer has proved its identity", "connecting.connections.Connections.decide", ""),
    Step("candidate", "chosen", "CHOOSE was said, or came", "links.peers.PeerTable", ""),
    Step("candidate", "gone", "refused, or ended", "connecting.connections.Connections.forsake", ""),
    Step("chosen", "live", "the manager takes it over", "connecting.connections.Connections.go_live", "NewConnection"),
    Step("chosen", "gone", "not wanted any more", "connecting.connections.Connections.forsake", ""),
    Step("live", "ending", "drop_node() or stop()", "connecting.connections.Connections._dismiss", ""),
    Step("live", "ending", "BYE came", "connecting.connections.Connections.reader_ended", "LostConnection"),
    Step("live", "ending", "broken or silent", "connecting.connections.Connections._lose", "LostConnection"),
    Step("live", "ending", "replaced by a new one", "connecting.connections.Connections._retire", "LostConnection"),
    Step("ending", "gone", "both threads have ended", "connecting.connections.Connections._thread_ended", ""),
)
"""Every way from one state to another. docs/threads.md has the same table."""

_WIDTH, _HEIGHT, _GAP, _LEFT, _TOP = 210, 66, 84, 190, 70


def draw() -> str:
    """The picture as SVG."""
    names = list(STATES)
    picture = Drawing(640, _TOP + len(names) * (_HEIGHT + _GAP) - _GAP + 20, "The life of a connection")
    boxes = {
        name: picture.box(_LEFT, _TOP + number * (_HEIGHT + _GAP), _WIDTH, _HEIGHT, "thread", name, STATES[name])
        for number, name in enumerate(names)
    }
    above = Box(_LEFT, 0, _WIDTH, 14)
    for source, target in dict.fromkeys((step.source, step.target) for step in STEPS):
        steps = [step for step in STEPS if (step.source, step.target) == (source, target)]
        if source == START or names.index(target) == names.index(source) + 1:
            _next(picture, boxes.get(source, above), boxes[target], steps)
        else:
            _far(picture, boxes[source], boxes[target], steps, names.index(source))
    return picture.text()


def _next(picture: Drawing, source: Box, target: Box, steps: list[Step]) -> None:
    start, end = source.at("bottom"), target.at("top")
    picture.arrow(start, end)
    top = (start[1] + end[1]) / 2 + 5 - (len(steps) - 1) * 9
    for number, step in enumerate(steps):
        y = top + number * 18
        picture.words(start[0] + 14, y, step.cause, anchor="start")
        picture.words(start[0] + 190, y, step.event, bold=True, anchor="start")


def _far(picture: Drawing, source: Box, target: Box, steps: list[Step], number: int) -> None:
    x = _LEFT - 60 - 70 * (1 - number)
    start, end = source.at("left"), target.at("left", 0.35 + 0.3 * (1 - number))
    picture.arrow(start, (x, start[1]), (x, end[1]), end)
    picture.lines(x + 8, source.y + source.height + 18, [step.cause for step in steps], anchor="start")
