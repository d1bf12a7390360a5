"""The states of a uTP connection: the picture of the table in `crust.transport.utp.states`."""

import textwrap
from typing import Final

from svg import Box, Drawing

from crust.transport.utp.states import ESTABLISHED, TRANSITIONS, Happening, State

_WIDTH, _HEIGHT = 212, 84
_PLACES: Final = {
    State.SYN_SENT: (30, 20),
    State.SYN_RECV: (538, 20),
    State.CONNECTED: (284, 150),
    State.FIN_SENT: (30, 280),
    State.GOT_FIN: (538, 280),
    State.FIN_ACKED: (30, 410),
    State.CLOSING: (538, 410),
    State.LINGER: (284, 540),
    State.CLOSED: (284, 670),
}
"""Where the box of each state begins."""

# How the arrows run: from a side to a side, each with the share of the way along it; "level first" turns one corner.
_ROUTES: Final = {
    (State.SYN_SENT, State.SYN_RECV): ("right", 0.5, "left", 0.5),
    (State.SYN_SENT, State.CONNECTED): ("bottom", 0.5, "left", 0.3),
    (State.SYN_RECV, State.CONNECTED): ("bottom", 0.5, "right", 0.3),
    (State.CONNECTED, State.FIN_SENT): ("left", 0.7, "top", 0.5),
    (State.CONNECTED, State.GOT_FIN): ("right", 0.7, "top", 0.5),
    (State.FIN_SENT, State.FIN_ACKED): ("bottom", 0.5, "top", 0.5),
    (State.FIN_SENT, State.CLOSING): ("right", 0.5, "left", 0.5),
    (State.GOT_FIN, State.CLOSING): ("bottom", 0.5, "top", 0.5),
    (State.FIN_ACKED, State.LINGER): ("bottom", 0.5, "left", 0.5),
    (State.CLOSING, State.LINGER): ("bottom", 0.5, "right", 0.5),
    (State.LINGER, State.CLOSED): ("bottom", 0.5, "top", 0.5),
}
_LABELS: Final = {
    (State.SYN_SENT, State.SYN_RECV): (390, 54, "middle"),
    (State.SYN_SENT, State.CONNECTED): (128, 132, "end"),
    (State.SYN_RECV, State.CONNECTED): (652, 132, "start"),
    (State.CONNECTED, State.FIN_SENT): (128, 258, "end"),
    (State.CONNECTED, State.GOT_FIN): (652, 258, "start"),
    (State.FIN_SENT, State.FIN_ACKED): (128, 392, "end"),
    (State.FIN_SENT, State.CLOSING): (398, 392, "start"),
    (State.GOT_FIN, State.CLOSING): (652, 392, "start"),
    (State.FIN_ACKED, State.LINGER): (128, 540, "end"),
    (State.CLOSING, State.LINGER): (652, 540, "start"),
    (State.LINGER, State.CLOSED): (398, 652, "start"),
}


def draw() -> str:
    """The picture as SVG."""
    picture = Drawing(780, 774, "The states of a uTP connection")
    boxes = {state: _state(picture, state) for state in State}
    for source, exits in TRANSITIONS.items():
        for happening, target in exits.items():
            if happening is not Happening.FAILURE:
                _arrow(picture, boxes, (source, target), happening)
    _failures(picture, boxes[State.CLOSED])
    return picture.text()


def _state(picture: Drawing, state: State) -> Box:
    kind = "thread" if state in ESTABLISHED else "plain" if state is State.CLOSED else "user"
    return picture.box(*_PLACES[state], _WIDTH, _HEIGHT, kind, state.name, textwrap.wrap(state.value, 29))


def _arrow(picture: Drawing, boxes: dict[State, Box], step: tuple[State, State], happening: Happening) -> None:
    side, share, other_side, other_share = _ROUTES[step]
    start, end = boxes[step[0]].at(side, share), boxes[step[1]].at(other_side, other_share)
    if start[0] == end[0] or start[1] == end[1]:
        picture.arrow(start, end)
    elif side in ("left", "right") and other_side in ("left", "right"):
        middle = (start[0] + end[0]) / 2
        picture.arrow(start, (middle, start[1]), (middle, end[1]), end)
    else:
        corner = (end[0], start[1]) if side in ("left", "right") else (start[0], end[1])
        picture.arrow(start, corner, end)
    x, y, anchor = _LABELS[step]
    picture.words(x, y, happening.name, anchor=anchor)


def _failures(picture: Drawing, closed: Box) -> None:
    without = [state.name for state, exits in TRANSITIONS.items() if exits and Happening.FAILURE not in exits]
    every = "any of these" if not without else f"any but {', '.join(without)}"
    box = picture.box(30, 690, 130, 44, "area")
    picture.words(95, 717, every)
    picture.arrow(box.at("right"), closed.at("left"), dashed=True)
    picture.words(222, 704, Happening.FAILURE.name)
