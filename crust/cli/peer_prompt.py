"""Where the lines of ``crust peer`` come from: a prompt with history and completion, or standard input as it is."""

import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from crust.cli import INSTALL_HINT, console
from crust.cli.interrupts import Interrupts
from crust.cli.peer_commands import ALIASES, SPECS, TAKES_ID, TAKES_PEER

if TYPE_CHECKING:
    from prompt_toolkit.application import Application
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT: Final = "crust> "
ReadLine: TypeAlias = Callable[[], str | None]
"""Gives the next line, ``None`` at the end of the input; Ctrl-C raises ``KeyboardInterrupt``, SIGTERM `Terminated`."""
Peers: TypeAlias = Callable[[], list[tuple[str, str]]]


class Candidate(NamedTuple):
    """A completion: the word, how many typed characters it replaces, and what it means."""

    word: str
    replaces: int
    meaning: str


class Names(NamedTuple):
    """What peers are completed with: calls that give what to type for each, and what that stands for."""

    connected: Peers = list
    elsewhere: Peers = list
    """Those that are known, and not connected."""


def candidates(before: str, names: Names) -> list[Candidate]:
    """What the word at the end of ``before`` can become. Pure, as long as ``names`` are.

    Args:
        before: the line up to the cursor.
        names: of peers; called only where one can stand.
    """
    words = before.split(" ")
    typed = words[-1]
    match words[:-1]:
        case []:
            known: Iterable[tuple[str, str]] = ((name, spec.text) for name, spec in SPECS.items())
        case [command] if command.lower() in TAKES_PEER:
            known = names.connected()
        case [command] if command.lower() in TAKES_ID:
            known = names.elsewhere()
        case ["help"]:
            known = ((name, SPECS[name].text) for name in SPECS)
        case ["traffic"]:
            known = (("on", ""), ("off", ""))
        case _:
            return []
    found = [Candidate(word, len(typed), meaning) for word, meaning in known if word.startswith(typed.lower())]
    if not found and len(words) == 1 and typed:
        found = [Candidate(name, len(typed), SPECS[ALIASES[name]].text) for name in ALIASES if name.startswith(typed)]
    return found


@contextlib.contextmanager
def open_lines(names: Names, interrupts: Interrupts) -> Iterator[ReadLine]:
    """The source of lines that fits the standard streams.

    Args:
        names: what to complete peers with.
        interrupts: where signals are taken while a line is awaited.
    """
    if sys.stdin is None or sys.stdin.closed:
        yield lambda: None
    elif not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield _plain(interrupts, "")
    elif importlib.util.find_spec("prompt_toolkit") is None:
        console.say(f"For a prompt with history and completion: {INSTALL_HINT}", "note")
        yield _plain(interrupts, PROMPT)
    else:
        with _prompting(names, interrupts) as read:
            yield read


def _plain(interrupts: Interrupts, prompt: str) -> ReadLine:
    """The lines of a pipe, a file, or a bare terminal; bytes that are no UTF-8 are kept as surrogates."""
    stream: Any = sys.stdin.buffer
    waiting = bytearray()

    def read() -> str | None:
        sys.stdout.write(prompt)
        sys.stdout.flush()
        while b"\n" not in waiting:
            if os.name == "posix":  # elsewhere only sockets can be waited for
                interrupts.readable(stream.fileno())
            fresh = stream.read1(65536)
            interrupts.check()
            if not fresh:
                break
            waiting.extend(fresh)
        if not waiting:
            return None
        line, _, waiting[:] = waiting.partition(b"\n")
        return line.decode("utf-8", "surrogateescape")

    return read


@contextlib.contextmanager
def _prompting(names: Names, interrupts: Interrupts) -> Iterator[ReadLine]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.application import get_app_session
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.patch_stdout import patch_stdout

    keyboard = get_app_session().input
    cooked_mode = keyboard.cooked_mode
    # The history stays in memory: what people write to each other does not belong in a file they never asked for.
    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=_completer(names),
        complete_while_typing=False,
        key_bindings=_key_bindings(cooked_mode),
        input=keyboard,
    )

    def read() -> str | None:
        interrupts.wake = lambda: _end_prompt(session.app)
        try:
            # What came before the prompt could be ended is looked at by pre_run, what comes later ends it.
            return session.prompt(PROMPT, pre_run=lambda: _end_if_pending(session.app, interrupts))
        except EOFError:
            return None
        finally:
            interrupts.wake = None
            interrupts.check()

    # The terminal stays raw to the end. Else what is typed while something is printed above, or between two prompts,
    # would be echoed in the wrong place, and a Ctrl-D would be swallowed.
    keyboard.cooked_mode = contextlib.nullcontext  # type: ignore[method-assign]
    try:
        # Raw output, because colours are ours: whatever else could drive the terminal is escaped before it is printed.
        with keyboard.raw_mode(), patch_stdout(raw=True):
            yield read
    finally:
        keyboard.cooked_mode = cooked_mode  # type: ignore[method-assign]


def _end_prompt(app: "Application[str]") -> None:
    if app.loop is not None:
        try:
            app.loop.call_soon_threadsafe(_exit, app)
        except RuntimeError:  # the prompt has just ended, and its loop is closed
            pass


def _end_if_pending(app: "Application[str]", interrupts: Interrupts) -> None:
    try:
        interrupts.check()
    except KeyboardInterrupt:
        _exit(app)


def _exit(app: "Application[str]") -> None:
    if app.future is not None and not app.future.done():  # else it has just ended by itself
        app.exit(exception=KeyboardInterrupt)


def _completer(names: Names) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    class CommandCompleter(Completer):
        def get_completions(self, document: "Document", complete_event: "CompleteEvent") -> "Iterator[Completion]":
            for word, replaces, meaning in candidates(document.text_before_cursor.lstrip(), names):
                yield Completion(word, start_position=-replaces, display_meta=meaning)

    return CommandCompleter()


def _key_bindings(cooked_mode: Callable[[], AbstractContextManager[None]]) -> "KeyBindings":
    from prompt_toolkit.application import run_in_terminal
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("c-c")
    def clear_or_end(event: "KeyPressEvent") -> None:
        """Ctrl-C gives up what is typed; on an empty line it ends the command."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    def suspend() -> None:
        with cooked_mode():
            os.kill(0, signal.SIGTSTP)  # the whole job, as the terminal itself does

    if hasattr(signal, "SIGTSTP"):

        @bindings.add("c-z")
        def suspend_job(event: "KeyPressEvent") -> None:
            """Ctrl-Z hands the terminal back to the shell until ``fg``."""
            run_in_terminal(suspend)

    return bindings
