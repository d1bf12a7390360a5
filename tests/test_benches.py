"""The benchmarks themselves: their arithmetic, and a tiny real run of each. Nothing depends on how fast anything is."""

import json
import queue
import socket
import time
from pathlib import Path

import pytest

from benches import compare, first_connection, first_data, hostile, many, micro, one_message, report
from benches.attacks import ATTACKS
from benches.child import ChildFailed
from benches.delay import DelayLine, Schedule
from benches.pairs import Pair
from benches.rounds import Comparison, Plan, Sample
from benches.summary import Summary
from benches.systems import BY_NAME, System
from benches.systems.base import WrongDelivery, check

OURS = ("raw", "crust", "crust-queue")
"""Systems that need no package which the tests do not install."""


def rate(system: str, number: int, direction: str, value: float, size: int = 64) -> Sample:
    details = {"cpu_send": 2e-6, "cpu_receive": 1e-6}
    return Sample(system, number, direction, size, rate=value, details=details)


def trip(system: str, number: int, p50: float) -> Sample:
    return Sample(system, number, "connector", 64, p50=p50, p99=2 * p50)


# --- arithmetic ---------------------------------------------------------------------------------


def test_a_figure_is_the_median_over_rounds_and_directions() -> None:
    summary = Summary(
        [rate("crust", 0, "connector", 1.0), rate("crust", 0, "acceptor", 9.0), rate("crust", 1, "connector", 2.0)]
    )
    figure = summary.figure("crust", 64)
    assert figure is not None
    assert (figure.median, figure.least, figure.most) == (2.0, 1.0, 9.0)
    only = summary.figure("crust", 64, "acceptor")
    assert only is not None
    assert only.median == 9.0


def test_ratios_are_made_within_a_round() -> None:
    # The machine is ten times slower in the second round: that must not show.
    summary = Summary(
        [
            rate("crust", 0, "connector", 200.0),
            rate("curve", 0, "connector", 100.0),
            rate("crust", 1, "connector", 20.0),
            rate("curve", 1, "connector", 10.0),
        ]
    )
    ratio = summary.ratio("crust", "curve", 64)
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.most) == (2.0, 2.0, 2.0)


def test_what_was_not_measured_is_not_invented() -> None:
    summary = Summary([rate("crust", 0, "connector", 1.0)])
    assert summary.figure("crust", 1024) is None
    assert summary.figure("crust", "p50") is None
    assert summary.ratio("crust", "curve", 64) is None
    assert summary.goals() == []


def test_goals_are_at_least_for_rates_and_at_most_for_times() -> None:
    summary = Summary(
        [
            rate("crust", 0, "connector", 1.4),
            rate("curve", 0, "connector", 1.0),
            trip("crust", 0, 250e-6),
            trip("curve", 0, 100e-6),
        ]
    )
    assert [(goal[0], goal[-1]) for goal in summary.goals()] == [(64, True), ("p50", False)]
    assert [line.rsplit(" ", 1)[1] for line in report.goal_lines(summary)] == ["reached", "missed"]


def test_cpu_is_that_of_both_processes() -> None:
    assert Summary([rate("crust", 0, "connector", 1.0)]).cpu("crust", 64) == pytest.approx(3.0)


def test_the_table_for_the_readme() -> None:
    samples = [rate("crust", 0, "connector", 1_400_000), rate("curve", 0, "connector", 700_000), trip("crust", 0, 9e-5)]
    text = report.markdown(Summary(samples), "a machine", {"libp2p": "not installed"})
    assert "| crust | 1.40 M | 90 us | 180 us |" in text
    assert "| crust / pyzmq CURVE | **2.00 x** | - | - |" in text
    assert "py-libp2p was not measured: not installed." in text


def test_a_wrong_delivery_is_an_error() -> None:
    with pytest.raises(WrongDelivery, match="too short"):
        check(False, "too short")


# --- real pairs ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_a_pair_measures_both_ways(name: str) -> None:
    pair = Pair(BY_NAME[name])
    try:
        for direction in ("connector", "acceptor"):
            result = pair.one_way(direction, 1000, 50)
            assert result["rate"] > 0
            assert result["count"] == 50
            assert len(pair.round_trips(direction, 64, 5)) == 5
    finally:
        pair.close()


def test_a_system_that_cannot_be_started_says_so() -> None:
    with pytest.raises(ChildFailed):
        Pair(System("no such system", "x", "x", "x", "x"))


