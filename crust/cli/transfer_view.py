"""How far a transfer is, for people: bars on a terminal, a line now and then elsewhere, or nothing at all."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from crust.cli import console
from crust.cli.console import human_bytes, human_time
from crust.threads.clock import now

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_EVERY: Final = 10.0
"""Seconds between two lines about one file where there are no bars: enough to see life in a log, and not to fill it."""


def rate_of(count: int, seconds: float) -> str:
    """``12.5 MiB/s``."""
    return f"{human_bytes(count / max(seconds, 1e-6))}/s"


class Bar:
    """One file on its way, and its clock. This one shows nothing.

    Args:
        size: bytes of the file.
        position: bytes that were there at the beginning.
    """

    def __init__(self, size: int, position: int) -> None:
        self._size = size
        self._start = position
        self._began = now()
        self.position = position

    def move(self, position: int) -> None:
        """The file is there up to ``position`` bytes."""
        self.position = position

    def close(self) -> None:
        """Show no more of it."""

    def summary(self) -> str:
        """What moved, how long it took and how fast that was."""
        seconds = now() - self._began
        moved = self.position - self._start
        return f"{human_bytes(moved)} in {human_time(seconds)}, {rate_of(moved, seconds)}"


class _LineBar(Bar):
    """Prints a line from time to time."""

    def __init__(self, name: str, size: int, position: int) -> None:
        super().__init__(size, position)
        self._name = name
        self._said = self._began

    def move(self, position: int) -> None:
        super().move(position)
        moment = now()
        if moment - self._said < LINE_EVERY or position == self._size:
            return
        self._said = moment
        rate = (position - self._start) / (moment - self._began)
        left = human_time((self._size - position) / rate) if rate else "?"
        share = f"{100 * position // self._size} % of {human_bytes(self._size)}"
        console.say(f"{self._name}: {share}, {human_bytes(rate)}/s, {left} left", "note")


class _RichBar(Bar):
    """A bar of ``rich``."""

    def __init__(self, view: "View", progress: "Progress", name: str, size: int, position: int) -> None:
        super().__init__(size, position)
        self._view = view
        self._progress = progress
        self._task: TaskID | None = progress.add_task(console.one_line(name), total=size, completed=position)

    def move(self, position: int) -> None:
        super().move(position)
        if self._task is not None:
            self._progress.update(self._task, completed=position)

    def close(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
            self._view.bar_closed()


def _progress_on(terminal: "Console") -> "Progress":
    from rich import progress
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        """In the units of all other sizes."""

        def render(self, task: progress.Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text(f"{human_bytes(rate)}/s" if rate else "", style="progress.data.speed")

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.DownloadColumn(binary_units=True),
        Rate(),
        progress.TimeRemainingColumn(),
        console=terminal,
        transient=True,
    )


class View:
    """Shows the files that are on their way. A context manager; lines said through it appear above the bars.

    Args:
        quiet: whether to show nothing but warnings.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal: Console | None = None
        self._progress: Progress | None = None
        """Exists while there are bars: without any, others may write to the terminal as they like."""
        self._bars = 0

    def __enter__(self) -> Self:
        self._terminal = None if self._quiet else console.rich_console(sys.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terminal = None
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def bar(self, name: str, size: int, position: int = 0) -> Bar:
        """Begin to show a file of ``size`` bytes, of which ``position`` are there already."""
        if self._quiet:
            return Bar(size, position)
        if self._terminal is None:
            return _LineBar(name, size, position)
        if self._progress is None:
            self._progress = _progress_on(self._terminal)
            self._progress.start()
        self._bars += 1
        return _RichBar(self, self._progress, name, size, position)

    def bar_closed(self) -> None:
        """One bar less; called by the bar."""
        self._bars -= 1
        if not self._bars:
            self._stop()

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line, unless quiet."""
        if self._quiet:
            return
        if self._progress is None:
            console.say(text, style)
        else:
            self._progress.console.print(console.harmless(text), style=console.STYLES.get(style or ""))

    def warn(self, text: str) -> None:
        """Print a warning: to standard error, or above the bars."""
        if self._progress is None:
            console.warn(text)
        else:
            self._progress.console.print(f"warning: {console.one_line(text)}", style=console.STYLES["warn"])
