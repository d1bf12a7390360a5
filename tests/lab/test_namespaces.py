"""Labs do not meet, and nothing of them is left."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.lab.namespaces import PATIENCE, ROOT, Lab, LabError
from tests.lab.wiring import cable

pytestmark = pytest.mark.lab

DIES = """
import os, signal, sys
from tests.lab.namespaces import Lab
lab = Lab()
sleeper = lab.node("a").start("sh", "-c", "echo; sleep 1000; :")
sleeper.line()
if sys.argv[1] == "stopped":
    os.kill(sleeper.child.pid, signal.SIGSTOP)
print(lab.pid, flush=True)
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


def test_labs_with_the_same_names_do_not_meet(lab: Lab) -> None:
    with Lab() as other:
        for one in (lab, other):
            left, right = cable(one.node("a"), "eth0", one.node("b"), "eth0")
            left.address("10.0.0.1/24")
            right.address("10.0.0.2/24")
        other.nodes["b"].run("ip", "link", "set", "dev", "eth0", "down")
        lab.nodes["a"].run("ping", "-c", "1", "-W", "20", "10.0.0.2")
        with pytest.raises(LabError, match="ping"):
            other.nodes["a"].run("ping", "-c", "1", "-W", "1", "10.0.0.2")


def test_a_command_that_fails_says_why(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"in node a: ip link show nothing: .*does not exist"):
        lab.node("a").run("ip", "link", "show", "nothing")


def test_a_program_that_ends_too_early_is_an_error(lab: Lab) -> None:
    with pytest.raises(LabError, match="ended with 3"):
        lab.node("a").start("sh", "-c", "exit 3").line()


def processes_of(pid: int) -> str:
    """What stands for all processes of the lab with this keeper."""
    return os.readlink(f"/proc/{pid}/ns/pid")


def running(lab: str) -> list[str]:
    """The names of what runs in a lab."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/pid") == lab:
                found.append((process / "comm").read_text("utf-8").strip())
        except OSError:  # it ended
            continue
    return found


@pytest.mark.parametrize("ending", ["closed", "killed", "stopped"])
def test_nothing_is_left_of_a_lab(ending: str) -> None:
    if ending == "closed":
        with Lab() as lab:
            sleeper = lab.node("a").start("sh", "-c", "echo; sleep 1000; :")
            sleeper.line()
            inside = processes_of(lab.pid)
            assert {"cat", "sh"} <= set(running(inside))
        assert sleeper.child.returncode is not None
    else:
        with subprocess.Popen(
            [sys.executable, "-c", DIES, ending],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            pid = int(child.stdout.readline())
            inside = processes_of(pid)
            child.stdin.write("die\n")
            child.stdin.flush()
            assert child.wait(PATIENCE) == -9
    deadline = time.monotonic() + PATIENCE
    while left := running(inside):
        assert time.monotonic() < deadline, f"still there: {left}"
        threading.Event().wait(0.01)
