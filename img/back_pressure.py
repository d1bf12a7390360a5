"""The picture of back-pressure: every place where bytes wait between ``send()`` and ``events.get()``, and its bound."""

from itertools import pairwise

from svg import Drawing

from crust import limits
from crust.links.pace import READ_AHEAD
from crust.transport.records import RECEIVE_CAPACITY


def _mib(size: int) -> str:
    return f"{size // limits.MIB} MiB" if size >= limits.MIB else f"{size // limits.KIB} KiB"


def places() -> list[tuple[str, str, list[str]]]:
    """Kind of box, name and bound of each place, in the order in which a message passes them."""
    return [
        ("user", "send()", ["SendQueueFull"]),
        ("queue", "send queue", [_mib(limits.SEND_QUEUE_BYTES), "per connection"]),
        ("thread", "writer", ["blocks in send"]),
        ("network", "TCP", ["both kernels'", "buffers"]),
        ("thread", "reader", [f"{_mib(RECEIVE_CAPACITY)} buffer"]),
        ("queue", "inbox, outlet", [_mib(READ_AHEAD), "per connection"]),
        ("queue", "your queue", [f"{limits.MAX_WAITING_EVENTS:,} events", f"or {_mib(limits.MAX_WAITING_BYTES)}"]),
        ("user", "events.get()", ["slow"]),
    ]


def draw() -> str:
    """The picture as SVG."""
    width, gap, left, top = 124, 22, 20, 60
    found = places()
    picture = Drawing(
        2 * left + len(found) * width + (len(found) - 1) * gap, 190, "Where bytes wait between send() and events.get()"
    )
    picture.words(left, 32, "messages go this way", anchor="start")
    picture.arrow((left + 135, 28), (left + 235, 28))
    boxes = [
        picture.box(left + number * (width + gap), top, width, 72, kind, name, lines)
        for number, (kind, name, lines) in enumerate(found)
    ]
    for one, following in pairwise(boxes):
        picture.arrow(one.at("right"), following.at("left"))
    for one, following in pairwise(boxes):
        picture.arrow((following.x + 20, 158), (one.x + width - 20, 158), dashed=True)
    picture.words(boxes[-1].x + width, 180, "when one is full, the one before it waits", anchor="end")
    return picture.text()
