"""The benchmark beside real peers: its arithmetic, and a tiny run of each system. Nothing depends on how fast it is."""

import json
from pathlib import Path

import pytest

from benches import utp_speed
from benches.utp_crust import End
from benches.utp_speed import PAYLOADS, Pair, Sample, calls_counted, goals, packets_per_call, ratio, row
from tests.interop.node import UDX_NATIVE, UTP_NATIVE, Missing, node_modules


@pytest.fixture(scope="module")
def packages() -> None:
    try:
        node_modules(UDX_NATIVE, UTP_NATIVE)
    except Missing as missing:
        pytest.skip(str(missing))


def sample(system: str, number: int, rate: float) -> Sample:
    return Sample(system, number, rate, bytes=1_000_000, cpu=0.001)


def test_ratios_are_made_within_a_round() -> None:
    # The machine is ten times slower in the second round: that must not show.
    samples = [sample("crust", 0, 30e6), sample("udx", 0, 10e6), sample("crust", 1, 3e6), sample("udx", 1, 1e6)]
    found = ratio(samples, "crust", "udx")
    assert found is not None
    assert (found.median, found.least, found.most) == (3.0, 3.0, 3.0)
    assert ratio(samples, "crust", "libutp") is None


def test_a_row_has_speed_ratios_packets_cpu_and_calls() -> None:
    samples = [sample("crust", 0, 138e6), sample("udx", 0, 69e6)]
    cells = row(samples, "crust", {"crust": 7.25})
    assert cells[0] == "crust"
    assert cells[1].startswith("138 ")
    assert cells[2].startswith("2.00 ")
    assert cells[3] == "-"
    assert cells[4:] == ["1380", "100 k", "1.38 us", "7.2"]


def test_goals_say_what_is_reached() -> None:
    samples = [sample("crust", 0, 300e6), sample("udx", 0, 100e6)]
    lines = goals(samples, {"crust": 4.0})
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["missed", "reached", "missed"]
    assert goals([], {}) == []


@pytest.mark.parametrize("system", utp_speed.SYSTEMS)
def test_each_system_has_its_size_of_packets_and_ours_its_size_of_writes(system: str) -> None:
    assert PAYLOADS[system] > 0
    if system.startswith("crust"):
        end = End(system)
        assert system != "crust-plain" or not end._socket._datagrams.offload
        end.close()


def test_calls_are_summed_from_what_strace_writes() -> None:
    summary = "  name  calls\n------ ------\nsendto 1200\nrecvmsg 34\n------ ------\ntotal 1234\n"
    assert calls_counted(summary) == 1234


@pytest.mark.slow
@pytest.mark.parametrize("system", utp_speed.SYSTEMS)
@pytest.mark.usefixtures("packages")
def test_a_pair_moves_bytes_one_way(system: str) -> None:
    with Pair(system) as pair:
        for _ in range(2):
            seconds, cpu = pair.one_way(300_000)
            assert seconds > 0
            assert cpu > 0


@pytest.mark.slow
@pytest.mark.usefixtures("packages")
def test_system_calls_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    if not utp_speed.can_count():
        pytest.skip("needs strace and the right to trace: apt-get install strace")
    monkeypatch.setattr(utp_speed, "LEAST_VOLUME", 1_000_000)
    assert 0 < packets_per_call("udx", 0.0) < 10


@pytest.mark.slow
@pytest.mark.usefixtures("packages")
def test_the_command_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utp_speed, "LEAST_VOLUME", 100_000)
    monkeypatch.setattr(utp_speed, "can_count", lambda: False)
    file = tmp_path / "samples.json"
    assert utp_speed.main(["--only", "crust", "--rounds", "1", "--seconds", "0.01", "--json", str(file)]) == 0
    assert "MB/s" in capsys.readouterr().out
    assert [one["system"] for one in json.loads(file.read_text("utf-8"))["samples"]] == ["crust"]
