"""`StunResponder`: answers STUN requests on a UDP port of uTP."""

from collections.abc import Callable
from typing import Final

from crust.nat import stun
from crust.nat.stun_server import StunServer
from crust.threads import clock
from crust.transport.utp.burst import Address

_REQUEST: Final = stun.Kind.REQUEST.to_bytes(2)


class StunResponder:
    """A handler for `UtpSocket.add_handler`. What is no request is left to others.

    Args:
        server: shared by all ports of a node only if one thread serves them; else one for each.
        send: sends a datagram from the port, without waiting.
    """

    def __init__(self, server: StunServer, send: Callable[[bytes, Address], None]) -> None:
        self._server = server
        self._send = send

    def __call__(self, data: bytes, address: Address) -> bool:
        """Whether it was a request; on the thread of the port."""
        if data[:2] != _REQUEST or not stun.looks_like_stun(data):
            return False
        answer = self._server.answer(data, (address[0], address[1]), clock.now())
        if answer is not None:
            self._send(answer.data, address)
        return True
