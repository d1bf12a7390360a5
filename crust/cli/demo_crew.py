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
from crust.threads.clock import Deadline
from crust.threads.workers import start_thread

Report: TypeAlias = dict[str, Any]
"""What a peer says, as in the text of `demo_worker`."""

WORKER: Final = "crust.cli.demo_worker"
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
        """Where it listens, as ``HOST:PORT`` or ``utp://HOST:PORT``; empty before it does."""

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

    def start(
        self, names: Sequence[str], folder: Path, *options: str, module: str = WORKER, within: Sequence[str] = ()
    ) -> None:
        """Start a peer for each name, with a folder of its own, and wait until all of them are ready.

        Args:
            names: of the peers.
            folder: where to make their folders.
            options: for each worker, the transport first.
            module: the worker.
            within: what to put before the command.
        """
        # The peers must find the same crust as we did, wherever the demo was started from.
        root = str(Path(crust.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        for name in names:
            into = folder / name
            into.mkdir()
            process = subprocess.Popen(
                [*within, sys.executable, "-P", "-m", module, str(into), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
                start_new_session=True,  # Ctrl-C is for us, even before the worker could say that it ignores it
            )
            member = Member(name, process)
            self.members.append(member)
            self._threads.append(start_thread(f"demo-{name}", self._listen, member))
        self.until("started", lambda: [member.name for member in self.members if not member.log])
        for member in self.members:
            member.id = member.log[0]["id"]

    def _listen(self, member: Member) -> None:
        assert member.process.stdout is not None
        for line in member.process.stdout:
            self._inbox.put((member, json.loads(line)))
        self._inbox.put((member, {"is": "gone"}))

    def until(
        self,
        what: str,
        missing: Callable[[], Iterable[str]],
        gone: Sequence[Member] = (),
        patience: float | None = None,
    ) -> bool:
        """Take reports until nothing is missing, or patience is over.

        Args:
            what: what is waited for, for the message of an error.
            missing: what is still missing.
            gone: the peers that may end meanwhile.
            patience: seconds; ``None`` for as long as the demo may take.

        Returns:
            whether nothing is missing.

        Raises:
            DemoFailed: the time of the demo is up, or a peer ended.
        """
        deadline = self._deadline if patience is None else self._deadline.earlier(patience)
        while left := list(missing()):
            if not self._take(deadline, gone):
                if self._deadline.expired:
                    took = human_time(self._timeout)
                    raise DemoFailed(f"{what}: missing {', '.join(left)}, after {took} in all")
                return False
        return True

    def _take(self, deadline: Deadline, gone: Sequence[Member]) -> bool:
        """Wait for a report and deal with it; whether one came."""
        try:
            member, report = self._inbox.get(timeout=deadline.remaining())
        except queue.Empty:
            return False
        member.log.append(report)
        if report["is"] == "listening":
            member.place = report["place"].removeprefix("tcp://")
        if report["is"] == "gone" and member not in gone:
            raise DemoFailed(f"{member.name} ended by itself, exit code {member.process.wait()}")
        self._on_report(member, report)
        return True

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
