"""``crust nat``: when it has waited long enough, and what it prints; on loopback, where there is no router."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import crust
from crust import Config, ConnectionManager, Endpoint, cli
from crust.cli import nat as command
from crust.cli.console import Exit
from crust.cli.nat import is_known
from crust.discovery.bootstrap_status import BootstrapStatus
from crust.nat.behaviour import UNKNOWN
from crust.nat.mapping_report import MappingReport
from crust.nat.nat_report import NatReport
from crust.nat.nat_status import NatStatus
from tests.processes import Process

ASKED = NatStatus(nat=NatReport(UNKNOWN, None, 1, 1))
SETTLED = MappingReport(begun=True)
SEARCHING = BootstrapStatus(running=True, round=1, wanted=4)
ALONE = replace(SEARCHING, next_round_in=1.0)
CONNECTED = BootstrapStatus(made=1, connected=1, wanted=4)
HERE = Endpoint.tcp("192.0.2.7:5483")


@pytest.mark.parametrize(
    ("status", "search", "maps", "servers", "known"),
    [
        (NatStatus(), ALONE, False, False, True),
        (NatStatus(), ALONE, True, False, False),
        (NatStatus(mappings=SETTLED), ALONE, True, False, True),
        (NatStatus(), SEARCHING, False, False, False),
        (NatStatus(), ALONE, False, True, False),
        (ASKED, ALONE, False, True, True),
        (ASKED, SEARCHING, False, True, True),
        (NatStatus(), CONNECTED, False, False, False),
        (ASKED, CONNECTED, False, False, True),
        (replace(ASKED, verified={HERE: None}), CONNECTED, False, False, False),
        (replace(ASKED, verified={HERE: None}), ALONE, False, True, True),
        (replace(ASKED, verified={HERE: False}), CONNECTED, False, False, True),
    ],
)
def test_it_waits_for_what_may_still_come(
    status: NatStatus, search: BootstrapStatus, maps: bool, servers: bool, known: bool
) -> None:
    assert is_known(status, search, maps=maps, servers=servers) is known


@pytest.fixture(autouse=True)
def on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the user."""
    file = tmp_path / "crust.yaml"
    Config(listen_addresses=("127.0.0.1",), network="nat", beacon_port=None, hard_coded_contacts=()).write(file)
    monkeypatch.setenv("CRUST_CONFIG", str(file))
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)


@pytest.fixture
def peer() -> Iterator[str]:
    """Where somebody listens who can be asked."""
    config = Config(listen_addresses=("127.0.0.1",), network="nat", beacon_port=None, upnp=False)
    with ConnectionManager(crust.channel(), config) as manager:
        manager.start_listening()
        yield next(str(each) for each in manager.get_own_endpoints() if str(each).startswith("tcp:"))


def test_a_peer_is_asked_and_all_is_told(peer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nat", "--seconds", "30", peer]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Asking routers, servers and peers, for up to 30 s ..."
    assert "This machine:" in lines
    assert [line for line in lines if line.startswith("  utp://127.0.0.1:")]


def test_for_programs_there_is_one_document(peer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nat", "--json", peer]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["nat"]["asked"] == 1
    assert document["reach"]
    assert set(document) == set(NatStatus().as_dict())


def test_without_anybody_to_ask_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nat", "--seconds", "0"]) == Exit.OK
    assert "Name servers to ask in stun_servers" in capsys.readouterr().out


def test_a_peer_that_is_not_there_is_an_error_that_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nat", "--seconds", "0", "127.0.0.1:9"]) == Exit.UNREACHABLE
    out, err = capsys.readouterr()
    assert "This machine:" in out
    assert "no connection to tcp://127.0.0.1:9" in err


def test_a_server_that_cannot_be_asked_is_an_error_that_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nat", "--stun", "[::1]:3478"]) == Exit.UNREACHABLE
    out, err = capsys.readouterr()
    assert "This machine:" in out
    assert "The server [::1]:3478 told nothing: it has no IPv4 address" in out
    assert "nothing was learned from [::1]:3478: it has no IPv4 address" in err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_control_c_ends_it() -> None:
    with Process("-m", "crust", "nat", "--stun", "127.0.0.1:9", "--seconds", "60") as process:
        process.expect("^Asking routers")
        process.signal(signal.SIGINT)
        code, lines = process.end()
    assert code == Exit.INTERRUPTED
    assert "Traceback" not in "\n".join(lines)


def test_servers_of_the_command_line_come_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = cli._parser("nat", command)
    words = ["nat", "--stun", "192.0.2.1:3478", "--stun", "stun.example.org:3478"]
    config = command._config(parser.parse_args(words))
    assert config.stun_servers == ("192.0.2.1:3478", "stun.example.org:3478")
    assert config.beacon_port is None


def test_what_cannot_be_a_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nat", "--stun", "nonsense"]) == Exit.USAGE
    assert "nonsense" in capsys.readouterr().err


def test_without_any_port_there_is_nothing_to_find_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "closed.yaml"
    Config(tcp_port=None, utp_port=None, beacon_port=None).write(file)
    monkeypatch.setenv("CRUST_CONFIG", str(file))
    assert cli.main(["nat"]) == Exit.LISTEN
    assert "switches every port off" in capsys.readouterr().err
