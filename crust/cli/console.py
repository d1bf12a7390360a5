"""What every subcommand prints with: plain lines, colour on a terminal, and one table of exit codes.

Colour and progress bars come from ``rich`` where it is installed and the output is a terminal; everywhere else the same
words come out as plain text. ``NO_COLOR`` switches colour off. Whatever is printed is made harmless first: a message or
a reason that came from another node cannot drive the terminal (see `harmless` and `one_line`).

Any thread may call any function here; lines of different threads never mix.
"""

import enum
import errno
import math
import os
import sys
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

from crust.errors import (
    ConfigError,
    ConnectionLost,
    CrustError,
    DialFailed,
    EndpointError,
    HandshakeFailed,
    IdentityError,
    ListenFailed,
    NotConnected,
    TimedOut,
)


class Exit(enum.IntEnum):
    """The exit codes of all subcommands; ``docs/cli.md`` explains them to users."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    LISTEN = 4
    LOST = 5
    CHECK = 6
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


class OutputGone(BrokenPipeError):
    """Nobody reads our output any more, as in ``crust ... | head``; `main` ends quietly."""


class OutputFailed(OSError):
    """Our output cannot be written, as on a full disk; `main` says why."""


EXIT_TEXT: Final[dict[Exit, str]] = {
    Exit.OK: "done",
    Exit.FAILED: "something failed; the message names the cause",
    Exit.USAGE: "the command line, configuration or identity file is wrong",
    Exit.UNREACHABLE: "none of the peers given could be reached",
    Exit.LISTEN: "no port could be opened",
    Exit.LOST: "the connection ended before the work was done",
    Exit.CHECK: "the work was done but a check of the result failed",
    Exit.INTERNAL: "a bug in crust; please report it",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.TERMINATED: "told to end (SIGTERM)",
}

_EXIT_OF: Final[tuple[tuple[type[CrustError], Exit], ...]] = (
    (ConfigError, Exit.USAGE),
    (EndpointError, Exit.USAGE),
    (IdentityError, Exit.USAGE),
    (ListenFailed, Exit.LISTEN),
    (DialFailed, Exit.UNREACHABLE),
    (HandshakeFailed, Exit.UNREACHABLE),
    (TimedOut, Exit.UNREACHABLE),
    (ConnectionLost, Exit.LOST),
    (NotConnected, Exit.LOST),
)

STYLES: Final[dict[str, str]] = {
    "good": "green",
    "note": "dim",
    "peer": "cyan",
    "warn": "yellow",
    "bad": "bold red",
    "strong": "bold",
}
"""The styles that `say` knows, by what they mean."""

_lock = threading.Lock()
# Unicode's control, format (bidirectional overrides, zero-width marks), surrogate, line and paragraph separators.
_DRIVES_TERMINALS: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def exit_code(error: BaseException) -> Exit:
    """The exit code that belongs to an error of the library."""
    for kind, code in _EXIT_OF:
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _DRIVES_TERMINALS:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def one_line(text: str) -> str:
    """``text`` with everything that could move a cursor, change a colour or start a line shown as an escape."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def harmless(text: str) -> str:
    """The same as `one_line`, but line ends and tabs stay what they are: for text of our own with foreign parts."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def wants_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that shows colour and the user did not say otherwise."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def rich_console(stream: TextIO | None = None) -> "Console | None":
    """A ``rich`` console for tables and progress bars, or ``None`` where plain text is the thing to print.

    Args:
        stream: where to; standard output if not given.
    """
    stream = sys.stdout if stream is None else stream
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    return Console(file=stream, highlight=False, markup=False, emoji=False, no_color=not wants_colour(stream))


def _emit(stream: TextIO, text: str, style: str | None) -> None:
    text = harmless(text)
    with _lock:
        console = rich_console(stream) if style and wants_colour(stream) else None
        try:
            if console is None:
                stream.write(text + "\n")
            else:
                console.print(text, style=STYLES[style or "note"], soft_wrap=True)
            stream.flush()
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):  # the pipe's reader, or the terminal
                raise OutputGone(*error.args) from error
            name = "standard error" if stream is sys.stderr else "standard output"
            raise OutputFailed(f"cannot write to {name}: {error.strerror or error}") from error


def say(text: str = "", style: str | None = None) -> None:
    """Print a line (or several) to standard output, at once even into a pipe.

    Args:
        text: what to print; made harmless first.
        style: one of `STYLES`, for terminals; ``None`` is plain.
    """
    _emit(sys.stdout, text, style)


def warn(text: str) -> None:
    """Print one line about something that is odd but does not end the command, to standard error."""
    _emit(sys.stderr, f"warning: {one_line(text)}", "warn")


def fail(text: str | BaseException, code: int | None = None) -> int:
    """Print an error as one line (the cause and the way out) to standard error.

    Args:
        text: the line, or an exception whose message is the line.
        code: the exit code; by default the one that belongs to the exception, or `Exit.FAILED`.

    Returns:
        the exit code, so that a command can ``return fail("...")``.
    """
    if code is None:
        code = exit_code(text) if isinstance(text, BaseException) else Exit.FAILED
    message = str(text) or type(text).__name__
    _emit(sys.stderr, f"error: {one_line(' '.join(message.split()))}", "bad")
    return int(code)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> None:
    """Print a table to standard output.

    Args:
        headers: one per column.
        rows: the cells, printed with ``str``.
        right: the columns (from 0) that hold numbers and are aligned to the right.
    """
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    rights = set(right)
    console = rich_console()
    if console is not None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        drawn = Table(box=SIMPLE_HEAD)
        for column, header in enumerate(headers):
            drawn.add_column(header, justify="right" if column in rights else "left", overflow="fold")
        for row in cells:
            drawn.add_row(*row)
        with _lock:
            console.print(drawn)
            sys.stdout.flush()
        return
    say("\n".join(aligned(headers, cells, rights)))


def aligned(headers: Sequence[str], cells: Sequence[Sequence[str]], rights: set[int]) -> list[str]:
    """The lines of a table in plain text."""
    lines = [list(headers), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return [
        "  ".join(
            cell.rjust(width) if column in rights else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def human_bytes(count: float) -> str:
    """A number of bytes for people: ``512 B``, ``1.5 KiB``, ``64.0 MiB``."""
    if count < 1024:
        return f"{count:.0f} B"
    unit = min(int(math.log2(count)) // 10, 4)
    return f"{count / 1024**unit:.1f} {'KMGT'[unit - 1]}iB"


def human_time(seconds: float) -> str:
    """A time span for people: ``85 us``, ``3.2 ms``, ``7.5 s``, ``2:05``, ``1:02:05``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count_of(count: int, noun: str) -> str:
    """``1 message``, ``2 messages``, ``1,000 messages``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
