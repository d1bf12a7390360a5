"""The client against servers that are wrong or lie; against a right one it is in test_bench_serve.py."""

import threading
from collections.abc import Callable, Iterator

import pytest

from crust.channel import channel
from crust.cli.bench_client import BenchClient
from crust.cli.bench_protocol import VERSION, bulk, control, parse_control
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import ConnectionLost, CrustError, Malformed, PeerMisbehaved
from crust.event import NewMessage, Stopped

CONFIG = Config(listen_addresses=("127.0.0.1",), utp_port=None, beacon_port=None, upnp=False)
PATIENCE = 30.0  # seconds

Liar = Callable[[str], list[bytes]]


@pytest.fixture
def lying() -> Iterator[Callable[[dict[str, list[bytes]]], Endpoint]]:
    """Starts servers that answer each request with the messages given for it; nothing given: they drop the client."""
    running = []

    def start(answers: dict[str, list[bytes]]) -> Endpoint:
        events = channel()
        manager = ConnectionManager(events, CONFIG)

        def serve() -> None:
            for event in events:
                if type(event) is Stopped:
                    return
                if type(event) is NewMessage and event.data[:1] == b"\x03":
                    reply = answers.get(parse_control(event.data)["do"])
                    for data in reply or ():
                        manager.send(event.endpoint, data)
                    if reply is None:
                        manager.drop_node(event.endpoint)

        thread = threading.Thread(target=serve, name="test-liar")
        thread.start()
        running.append((manager, thread))
        return Endpoint.tcp(("127.0.0.1", manager.start_listening()[0].port))

    yield start
    for manager, thread in running:
        manager.stop()
        thread.join(PATIENCE)


HELLO = [control(ok="hello", version=VERSION)]


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        ([control(ok="hello", version=99)], PeerMisbehaved, "another version"),
        ([control(error="go away")], PeerMisbehaved, "refused: go away"),
        ([b"\x03{"], Malformed, "not JSON"),
        ([b"welcome"], PeerMisbehaved, "not crust bench"),
        (None, ConnectionLost, "ended"),
    ],
)
def test_a_wrong_answer_to_hello(
    lying: Callable[..., Endpoint], answer: list[bytes] | None, kind: type[CrustError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        BenchClient(CONFIG, lying({} if answer is None else {"hello": answer}))


@pytest.mark.parametrize(
    "total",
    [
        control(ok="total", messages=1, bytes=64, seconds="long"),
        control(ok="total", messages=-1, bytes=64, seconds=1),
        control(ok="total", messages=2**62, bytes=64, seconds=1),
        control(ok="total"),
    ],
)
def test_a_total_that_cannot_be(lying: Callable[..., Endpoint], total: bytes) -> None:
    endpoint = lying({"hello": HELLO, "count": [control(ok="count")], "total": [total]})
    with BenchClient(CONFIG, endpoint) as client, pytest.raises(PeerMisbehaved):
        client.to_peer(64, 0.01)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ([bulk(64), control(ok="flood", messages=2)], "1 messages came"),
        ([bulk(64), control(error="busy")], "refused: busy"),
        ([bulk(64), bulk(65)], "not a message of crust bench"),
        ([b"welcome"], "not a message of crust bench"),
    ],
)
def test_a_flood_that_is_not_one(lying: Callable[..., Endpoint], answer: list[bytes], text: str) -> None:
    with BenchClient(CONFIG, lying({"hello": HELLO, "flood": answer})) as client:
        with pytest.raises(PeerMisbehaved, match=text):
            client.from_peer(64, 0.01)


def test_a_server_that_goes_in_the_middle(lying: Callable[..., Endpoint]) -> None:
    with BenchClient(CONFIG, lying({"hello": HELLO})) as client, pytest.raises(ConnectionLost):
        client.from_peer(64, 0.01)
