"""`Sounder`: which port a NAT that counts them gave last, over TCP (docs/nat.md, "Sounding").

A peer is dialled from a fresh port, and says in message 2 of the handshake where it sees that: the next dials leave
from the ports that come next. The stream ends there; no connection comes of it. Belongs to the manager thread, but for
`Sounding.run`.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from crust.connecting import notices
from crust.connecting.negotiate import Node, who_is_there
from crust.discovery.contact import dialable
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import CrustError, HandshakeFailed
from crust.identity import PeerId
from crust.nat.ranges import is_local
from crust.threads.clock import Deadline
from crust.threads.workers import WorkerPool
from crust.transport.grip import Grip
from crust.transport.tcp import dial

log = logging.getLogger("crust.reach")

SOUNDING_SECONDS: Final = 3.0
"""For dialling and two messages; who is slower is too far to tell what holds now."""
MAX_DEAF: Final = 64
"""Endpoints that are remembered because no sounding came of them."""
SHARED_STEPS: Final = 4
"""So few steps apart, the ports of UDP and TCP are counted together: both were asked for at the same moment."""


@dataclass(slots=True, eq=False)
class Sounding:
    """One look. `run` it on a thread of a pool."""

    peer_id: PeerId
    endpoint: Endpoint
    """Where that peer is said to listen."""
    seen: Address | None = None
    """Where the peer sees us, if all went well. Its thread's, until that is over."""
    _grip: Grip = field(default_factory=Grip)

    def abort(self) -> None:
        """End it. Any thread may call."""
        self._grip.abort()

    def run(self, node: Node) -> None:
        """Do it; takes `SOUNDING_SECONDS` at most."""
        try:
            self.seen = self._look(node, Deadline(SOUNDING_SECONDS))
        except CrustError as error:
            log.debug("sounding at %s: %s", self.endpoint, error)
        finally:
            self._grip.hold(None)

    def _look(self, node: Node, deadline: Deadline) -> Address | None:
        stream = dial(self.endpoint, deadline, self._grip.hold)
        try:
            self._grip.hold(stream)
            peer_id, seen = who_is_there(stream, node, deadline)
        finally:
            stream.abort()
            stream.close()
        if peer_id != self.peer_id:
            raise HandshakeFailed(f"somebody else is there: {peer_id}")
        return seen if seen is not None and _can_be_true(seen) else None


def _can_be_true(seen: Address) -> bool:
    return ":" not in seen[0] and not is_local(seen[0]) and dialable(Endpoint.tcp(seen))


class Sounder:
    """See the module's text.

    Args:
        node: for the handshakes.
        inbox: the manager's.
        ways: where peers that are connected to us listen, and who they are; the best first.
    """

    def __init__(self, node: Node, inbox: notices.Inbox, ways: Callable[[], Iterable[tuple[PeerId, Endpoint]]]) -> None:
        self.last_given: Address | None = None
        """What the latest sounding has found; ``None``: nothing, or it is under way."""
        self._node = node
        self._inbox = inbox
        self._ways = ways
        self._pool = WorkerPool("sounding", 1)
        self._current: Sounding | None = None
        self._waiting: list[Callable[[], None]] = []
        self._deaf: set[Endpoint] = set()
        self._stopped = False

    def begin(self) -> None:
        """Look now, unless that is under way."""
        if self._current is not None or self._stopped:
            return
        self.last_given = None
        sounding = self._choose()
        if sounding is None:
            return
        try:
            self._pool.submit(lambda: self._work(sounding))
        except RuntimeError as error:
            log.warning("nobody can be asked which TCP port comes next: %s", error)
            return
        self._current = sounding

    def _work(self, sounding: Sounding) -> None:
        try:
            sounding.run(self._node)
        finally:
            self._inbox.put(notices.Do(lambda: self._over(sounding)))

    def when_over(self, call: Callable[[], None]) -> None:
        """Call it when what `begin` has begun is over; at once, if nothing is under way."""
        if self._current is None:
            call()
        else:
            self._waiting.append(call)

    def _choose(self) -> Sounding | None:
        """Whom to ask: nobody on our side of the NAT. Who was asked in vain comes last."""
        again: Sounding | None = None
        for peer_id, endpoint in self._ways():
            if not _is_outside(endpoint):
                continue
            if endpoint not in self._deaf:
                return Sounding(peer_id, endpoint)
            again = again or Sounding(peer_id, endpoint)
        self._deaf.clear()
        return again

    def _over(self, sounding: Sounding) -> None:
        self._current = None
        self.last_given = sounding.seen
        log.debug("sounding at %s: seen at %s", sounding.endpoint, sounding.seen)
        if sounding.seen is None and len(self._deaf) < MAX_DEAF:
            self._deaf.add(sounding.endpoint)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def stop(self) -> None:
        """Ask nobody any more; nothing is called."""
        self._stopped = True
        self._waiting.clear()
        if self._current is not None:
            self._current.abort()
        self._pool.close()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; whether it ended. After `stop`."""
        return self._pool.join(timeout)


def _is_outside(endpoint: Endpoint) -> bool:
    if endpoint.protocol is not Protocol.TCP or endpoint.is_name or ":" in endpoint.host:
        return False
    return not is_local(endpoint.host)


def latest(udp: Address | None, tcp: Address | None, delta: int) -> tuple[Address | None, Address | None]:
    """The last ports that a NAT gave, as far as they are known, corrected for one that counts both protocols together:
    then the later port is the last one of both.

    Args:
        udp, tcp: what was seen at the same moment.
        delta: from one port to the next.
    """
    if udp is None or tcp is None or udp[0] != tcp[0] or not delta:
        return udp, tcp
    for steps in range(1, SHARED_STEPS + 1):
        if (udp[1] + steps * delta - tcp[1]) % 0x10000 == 0:
            return tcp, tcp
        if (tcp[1] + steps * delta - udp[1]) % 0x10000 == 0:
            return udp, udp
    return udp, tcp
