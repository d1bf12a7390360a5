"""The two terminals of the README, played again on real ones, and answers of the command that are easy to have."""

import re
import threading
from pathlib import Path

import platformdirs
import pytest

from crust import Config, Endpoint, cli
from crust.cli.nat_view import status_lines
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.mapping_report import GatewayReport, MappingReport
from crust.nat.nat_report import NatReport
from crust.nat.nat_status import NatStatus
from crust.nat.observations import Believed, Confidence
from tests.discovery.beacon_loopback import free_port
from tests.documents import blocks, text_of
from tests.terminal import Terminal

PROMPT = "crust> "
SETTINGS = ("$ ", "  reached at ")
"""Beginnings of lines that are not the dialogue: commands of the shell, and addresses of the machine."""


def pattern_of(line: str) -> str:
    """A line as it may look another time: other ids, addresses and ports, and who of both was faster to dial."""
    line = re.escape(line)
    line = re.sub(r"\b[0-9a-f]{64}\b", "[0-9a-f]{64}", line)
    line = re.sub(r"\b[0-9a-f]{8}\b", "[0-9a-f]{8}", line)
    line = line.replace("192\\.0\\.2\\.2", "127.0.0.1").replace("tcp://", "(tcp|utp)://")
    line = re.sub(r"^(Bootstrapped|Connected)", "(Bootstrapped|Connected)", line)
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


@pytest.fixture(autouse=True)
def on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local network of this test only."""
    file = tmp_path / "crust.yaml"
    Config(listen_addresses=("127.0.0.1",), beacon_port=free_port(), network="readme").write(file)
    monkeypatch.setenv("CRUST_CONFIG", str(file))


def test_two_terminals_chat_as_the_readme_says() -> None:
    first, second = (
        [line for line in block.text.splitlines() if not line.startswith(SETTINGS)]
        for block in blocks("README.md")
        if block.language == "console"
    )
    failures: list[BaseException] = []
    with Terminal("-m", "crust", "peer") as one:
        one.expect(r"Listening for new connections on tcp:\d+, utp:\d+\.")
        other_thread = threading.Thread(target=play, args=(one, first[1:], failures))
        other_thread.start()
        with Terminal("-m", "crust", "peer") as other:
            play(other, second, failures)
            other_thread.join()
            assert not failures, failures
            assert (one.end(), other.end()) == (0, 0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the Ada of the documentation."""
    for name in ("config", "cache"):
        (tmp_path / f".{name}" / "crust").mkdir(parents=True)
        monkeypatch.setattr(platformdirs, f"user_{name}_path", lambda *_, n=name, **__: tmp_path / f".{n}" / "crust")
    monkeypatch.delenv("CRUST_CONFIG")
    monkeypatch.delenv("CRUST_NETWORK_KEY", raising=False)
    return tmp_path


@pytest.mark.slow
def test_two_that_know_nobody_in_common_meet_as_the_documentation_says() -> None:
    found = re.search(r"^    crust> info\n(?:    .*\n)+", text_of("docs/cli.md"), re.MULTILINE)
    assert found
    shown = [line.strip() for line in found[0].splitlines()]
    info, asking, todo, line, _, looking, connected = shown
    connected = pattern_of(connected).replace("198\\.51\\.100\\.7", "127.0.0.1")
    with Terminal("-m", "crust", "peer", "--alone") as one, Terminal("-m", "crust", "peer", "--alone") as other:
        lines = []
        for terminal in (one, other):
            terminal.expect("Type help for the commands")
            terminal.type(info.removeprefix(PROMPT) + "\r")
            terminal.expect(f"(?s){pattern_of(asking)}.*{pattern_of(todo)}")
            lines.append(terminal.expect(r"(crust-info:[\w-]{60,})\s")[1])
            assert lines[-1].startswith(line[:12])
        for terminal, line in zip((one, other), reversed(lines), strict=True):
            terminal.type(f"connect-info {line}\r")
        for terminal in (one, other):
            # On loopback, the first one reaches the other at once; maybe before that one is asked to do its part.
            terminal.expect(f"(?s)(?=.*({pattern_of(looking)}|Already connected to peer 1))(?=.*{connected})")
        for terminal in (one, other):
            terminal.type("stop\r")
            assert terminal.end() == 0


def answer(command: str) -> str:
    """What the documentation of the command says that it answers to ``command``."""
    text = text_of("docs/cli.md").replace("\n    ", "\n")
    found = re.search(rf"^\$ {re.escape(command)}\n(.+?)\n(?:\n|```)", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_answers_of_cache_and_config_are_those_of_the_documentation(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cache", "add", "192.0.2.7:5483"]) == 0
    assert capsys.readouterr().out.strip() == answer("crust cache add 192.0.2.7:5483").replace("/home/ada", str(home))
    (home / ".config/crust/crust.crust.yaml").write_text("\n\n\ntcp_prot: 7\n")
    assert cli.main(["config", "check"]) == 2
    assert capsys.readouterr().err.strip() == answer("crust config check").replace("/home/ada", str(home))


def test_the_answer_of_nat_is_that_of_the_documentation() -> None:
    """Of a machine behind a home router without UPnP."""
    own = Endpoint.tcp("192.168.1.2:41234"), Endpoint.utp("192.168.1.2:41234")
    router = GatewayReport("eth0", "192.168.1.2", "192.168.1.1", None, None, (), (), settled=True)
    behaviour = Behaviour(
        Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, Allocation.PRESERVING, hairpin=False
    )
    seen = Believed(("198.51.100.7", 41234), Confidence.HEARD, 1)
    status = NatStatus(own=own, mappings=MappingReport((router,)), nat=NatReport(behaviour, seen, 1, 1))
    first, *told = answer("crust nat --stun stun.example.org:3478").splitlines()
    assert first.startswith("Asking routers, servers and peers, for up to")
    assert told == [line.text for line in status_lines(status)]
