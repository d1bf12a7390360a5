"""Both sides of a negotiation for tests, each on a thread of its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust.connecting.negotiate import Established, Node
from crust.errors import CrustError
from crust.links.peers import Candidate, PeerTable, Verdict
from crust.threads.clock import Deadline
from crust.transport.framing import Decoder
from tests.streams import Pair, RecordedStream
from tests.together import PATIENCE, Running

Side = Callable[..., Established]
either_dials = pytest.mark.parametrize("we_dial", [True, False], ids=["we dial", "they dial"])


def connected_pair() -> Iterator[Pair]:
    """A fixture: two connected sockets."""
    with Pair() as made:
        yield made


def table_of(own: Node) -> Callable[[Candidate], Verdict]:
    """What a manager with room answers."""
    table = PeerTable(own.identity.peer_id, 8, 8)
    return lambda candidate: table.register(candidate)[0]


def start(
    side: Side,
    stream: RecordedStream,
    own: Node,
    ask: Callable[[Candidate], Verdict] | None = None,
    deadline: Deadline | None = None,
) -> Running[Established]:
    """One side on a thread; it closes the stream when it fails, as its callers do."""

    def run() -> Established:
        try:
            return side(stream, own, deadline or Deadline(PATIENCE), ask or table_of(own))
        except CrustError:
            stream.close()
            raise

    return Running(run)


class Lazy(Deadline):
    """A deadline that comes when it is told to."""

    def __init__(self) -> None:
        super().__init__(None)
        self.come = False

    def remaining(self) -> float:
        """A moment, once it was told to."""
        return 0.02 if self.come else PATIENCE


def frames(end: Established) -> tuple[list[bytes], list[tuple[int, dict[str, Any]]]]:
    """The next record: its messages and control frames."""
    while (plaintext := end.link.reader.next()) is None:
        assert end.link.reader.fill(), "it ended"
    decoder = Decoder(1000)
    decoder.feed(plaintext)
    return decoder.take_messages()[0], decoder.take_controls()
