"""`tests.attack.report`: what it does with outcomes; the attacks themselves take long (test_attacks.py)."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crust.limits import MIB
from tests.attack import report
from tests.attack.plan import ATTACKS, BY_NAME, Attack
from tests.attack.siege import Outcome, State
from tests.source_tree import ROOT

PAGE = f"before\n{report.BEGIN}\na table of yesterday\n{report.END}\nafter\n"


def outcome(attack: Attack, **changes: Any) -> Outcome:
    """Of an attack that doubles round trips and halves the rest, and is told of."""
    before = {"p50": 0.001, "p95": 0.002, "throughput": 8e8, "lost": []}
    during = {"p50": 0.002, "p95": 0.004, "throughput": 4e8, "lost": []}
    end = {"sent": 7, "answered": 7, "lost": []}
    told = {"floods": Counter([attack.flood] if attack.flood else []), "crimes": Counter([attack.crime, attack.crime])}
    fields: dict[str, Any] = {
        "before": {"tcp": before, "utp": before, "new": {}},
        "during": {"tcp": during, "utp": {**during, "p50": 0.0005}, "new": {"in": 3, "tried": 4}},
        "quiet": State(40 * MIB, 10, 20),
        "peak": State(50 * MIB, 11, 21),
        "after": State(45 * MIB, 10, 20),
        "recovered": 0.1,
        "told": {"events": Counter(), "log": Counter(), **told},
        "attacker": {},
        "end": {"tcp": end, "utp": end, "target": {}},
    }
    return Outcome(attack, **{**fields, **changes})


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attack is over at once."""

    @contextmanager
    def besieged(attack: Attack, seconds: float) -> Iterator[Outcome]:
        attacker = {"sent: x": 100, "got: x": 80, "sent: y": 50} if attack.name == "reflection" else {}
        yield outcome(attack, attacker=attacker)

    monkeypatch.setattr(report, "besieged", besieged)
    monkeypatch.setattr(report, "missing", lambda: None)


def test_a_row() -> None:
    cells = report.row(outcome(BY_NAME["controls"]))
    assert cells[1:] == [
        "2.0, 0.50",
        "2.0, 2.0",
        "0.50, 0.50",
        "3 of 4",
        "40 / 50 / 45",
        "10 / 11 / 10",
        "20 / 21 / 20",
        "`Flood`: control frames",
    ]
    assert report.row(outcome(BY_NAME["gossip"]))[-1] == "`Misbehaviour`, 2 times"
    assert report.row(outcome(BY_NAME["syn"]))[-1] == BY_NAME["syn"].none_because


def test_an_alert_that_did_not_come_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing: dict[str, Counter[str]] = {name: Counter() for name in ("events", "floods", "crimes", "log")}
    for name in ("gossip", "controls"):
        silent = outcome(BY_NAME[name], told=nothing)
        assert not silent.alerted
        assert report.row(silent)[-1].startswith("MISSING")

    @contextmanager
    def besieged(attack: Attack, seconds: float) -> Iterator[Outcome]:
        yield outcome(attack, told=nothing)

    monkeypatch.setattr(report, "besieged", besieged)
    assert report.main(["--only", "controls"]) == 1
    assert "controls: the alert did not come" in capsys.readouterr().err


def test_all_attacks_are_in_the_table_and_in_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    for _ in range(2):
        assert report.main(["--markdown", "--page", str(page)]) == 0
    text, said = page.read_text("utf-8"), capsys.readouterr().out
    for attack in ATTACKS:
        assert attack.title in text
        assert attack.title in said
    assert text.startswith("before\n<!-- attacks:begin -->\n\n| attack |")
    assert text.endswith("<!-- attacks:end -->\nafter\n")
    assert "yesterday" not in text
    assert (
        "150 bytes of 2 kinds were sent in victims' names, which got 80; of the kind that reflects most, 0.80" in text
    )


def test_the_page_of_the_documentation_has_a_place_and_every_attack() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    report.replace(page, [["", "", ""]], "")
    assert [attack.title for attack in ATTACKS if attack.title not in page] == []
    with pytest.raises(ValueError, match="one place for the table"):
        report.replace("nothing", [["", "", ""]], "")


def test_it_says_what_a_machine_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "missing", lambda: "no")
    assert report.main([]) == 1
    assert "no" in capsys.readouterr().err
