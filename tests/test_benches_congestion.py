"""`benches.congestion`: what it does with figures; the experiments themselves are tested in the lab."""

import json
from pathlib import Path

import pytest

from benches import congestion
from tests.lab.flows import Transport
from tests.source_tree import ROOT

PAGE = "before\n<!-- congestion:begin -->\nold\n<!-- congestion:end -->\nafter\n"


@pytest.fixture(autouse=True)
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round finds a tenth more of the link filled."""

    def experiments(number: int) -> list[object]:
        return [lambda transport: {"alone: of the link": 0.8 + number / 10}]

    monkeypatch.setattr(congestion, "_experiments", experiments)
    monkeypatch.setattr(congestion, "missing", lambda: None)
    monkeypatch.setattr(congestion, "unavailable", lambda transport: "gone" if transport is Transport.BBR else None)


def test_a_table_of_all_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert congestion.main(["--rounds", "2"]) == 0
    said = capsys.readouterr()
    assert "Crust" in said.out
    assert "95.0% (90.0% - 100.0%)" in said.out
    assert "bbr is left out: gone" in said.out + said.err
    assert "TCP (BBR)" not in said.out


def test_json_has_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    assert congestion.main(["--rounds", "2", "--only", "crust", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures == {"crust": {"alone: of the link": [0.9, 1.0]}}


def test_the_table_takes_its_place_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    for _ in range(2):
        assert congestion.main(["--rounds", "1", "--only", "crust", "cubic", "--page", str(page)]) == 0
        text = page.read_text("utf-8")
        assert text.startswith("before\n<!-- congestion:begin -->\n\n|  | Crust | TCP (CUBIC) |\n|---|---:|---:|\n")
        assert "| alone: of the link | 90.0% | 90.0% |\n" in text
        assert text.endswith("one round.\n\n<!-- congestion:end -->\nafter\n")
        assert "old" not in text


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="one place for the table"):
        congestion.replace("nothing", [["", "a"]], "")
    congestion.replace((ROOT / "docs" / "utp.md").read_text("utf-8"), [["", "a"]], "")


def test_it_says_what_a_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(congestion, "missing", lambda: "no")
    assert congestion.main([]) == 1
