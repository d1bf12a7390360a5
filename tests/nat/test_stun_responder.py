"""`crust.nat.stun_responder`: on a real port of uTP, beside its connections."""

import socket

from crust.nat import stun
from crust.nat.stun_client import StunClient
from crust.nat.stun_responder import StunResponder
from crust.nat.stun_server import StunServer
from crust.transport.utp import UtpSocket
from crust.transport.utp.burst import Address

PATIENCE = 10.0  # seconds


def test_a_port_of_utp_answers() -> None:
    with UtpSocket(("127.0.0.1", 0)) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        port.add_handler(StunResponder(StunServer(), port.send_datagram))
        asking.bind(("127.0.0.1", 0))
        asking.settimeout(PATIENCE)
        client = StunClient()
        client.ask(port.local_address[:2], 0.0)
        ((data, to),) = client.outgoing()
        asking.sendto(data, to)
        answer, source = asking.recvfrom(2048)
        assert client.receive(answer, source, 0.1)
        (reply,) = client.replies()
        assert reply.seen == asking.getsockname()


def test_what_is_no_request_is_left_to_others() -> None:
    sent: list[tuple[bytes, Address]] = []
    responder = StunResponder(StunServer(), lambda data, address: sent.append((data, address)))
    here = ("192.0.2.1", 1)
    for data in (b"", b"\0\1", b"nonsense", stun.Message(stun.Kind.SUCCESS, bytes(12)).encode()):
        assert not responder(data, here)
    assert responder(stun.Message(stun.Kind.REQUEST, bytes(12)).encode(), here), "taken, but too small for an answer"
    assert sent == []


def test_the_scope_of_a_link_local_address_is_kept() -> None:
    sent: list[Address] = []
    responder = StunResponder(StunServer(), lambda data, address: sent.append(address))
    client = StunClient()
    client.ask(("fe80::1", 1), 0.0)
    ((data, _),) = client.outgoing()
    assert responder(data, ("fe80::1%2", 1, 0, 2))
    assert sent == [("fe80::1%2", 1, 0, 2)]
