"""``crust demo`` as it is run by people and by scripts, and when something is wrong, and when it is interrupted."""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crust import cli
from crust.cli import demo
from tests.processes import PATIENCE, Process


def test_it_works_and_says_so_in_json() -> None:
    with Process("-m", "crust", "demo", "--json") as process:
        code, lines = process.end()
    document = json.loads("\n".join(lines))
    assert code == 0, document
    assert document["ok"]
    assert document["problems"] == []
    assert [step["step"] for step in document["steps"]] == ["start", "connect", "chat", "file", "crash", "stop"]
    assert document["steps"][1]["connections"] == 10
    assert document["steps"][1]["found"], "nobody was told an address"
    assert document["steps"][2]["messages"] == 60
    assert document["steps"][3]["bytes"] == 64 * 1024 * 1024


def test_it_works_over_utp() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crust", "demo", "--transport", "utp", "--peers", "3", "--size", "1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "listens on utp://127.0.0.1:" in done.stdout


def test_it_tells_what_happens() -> None:
    with Process("-m", "crust", "demo", "--peers", "3", "--size", "1") as process:
        code, lines = process.end()
    text = "\n".join(lines)
    assert code == 0, text
    for sentence in (
        "They look for each other; nobody is given an address",
        "Cleo  listens on 127.0.0.1:",
        "3 connections: exactly one between any two.",
        "hears Ada: Good morning!",
        "Ada sends 1.0 MiB of random bytes to Ben",
        "its hash is right",
        "Cleo is killed",
        "Ada and Ben noticed within",
        "All of it went as it should",
    ):
        assert sentence in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_quiet_is_quiet() -> None:
    with Process("-m", "crust", "demo", "--peers", "3", "--size", "1", "--quiet") as process:
        assert process.end() == (0, [])


def run(*words: str) -> int:
    return cli.main(["demo", "--quiet", "--peers", "3", "--size", "1", *words])


def test_peers_that_do_not_hear_each_other_are_told_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems whose loopback interface carries no broadcasts."""
    told: list[str] = []
    monkeypatch.setattr(demo, "_beacon", list)
    monkeypatch.setattr(demo, "BEACON_PATIENCE", 0.1)
    introduce = demo.Show._introduce

    def tell(self: demo.Show) -> None:
        told.extend(member.name for member in self.crew.members)
        introduce(self)

    monkeypatch.setattr(demo.Show, "_introduce", tell)
    assert run() == 0
    assert told == ["Ada", "Ben", "Cleo"]


def test_the_cache_the_settings_and_the_network_of_the_user_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "crust.crust.yaml").write_text("tcp_prot: 1\n")
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "CRUST_ISOLATED": "0"}
    with Process(
        "-m",
        "crust",
        "demo",
        "--peers",
        "3",
        "--size",
        "1",
        env={**places, "CRUST_CONFIG": f"{tmp_path}/crust.crust.yaml"},
    ) as process:
        code, lines = process.end()
    assert code == 0, lines
    assert [file.name for file in tmp_path.iterdir()] == ["crust.crust.yaml"]


def test_a_peer_that_ends_by_itself_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = demo.Show._stop

    def lose_one_and_stop(self: demo.Show) -> None:
        self.crew.members[1].process.kill()
        stop(self)

    monkeypatch.setattr(demo.Show, "_stop", lose_one_and_stop)
    assert run() == 6
    assert "Ben ended by itself" in capsys.readouterr().err


def test_a_message_that_was_never_sent_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crash = demo.Show._crash

    def invent_and_crash(self: demo.Show) -> None:
        ada, ben = self.crew.members[:2]
        ada.tell("say", to=[ben.id], text="I was never here")
        crash(self)

    monkeypatch.setattr(demo.Show, "_crash", invent_and_crash)
    assert run() == 6
    assert "Ben: of Ada came" in capsys.readouterr().err


def test_a_file_that_is_not_the_same_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_hash", lambda path: "another")
    assert run() == 6
    assert "is not the one that was sent" in capsys.readouterr().err


def test_time_that_runs_out_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--timeout", "0.01") == 6
    assert "missing Ada" in capsys.readouterr().err


class Group:
    """The demo as a process group of its own, whose standard error all its processes hold."""

    def __init__(self, folder: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "crust", "demo", "--size", "4000"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "TMPDIR": str(folder)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait(PATIENCE)
        for stream in (self.child.stdout, self.child.stderr):
            assert stream is not None
            stream.close()

    def read_to(self, text: str) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if text in line:
                return
        raise AssertionError(f"the demo ended without {text!r}")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs process groups")
@pytest.mark.parametrize(
    ("number", "code", "everyone"),
    [(signal.SIGINT, 130, True), (signal.SIGINT, 130, False), (signal.SIGTERM, 143, False)],
)
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, number: int, code: int, everyone: bool) -> None:
    with Group(tmp_path) as demo_group:
        demo_group.read_to("all arrived, in order")
        (os.killpg if everyone else os.kill)(demo_group.child.pid, number)
        _, errors = demo_group.child.communicate(timeout=PATIENCE)
        assert demo_group.child.returncode == code
        assert "Traceback" not in errors
        with pytest.raises(ProcessLookupError):
            os.killpg(demo_group.child.pid, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs process groups")
def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    with Group(tmp_path) as demo_group:
        demo_group.read_to("None of them knows of any other")
        demo_group.child.kill()
        # The end of standard error is when the last process that holds it has ended.
        demo_group.child.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("words", [["--peers", "2"], ["--peers", "13"], ["--size", "0"], ["--peers", "x"]])
def test_numbers_out_of_range_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", *words]) == 2
    assert "is not a number from" in capsys.readouterr().err


def test_names_are_listed_as_people_do() -> None:
    assert demo.listed(["Ada"]) == "Ada"
    assert demo.listed(["Ada", "Ben", "Cleo"]) == "Ada, Ben and Cleo"


def test_the_options_have_help() -> None:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    demo.add_parser(subparsers)  # type: ignore[arg-type]
