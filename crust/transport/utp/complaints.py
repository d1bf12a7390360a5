"""What the network complains about: whose packet it quotes, and what follows for that connection. Pure."""

import errno
from collections.abc import Callable
from typing import Final, NamedTuple

from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.packet import PacketType, could_be_utp
from crust.transport.utp.sequence import SEQ_MASK

_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET})

Explain = Callable[[int], str]
"""What an errno means, and what to do about it."""


def by_name(error: int) -> str:
    """An errno for who knows them."""
    return f"the network says: {errno.errorcode.get(error, error)}"


class Quote(NamedTuple):
    """How a packet of ours begins, as a complaint quotes it."""

    kind: int
    connection_id: int
    seq_nr: int

    @classmethod
    def read(cls, quoted: bytes) -> "Quote | None":
        """From the first bytes of a datagram; ``None``: it was not uTP, or too little is quoted."""
        if not could_be_utp(quoted):
            return None
        return cls(quoted[0] >> 4, int.from_bytes(quoted[2:4]), int.from_bytes(quoted[16:18]))

    @property
    def recv_ids(self) -> tuple[int, ...]:
        """The connection ids at which the connection that sent it may receive."""
        sent = self.connection_id
        return (sent,) if self.kind == PacketType.SYN else ((sent - 1) & SEQ_MASK, (sent + 1) & SEQ_MASK)

    def is_of(self, connection: UtpConnection) -> bool:
        """Whether a connection with one of these ids has sent it.

        Anybody can send ICMP; who sees our packets knows what to quote (RFC 5927 section 4.1).
        """
        ours = self.kind == PacketType.SYN or connection.send_id == self.connection_id
        return ours and connection.has_sent(self.seq_nr)


def complain(connection: UtpConnection, error: int, mtu: int | None, explain: Explain, now: float) -> None:
    """Tell a connection.

    Args:
        connection: whose packet it is about.
        error: an errno.
        mtu: bytes of the largest IP packet that would pass, where that was said.
        explain: for what ends an attempt to connect.
        now: seconds.
    """
    if error == errno.EMSGSIZE:
        connection.too_big(mtu, now)
    elif error in _REFUSED:
        connection.unreachable("nothing listens on that port; is the peer running, and is the port right?", now)
    elif not connection.established:
        connection.unreachable(explain(error), now)
