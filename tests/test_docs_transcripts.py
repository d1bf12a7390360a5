"""The two terminals of the README, played again on real ones."""

import re
import threading

from tests.documents import blocks
from tests.terminal import Terminal

PROMPT = "crust> "
SETTINGS = ("$ ", "  reached at ")
"""Beginnings of lines that are not the dialogue: commands of the shell, and addresses of the machine."""


def pattern_of(line: str) -> str:
    """A line as it may look another time: other ids and ports."""
    line = re.escape(line)
    line = re.sub(r"\b[0-9a-f]{64}\b", "[0-9a-f]{64}", line)
    line = re.sub(r"\b[0-9a-f]{8}\b", "[0-9a-f]{8}", line)
    return re.sub(r"(?<=:)\d+\b", r"\\d+", line)


def play(terminal: Terminal, lines: list[str], failures: list[BaseException]) -> None:
    """Type what stands behind a prompt, and wait for everything between two such lines (in any order)."""
    try:
        expected: list[str] = []
        for line in lines:
            if line.startswith(PROMPT):
                terminal.expect("(?s)" + "".join(f"(?=.*{pattern_of(one)})" for one in expected))
                expected = []
                terminal.type(line.removeprefix(PROMPT) + "\r")
            else:
                expected.append(line)
        terminal.expect("(?s)" + "".join(f"(?=.*{pattern_of(one)})" for one in expected))
    except BaseException as error:
        failures.append(error)


def test_two_terminals_chat_as_the_readme_says() -> None:
    first, second = (
        [line for line in block.text.splitlines() if not line.startswith(SETTINGS)]
        for block in blocks("README.md")
        if block.language == "console"
    )
    failures: list[BaseException] = []
    with Terminal("-m", "crust", "peer") as one:
        port = one.expect(r"Listening for new connections on tcp:(\d+), utp:\d+\.")[1]
        other_thread = threading.Thread(target=play, args=(one, first[1:], failures))
        other_thread.start()
        with Terminal("-m", "crust", "peer", f"127.0.0.1:{port}") as other:
            play(other, second, failures)
            other_thread.join()
            assert not failures, failures
            assert (one.end(), other.end()) == (0, 0)