@pytest.mark.slow
def test_a_comparison_goes_on_without_a_system_that_fails() -> None:
    broken = System("no such system", "x", "x", "x", "x")
    comparison = Comparison(Plan([broken, BY_NAME["raw"]], [64], 1, 0.01), lambda text: None)
    comparison.run()
    assert set(comparison.failed) == {"no such system"}
    assert {sample.system for sample in comparison.samples} == {"raw"}


@pytest.mark.slow
def test_the_command_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples, table = tmp_path / "samples.json", tmp_path / "table.md"
    again = tmp_path / "again.md"
    options = ["--only", "raw,crust", "--size", "64", "--rounds", "1", "--seconds", "0.01"]
    assert compare.main([*options, "--json", str(samples), "--markdown", str(table)]) == 0
    assert "messages per second" in capsys.readouterr().out
    assert len(json.loads(samples.read_text("utf-8"))["samples"]) == 8
    assert compare.main(["--from", str(samples), "--markdown", str(again)]) == 0
    assert again.read_text("utf-8") == table.read_text("utf-8")


# --- the others ---------------------------------------------------------------------------------


def test_things_happen_at_their_time_and_in_order() -> None:
    done: queue.Queue[str] = queue.Queue()
    schedule = Schedule()
    now = time.monotonic()
    for when, name in ((0.02, "third"), (0.0, "first"), (0.01, "second"), (0.02, "fourth")):
        schedule.at(now + when, done.put, name)
    assert [done.get(timeout=10) for _ in range(4)] == ["first", "second", "third", "fourth"]
    assert time.monotonic() >= now + 0.02
    schedule.close()


def test_a_delay_line_delays_the_opening_and_every_byte() -> None:
    delay = 0.01
    with socket.create_server(("127.0.0.1", 0)) as server, DelayLine(server.getsockname(), delay) as line:
        start = time.monotonic()
        with socket.create_connection(line.address) as client:
            client.sendall(b"question")
            accepted, _ = server.accept()
            with accepted:
                assert accepted.recv(100) == b"question"
                assert time.monotonic() - start >= 3 * delay
                accepted.sendall(b"answer")
                assert client.recv(100) == b"answer"
                assert time.monotonic() - start >= 4 * delay
                client.shutdown(socket.SHUT_WR)
                assert accepted.recv(100) == b""


def test_what_is_due_when_the_server_is_dialled_is_not_lost() -> None:
    # The two moments are the same, computed in two ways: by a rounding error either may come first.
    with socket.create_server(("127.0.0.1", 0)) as server:
        for step in range(40):
            with DelayLine(server.getsockname(), step * 0.0001) as line:
                with socket.create_connection(line.address) as client:
                    client.sendall(b"question")
                    accepted, _ = server.accept()
                    with accepted:
                        accepted.settimeout(20)
                        assert accepted.recv(100) == b"question"


@pytest.mark.parametrize("greater", [True, False])
def test_the_first_data_cannot_come_before_the_handshake_is_done(greater: bool) -> None:
    delay = 0.01
    times = first_data.attempt(delay, greater)
    assert times.at_acceptor >= 5 * delay
    assert times.at_connector >= 6 * delay
    trips = first_data.in_round_trips([times], delay)
    assert trips.at_acceptor == pytest.approx(times.at_acceptor / (2 * delay))


def test_the_first_connection_among_dead_contacts() -> None:
    assert 0 < first_connection.measure(refused=3, silent=2) < first_connection.PATIENCE


def test_many_connections_are_held() -> None:
    result = many.measure(3, 0.01)
    assert result["connections"] == 3
    assert result["lost"] == 0
    assert result["threads_per_connection"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["none", *ATTACKS])
def test_an_honest_peer_is_served_during_an_attack(attack: str) -> None:
    result = hostile.measure(attack, 0.1)
    assert result["failed"] == 0
    assert result["connect"]["count"] >= 1
    assert result["round_trip"]["count"] >= 10


def test_every_step_of_one_message_is_timed() -> None:
    found = one_message.steps(0.0, 3)
    assert "seal" in found
    assert all(taken > 0 for taken in found.values())


def test_steps_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert micro.main(["--quick", "--json", "--only", "frames: decode"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert steps
    assert all(step["ns"] > 0 for step in steps)
