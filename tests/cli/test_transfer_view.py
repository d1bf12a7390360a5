"""What is shown of a file on its way."""

import io
import sys

import pytest

from crust.cli import transfer_view
from crust.cli.transfer_view import View, rate_of
from tests.hand_clock import HandClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(transfer_view, "now", clock)
    return clock


def test_without_a_terminal_there_is_a_line_now_and_then(clock: HandClock, capsys: pytest.CaptureFixture[str]) -> None:
    with View() as view:
        bar = view.bar("file", 100 * 1024, 10 * 1024)
        for second in range(1, 26):
            clock.time = 100.0 + second
            bar.move((10 + second) * 1024)
        bar.move(100 * 1024)
        bar.close()
    assert capsys.readouterr().out.splitlines() == [
        "file: 20 % of 100.0 KiB, 1.0 KiB/s, 1:20 left",
        "file: 30 % of 100.0 KiB, 1.0 KiB/s, 1:10 left",
    ]


def test_the_summary_counts_what_moved(clock: HandClock) -> None:
    bar = View(quiet=True).bar("file", 3 * 1024, 1024)
    clock.time += 2
    bar.move(3 * 1024)
    assert bar.summary() == "2.0 KiB in 2.0 s, 1.0 KiB/s"


def test_quiet_is_quiet(clock: HandClock, capsys: pytest.CaptureFixture[str]) -> None:
    with View(quiet=True) as view:
        view.say("hello")
        bar = view.bar("file", 100)
        clock.time += 100
        bar.move(50)
    assert capsys.readouterr().out == ""


def test_a_rate_over_no_time_is_no_error() -> None:
    assert rate_of(0, 0.0) == "0 B/s"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called by the test itself: between a fixture and its test pytest puts its own streams in place again."""
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_on_a_terminal_there_are_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with View() as view:
        bar = view.bar("[red]\x1b[2Jfile", 1000, 500)
        bar.move(750)
        bar.close()
        bar.close()
        bar.move(800)
    text = terminal.getvalue()
    assert "[red]" in text
    assert "\\x1b[2Jfile" in text
    assert "50%" in text


ERASED = "\r\x1b[2K"


@pytest.mark.parametrize("style", [None, "good"])
def test_lines_appear_above_the_bars_and_never_on_them(monkeypatch: pytest.MonkeyPatch, style: str | None) -> None:
    terminal = use_terminal(monkeypatch)
    with View() as view:
        view.say("before", style)
        one, two = view.bar("one", 10), view.bar("two", 10)
        view.say("between", style)
        view.warn("careful")
        one.close()
        view.say("later", style)
        two.close()
        view.say("afterwards", style)
        view.bar("again", 10).close()
        view.say("at the end", style)
    drawn = terminal.getvalue()
    for text in ("between", "careful", "later", "afterwards", "at the end"):
        before = drawn[: drawn.index(text)].splitlines(keepends=True)[-1]
        assert "━" not in before.rpartition(ERASED)[2], text


def begin_and_interrupt(view: View) -> KeyboardInterrupt:
    view.bar("one", 10)
    return KeyboardInterrupt()


def test_the_cursor_is_back_at_the_end_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    view = View()
    with pytest.raises(KeyboardInterrupt), view:
        raise begin_and_interrupt(view)
    drawn = terminal.getvalue()
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")
