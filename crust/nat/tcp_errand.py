"""`TcpErrand`: the thread of one hole punching over TCP; it dials what a `TcpPunch` says, from the listening port."""

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from crust.endpoint import Address
from crust.nat.errand_thread import ErrandThread
from crust.nat.tcp_dials import Dialling, Ending
from crust.nat.tcp_punch import Outcome, TcpPunch
from crust.threads import clock

log = logging.getLogger("crust.nat")

MAX_OPENED: Final = 3
"""Connections that are handed over; each costs a handshake, and more ways than these a peer hardly has."""


class TcpErrand(ErrandThread):
    """See the module's text. It begins at once; methods are for any thread.

    A connection may come to the listener instead, which stays what it is: whoever sees that the punch is done calls
    `cancel`, which closes all that was not handed over; one more may come. What both sides then have too much of, the
    choice between duplicates ends.

    Args:
        listening: where the TCP listeners are bound, by IP version, 4 and 6; one of them may be missing.
        punch: nobody else may use it until the errand is over.
        opened: called on the errand's thread with each socket that connects and its peer's address, at most
            `MAX_OPENED` times. The socket is the callback's: open, from the listening port, and it does not block.
            Whether the punch is done; then it ends, and so it does after the last call. It must not block.
        done: called once, on the errand's thread, when nothing more comes; not if `cancel` comes first. Everything else
            is closed by then, and `reasons` says how each address fared.

    Raises:
        RuntimeError: the system has no more threads to give.
    """

    def __init__(
        self,
        listening: Mapping[int, Address],
        punch: TcpPunch,
        opened: Callable[[socket.socket, Address], bool],
        done: Callable[[], None],
    ) -> None:
        super().__init__()
        self._listening = dict(listening)
        self._punch = punch
        self._opened = opened
        self._done = done
        self._left = MAX_OPENED
        self._over = False
        self._lock = threading.Lock()  # of `_reasons`
        self._reasons: dict[Address, str] = {}
        self._dialling: dict[int, Dialling] = {}  # by number; only the thread uses it
        self._begin_thread("tcp-punch")

    def reasons(self) -> dict[Address, str]:
        """How each address fared, in words; empty until the errand is over."""
        with self._lock:
            return dict(self._reasons)

    # --- the thread ---
    def _run(self) -> None:
        try:
            while not (self._stopping or self._over):
                for number, to in self._punch.tick(clock.now()):
                    self._begin(number, to)
                if self._punch.failure:
                    break
                due = self._punch.next_deadline()
                self._wait(None if due is None else max(due - clock.now(), 0.0))
        finally:
            self._free()
        if not self._stopping:
            self._done()

    def _begin(self, number: int, to: Address) -> None:
        if self._over:
            return
        try:
            dialling = Dialling(self._listening.get(6 if ":" in to[0] else 4), to)
        except OSError as error:
            self._punch.ended(number, Outcome.REFUSED, clock.now(), str(error.strerror or error))
            return
        self._dialling[number] = dialling
        if (ending := dialling.begin()) is not None:
            self._end(number, ending)
        else:
            self._selector.register(dialling, selectors.EVENT_WRITE, number)

    def _ready(self, number: int, file: Any) -> None:
        if not (self._over or self._stopping):
            self._selector.unregister(file)
            self._end(number, self._dialling[number].ending())

    def _end(self, number: int, ending: Ending) -> None:
        dialling = self._dialling.pop(number)
        why = f"{ending.why} ({dialling.problem})" if ending.why and dialling.problem else ending.why
        self._punch.ended(number, ending.outcome, clock.now(), why)
        if ending.outcome is not Outcome.CONNECTED:
            dialling.close()
            return
        log.debug("a connection to %s was opened with attempt %d", dialling.to, number)
        try:
            sock = dialling.release()
        except OSError as error:
            log.debug("the connection to %s broke at once: %s", dialling.to, error)
            return
        self._left -= 1
        self._over = self._opened(sock, dialling.to) or not self._left

    def _free(self) -> None:
        reasons = self._punch.reasons()
        with self._lock:
            self._reasons = reasons
        self._punch.stop()
        self._close_selector()
        for dialling in self._dialling.values():
            dialling.close()
        self._dialling.clear()
