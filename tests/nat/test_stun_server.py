"""`crust.nat.stun_server`: right answers, never larger than the requests, and not too many."""

import pytest

from crust.endpoint import Address
from crust.nat import stun, stun_client, stun_server
from crust.nat.stun import Attribute, Kind, Message
from crust.nat.stun_client import StunClient
from crust.nat.stun_server import Corners, StunServer

HERE = ("198.51.100.7", 40000)
IPV6 = ("2001:db8::7", 40000)
CORNERS = Corners(("192.0.2.1", "192.0.2.2"), (3478, 3479))


def request(change: int = 0) -> bytes:
    client = StunClient()
    client.ask(("192.0.2.1", 3478), 0.0, change=change)
    ((data, _),) = client.outgoing()
    return data


def bare(*attributes: tuple[int, bytes]) -> bytes:
    return Message(Kind.REQUEST, b"transaction!", attributes).encode(fingerprint=False)


def answered(server: StunServer, data: bytes, source: Address = HERE) -> Message | None:
    answer = server.answer(data, source, 0.0)
    return None if answer is None else stun.parse(answer.data)


@pytest.mark.parametrize("source", [HERE, IPV6])
def test_a_request_is_told_where_it_came_from(source: Address) -> None:
    data = request()
    answer = StunServer().answer(data, source, 0.0)
    assert answer is not None
    message = stun.parse(answer.data)
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.parse_xor_address(value, message.transaction) == source
    assert (message.kind, message.transaction) == (Kind.SUCCESS, stun.parse(data).transaction)
    assert len(answer.data) <= len(data)


def test_a_scope_does_no_harm() -> None:
    answer = answered(StunServer(), request(), ("fe80::1%eth0", 7))
    assert answer is not None


def test_no_answer_is_larger_than_its_request() -> None:
    server = StunServer()
    assert server.answer(bare(), HERE, 0.0) is None
    assert server.answer(bare((0x7FFF, b"")), HERE, 0.0) is None, "no error either"
    assert server.counters["too_small"] == 2
    fits = bare((0x8022, bytes(8)))
    answer = server.answer(fits, HERE, 0.0)
    assert answer is not None
    assert len(answer.data) == len(fits) == 32, "without a fingerprint"
    for size in range(0, 128, 4):
        for attributes in ([], [(0x7FFF, b"")], [(kind, b"") for kind in range(16, 22)]):
            for source in (HERE, IPV6):
                data = bare(*attributes, (0x8022, bytes(size)))
                answer = StunServer().answer(data, source, 0.0)
                assert answer is None or len(answer.data) <= len(data)


def test_a_server_of_the_public_answers_bare_requests() -> None:
    answer = StunServer(bare=True).answer(bare(), HERE, 0.0)
    assert answer is not None
    assert len(answer.data) == 32
    answer = StunServer(bare=True).answer(bare(), IPV6, 0.0)
    assert answer is not None
    assert len(answer.data) == 44


@pytest.mark.parametrize("kind", [Attribute.RESPONSE_PORT, Attribute.CHANGE_REQUEST, 0x7FFF])
def test_what_is_not_understood_is_refused(kind: int) -> None:
    """Also to answer to another port, or from another address."""
    answer = answered(StunServer(), bare((kind, bytes(4)), (0x8022, bytes(64))))
    assert answer is not None
    assert answer.kind is Kind.ERROR
    assert stun.parse_error(answer.get(Attribute.ERROR_CODE) or b"") == (420, "Unknown Attribute")
    assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == kind.to_bytes(2)


@pytest.mark.parametrize("kind", [Kind.INDICATION, Kind.SUCCESS, Kind.ERROR])
def test_only_requests_are_answered(kind: Kind) -> None:
    """Two servers would answer each other's answers for ever."""
    server = StunServer(bare=True)
    assert server.answer(Message(kind, b"transaction!").encode(), HERE, 0.0) is None


def test_nonsense_gets_no_answer() -> None:
    server = StunServer(bare=True, corners=CORNERS)
    assert server.answer(b"hello", HERE, 0.0) is None
    for value in (b"", b"\0\0"):
        assert server.answer(bare((Attribute.CHANGE_REQUEST, value)), HERE, 0.0) is None
    assert server.counters["malformed"] == 3


def test_no_address_gets_more_than_its_share() -> None:
    server, data = StunServer(), request()
    for _ in range(stun_server.STUN_HOST_BURST):
        assert server.answer(data, (HERE[0], 1), 0.0)
    assert server.answer(data, (HERE[0], 2), 0.0) is None
    assert server.answer(data, ("198.51.100.8", 1), 0.0) is not None
    assert server.answer(data, HERE, 1 / stun_server.STUN_HOST_PER_SECOND) is not None
    assert server.counters["refused"] == 1


def test_a_network_of_ipv6_is_one_address() -> None:
    server, data = StunServer(), request()
    answers = [server.answer(data, (f"2001:db8::{number:x}", 1), 0.0) for number in range(100)]
    assert len(answers) - answers.count(None) == stun_server.STUN_HOST_BURST
    assert server.answer(data, ("2001:db8:0:1::1", 1), 0.0) is not None


def test_there_are_so_many_answers_in_all() -> None:
    """Whoever forges the senders gets no more out of it; and what is remembered of them is bounded."""
    server, data = StunServer(), request()
    count = 0
    for number in range(stun_server.KNOWN_HOSTS * 2):
        count += server.answer(data, (f"10.{number >> 8}.{number & 255}.1", 1), number / 10_000) is not None
    most = stun_server.STUN_BURST + stun_server.STUN_PER_SECOND * number / 10_000
    assert most - 2 <= count <= most
    assert len(server._hosts) <= stun_server.KNOWN_HOSTS


def test_a_server_with_two_addresses_answers_from_where_it_is_asked_to() -> None:
    server = StunServer(corners=CORNERS)
    at = ("192.0.2.1", 3479)
    for change, origin in (
        (0, at),
        (stun.CHANGE_PORT, ("192.0.2.1", 3478)),
        (stun.CHANGE_HOST, ("192.0.2.2", 3479)),
        (stun.CHANGE_HOST | stun.CHANGE_PORT, ("192.0.2.2", 3478)),
    ):
        for source in (HERE, IPV6):
            data = request(change)
            answer = server.answer(data, source, 0.0, at)
            assert answer is not None
            assert answer.origin == origin
            message = stun.parse(answer.data)
            assert stun.parse_address(message.get(Attribute.RESPONSE_ORIGIN) or b"") == origin
            assert stun.parse_address(message.get(Attribute.OTHER_ADDRESS) or b"") == ("192.0.2.2", 3478)
            assert len(answer.data) <= len(data) == stun_client.REQUEST_SIZE
