"""`crust.cli.scan`: what it prints, and what it says when nobody answers."""

import pytest

from crust import cli
from crust.cli import scan as command
from crust.cli.console import Exit
from crust.config import Config
from crust.discovery.contact import Contact, Source
from crust.endpoint import Endpoint
from crust.identity import PeerId

NODE = Contact(
    (Endpoint.tcp("192.0.2.7:5483"), Endpoint.utp("192.0.2.7:5484")), PeerId(bytes(range(32))), Source.BEACON
)


class Asked:
    """Stands in for the network."""

    def __init__(self, *found: Contact) -> None:
        self.found = list(found)
        self.config = Config()
        self.seconds = 0.0

    def __call__(self, config: Config, seconds: float) -> list[Contact]:
        self.config, self.seconds = config, seconds
        return self.found


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)


def test_each_node_has_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = Asked(NODE)
    monkeypatch.setattr(command, "scan", asked)
    assert cli.main(["scan"]) == Exit.OK
    out = capsys.readouterr().out
    assert "00010203  tcp://192.0.2.7:5483  utp://192.0.2.7:5484" in out
    assert "1 node" in out
    assert asked.config == Config()
    assert asked.seconds == command.DEFAULT_SECONDS


def test_options_choose_the_network_and_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(NODE)
    monkeypatch.setattr(command, "scan", asked)
    assert cli.main(["scan", "--network", "mine", "--beacon", "7777", "--seconds", "0.5"]) == Exit.OK
    assert (asked.config.network, asked.config.beacon_port, asked.seconds) == ("mine", 7777, 0.5)


def test_nobody_is_an_error_that_says_what_to_look_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "scan", Asked())
    assert cli.main(["scan", "--network", "mine"]) == Exit.FAILED
    error = capsys.readouterr().err
    assert "'mine'" in error
    assert "UDP port 5483" in error


def test_wrong_values_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scan", "--beacon", "99999"]) == Exit.USAGE
    assert cli.main(["scan", "--seconds", "soon"]) == Exit.USAGE
    assert "not a port" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "told"), [("--beacon", "at port 0"), ("--seconds", "in no time")])
def test_nothing_is_no_value(option: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scan", option, "0"]) == Exit.USAGE
    assert told in capsys.readouterr().err
