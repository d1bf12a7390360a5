"""`crust.nat.stun_client`: when requests are repeated, and which answers count."""

from crust.endpoint import Address
from crust.nat import stun, stun_client
from crust.nat.stun import Attribute, Kind, Message
from crust.nat.stun_client import Reply, StunClient
from crust.nat.stun_server import StunServer

SERVER = ("192.0.2.1", 3478)
OTHER = ("192.0.2.2", 3479)
SEEN = ("198.51.100.7", 40000)


def run(client: StunClient, until: float) -> list[float]:
    """Let time pass; when something was sent."""
    times = [0.0 for _ in client.outgoing()]
    while (due := client.next_deadline()) is not None and due <= until:
        client.tick(due)
        times += [due for _ in client.outgoing()]
    return times


def success(transaction: bytes, *attributes: tuple[int, bytes]) -> bytes:
    return Message(Kind.SUCCESS, transaction, attributes).encode()


def xored(transaction: bytes, seen: Address = SEEN) -> tuple[int, bytes]:
    return Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(seen, transaction)


def asked(**options: object) -> tuple[StunClient, bytes]:
    client = StunClient()
    return client, client.ask(SERVER, 0.0, tag="tag", **options)  # type: ignore[arg-type]


def test_a_request_is_repeated_as_the_standard_has_it() -> None:
    """RFC 8489 section 6.2.1 gives these numbers as the example: 0, 500, ... 31500 ms, and 39500 ms for the failure."""
    client, _ = asked()
    assert run(client, 100.0) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert client.replies() == [Reply("tag", SERVER, None, None, "no answer")]
    client, _ = asked()
    run(client, 39.4)
    assert client.replies() == []
    client.tick(39.5)
    assert len(client.replies()) == 1
    assert client.next_deadline() is None


def test_one_that_gives_up_sooner() -> None:
    client, _ = asked(sends=3)
    assert run(client, 3.4) == [0, 0.5, 1.5]
    assert client.next_deadline() == 3.5
    client.tick(3.5)
    assert client.replies()[0].error == "no answer"


def test_an_answer_ends_it() -> None:
    client, transaction = asked()
    ((_, where),) = client.outgoing()
    assert where == SERVER
    data = StunServer().answer(_sent(transaction), SEEN, 0.0)
    assert data is not None
    assert client.receive(data.data, SERVER, 0.25)
    assert client.replies() == [Reply("tag", SERVER, SEEN, None, "", 0.25)]
    assert client.next_deadline() is None
    assert client.replies() == []
    assert not client.receive(data.data, SERVER, 0.3), "the same once more"


def _sent(transaction: bytes) -> bytes:
    return stun_client._request(transaction, 0)


def test_of_a_repeated_request_nobody_knows_the_round_trip() -> None:
    client, transaction = asked()
    run(client, 0.5)
    client.receive(success(transaction, xored(transaction)), SERVER, 0.6)
    assert client.replies()[0].round_trip is None


def test_only_who_was_asked_can_answer() -> None:
    client, transaction = asked()
    good = success(transaction, xored(transaction))
    assert not client.receive(good, (SERVER[0], 1), 0.1)
    assert not client.receive(good, ("192.0.2.9", SERVER[1]), 0.1)
    assert not client.receive(success(b"transaction?", xored(b"transaction?")), SERVER, 0.1)
    assert not client.receive(b"nonsense", SERVER, 0.1)
    assert not client.receive(Message(Kind.REQUEST, transaction).encode(), SERVER, 0.1)
    assert client.replies() == []
    assert client.receive(good, SERVER, 0.1)


def test_an_answer_from_where_we_wanted_it() -> None:
    client, transaction = asked(change=stun.CHANGE_HOST, answers_from=OTHER)
    ((data, where),) = client.outgoing()
    assert where == SERVER
    assert stun.parse(data).get(Attribute.CHANGE_REQUEST) == stun.encode_change(stun.CHANGE_HOST)
    good = success(transaction, xored(transaction))
    assert not client.receive(good, SERVER, 0.1)
    assert client.receive(good, OTHER, 0.1)


def test_requests_have_one_size() -> None:
    for change in (0, stun.CHANGE_PORT):
        assert len(stun_client._request(bytes(12), change)) == stun_client.REQUEST_SIZE


def test_old_servers_do_not_hide_the_address() -> None:
    client, transaction = asked()
    plain = (Attribute.MAPPED_ADDRESS, stun.encode_address(SEEN))
    other = (Attribute.OTHER_ADDRESS, stun.encode_address(OTHER))
    client.receive(success(transaction, plain, other), SERVER, 0.1)
    assert client.replies() == [Reply("tag", SERVER, SEEN, OTHER, "", 0.1)]
    client, transaction = asked()
    client.receive(success(transaction, plain, xored(transaction, OTHER)), SERVER, 0.1)
    assert client.replies()[0].seen == OTHER


def test_answers_that_are_none_end_it_too() -> None:
    for attributes, why in (
        ((), "no address"),
        (((0x7FFF, b""),), "not known"),
        (((Attribute.MAPPED_ADDRESS, b""),), "half of one"),
    ):
        client, transaction = asked()
        assert client.receive(success(transaction, *attributes), SERVER, 0.1)
        (reply,) = client.replies()
        assert reply.seen is None
        assert why in reply.error
    client, transaction = asked()
    error = Message(Kind.ERROR, transaction, ((Attribute.ERROR_CODE, stun.encode_error(300, "Try Alternate")),))
    assert client.receive(error.encode(), SERVER, 0.1)
    assert client.replies()[0].error == "the server refused: 300 Try Alternate"
    assert client.outgoing()[1:] == []


def test_our_own_request_coming_back() -> None:
    client, _ = asked()
    ((data, _),) = client.outgoing()
    assert client.is_ours(data)
    assert not client.is_ours(_sent(b"transaction?"))
    assert not client.is_ours(b"nonsense")
    client.cancel("tag")
    assert not client.is_ours(data)
    assert client.next_deadline() is None


def test_there_are_so_many_at_once() -> None:
    client = StunClient()
    given = [client.ask(SERVER, 0.0) for _ in range(stun_client.MAX_ASKED + 1)]
    assert given.count(b"") == 1
    assert len(set(given)) == len(given)
    assert len(client.outgoing()) == stun_client.MAX_ASKED
