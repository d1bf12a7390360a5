"""What uses a connection: writes, reads, pauses, closes or gives up, and keeps account of what arrived."""

from dataclasses import dataclass
from random import Random

from crust.errors import ConnectionLost
from crust.transport.utp.connection import UtpConnection
from tests.transport.utp.simulation.clockwork import Clockwork
from tests.transport.utp.simulation.node import Node

_PERIOD = 65_521  # a prime: no packet size divides it, so nothing that is a packet too early looks right
_BLOCK = Random("pattern").randbytes(_PERIOD) * 2


def pattern(salt: int, offset: int, length: int) -> bytes:
    """The bytes that a side writes: ``length`` of them from ``offset`` on; ``salt`` tells streams apart."""
    start = (offset + salt * 7919) % _PERIOD
    if start + length <= len(_BLOCK):
        return _BLOCK[start : start + length]
    parts = [_BLOCK[start:_PERIOD]]
    parts += [_BLOCK[:_PERIOD]] * ((length - len(parts[0])) // _PERIOD)
    return b"".join(parts) + _BLOCK[: (length - len(parts[0])) % _PERIOD]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one side of a connection is going to do. The default: write a little, finish, read to the end."""

    total: int = 1000
    """Bytes that it writes."""
    largest_write: int = 70_000
    """Each write is of some size up to this."""
    writing_pauses: float = 0.0
    """Share of writes after which it thinks for up to ``longest_pause``."""
    largest_read: int = 70_000
    reading_pauses: float = 0.0
    """Share of reads after which it thinks likewise: a slow reader."""
    longest_pause: float = 0.2
    """Seconds."""
    begins_reading_at: float = 0.0
    """Seconds after the start; before, it reads nothing."""
    waits_for_end: bool = False
    """Whether it finishes only after the other side has."""
    aborts_after: int | None = None
    """Bytes written or read in all after which it gives up; ``None``: never."""
    aborts_at: float | None = None
    """The same in seconds after the start."""

    @property
    def aborts(self) -> bool:
        """Whether it gives up somewhere."""
        return self.aborts_after is not None or self.aborts_at is not None


class Application:
    """One side of a connection.

    Args:
        salt: what is written follows from this.
        expects: the salt of the other side.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        node: Node,
        connection: UtpConnection,
        plan: Plan,
        salt: int,
        expects: int,
        rng: Random,
    ) -> None:
        self.connection = connection
        self.plan = plan
        self.written = 0
        self.received = 0
        self.finished = False
        self.aborted = False
        self.saw_end = False
        self.wrong: str | None = None
        """What is wrong with the bytes that arrived."""
        self.over_at: float | None = None
        """Seconds after the start when the connection was closed and read to its end."""
        self._clockwork = clockwork
        self._node = node
        self._salt = salt
        self._expects = expects
        self._rng = rng
        self._started = clockwork.now
        self._writes_at = 0.0
        self._reads_at = clockwork.now + plan.begins_reading_at
        node.activities[connection] = self
        clockwork.at(clockwork.now, node.poke, self)
        if plan.begins_reading_at:
            clockwork.at(self._reads_at, node.poke, self)
        if plan.aborts_at is not None:
            clockwork.after(plan.aborts_at, node.poke, self)

    def __str__(self) -> str:
        state = self.connection.state.name
        return f"{state} wrote {self.written} of {self.plan.total} got {self.received}"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen here."""
        return self.over_at is not None

    def act(self) -> None:
        """Read, write, finish or give up, as far as that is possible now."""
        if self.over:
            return
        connection = self.connection
        self._read()
        if self._is_time_to_abort():
            self.aborted = True
            self._node.mux.fail(connection, ConnectionLost("given up"), self._node.now)
        elif not self.finished and not self.aborted and connection.error is None:
            self._write()
        if connection.over and (self.aborted or not connection.readable):
            self.over_at = self._clockwork.now
            del self._node.activities[connection]

    def _is_time_to_abort(self) -> bool:
        plan = self.plan
        if self.aborted:
            return False
        moved = self.written + self.received
        late = self._clockwork.now - self._started
        return (plan.aborts_after is not None and moved >= plan.aborts_after) or (
            plan.aborts_at is not None and late >= plan.aborts_at
        )

    def _read(self) -> None:
        connection, plan, rng = self.connection, self.plan, self._rng
        while connection.readable and self._clockwork.now >= self._reads_at and not self.aborted:
            limit = rng.randint(1, plan.largest_read)
            data = self._read_some(limit)
            self._check(data, limit)
            if not data:
                break
            self._reads_at = self._pause(plan.reading_pauses)
        if connection.at_end and not self.saw_end:
            self.saw_end = True

    def _read_some(self, limit: int) -> bytes:
        if self._rng.random() < 0.5:
            return self.connection.read(limit)
        room = bytearray(limit)
        return bytes(room[: self.connection.read_into(memoryview(room))])

    def _check(self, data: bytes, limit: int) -> None:
        if self.wrong is not None:
            return
        if len(data) > limit:
            self.wrong = f"{len(data)} bytes from a read of {limit}"
        elif data and self.saw_end:
            self.wrong = "data after the end"
        elif data != pattern(self._expects, self.received, len(data)):
            self.wrong = f"other bytes than were sent, in {len(data)} from offset {self.received} on"
        self.received += len(data)

    def _write(self) -> None:
        connection, plan, rng = self.connection, self.plan, self._rng
        while self.written < plan.total and connection.room() and self._clockwork.now >= self._writes_at:
            size = min(rng.randint(1, plan.largest_write), plan.total - self.written)
            taken = connection.write(pattern(self._salt, self.written, size))
            if not 0 <= taken <= size:
                self.wrong = f"{taken} bytes taken of {size}"
            self.written += taken
            if taken < size:
                break
            self._writes_at = self._pause(plan.writing_pauses)
        if self.written == plan.total and (self.saw_end or not plan.waits_for_end):
            self.finished = True
            connection.finish()

    def _pause(self, chance: float) -> float:
        """When to go on: now, or a little later."""
        if not chance or self._rng.random() >= chance:
            return 0.0
        until = self._clockwork.now + self._rng.random() * self.plan.longest_pause
        self._clockwork.at(until, self._node.poke, self)
        return until
