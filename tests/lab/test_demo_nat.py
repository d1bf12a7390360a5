"""``crust demo --nat`` for real, and that nothing is left of it; and ``crust nat`` behind such a router."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.punch_program import serve_in
from tests.lab.routers import Nat, home
from tests.lab.wiring import plug, switch
from tests.processes import PATIENCE, Process

pytestmark = pytest.mark.lab

NAMESPACES = Path("/run/netns")


def named_namespaces() -> set[str]:
    return {each.name for each in NAMESPACES.iterdir()} if NAMESPACES.is_dir() else set()


def processes_of(folder: Path) -> list[str]:
    """The command lines of what runs for a demo that keeps its files in this folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it has just ended
        if str(folder) in words:
            found.append(words)
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = named_namespaces()
    yield
    assert named_namespaces() == before
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_it_tells_what_happens() -> None:
    with Process("-m", "crust", "demo", "--nat") as process:
        code, lines = process.end()
    text = "\n".join(lines)
    assert code == 0, text
    for sentence in (
        "behind a router that is 11.1.1.1 outside",
        "Cleo sees Ben at tcp://11.1.1.2:5483: the router's address",
        "Ada: The router shows the same address to everybody (endpoint-independent mapping).",
        "Ada: The outer address is 11.1.1.1:5483 (2 observers agree).",
        "Ben's router has asked for nothing from there, and drops",
        "No answer within 1 s.",
        "Ada is connected to Ben at ",
        "Ada hears Ben: I am: nothing between us has changed.",
        "No process, no interface and no rule is left.",
        "All of it went as it should",
    ):
        assert sentence in text, text
    assert "\x1b" not in text


def test_it_works_over_utp_and_says_so_in_json() -> None:
    with Process("-m", "crust", "demo", "--nat", "--transport", "utp", "--json") as process:
        code, lines = process.end()
    document = json.loads("\n".join(lines))
    assert code == 0, document
    assert document["ok"]
    steps = {step["step"]: step for step in document["steps"]}
    assert list(steps) == ["start", "join", "survey", "knock", "punch", "talk", "stop"]
    assert steps["knock"]["dropped"] > 0
    assert steps["punch"]["endpoint"].startswith("utp://11.1.1.2:")
    assert steps["talk"]["messages"] == 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_demo_that_does_not_end_by_itself_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "crust", "demo", "--nat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        while "Both know Cleo now" not in child.stdout.readline():
            assert child.poll() is None
        # As a terminal does with Ctrl-C: to everybody at once.
        (os.killpg if number == signal.SIGINT else os.kill)(child.pid, number)
        # The end of standard error is when the last process that holds it has ended.
        _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == code
    assert "Traceback" not in errors
    if number == signal.SIGKILL:
        for each in tmp_path.rglob("*"):  # nobody was there to take it away
            assert "crust-demo-" in str(each)
        subprocess.run(["rm", "-r", *map(str, tmp_path.iterdir())], check=True)


def test_crust_nat_behind_a_home_router(lab: Lab) -> None:
    wan = switch(lab, "wan")
    server = lab.node("server")
    plug(server, "eth0", wan, "11.1.1.8/24", "11.1.1.9/24")
    serve_in(server, "11.1.1.8", "11.1.1.9")
    pc = home(lab.node("router"), wan, "11.1.1.2/24", "192.168.2", Nat.HOME)
    words = [sys.executable, "-m", "crust", "nat", "--json", "--seconds", "20", "--stun", "11.1.1.8:3478"]
    done = pc.run("env", f"PYTHONPATH={Path(__file__).parents[2]}", *words, timeout=PATIENCE)
    document = json.loads(done)
    assert document["nat"]["mapping"] == "endpoint_independent"
    assert document["nat"]["filtering"] == "address_and_port_dependent"
    assert document["nat"]["host"] == "11.1.1.2"
    assert document["reach"] == "Others can connect with the help of a peer that both know (hole punching)."
    assert any("forward them" in line for line in document["advice"])
