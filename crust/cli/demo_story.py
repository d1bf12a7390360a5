"""How ``crust demo`` tells what happens: sentences for people, or one document of JSON, or nothing."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from crust.cli import console
from crust.cli.console import human_time
from crust.cli.transfer_view import View
from crust.threads.clock import now

COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "bright_red", "bright_cyan", "bright_magenta")
WIDTH: Final = 84  # columns; where the times of the steps stand


class Story:
    """Tells the steps of the demo and keeps their numbers.

    Args:
        names: of the peers, for their colours.
        quiet: whether to print nothing.
        as_json: whether to print one document at the end instead.
    """

    def __init__(self, names: Sequence[str], *, quiet: bool = False, as_json: bool = False) -> None:
        self._colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
        self._silent = quiet or as_json
        self._json = as_json
        self._began = self._step_began = now()
        self._steps: list[dict[str, Any]] = []

    def view(self) -> View:
        """Where the progress of a file is shown."""
        return View(self._silent)

    def seconds(self) -> float:
        """Since the beginning of the demo."""
        return now() - self._began

    def step(self, name: str, text: str) -> None:
        """Begin a step."""
        self._steps.append({"step": name})
        if not self._silent:
            console.say()
            console.say(f"{len(self._steps)}. {text}", "strong")
        self._step_began = now()

    def done(self, text: str, seconds: float | None = None, **numbers: Any) -> None:
        """End a step, with its time."""
        seconds = now() - self._step_began if seconds is None else seconds
        self._steps[-1].update(seconds=round(seconds, 4), **numbers)
        if not self._silent:
            console.say(f"{f'   {text}':<{WIDTH - 10}}{human_time(seconds):>10}", "good")

    def say(self, text: str) -> None:
        """A sentence on what happens."""
        if not self._silent:
            console.say(f"   {text}")

    def speak(self, hearer: str, speaker: str, text: str) -> None:
        """A line of the chat, as it arrived, in the colour of who said it."""
        if self._silent:
            return
        terminal = console.rich_console(sys.stdout)
        if terminal is None:
            console.say(f"   {hearer} hears {speaker}: {text}")
            return
        from rich.text import Text

        line = Text("   ")
        line.append(hearer, self._colours[hearer]).append(" hears ", "dim")
        line.append(f"{speaker}: ", f"bold {self._colours[speaker]}").append(console.one_line(text))
        terminal.print(line)

    def end(self, problems: Sequence[str]) -> None:
        """Say how it went."""
        if self._json:
            outcome = {"ok": not problems, "seconds": round(self.seconds(), 4), "problems": list(problems)}
            print(json.dumps({**outcome, "steps": self._steps}, indent=2))
        elif not problems and not self._silent:
            console.say()
            console.say(f"All of it went as it should, in {human_time(self.seconds())}.", "good")
        for problem in problems:
            console.fail(problem)
