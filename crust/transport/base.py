"""What every transport offers: `Stream`, a reliable ordered byte stream with a blocking face."""

from typing import Protocol as TypingProtocol

from crust.endpoint import Endpoint
from crust.threads.clock import Deadline


class Stream(TypingProtocol):
    """One end of a reliable, ordered byte stream.

    One thread may receive while another sends. `abort` may be called by any thread at any moment and wakes both.
    `close` is for the owner, when no other thread uses the stream any more.
    """

    local: Endpoint
    remote: Endpoint

    def receive_into(self, buffer: memoryview) -> int:
        """Read some bytes into ``buffer`` and say how many; 0 means that the peer sends no more.

        Raises:
            ConnectionLost: the stream is broken or was aborted.
            TimedOut: the deadline passed.
        """
        ...

    def receive_waiting(self, buffer: memoryview) -> int:
        """Like `receive_into`, for what is there already: 0 when nothing is, or when it cannot be told. Never blocks.

        The end of the stream is for the next `receive_into` to tell.

        Raises:
            ConnectionLost: the stream is broken or was aborted.
        """
        ...

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; blocks while the peer is slower.

        Raises:
            ConnectionLost: the stream is broken or was aborted.
            TimedOut: the deadline passed.
        """
        ...

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the stream takes without waiting, maybe nothing, and say how many bytes that was. Never blocks.

        Raises:
            ConnectionLost: the stream is broken or was aborted.
        """
        ...

    def set_deadline(self, deadline: Deadline | None) -> None:
        """Bound the receives and sends that begin from now on; ``None`` takes the bound away."""
        ...

    def finish_sending(self) -> None:
        """Say that nothing more will be sent (the peer reads 0 bytes after what is on its way). Never raises."""
        ...

    def abort(self) -> None:
        """End both directions at once, waking whoever is blocked; what is on its way may be lost. Never raises."""
        ...

    def close(self) -> None:
        """Free what the stream holds. Idempotent, never raises."""
        ...
