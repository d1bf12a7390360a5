import contextlib
import importlib.util
import io
import os
import pty
import signal
import sys
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from crust.cli import Terminated, peer_prompt
from crust.cli.interrupts import Interrupts
from crust.cli.peer_commands import BadCommand
from crust.cli.peer_prompt import COMMAND_ROOM, Names, candidates, open_lines


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    with Interrupts() as interrupts:
        yield interrupts


PEERS = [("1", "00010203 tcp://192.0.2.7:1"), ("12", "cafe0000 tcp://192.0.2.8:1")]
NAMES = Names(lambda: PEERS, lambda: [("beef0000", "tcp://192.0.2.9:1")], lambda: [("10.0.0.0/8", "")])


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (
            "",
            [
                "connect",
                "punch",
                "info",
                "connect-info",
                "send",
                "send-all",
                "drop",
                "blacklist",
                "unblacklist",
                "blacklisted",
                "only",
                "list",
                "whoami",
                "status",
                "nat",
                "traffic",
                "help",
                "stop",
            ],
        ),
        ("se", ["send", "send-all"]),
        ("SE", ["send", "send-all"]),
        ("q", ["quit"]),
        ("zz", []),
        ("send ", ["1", "12"]),
        ("send 12", ["12"]),
        ("drop ", ["1", "12"]),
        ("punch ", ["beef0000"]),
        ("punch be", ["beef0000"]),
        ("punch 1", []),
        ("send 1 hel", []),
        ("send-all ", []),
        ("traffic o", ["on", "off"]),
        ("help dr", ["drop"]),
        ("connect ", []),
        ("unblacklist ", ["10.0.0.0/8"]),
        ("unblacklist 10.0.0.0/8 1", ["10.0.0.0/8"]),
        ("blacklist 1 ", ["1", "12"]),
        ("only ", ["1", "12"]),
        ("drop 1 ", []),
    ],
)
def test_completion_knows_what_fits(before: str, words: list[str]) -> None:
    assert [candidate.word for candidate in candidates(before, NAMES)] == words


def test_a_completion_replaces_what_was_typed() -> None:
    assert candidates("drop 12", NAMES) == [("12", 2, "cafe0000 tcp://192.0.2.8:1", False)]


@pytest.mark.parametrize(
    ("before", "unfinished"),
    [("send 12", True), ("drop 12", False), ("unbl", True), ("who", False), ("onl", False), ("qui", False)],
)
def test_a_completion_that_needs_more_behind_it_ends_with_a_space(before: str, unfinished: bool) -> None:
    assert [candidate.unfinished for candidate in candidates(before, NAMES)] == [unfinished]


