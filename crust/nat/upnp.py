"""Asking a UPnP gateway, in a process of its own (`crust.nat.upnp_child` says why): for mapped ports, or for holes."""

import logging
import os
import subprocess
import sys
import threading
from typing import Final

from crust.errors import Malformed
from crust.nat import upnp_child
from crust.nat.upnp_messages import Answer, Call, NoAnswer, encode, parse
from crust.threads.clock import Deadline

log = logging.getLogger("crust.nat")

CALL_TIMEOUT: Final = 20.0
"""Seconds for everything that is asked of a gateway at a time: about ten exchanges, which take milliseconds at home
routers, and seconds at bad ones."""


def unavailable() -> str | None:
    """Why this program cannot use UPnP; ``None`` if it can."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return "UPnP needs a Python interpreter to run miniupnpc apart from this program, and this one has none"
    if not os.path.isfile(upnp_child.__file__):
        return "UPnP needs Crust to be installed as files, not in an archive"
    return None


class UpnpCall:
    """One call. `run` blocks; `cancel` is for any thread, at any time.

    Args:
        call: what to ask.
        timeout: seconds for all of it.
    """

    def __init__(self, call: Call, timeout: float = CALL_TIMEOUT) -> None:
        self._call = call
        self._timeout = timeout
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def run(self) -> Answer:
        """Ask, and wait for the answer, up to the timeout.

        Raises:
            NoAnswer: there is none.
        """
        deadline = Deadline(self._timeout)
        if (reason := unavailable()) is not None:
            raise NoAnswer(reason)
        child = self._start()
        with child:
            try:
                output, _ = child.communicate(encode(self._call, self._timeout, sys.path), timeout=deadline.remaining())
            except subprocess.TimeoutExpired:
                raise NoAnswer(f"did not do what was asked over UPnP within {self._timeout:g} s") from None
            finally:
                child.kill()
        if child.returncode != 0 or not output:
            raise NoAnswer("answers over UPnP in a way that what asks it does not survive")
        try:
            return parse(output, self._call)
        except Malformed as error:
            raise NoAnswer(f"answers nonsense over UPnP: {error}") from error

    def cancel(self) -> None:
        """Let `run` fail at once."""
        with self._lock:
            self._cancelled = True
            if self._child is not None:
                self._child.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._cancelled:
                raise NoAnswer("was not asked: this node is stopping")
            try:
                self._child = subprocess.Popen(
                    # Isolated: what the user has set for their own interpreters is none of its business.
                    [sys.executable, "-I", "-S", upnp_child.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            except OSError as error:
                raise NoAnswer(f"was not asked: no process can be started for it ({error})") from error
            return self._child
