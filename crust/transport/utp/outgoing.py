"""What is on its way: runs of packets as long as all goes well, single packets where something does not."""

from collections.abc import Iterator
from typing import NamedTuple

from crust.transport.utp.packet import PacketType
from crust.transport.utp.sequence import SEQ_MASK


class OutPacket:
    """A packet that takes a sequence number: DATA or FIN. Its payload never changes: packets are counted, not bytes."""

    __slots__ = ("flying", "order", "payload", "queued", "sacked", "sends", "sent_at", "seq_nr", "size", "type")

    def __init__(self, kind: int, seq_nr: int, payload: bytes) -> None:
        self.type = kind
        self.seq_nr = seq_nr
        self.payload = payload
        self.size = len(payload)
        self.sends = 0
        self.order = 0  # of its last transmission among all
        self.sent_at = 0.0
        self.flying = False  # sent, and neither acknowledged nor lost
        self.queued = False  # waits for its first or next transmission
        self.sacked = False


class OutRun:
    """DATA packets with sequence numbers in a row that were sent together, once, and nothing is known of any.

    Args:
        seq_nr: of the first.
        data: where their payloads are, in a row: slices of ``bytes`` cost less than those of a memoryview.
        start: where the first one's begins.
        stop: where the last one's ends.
        size: bytes of payload of each; the last may be shorter.
    """

    __slots__ = ("count", "data", "order", "sent_at", "seq_nr", "size", "start", "stop")

    def __init__(self, seq_nr: int, data: bytes, start: int, stop: int, size: int) -> None:
        self.seq_nr = seq_nr
        self.data = data
        self.start = start
        self.stop = stop
        self.size = size
        self.count = -(-(stop - start) // size)
        self.order = 0  # of the first one's transmission; the others' follow
        self.sent_at = 0.0

    @property
    def length(self) -> int:
        """Bytes of payload of all."""
        return self.stop - self.start

    def payloads(self) -> list[bytes]:
        """The payload of each."""
        data, start, stop, size = self.data, self.start, self.stop, self.size
        found = [data[at : at + size] for at in range(start, stop - size + 1, size)]
        rest = (stop - start) % size
        if rest:
            found.append(data[stop - rest : stop])
        return found

    def drop_first(self, count: int) -> int:
        """Forget the first ``count``, fewer than all; how many bytes they had."""
        dropped = count * self.size
        self.start += dropped
        self.seq_nr = (self.seq_nr + count) & SEQ_MASK
        self.count -= count
        self.order += count
        return dropped

    def keep_first(self, count: int) -> None:
        """Forget all but the first ``count``."""
        if count < self.count:
            self.stop = self.start + count * self.size
            self.count = count

    def split(self) -> Iterator[OutPacket]:
        """The packets one by one, as they are on their way."""
        for number, payload in enumerate(self.payloads()):
            packet = OutPacket(PacketType.DATA, (self.seq_nr + number) & SEQ_MASK, payload)
            packet.sends = 1
            packet.order = self.order + number
            packet.sent_at = self.sent_at
            packet.flying = True
            yield packet


class Outgoing(NamedTuple):
    """What may leave now: new data as a run, or packets that were sent before, or the FIN."""

    run: OutRun | None = None
    packets: tuple[OutPacket, ...] = ()
    pad_to: int = 0
    """Bytes of UDP payload to which the one packet of the run is padded, as a probe of the path MTU; 0: it is not."""

    @property
    def type(self) -> int:
        """The `PacketType` of all of them."""
        return PacketType.DATA if self.run is not None else self.packets[0].type

    @property
    def size(self) -> int:
        """Bytes of payload of each; the last may have fewer."""
        return min(self.run.size, self.run.length) if self.run is not None else self.packets[0].size


class Acked(NamedTuple):
    """What an acknowledgement was news about."""

    size: int
    """Bytes of payload that are now known to have arrived."""
    packets: int
    sent_at: float | None
    """When the packet sent last among them was, if it was sent only once (Karn's rule)."""
    fin: bool
    """Our FIN, and so everything, has arrived."""
