import errno
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust import errors
from crust.cli import console
from crust.cli.console import EXIT_TEXT, Exit
from tests.processes import ROOT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output becomes a terminal. No fixture: pytest changes it again between set-up and test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_into_a_pipe_goes_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("green", "good")
    console.say("plain [bold]text[/]")
    assert capsys.readouterr().out == "green\nplain [bold]text[/]\n"


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    console.say("all is [well]", "good")
    assert terminal.getvalue() == "\x1b[32mall is [well]\x1b[0m\n"


def test_long_lines_are_not_broken_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    console.say("word " * 100, "good")
    assert terminal.getvalue().count("\n") == 1


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    terminal = use_terminal(monkeypatch)
    monkeypatch.setenv(variable, value)
    console.say("all is well", "good")
    assert terminal.getvalue() == "all is well\n"


def test_without_rich_a_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setitem(sys.modules, "rich", None)
    console.say("all is well", "good")
    console.table(("a", "b"), [("1", "2")])
    assert terminal.getvalue() == "all is well\na  b\n1  2\n"
    assert console.rich_console() is None


@given(st.text())
def test_nothing_printed_can_drive_the_terminal(text: str) -> None:
    for shown in (console.one_line(text), console.harmless(text).replace("\n", "").replace("\t", "")):
        assert "\x1b" not in shown
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
        assert len(shown.splitlines()) <= 1


def test_what_is_harmless_stays_as_it_is() -> None:
    assert console.one_line("Grüße, 世界! ☃") == "Grüße, 世界! ☃"
    assert console.harmless("a\tb\nc") == "a\tb\nc"
    assert console.one_line("a\tb\nc\x00\x7f\u202e\U000e0001") == "a\\x09b\\x0ac\\x00\\x7f\\u202e\\U000e0001"


def test_an_error_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.fail("it broke:\n  badly \x1b[2J") == Exit.FAILED
    assert console.fail("no", Exit.CHECK) == 6
    assert console.fail(ValueError()) == Exit.FAILED
    console.warn("odd\nthing")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: it broke: badly \\x1b[2J",
        "error: no",
        "error: ValueError",
        "warning: odd\\x0athing",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), Exit.USAGE),
        (errors.EndpointError("x"), Exit.USAGE),
        (errors.IdentityError("x"), Exit.USAGE),
        (errors.ListenFailed("x"), Exit.LISTEN),
        (errors.DialFailed("x"), Exit.UNREACHABLE),
        (errors.HandshakeFailed("x"), Exit.UNREACHABLE),
        (errors.TimedOut("x"), Exit.UNREACHABLE),
        (errors.ConnectionLost("x"), Exit.LOST),
        (errors.NotConnected("x"), Exit.LOST),
        (errors.MessageTooLarge("x"), Exit.FAILED),
        (FileNotFoundError("x"), Exit.FAILED),
    ],
)
def test_errors_have_their_exit_codes(error: Exception, code: Exit) -> None:
    assert console.fail(error) == code


def test_every_exit_code_is_explained_here_and_in_the_documentation() -> None:
    assert set(EXIT_TEXT) == set(Exit)
    documented = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for code, text in EXIT_TEXT.items():
        assert f"\n| {code.value} | {text}" in documented


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("name", "size"), [("a", 5), ("longer\n", 12345)], right=[1])
    assert capsys.readouterr().out == "name         size\na               5\nlonger\\x0a  12345\n"


def test_a_terminal_gets_a_drawn_table(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    console.table(("name", "size"), [("[red]", 5)], right=[1])
    assert "[red]" in terminal.getvalue()
    assert "─" in terminal.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (64 * 2**20, "64.0 MiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert console.human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.000085, "85 us"), (0.0032, "3.2 ms"), (7.5, "7.5 s"), (125, "2:05"), (3725, "1:02:05"), (59.99, "60.0 s")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert console.human_time(seconds) == text


def test_counts_for_people() -> None:
    assert [console.count_of(count, "byte") for count in (0, 1, 1000)] == ["0 bytes", "1 byte", "1,000 bytes"]


def test_output_that_nobody_reads_is_told_apart_from_other_broken_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "gone")

    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(console.OutputGone):
        console.say("anyone?")
