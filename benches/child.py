"""Processes that are told what to do: JSON lines in, commands; JSON lines out, answers. Both ends are here."""

import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
ANSWER_TIMEOUT = 60.0  # seconds; what needs longer for one answer has hung

Answer = Callable[..., None]


class ChildFailed(Exception):
    """A child could not do what it was told; the text says why."""


class Child:
    """The near end. A context manager.

    Answers are read by a thread, because only then can waiting for one have a limit on every platform.

    Args:
        module: what to run, with ``python -m``.
        arguments: of it.
        log: where its standard error goes.
    """

    def __init__(self, module: str, *arguments: str, log: IO[bytes] | int = subprocess.DEVNULL) -> None:
        self.name = " ".join([module, *arguments])
        command = [sys.executable, "-m", module, *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, cwd=ROOT, text=True)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"answers of {self.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put("")

    def tell(self, do: str, **fields: Any) -> None:
        """Give a command; `answer` has to be called before the next one."""
        if self._process.stdin is None:
            raise ChildFailed("no input")
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildFailed(f"the process {self.name} ended: {error}") from error

    def answer(self, timeout: float = ANSWER_TIMEOUT) -> dict[str, Any]:
        """The answer to the last command."""
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise ChildFailed(f"{self.name} did not answer within {timeout:.0f} s") from None
        if not line:
            raise ChildFailed(f"the process {self.name} ended unexpectedly")
        fields: dict[str, Any] = json.loads(line)
        if "error" in fields:
            raise ChildFailed(fields["error"])
        return fields

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """A command and its answer."""
        self.tell(do, **fields)
        return self.answer()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process: in order, or by force when it does not."""
        try:
            self.ask("stop")
            self._process.wait(timeout=5)
        except (ChildFailed, subprocess.TimeoutExpired):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # what we still had to say to it no longer matters


def obey(start: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]], stop: Callable[[], None]) -> None:
    """The far end: run until the input ends or the command "stop" comes.

    Args:
        start: prepares everything and gives the function that does one command; its failure is the first answer.
        stop: called at the end.
    """
    # What a library may print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        do = start()
    except Exception as error:
        traceback.print_exc()
        answer(error=f"cannot be started: {error}")
        return
    answer()
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "stop":
            break
        try:
            fields = do(command)
        except Exception as error:
            traceback.print_exc()
            answer(error=f"{type(error).__name__}: {error}")
        else:
            answer(**fields)
    stop()
    answer()
