"""The command itself, in real processes, with tiny volumes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crust import cli
from crust.cli.console import Exit
from crust.config import Config
from tests.processes import ROOT

PATIENCE = 60.0  # seconds


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "dev", "-m", "crust", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)


def test_it_measures_with_a_process_of_its_own() -> None:
    done = bench("--size", "64,100KiB", "--seconds", "0.02", "--json")
    assert done.returncode == Exit.OK, done.stderr
    found = json.loads(done.stdout)
    assert [(way["size"], way["direction"]) for way in found["one_way"]] == [
        (64, "to peer"),
        (64, "from peer"),
        (102400, "to peer"),
        (102400, "from peer"),
    ]
    assert all(way["messages"] > 0 for way in found["one_way"])
    assert found["round_trip"]["count"] > 0
    assert found["connect"]["per_second"] > 0


def test_it_measures_over_utp_and_writes_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    done = bench("--transport", "utp", "--size", "100KiB", "--seconds", "0.1", "--json", "--trace", str(trace))
    assert done.returncode == Exit.OK, done.stderr
    to_peer, from_peer = json.loads(done.stdout)["one_way"]
    assert to_peer["packets"]["bytes_sent"] > to_peer["messages"] * 100 * 1024
    assert from_peer["packets"]["bytes_received"] > from_peer["messages"] * 100 * 1024
    assert to_peer["packets"]["sent"] > from_peer["packets"]["sent"]
    assert len(trace.read_text("ascii").splitlines()) > 1


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="no sessions there")
def test_its_process_hears_no_control_c() -> None:
    """That is for the command; an end of the input ends the other, however early it comes."""
    import crust.cli.bench as module

    sessions: list[int] = []

    class Watched(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            if "--own-peer" in arguments[0]:
                sessions.append(os.getsid(self.pid))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.subprocess, "Popen", Watched)
        with module._own_peer(Config(beacon_port=None, network_key="a key of this test"), "tcp"):
            pass
    assert len(sessions) == 1
    assert os.getsid(0) not in sessions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "x.csv"), "measure over it with --transport utp"),
        (("--transport", "tcp", "utp://127.0.0.1:1"), "utp://127.0.0.1:1 says otherwise"),
        (("--trace", "/nowhere/x.csv", "--transport", "utp"), "--trace /nowhere/x.csv: No such file or directory"),
    ],
)
def test_what_does_not_fit_together(arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == Exit.USAGE
    assert message in done.stderr


def test_it_measures_with_a_peer_that_serves(tmp_path: Path) -> None:
    serve = [sys.executable, "-X", "dev", "-m", "crust", "bench", "--serve", "--own-peer", "--network", "test of bench"]
    pipe = subprocess.PIPE
    with subprocess.Popen(serve, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        peer = server.stdout.readline().removeprefix("listening on ").strip()
        done = bench(peer, "--size", "64", "--seconds", "0.02", "--network", "test of bench")
        server.stdin.close()
        assert server.wait(PATIENCE) == Exit.OK
    assert done.returncode == Exit.OK, done.stderr
    assert peer in done.stdout
    assert "round trip" in done.stdout


def test_nobody_there_says_so() -> None:
    done = bench("127.0.0.1:1", "--seconds", "0.02")
    assert done.returncode == Exit.UNREACHABLE
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: tcp://127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--size", "big"], "write bytes as"),
        (["--size", "64,0"], "write bytes as"),
        (["--size", "1GiB"], "the largest message has 16 MiB (max_message_size)"),
        (["--size", "17MiB"], "the largest message has 16 MiB"),
        (["--seconds", "0"], "from 0.01 to 30"),
        (["--seconds", "nan"], "from 0.01 to 30"),
        (["http://x"], "protocol"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *arguments]) == Exit.USAGE
    assert text in capsys.readouterr().err


def test_a_plot_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["bench", "--plot", "x.png"]) == Exit.USAGE
    assert "pip install matplotlib" in capsys.readouterr().err
