"""``kill -9`` at any moment loses no record that was committed."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest

from crust.discovery.cache_file import CacheFile
from tests.discovery.cache_writer import CAPACITY, NAMES, endpoint
from tests.processes import PATIENCE, ROOT


class Writers:
    """Processes that write to a cache, one at a time. As a context manager it ends what is left of them."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.discovery.cache_writer"]
        self._parent = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._parent:
            assert self._parent.stdin is not None
            self._parent.stdin.close()
            assert self._parent.wait(PATIENCE) == 0

    def kill_at_random(self, path: Path, first: int, dice: random.Random) -> int:
        """Run a writer from round ``first`` on and kill it some time later; the last round it said was committed."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{first} {path}\n")
        self._parent.stdin.flush()
        child = int(self._parent.stdout.readline().removeprefix("pid "))
        timer = threading.Timer(dice.uniform(0, 0.04), os.kill, (child, signal.SIGKILL))
        timer.start()
        # Read on meanwhile, or the writer would wait for us rather than write.
        last = first - 1
        while not (line := self._parent.stdout.readline()).startswith("ended"):
            last = int(line)
        timer.join()
        assert line == "ended -9\n", "it was to be killed, but ended by itself"
        return last


def check(path: Path, committed: int) -> None:
    file = CacheFile(str(path), CAPACITY)
    try:
        last = {record.endpoint: record.last_success // 1000 for record in file.read()}
    finally:
        file.close()
    assert file.damaged == 0
    for number in range(max(1, committed - NAMES + 1), committed + 1):
        assert last.get(endpoint(number), 0) >= number, f"round {number} was committed (the last was {committed})"
    assert max(last.values(), default=0) <= committed + 1, "only the round that was being written may be there as well"


def kill_again_and_again(path: Path, times: int) -> None:
    dice = random.Random(times)
    committed = 0
    with Writers() as writers:
        for _ in range(times):
            committed = writers.kill_at_random(path, committed + 1, dice)
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
