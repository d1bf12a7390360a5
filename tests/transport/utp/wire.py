"""A connection whose peer is written down packet by packet, without network or clock."""

from crust.transport.utp.burst import Burst
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import Packet, PacketType, decode, encode
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.settings import UtpSettings

NOW = 1000.0
PEER = ("192.0.2.1", 7)
ID = 2000
"""What they receive at is `ID`, where they dialled; what we receive at, where we did."""
OURS, THEIRS = 500, 40
"""The sequence numbers of the SYN, and of the answer."""
WINDOW = 1 << 20
SIZE = 528  # bytes of payload of a full packet on the path used here


def packet(kind: PacketType, payload: bytes = b"", **fields: object) -> Packet:
    """One of the peer's, to the connection that we dialled unless said otherwise."""
    plain = Packet(kind, ID, 1000, 0, WINDOW, THEIRS, OURS, payload=payload)
    return plain._replace(**fields)  # type: ignore[arg-type]


def make(settings: UtpSettings | None = None, *, rendezvous: bool = False, ceiling: int = 548) -> UtpConnection:
    """One that dials."""
    path = PathMtu(548, ceiling)
    return UtpConnection(PEER, ID, ID + 1, OURS, path, settings or UtpSettings(), NOW, rendezvous=rendezvous)


def connected(settings: UtpSettings | None = None, *, ceiling: int = 548) -> UtpConnection:
    """One that dialled and was answered after 0.1 s; nothing is due."""
    connection = make(settings, ceiling=ceiling)
    sent(connection, NOW)
    connection.receive(packet(PacketType.STATE), NOW + 0.1)
    sent(connection, NOW + 0.1)
    assert connection.established
    return connection


def packets(burst: Burst) -> list[Packet]:
    """What a burst is on the wire."""
    return [decode(b"".join(burst.buffers[at : at + 2])) for at in range(0, len(burst.buffers), 2)]


def sent(source: UtpConnection | Multiplexer, now: float) -> list[Packet]:
    """All that leaves now."""
    return [packet for burst in bursts(source, now) for packet in packets(burst)]


def bursts(source: UtpConnection | Multiplexer, now: float) -> list[Burst]:
    """The same in bursts."""
    found: list[Burst] = []
    while (burst := source.next_burst(now)) is not None:
        source.sent(burst, burst.count, now)
        found.append(burst)
        assert len(found) < 1000, "it never ends"
    return found


def give(mux: Multiplexer, found: Packet, now: float, address: tuple[str, int] = PEER) -> None:
    """Let a packet arrive."""
    data = encode(found)
    mux.receive(data, address, len(data), now)