@contextlib.contextmanager
def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Iterator[None]:
    """Standard input is a pipe that holds ``data`` and ends."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    with open(reader, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield


def test_lines_of_a_pipe_to_the_end(monkeypatch: pytest.MonkeyPatch, interrupts: Interrupts) -> None:
    with standard_input(monkeypatch, b"list\nsend 1 \xff\r\n\nlast"), open_lines(Names(), interrupts) as read:
        assert [read() for _ in range(6)] == ["list", "send 1 \udcff\r", "", "last", None, None]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_far_too_long_is_read_past(
    monkeypatch: pytest.MonkeyPatch, interrupts: Interrupts, end: bytes
) -> None:
    fits = b"x" * (10 + COMMAND_ROOM)
    with standard_input(monkeypatch, b"list\n" + fits + b"\n" + fits + b"x" + end):
        with open_lines(Names(), interrupts, most=10) as read:
            assert [read(), read()] == ["list", fits.decode()]
            with pytest.raises(BadCommand, match="the largest message has 10 bytes"):
                read()
            assert read() is None


def test_of_a_line_without_end_little_is_kept(monkeypatch: pytest.MonkeyPatch, interrupts: Interrupts) -> None:
    class Endless:
        """A line of 128 MiB, and one behind it."""

        left = 128

        def __init__(self) -> None:
            self.piece = b"x" * 1024**2

        def read1(self, size: int) -> bytes:
            self.left -= 1
            return self.piece if self.left >= 0 else b"x\nlist\n" if self.left == -1 else b""

        def fileno(self) -> int:
            return ready

    ready, writer = os.pipe()
    os.close(writer)  # so it can always be read from
    with open(ready, "rb"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Endless(), isatty=lambda: False, closed=False))
        with open_lines(Names(), interrupts, most=10) as read:
            tracemalloc.start()
            try:
                with pytest.raises(BadCommand):
                    read()
                assert tracemalloc.get_traced_memory()[1] < 16 * 1024**2
            finally:
                tracemalloc.stop()
            assert [read(), read()] == ["list", None]


def test_a_signal_ends_the_wait_for_a_line(monkeypatch: pytest.MonkeyPatch, interrupts: Interrupts) -> None:
    with standard_input(monkeypatch, b"list\n"), open_lines(Names(), interrupts) as read:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            read()


def test_without_standard_input_there_are_no_lines(monkeypatch: pytest.MonkeyPatch, interrupts: Interrupts) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with open_lines(Names(), interrupts) as read:
        assert read() is None


def test_a_terminal_without_prompt_toolkit_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, interrupts: Interrupts
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("NO_COLOR", "1")
    master, slave = pty.openpty()
    os.write(master, b"list\n\x04")
    with open(slave, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with open_lines(Names(), interrupts) as read:
            assert [read(), read()] == ["list", None]
    os.close(master)
    hint = "For a prompt with history and completion: pip install 'crust-p2p[cli]'\n"
    assert screen.getvalue() == f"{hint}crust> crust> "


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        yield keyboard


def test_the_completer_of_the_prompt_offers_the_candidates() -> None:
    offered = peer_prompt._completer(NAMES).get_completions(Document("  send 12"), CompleteEvent())
    assert [(found.text, found.start_position, found.display_meta_text) for found in offered] == [
        ("12 ", -2, "cafe0000 tcp://192.0.2.8:1")
    ]


def test_the_prompt_reads_lines_and_remembers_them(keyboard: PipeInput, interrupts: Interrupts) -> None:
    with peer_prompt._prompting(Names(), interrupts) as read:
        keyboard.send_text("whoami\r")
        assert read() == "whoami"
        keyboard.send_text("\x1b[A\r")  # the arrow up brings the line back
        assert read() == "whoami"


def test_control_d_ends(keyboard: PipeInput, interrupts: Interrupts) -> None:
    with peer_prompt._prompting(Names(), interrupts) as read:
        keyboard.send_text("\x04")
        assert read() is None


def test_control_c_gives_up_the_line_first_and_ends_then(keyboard: PipeInput, interrupts: Interrupts) -> None:
    with peer_prompt._prompting(Names(), interrupts) as read:
        keyboard.send_text("send 1 oops\x03list\r")
        assert read() == "list"
        keyboard.send_text("\x03")
        with pytest.raises(KeyboardInterrupt):
            read()


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_signals_end_the_prompt(
    keyboard: PipeInput, interrupts: Interrupts, number: signal.Signals, error: type[BaseException]
) -> None:
    def kill_while_it_waits() -> list[tuple[str, str]]:
        os.kill(os.getpid(), number)
        return []

    with peer_prompt._prompting(Names(kill_while_it_waits), interrupts) as read:
        keyboard.send_text("send \t")  # asking for completions is a moment when the prompt surely runs
        with pytest.raises(error):
            read()


def test_a_signal_between_two_prompts_ends_the_next(keyboard: PipeInput, interrupts: Interrupts) -> None:
    with peer_prompt._prompting(Names(), interrupts) as read:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            read()


def test_the_terminal_can_be_cooked_again_afterwards(keyboard: PipeInput, interrupts: Interrupts) -> None:
    before = keyboard.cooked_mode
    with peer_prompt._prompting(Names(), interrupts):
        assert keyboard.cooked_mode != before
    assert keyboard.cooked_mode == before
