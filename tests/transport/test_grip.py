"""`Grip`: whoever comes first, the thread that is busy or the one who ends it, the handle is told."""

from crust.transport.grip import Grip


class Handle:
    def __init__(self) -> None:
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1


def test_what_is_held_is_ended() -> None:
    grip, first, second = Grip(), Handle(), Handle()
    grip.hold(first)
    grip.hold(second)
    assert not grip.aborted.is_set()
    grip.abort()
    assert grip.aborted.is_set()
    assert (first.aborted, second.aborted) == (0, 1)


def test_what_comes_too_late_is_ended_at_once() -> None:
    grip, late = Grip(), Handle()
    grip.abort()
    grip.hold(late)
    assert late.aborted == 1
    grip.hold(None)
    grip.abort()
    assert late.aborted == 1


def test_nothing_is_held_any_more() -> None:
    grip, handle = Grip(), Handle()
    grip.hold(handle)
    grip.hold(None)
    grip.abort()
    assert handle.aborted == 0
