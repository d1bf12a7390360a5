"""The processes of ``crust demo``: started, told what to do, listened to, killed, and never left behind."""

import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import crust
from crust.cli.console import human_time
from crust.clock import Deadline
from crust.workers import start_thread

Report: TypeAlias = dict[str, Any]
"""What a peer says, as in the text of `demo_worker`."""

GRACE: Final = 2.0  # seconds for a process to end once its input has ended, before it is killed


class DemoFailed(Exception):
    """Something is not as it should be; the message says what."""


class Member:
    """One peer: its process, and everything that it reported so far."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self.process = process
        self.log: list[Report] = []
        self.id = ""
        self.place = ""
        """Where it listens, as ``HOST:PORT`` or ``utp://HOST:PORT``."""

    def reports(self, kind: str) -> list[Report]:
        """What it reported of one kind."""
        return [report for report in self.log if report["is"] == kind]

    def tell(self, do: str, **fields: Any) -> None:
        """Tell it to do something.

        Raises:
            DemoFailed: it has ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise DemoFailed(f"{self.name} ended by itself, exit code {self.process.poll()}") from None


class Crew:
    """All peers. A context manager: afterwards none of the processes is left, whatever happened. For one thread.

    Args:
        timeout: seconds that the whole demo may take.
        on_report: called with every report as it comes.
    """

    def __init__(self, timeout: float, on_report: Callable[[Member, Report], None]) -> None:
        self.members: list[Member] = []
        self._on_report = on_report
        self._deadline = Deadline(timeout)
        self._timeout = timeout
        self._inbox: queue.SimpleQueue[tuple[Member, Report]] = queue.SimpleQueue()
        self._threads: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, names: Sequence[str], folder: Path, transport: str = "tcp") -> None:
        """Start a peer for each name, with a folder of its own, and wait until all of them listen."""
        # The peers must find the same crust as we did, wherever the demo was started from.
        root = str(Path(crust.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        for name in names:
            into = folder / name
            into.mkdir()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "crust.cli.demo_worker", str(into), transport],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            )
            member = Member(name, process)
            self.members.append(member)
            self._threads.append(start_thread(f"demo-{name}", self._listen, member))
        self.until("started", lambda: [member.name for member in self.members if not member.log])
        for member in self.members:
            ready = member.log[0]
            member.id, member.place = ready["id"], ready["place"].removeprefix("tcp://")

    def _listen(self, member: Member) -> None:
        assert member.process.stdout is not None
        for line in member.process.stdout:
            self._inbox.put((member, json.loads(line)))
        self._inbox.put((member, {"is": "gone"}))

    def until(self, what: str, missing: Callable[[], Iterable[str]], gone: Sequence[Member] = ()) -> None:
        """Take reports until nothing is missing.

        Args:
            what: what is waited for, for the message of an error.
            missing: what is still missing.
            gone: the peers that may end meanwhile.

        Raises:
            DemoFailed: the time is up, or a peer ended.
        """
        while left := list(missing()):
            self._take(f"{what}: missing {', '.join(left)}", gone)

    def _take(self, what: str, gone: Sequence[Member]) -> None:
        try:
            member, report = self._inbox.get(timeout=self._deadline.remaining())
        except queue.Empty:
            raise DemoFailed(f"{what}, after {human_time(self._timeout)} in all") from None
        member.log.append(report)
        if report["is"] == "gone" and member not in gone:
            raise DemoFailed(f"{member.name} ended by itself, exit code {member.process.wait()}")
        self._on_report(member, report)

    def wait_for_end(self, member: Member) -> int:
        """Take reports until a peer has ended; returns its exit code."""
        self.until("ended", lambda: [] if member.reports("gone") else [member.name], [member])
        return member.process.wait()

    def close(self) -> None:
        """End every process that is left. Idempotent."""
        grace = Deadline(GRACE)
        for member in self.members:
            assert member.process.stdin is not None
            try:
                member.process.stdin.close()
            except OSError:
                pass  # it has ended, and never read the last line
        for member in self.members:
            try:
                member.process.wait(grace.remaining())
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        for thread in self._threads:
            thread.join()
        for member in self.members:
            assert member.process.stdout is not None
            member.process.stdout.close()
