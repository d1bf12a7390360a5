from dataclasses import dataclass

from crust.cli.peer_events import SHOWN_PER_SECOND
from crust.cli.peer_view import LONELY_AFTER, View, peer_rows
from crust.endpoint import Endpoint
from crust.event import Event
from crust.identity import PeerId

HERE = Endpoint.tcp("192.0.2.7:5483")
ID = PeerId(bytes(range(32)))


@dataclass
class Info:
    endpoint: Endpoint
    bytes_received: int = 2048
    bytes_sent: int = 5
    messages_received: int = 1234
    messages_sent: int = 1
    rtt: float | None = 0.0042


def test_events_fill_the_table() -> None:
    view = View(on_terminal=False)
    assert view.digest(Event.NewConnection(HERE, ID), 0.0)[0].text.startswith("Connected to peer 1")
    assert view.peers.at(HERE) is not None
    assert view.digest(Event.LostConnection(HERE, ID, "gone"), 1.0)[0].text.startswith("Lost connection")
    assert len(view.peers) == 0


def test_failed_connects_are_remembered() -> None:
    view = View(on_terminal=False)
    view.digest(Event.ConnectionFailed((HERE,), {HERE: "refused"}), 0.0)
    assert view.failed == {HERE}


def test_loneliness_is_mentioned_once() -> None:
    view = View(on_terminal=True)
    view.expect_peers(10.0)
    assert view.due() == 10.0 + LONELY_AFTER
    assert view.digest(None, 12.0) == []
    assert "No peer has answered yet" in view.digest(None, 15.0)[0].text
    assert view.due() is None
    assert view.digest(None, 30.0) == []


def test_nobody_is_lonely_with_a_peer() -> None:
    view = View(on_terminal=True)
    view.expect_peers(10.0)
    view.digest(Event.NewConnection(HERE, ID), 11.0)
    assert view.digest(None, 30.0) == []
    assert view.due() is None


def test_a_flood_on_a_terminal_is_summed_up_and_counted_in_full() -> None:
    view = View(on_terminal=True)
    view.digest(Event.NewConnection(HERE, ID), 0.0)
    lines = [line for _ in range(1000) for line in view.digest(Event.NewMessage(HERE, b"spam"), 0.5)]
    assert len(lines) == SHOWN_PER_SECOND
    assert view.due() is not None
    assert f"{1000 - SHOWN_PER_SECOND} more messages" in view.digest(None, 2.0)[0].text
    assert view.traffic.messages == 1000


def test_what_was_hidden_is_summed_up_before_the_connection_ends() -> None:
    view = View(on_terminal=True)
    view.digest(Event.NewConnection(HERE, ID), 0.0)
    for _ in range(SHOWN_PER_SECOND + 2):
        view.digest(Event.NewMessage(HERE, b"spam"), 0.5)
    hidden, lost = view.digest(Event.LostConnection(HERE, ID, "gone"), 0.6)
    assert "2 more messages" in hidden.text
    assert lost.text.startswith("Lost connection")


def test_into_a_pipe_everything_is_shown() -> None:
    view = View(on_terminal=False)
    lines = [line for _ in range(1000) for line in view.digest(Event.NewMessage(HERE, b"x" * 5000), 0.5)]
    assert len(lines) == 1000
    assert all(line.text.endswith("x" * 5000) for line in lines)


def test_rows_show_traffic_and_round_trip() -> None:
    view = View(on_terminal=False)
    view.digest(Event.NewConnection(HERE, ID), 0.0)
    assert peer_rows(view.peers, [Info(HERE)]) == [
        ("1", "00010203", "tcp://192.0.2.7:5483", "1,234 (2.0 KiB)", "1 (5 B)", "4.2 ms")
    ]
    assert peer_rows(view.peers, [Info(HERE, rtt=None)])[0][-1] == "-"
    assert peer_rows(view.peers, [])[0][3:] == ("-", "-", "-")
