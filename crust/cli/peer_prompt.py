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
from crust.cli.peer_commands import ALIASES, SPECS, TAKES_ID, TAKES_LISTED, TAKES_PEER, TAKES_SEVERAL, BadCommand
from crust.limits import MAX_MESSAGE_SIZE

if TYPE_CHECKING:
    from prompt_toolkit.application import Application
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT: Final = "crust> "
COMMAND_ROOM: Final = 1024
"""Bytes of a line beside the message in it: a command, and a peer's id or address."""
ReadLine: TypeAlias = Callable[[], str | None]
"""Gives the next line, ``None`` at the end of the input; Ctrl-C raises ``KeyboardInterrupt``, SIGTERM `Terminated`.
A line that is far too long raises `BadCommand`; the next call gives the one behind it."""
Peers: TypeAlias = Callable[[], list[tuple[str, str]]]


class Candidate(NamedTuple):
    """A completion: the word, how many typed characters it replaces, what it means, and whether more has to follow."""

    word: str
    replaces: int
    meaning: str
    unfinished: bool = False


class Names(NamedTuple):
    """What peers are completed with: calls that give what to type for each, and what that stands for."""

    connected: Peers = list
    elsewhere: Peers = list
    """Those that are known, and not connected."""
    blacklisted: Peers = list
    """What is on the blacklist: not peers alone."""


def candidates(before: str, names: Names) -> list[Candidate]:
    """What the word at the end of ``before`` can become. Pure, as long as ``names`` are.

    Args:
        before: the line up to the cursor.
        names: of peers; called only where one can stand.
    """
    *earlier, typed = before.split(" ")
    if not earlier:
        return _command_names(typed)
    command = earlier[0].lower()
    if len(earlier) > 1 and command not in TAKES_SEVERAL:
        return []
    if command in TAKES_PEER:
        known: Iterable[tuple[str, str]] = names.connected()
    elif command in TAKES_ID:
        known = names.elsewhere()
    elif command in TAKES_LISTED:
        known = names.blacklisted()
    elif command == "help":
        known = ((name, SPECS[name].text) for name in SPECS)
    elif command == "traffic":
        known = (("on", ""), ("off", ""))
    else:
        return []
    return [
        Candidate(word, len(typed), meaning, command == "send")
        for word, meaning in known
        if word.startswith(typed.lower())
    ]


def _command_names(typed: str) -> list[Candidate]:
    """The commands that begin like that; other words for them only if there is none."""
    names = {name: name for name in SPECS if name.startswith(typed.lower())}
    if not names and typed:
        names = {alias: name for alias, name in ALIASES.items() if alias.startswith(typed)}
    return [Candidate(word, len(typed), SPECS[name].text, _takes_more(name)) for word, name in names.items()]


def _takes_more(name: str) -> bool:
    """Whether the command is none without anything after it."""
    needed = SPECS[name].usage.partition(" ")[2]
    return bool(needed) and not needed.startswith("[")


@contextlib.contextmanager
def open_lines(names: Names, interrupts: Interrupts, most: int = MAX_MESSAGE_SIZE) -> Iterator[ReadLine]:
    """The source of lines that fits the standard streams.

    Args:
        names: what to complete peers with.
        interrupts: where signals are taken while a line is awaited.
        most: bytes of the largest message; lines that are much longer are read past, and raise `BadCommand`.
    """
    if sys.stdin is None or sys.stdin.closed:
        yield lambda: None
    elif not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield _plain(interrupts, "", most)
    elif importlib.util.find_spec("prompt_toolkit") is None:
        console.say(f"For a prompt with history and completion: {INSTALL_HINT}", "note")
        yield _plain(interrupts, PROMPT, most)
    else:
        with _prompting(names, interrupts) as read:
            yield read


def _plain(interrupts: Interrupts, prompt: str, most: int) -> ReadLine:
    """The lines of a pipe, a file, or a bare terminal; bytes that are no UTF-8 are kept as surrogates."""
    stream: Any = sys.stdin.buffer
    waiting = bytearray()

    def read() -> str | None:
        sys.stdout.write(prompt)
        sys.stdout.flush()
        size = 0  # of the line, as far as it has come
        while b"\n" not in waiting:
            if size > most + COMMAND_ROOM:
                waiting.clear()  # but for its end, such a line need not be kept
            if os.name == "posix":  # elsewhere only sockets can be waited for
                interrupts.readable(stream.fileno())
            fresh = stream.read1(65536)
            interrupts.check()
            if not fresh:
                break
            waiting.extend(fresh)
            size += len(fresh)
        if not waiting and not size:
            return None
        line, _, waiting[:] = waiting.partition(b"\n")
        if max(size - len(waiting), len(line)) > most + COMMAND_ROOM:
            raise BadCommand(f"a line that is too long for a command: the largest message has {most:,} bytes")
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
            for word, replaces, meaning, unfinished in candidates(document.text_before_cursor.lstrip(), names):
                text = word + " " * unfinished
                yield Completion(text, start_position=-replaces, display=word, display_meta=meaning)

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
