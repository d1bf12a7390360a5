"""`Writing`: the writer thread of a connection, which drains its `Outbox` into records."""

import queue
from typing import Any

from crust.errors import CrustError
from crust.limits import MESSAGE_OVERHEAD
from crust.links.connection import Connection
from crust.links.connection_news import WriterEnded
from crust.threads.clock import now
from crust.transport.framing import BYE, control_frame, encode_messages


class Writing:
    """See the module's text. `run` is the thread.

    Args:
        connection: whose outbox is drained.
        inbox: where is told that it has ended.
    """

    def __init__(self, connection: Connection, inbox: "queue.SimpleQueue[Any]") -> None:
        self._connection = connection
        self._inbox = inbox

    def run(self) -> None:
        """Write to the end, and tell how it ended."""
        error: str | None = None
        try:
            self._write()
        except CrustError as failure:
            error = str(failure)
            self._connection.outbox.close(discard=True)
        except Exception as failure:
            self._inbox.put(WriterEnded(self._connection, f"an internal error: {failure!r}"))
            raise
        self._inbox.put(WriterEnded(self._connection, error))

    def _write(self) -> None:
        connection = self._connection
        outbox, writer, traffic = connection.outbox, connection.link.writer, connection.traffic
        while (work := outbox.take()) is not None:
            controls, messages = work
            for frame in controls:
                writer.add(frame)
            weight = 0
            for pieces, count, size in encode_messages(messages):
                traffic.messages_sent += count
                weight += size + count * MESSAGE_OVERHEAD
                if writer.add(b"".join(pieces)):
                    traffic.last_sent = now()
                    outbox.sent(weight)
                    weight = 0
                for frame in outbox.take_controls():
                    writer.add(frame)
            writer.flush()
            traffic.last_sent = now()
            if weight:
                outbox.sent(weight)
            work = controls = messages = None  # type: ignore[assignment]  # not kept alive while we wait for more
        if not outbox.discarded:
            writer.add(control_frame(BYE, {"reason": connection.parting_word, "text": connection.farewell}))
            writer.flush()
        connection.link.stream.finish_sending()
