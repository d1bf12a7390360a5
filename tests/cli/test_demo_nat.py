"""``crust demo --nat`` where it cannot be given; where it can, ``tests/lab/test_demo_nat.py`` looks at all of it."""

import pytest

from crust import cli
from crust.cli import demo_nat
from crust.cli.console import Exit
from crust.cli.demo_crew import DemoFailed
from crust.cli.demo_nat_homes import StreetError


@pytest.fixture
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_nat, "missing", lambda: None)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo_nat, "missing", lambda: "it needs root: sudo crust demo --nat")
    assert cli.main(["demo", "--nat"]) == Exit.FAILED
    assert capsys.readouterr().err == "error: it needs root: sudo crust demo --nat\n"


@pytest.mark.parametrize("words", [["--peers", "3"], ["--size", "1"]])
def test_options_of_the_other_demo_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--nat", *words]) == Exit.USAGE
    assert "leave out --peers and --size" in capsys.readouterr().err


@pytest.mark.usefixtures("possible")
def test_homes_that_cannot_be_built_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def street() -> None:
        raise StreetError("no network namespaces could be made: not permitted")

    monkeypatch.setattr(demo_nat, "Street", street)
    assert cli.main(["demo", "--nat", "--quiet"]) == Exit.FAILED
    assert "not permitted" in capsys.readouterr().err


class NoStreet:
    """Homes that nobody moves into."""

    def __enter__(self) -> "NoStreet":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.usefixtures("possible")
def test_what_is_not_as_it_should_be_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(self: demo_nat.NatShow, folder: object) -> None:
        raise DemoFailed("Ada: uTP hole punching: no answer")

    monkeypatch.setattr(demo_nat, "Street", NoStreet)
    monkeypatch.setattr(demo_nat.NatShow, "play", play)
    assert cli.main(["demo", "--nat", "--quiet"]) == Exit.CHECK
    assert "Ada: uTP hole punching: no answer" in capsys.readouterr().err
