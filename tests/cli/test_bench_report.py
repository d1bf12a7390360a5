import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from crust.cli.bench_client import FROM_PEER, TO_PEER, OneWay
from crust.cli.bench_report import Report
from crust.cli.bench_stats import Latency, Machine
from crust.cli.bench_utp import Packets
from tests.processes import ROOT

PACKETS = Packets(0.5, 150_000, 2_000, 210_000_000, 100, 12, 1 << 20, 0.0025)
REPORT = Report(
    peer="tcp://192.0.2.7:5483",
    machine=Machine("Some CPU", 4, "Linux 6", "3.13.0"),
    seconds=1.0,
    one_way=[
        OneWay(64, TO_PEER, 2_000_001, 2.0),
        OneWay(64, FROM_PEER, 1_500_001, 2.0),
        OneWay(1 << 20, TO_PEER, 201, 0.5, PACKETS),
    ],
    round_trip=Latency.of([85e-6, 90e-6, 3.2e-3]),
    connect=Latency.of([0.004]),
    connects_per_second=123.4,
)


def test_the_first_message_starts_the_clock_and_is_not_counted() -> None:
    assert OneWay(100, TO_PEER, 11, 2.0).messages_per_second == 5.0
    assert OneWay(100, TO_PEER, 11, 2.0).bytes_per_second == 500.0


@pytest.mark.parametrize("way", [OneWay(64, TO_PEER, 1, 0.0), OneWay(64, TO_PEER, 0, 1.0), OneWay(64, TO_PEER, 5, 0.0)])
def test_too_little_to_tell_is_a_rate_of_zero(way: OneWay) -> None:
    assert way.messages_per_second == way.bytes_per_second == 0.0


def test_the_tables_have_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    REPORT.show()
    shown = capsys.readouterr().out
    for text in ("Some CPU, 4 cores", "64 B", "1.00 M", "750 k", "1 MiB", "400.0 MiB/s", "90 us", "3.2 ms", "123"):
        assert text in shown


def test_over_utp_there_is_a_table_of_packets(capsys: pytest.CaptureFixture[str]) -> None:
    REPORT.show()
    shown = capsys.readouterr().out
    for text in ("1 MiB to peer", "300 k", "400.5 MiB/s", "4.00 k", "200 B/s", "2.5 ms", "12", "1.0 MiB"):
        assert text in shown
    dataclasses.replace(REPORT, one_way=REPORT.one_way[:2]).show()
    assert "packets/s" not in capsys.readouterr().out


def test_json_has_every_number() -> None:
    found = json.loads(json.dumps(REPORT.as_json()))
    assert found["one_way"][0]["messages_per_second"] == 1e6
    assert found["round_trip"]["p50"] == 90e-6
    assert found["connect"]["per_second"] == 123.4
    assert found["machine"]["cores"] == 4
    assert [way["packets"] is None for way in found["one_way"]] == [True, True, False]
    assert found["one_way"][2]["packets"]["retransmissions"] == 12


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    # In a process of its own: matplotlib keeps font files open, which is a leak to the other tests.
    file = tmp_path / "bench.svg"
    program = (
        "from crust.cli.bench_report import draw; from tests.cli.test_bench_report import Path, REPORT; "
        f"draw(REPORT, Path({str(file)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    if importlib.util.find_spec("matplotlib") is None:
        assert "ModuleNotFoundError: No module named 'matplotlib'" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "<svg" in file.read_text("utf-8")
