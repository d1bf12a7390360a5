"""``crust peer`` on a terminal: what is typed survives what happens meanwhile, and the terminal is left as it was."""

import signal
from collections.abc import Iterator

import pytest

from crust.cli.console import Exit
from tests.processes import Process
from tests.terminal import Terminal


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal("-m", "crust", "peer") as terminal:
        yield terminal


@pytest.fixture
def visitor(terminal: Terminal) -> Iterator[Process]:
    port = terminal.expect(r"Listening for new connections on tcp:(\d+)")[1]
    terminal.expect("crust>")
    with Process("-m", "crust", "peer", f"127.0.0.1:{port}") as visitor:
        visitor.expect("^Bootstrapped to peer 1")
        terminal.expect("Connected to peer 1 at ")
        yield visitor


def test_what_is_typed_survives_what_arrives(terminal: Terminal, visitor: Process) -> None:
    terminal.type("send 1 half a")
    terminal.expect("half a")
    visitor.type("send 1 \x1b[2Jinterruption")
    terminal.expect(r"From peer 1: \\x1b\[2Jinterruption\s+crust>\s*send 1 half a")
    terminal.type(" sentence\r")
    visitor.expect("^From peer 1: half a sentence$")


def test_control_d_ends_in_order(terminal: Terminal, visitor: Process) -> None:
    terminal.type("\x04")
    terminal.expect(r"Stopped\.")
    assert terminal.end() == Exit.OK
    assert terminal.settings_changed() == []
    visitor.expect("^Lost connection to peer 1")


def test_control_c_gives_up_the_line_first_and_ends_then(terminal: Terminal, visitor: Process) -> None:
    terminal.type("send 1 oops\x03send 1 better\r")
    visitor.expect("^From peer 1: better$")
    terminal.type("\x03")
    terminal.expect(r"Stopped\.")
    assert terminal.end() == Exit.OK


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_leave_the_terminal_as_it_was(terminal: Terminal, visitor: Process, number: signal.Signals) -> None:
    terminal.type("send 1 something not finish")
    terminal.expect("not finish")
    terminal.signal(number)
    terminal.expect(r"Stopped\.")
    assert terminal.end() == Exit.OK
    assert terminal.settings_changed() == []
    visitor.expect("^Lost connection to peer 1")
