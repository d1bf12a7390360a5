"""`crust bench --serve` and its client, over loopback, in one process."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from crust.channel import channel
from crust.cli.bench_client import BenchClient, connect, connects
from crust.cli.bench_protocol import PING, control
from crust.cli.bench_serve import BenchServer
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import DialFailed, PeerMisbehaved
from crust.event import LostConnection, NewMessage

CONFIG = Config(listen_addresses=("127.0.0.1",), utp_port=None, beacon_port=None, upnp=False)
PATIENCE = 30.0  # seconds


@pytest.fixture
def served() -> Iterator[Endpoint]:
    """Where a server listens."""
    with contextlib.closing(BenchServer(CONFIG)) as server:
        (endpoint,) = server.listen()
        thread = threading.Thread(target=server.run, name="test-serve")
        thread.start()
        yield endpoint
    thread.join(PATIENCE)
    assert not thread.is_alive()


class Stranger:
    """Somebody who speaks to a server by hand."""

    def __init__(self, manager: ConnectionManager, events: Any, endpoint: Endpoint) -> None:
        self._manager = manager
        self._events = events
        self._endpoint = connect(manager, events, endpoint, PATIENCE)

    def say(self, data: bytes) -> object:
        """Send something; the next event."""
        self._manager.send(self._endpoint, data)
        return self._events.get(timeout=PATIENCE)


@pytest.fixture
def stranger(served: Endpoint) -> Iterator[Stranger]:
    events = channel()
    with ConnectionManager(events, CONFIG) as manager:
        yield Stranger(manager, events, served)


def test_everything_can_be_measured(served: Endpoint) -> None:
    with BenchClient(CONFIG, served) as client:
        up, down, trips = client.to_peer(64, 0.02), client.from_peer(2000, 0.02), client.round_trips(0.02)
    assert up.messages > 0
    assert down.messages > 0
    assert trips.count > 0
    latency, per_second = connects(CONFIG, served, 0.01)
    assert latency.count > 0
    assert per_second > 0


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x03[]", PING + bytes(70_000), control(do="flood", size=1, seconds=1e9)]
)
def test_whoever_says_what_no_client_says_is_dropped(stranger: Stranger, data: bytes) -> None:
    assert isinstance(stranger.say(data), LostConnection)


def test_one_that_was_dropped_does_not_disturb_others(served: Endpoint, stranger: Stranger) -> None:
    assert isinstance(stranger.say(b"nonsense"), LostConnection)
    with BenchClient(CONFIG, served) as client:
        assert client.round_trips(0.01).count > 0


def test_requests_of_a_later_version_get_an_error_and_the_connection_lives(stranger: Stranger) -> None:
    for _ in range(2):
        event = stranger.say(control(do="something new"))
        assert isinstance(event, NewMessage)
        assert b"error" in event.data


def test_a_flood_ends_when_its_peer_goes(served: Endpoint) -> None:
    events = channel()
    with ConnectionManager(events, CONFIG) as manager:
        assert isinstance(Stranger(manager, events, served).say(control(do="flood", size=1000, seconds=60)), NewMessage)
    with BenchClient(CONFIG, served) as client:
        for _ in range(1000):
            try:
                assert client.from_peer(100, 0.01).messages > 0
            except PeerMisbehaved as error:  # the server has not noticed yet
                assert "busy" in str(error)
                client.round_trips(0.01)
            else:
                return
    pytest.fail("the flood goes on without its peer")


def test_nobody_there_is_a_clear_error() -> None:
    with pytest.raises(DialFailed, match=r"tcp://127\.0\.0\.1:1: "):
        BenchClient(CONFIG, Endpoint.tcp("127.0.0.1:1"))


def test_a_peer_that_is_something_else_is_a_clear_error() -> None:
    events: queue.Queue[Any] = queue.Queue()
    with ConnectionManager(events, CONFIG) as manager:
        port = manager.start_listening()[0].port

        def chat() -> None:
            endpoint = events.get(timeout=PATIENCE).endpoint
            manager.send(endpoint, b"welcome to the chat")

        thread = threading.Thread(target=chat)
        thread.start()
        with pytest.raises(PeerMisbehaved, match="crust bench --serve"):
            BenchClient(CONFIG, Endpoint.tcp(("127.0.0.1", port)))
        thread.join(PATIENCE)
