"""``kill -9`` at any moment loses no record that was committed."""

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crust.discovery.cache_file import CacheFile
from tests.discovery.cache_writer import CAPACITY, NAMES, endpoint
from tests.processes import PATIENCE, ROOT


def kill_at_random(path: Path, first: int, dice: random.Random) -> int:
    """Run a writer from round ``first`` on and kill it some time later; the last round it said was committed."""
    command = [sys.executable, "-m", "tests.discovery.cache_writer", str(path), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        timer = threading.Timer(dice.uniform(0, 0.02), child.kill)
        timer.start()
        # Read on meanwhile, or the writer would wait for us rather than write.
        lines = child.stdout.read().split(b"\n")
        timer.join()
        child.wait(PATIENCE)
    assert child.returncode == -9, "it was to be killed, but ended by itself"
    return max([first, *(int(line) for line in lines[:-1])])


def check(path: Path, committed: int) -> None:
    file = CacheFile(str(path), CAPACITY)
    try:
        last = {record.endpoint: record.last_success // 1000 for record in file.read()}
    finally:
        file.close()
    assert file.damaged == 0
    for number in range(max(1, committed - NAMES + 1), committed + 1):
        assert last.get(endpoint(number), 0) >= number, f"round {number} was committed (the last was {committed})"
    assert max(last.values()) <= committed + 1, "only the round that was being written may be there as well"


def kill_again_and_again(path: Path, times: int) -> None:
    dice = random.Random(times)
    committed = 0
    for _ in range(times):
        committed = kill_at_random(path, committed + 1, dice)
        check(path, committed)
    assert not list(path.parent.glob("*.corrupt*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9; terminating is tested on the others")
def test_a_writer_that_is_killed_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "cache", 15)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9; terminating is tested on the others")
def test_a_writer_that_is_killed_200_times_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "cache", 200)
