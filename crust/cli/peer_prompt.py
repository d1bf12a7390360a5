"""Where the lines of ``crust peer`` come from: a prompt with history and completion, or standard input as it is."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from crust.cli import INSTALL_HINT, Terminated, console, handling_termination
from crust.cli.peer_commands import ALIASES, SPECS, TAKES_PEER

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
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


def candidates(before: str, peers: list[tuple[str, str]]) -> list[Candidate]:
    """What the word at the end of ``before`` can become. Pure.

    Args:
        before: the line up to the cursor.
        peers: what stands for each connected peer, and what it stands for.
    """
    words = before.split(" ")
    typed = words[-1]
    match words[:-1]:
        case []:
            known: Iterable[tuple[str, str]] = ((name, spec.text) for name, spec in SPECS.items())
        case [command] if command.lower() in TAKES_PEER:
            known = peers
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
def open_lines(peers: Peers, say: Callable[[str, str | None], None]) -> Iterator[ReadLine]:
    """The source of lines that fits the standard streams.

    Args:
        peers: what to complete peers with.
        say: prints a line.
    """
    if sys.stdin is None or sys.stdin.closed:
        yield lambda: None
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="surrogateescape")
        yield read_plain
        return
    try:
        import prompt_toolkit
    except ModuleNotFoundError:
        say(f"For a prompt with history and completion: {INSTALL_HINT}", "note")
        yield read_bare_terminal
        return
    del prompt_toolkit
    with _prompting(peers) as read:
        yield read


def read_plain() -> str | None:
    """The next line of a pipe or file."""
    return sys.stdin.readline() or None


def read_bare_terminal() -> str | None:
    """The next line of a terminal, without any help."""
    try:
        return input(PROMPT)
    except EOFError:
        console.say()
        return None


@contextlib.contextmanager
def _prompting(peers: Peers) -> Iterator[ReadLine]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.patch_stdout import patch_stdout

    # The history stays in memory: what people write to each other does not belong in a file they never asked for.
    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=_completer(peers),
        complete_while_typing=False,
        enable_suspend=True,
        key_bindings=_key_bindings(),
    )

    def read() -> str | None:
        try:
            with _sigterm_ends(session):
                return session.prompt(PROMPT)
        except EOFError:
            return None

    # Raw, because colours are ours: whatever else could drive the terminal is escaped before it is printed.
    with _no_echo(), patch_stdout(raw=True):
        yield read


@contextlib.contextmanager
def _no_echo() -> Iterator[None]:
    """Keep the terminal from echoing what is typed while no prompt is there: the next prompt shows it anyway."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (OSError, ValueError, termios.error):  # no terminal of this kind
        yield
        return
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _completer(peers: Peers) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    class CommandCompleter(Completer):
        def get_completions(self, document: "Document", complete_event: "CompleteEvent") -> "Iterator[Completion]":
            for word, replaces, meaning in candidates(document.text_before_cursor.lstrip(), peers()):
                yield Completion(word, start_position=-replaces, display_meta=meaning)

    return CommandCompleter()


def _key_bindings() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("c-c")
    def clear_or_end(event: "KeyPressEvent") -> None:
        """Ctrl-C gives up what is typed; on an empty line it ends the command."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return bindings


@contextlib.contextmanager
def _sigterm_ends(session: "PromptSession[str]") -> Iterator[None]:
    """While the prompt has the terminal, SIGTERM ends it from inside: it then leaves the terminal as it was."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop = session.app.loop
        if loop is None or not session.app.is_running:
            raise Terminated
        loop.call_soon_threadsafe(lambda: session.app.exit(exception=Terminated))

    with handling_termination(on_signal):
        yield
