"""A connection whose peer is written down packet by packet, without network or clock."""

from random import Random

from crust.transport.utp.burst import Burst
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import Packet, PacketType, decode, encode
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.settings import UtpSettings

NOW = 1000.0
SOON = NOW + 0.2
PEER = ("192.0.2.1", 7)
OTHER = ("192.0.2.2", 7)
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


def port(*, accepting: bool = True, **settings: int) -> Multiplexer:
    """A port without anybody on it yet."""
    mux = Multiplexer(UtpSettings(**settings), rng=Random(1))  # type: ignore[arg-type]
    mux.accepting = accepting
    return mux


def dialled(mux: Multiplexer, address: tuple[str, int] = PEER, now: float = NOW) -> UtpConnection:
    """A connection that we made."""
    connection = mux.connect(address, now)
    (syn,) = sent(mux, now)
    give(mux, packet(PacketType.STATE, connection_id=syn.connection_id, ack_nr=syn.seq_nr), now, address)
    sent(mux, now)
    assert connection.established
    return connection


def ask(mux: Multiplexer, address: tuple[str, int] = PEER, connection_id: int = ID, now: float = NOW) -> Packet | None:
    """Dial us; what is answered."""
    give(mux, packet(PacketType.SYN, connection_id=connection_id, ack_nr=0), now, address)
    found = sent(mux, now)
    return found[0] if found else None


def prove(answer: Packet | None, payload: bytes = b"!") -> Packet:
    """The packet that only who got the answer can send."""
    assert answer is not None
    connection_id = (answer.connection_id + 1) & 0xFFFF
    return packet(
        PacketType.DATA, payload, connection_id=connection_id, seq_nr=THEIRS + 1, ack_nr=(answer.seq_nr - 1) & 0xFFFF
    )


def accepted(mux: Multiplexer, address: tuple[str, int] = PEER, connection_id: int = ID) -> UtpConnection:
    """A connection that a peer made."""
    give(mux, prove(ask(mux, address, connection_id)), NOW, address)
    sent(mux, NOW)
    return mux.accepted.pop()
