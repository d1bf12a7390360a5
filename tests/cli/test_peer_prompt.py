import importlib.util
import io
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from crust.cli import Terminated, peer_prompt
from crust.cli.interrupts import Interrupts
from crust.cli.peer_prompt import candidates, open_lines

PEERS = [("1", "00010203 tcp://192.0.2.7:1"), ("12", "cafe0000 tcp://192.0.2.8:1")]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("", ["connect", "send", "send-all", "drop", "list", "whoami", "traffic", "help", "stop"]),
        ("se", ["send", "send-all"]),
        ("SE", ["send", "send-all"]),
        ("q", ["quit"]),
        ("zz", []),
        ("send ", ["1", "12"]),
        ("send 12", ["12"]),
        ("drop ", ["1", "12"]),
        ("send 1 hel", []),
        ("send-all ", []),
        ("traffic o", ["on", "off"]),
        ("help dr", ["drop"]),
        ("connect ", []),
    ],
)
def test_completion_knows_what_fits(before: str, words: list[str]) -> None:
    assert [candidate.word for candidate in candidates(before, PEERS)] == words


def test_a_completion_replaces_what_was_typed() -> None:
    assert candidates("send 12", PEERS) == [("12", 2, "cafe0000 tcp://192.0.2.8:1")]


def test_lines_of_a_pipe_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"list\nsend 1 \xff\n\nlast"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    with open_lines(list, Interrupts()) as read:
        assert [read(), read(), read(), read(), read()] == ["list\n", "send 1 \udcff\n", "\n", "last", None]


def test_without_standard_input_there_are_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with open_lines(list, Interrupts()) as read:
        assert read() is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_without_prompt_toolkit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("list\n"))
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("NO_COLOR", "1")
    with open_lines(list, Interrupts()) as read:
        assert read() == "list"
        assert read() is None
    assert screen.getvalue().startswith("For a prompt with history and completion: pip install 'crust-p2p[cli]'\n")


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        yield keyboard


def test_the_completer_of_the_prompt_offers_the_candidates() -> None:
    offered = peer_prompt._completer(lambda: PEERS).get_completions(Document("  send 12"), CompleteEvent())
    assert [(found.text, found.start_position, found.display_meta_text) for found in offered] == [
        ("12", -2, "cafe0000 tcp://192.0.2.8:1")
    ]


def test_the_prompt_reads_lines_and_remembers_them(keyboard: PipeInput) -> None:
    with peer_prompt._prompting(list, Interrupts()) as read:
        keyboard.send_text("whoami\r")
        assert read() == "whoami"
        keyboard.send_text("\x1b[A\r")  # the arrow up brings the line back
        assert read() == "whoami"


def test_control_d_ends(keyboard: PipeInput) -> None:
    with peer_prompt._prompting(list, Interrupts()) as read:
        keyboard.send_text("\x04")
        assert read() is None


def test_control_c_gives_up_the_line_first_and_ends_then(keyboard: PipeInput) -> None:
    with peer_prompt._prompting(list, Interrupts()) as read:
        keyboard.send_text("send 1 oops\x03list\r")
        assert read() == "list"
        keyboard.send_text("\x03")
        with pytest.raises(KeyboardInterrupt):
            read()


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_signals_end_the_prompt(keyboard: PipeInput, number: signal.Signals, error: type[BaseException]) -> None:
    def kill_while_it_waits() -> list[tuple[str, str]]:
        os.kill(os.getpid(), number)
        return []

    with Interrupts() as interrupts, peer_prompt._prompting(kill_while_it_waits, interrupts) as read:
        keyboard.send_text("send \t")  # asking for completions is a moment when the prompt surely runs
        with pytest.raises(error):
            read()


def test_a_signal_between_two_prompts_ends_the_next(keyboard: PipeInput) -> None:
    with Interrupts() as interrupts, peer_prompt._prompting(list, interrupts) as read:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            read()


def test_the_terminal_can_be_cooked_again_afterwards(keyboard: PipeInput) -> None:
    before = keyboard.cooked_mode
    with peer_prompt._prompting(list, Interrupts()):
        assert keyboard.cooked_mode != before
    assert keyboard.cooked_mode == before
