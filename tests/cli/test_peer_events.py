import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli.peer_events import TRAFFIC_WINDOW, Gate, Traffic, describe, message_text
from crust.cli.peer_table import PeerTable
from crust.endpoint import Endpoint, Port
from crust.event import Event
from crust.identity import PeerId, UnprovenPeerId
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo

HERE = Endpoint.tcp("192.0.2.7:5483")
ID = PeerId(bytes(range(32)))


@pytest.mark.parametrize(
    ("data", "most", "shown"),
    [
        (b"hello", None, "hello"),
        ("grüße ☃".encode(), None, "grüße ☃"),
        (b"\xff\xfe", None, "2 bytes"),
        (b"\xff", None, "1 byte"),
        (b"", None, ""),
        (b"a\x1b[31mred\x07\r\nFrom peer 9: lies", None, "a\\x1b[31mred\\x07\\x0d\\x0aFrom peer 9: lies"),
        ("\u202egnihton".encode(), None, "\\u202egnihton"),
        ("\x9b2J".encode(), None, "\\x9b2J"),
        (b"abcdef", 5, "abcde... (6 bytes in all)"),
        (b"abcde", 5, "abcde"),
        ("☃".encode() * 9, 3, "☃☃☃... (27 bytes in all)"),
        (b"a" * 100 + b"\xff", 5, "aaaaa... (101 bytes in all)"),
        (b"\xff" + b"a" * 100, 5, "101 bytes"),
    ],
)
def test_messages_are_shown_harmlessly(data: bytes, most: int | None, shown: str) -> None:
    assert message_text(data, most) == shown


@given(st.binary() | st.text().map(str.encode), st.none() | st.integers(1, 20))
def test_no_message_can_drive_the_terminal(data: bytes, most: int | None) -> None:
    shown = message_text(data, most)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029")


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P"])), st.integers(1, 30))
def test_a_cut_never_makes_text_look_binary(text: str, most: int) -> None:
    assert message_text(text.encode(), most).startswith(text[:most])


RELAYED = Endpoint.parse("relayed://192.0.2.9:3")
INFO = ConnectionInfo(ID, (Candidate(CandidateKind.HOST, HERE),))


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            Event.NewConnection(RELAYED, ID),
            [
                "Connected to peer 1 at relayed://192.0.2.9:3, carried by another peer (id 00010203). "
                "1 connected peer.",
            ],
        ),
        (
            Event.ExternalEndpoints((HERE, Endpoint.utp(HERE.address))),
            [
                "Peers elsewhere can reach this node at tcp://192.0.2.7:5483, utp://192.0.2.7:5483 (nat tells more).",
            ],
        ),
        (Event.ExternalEndpoints(()), ["Peers elsewhere cannot reach this node by itself any more."]),
        (
            Event.ConnectionInfoPrepared(None, INFO),
            [
                "Give this line to the peer, and type connect-info with the peer's, both within a minute:",
                INFO.encode(),
            ],
        ),
        (
            Event.ConnectionFailed((HERE,), {HERE: "refused\x1b"}, ID, {"relay": "off\n"}),
            [
                "Could not connect to the peer 00010203:",
                "  tcp://192.0.2.7:5483: refused\\x1b",
                "  relay: off\\x0a",
            ],
        ),
        (
            Event.ConnectionFailed((HERE,), {HERE: "silence"}, ID, {"TCP hole punching": "silence"}),
            ["Could not connect to the peer 00010203:", "  TCP hole punching: silence"],
        ),
        (
            Event.ConnectionFailed((), {}, ID, {"meeting": "no peer in common"}),
            ["Could not connect to the peer 00010203:", "  meeting: no peer in common"],
        ),
        (
            Event.ConnectionFailed((HERE,), {HERE: "refused"}),
            ["Could not connect to tcp://192.0.2.7:5483: refused"],
        ),
    ],
)
def test_ways_through_routers_are_told(event: object, lines: list[str]) -> None:
    assert [line.text for line in describe(event, PeerTable())] == lines


def texts(event: object, peers: PeerTable) -> list[str]:
    return [line.text for line in describe(event, peers)]


def test_a_connection_from_beginning_to_end() -> None:
    peers = PeerTable()
    assert texts(Event.NewConnection(HERE, ID), peers) == [
        "Connected to peer 1 at tcp://192.0.2.7:5483 (id 00010203). 1 connected peer."
    ]
    assert texts(Event.NewMessage(HERE, b"hi"), peers) == ["From peer 1: hi"]
    assert texts(Event.LostConnection(HERE, ID, "the peer closed it\nFrom peer 2: x"), peers) == [
        "Lost connection to peer 1 at tcp://192.0.2.7:5483: the peer closed it\\x0aFrom peer 2: x. No connected peers."
    ]


def test_a_bootstrap_connection_is_called_one() -> None:
    assert texts(Event.NewBootstrapConnection(HERE, ID), PeerTable())[0].startswith("Bootstrapped to peer 1")


def test_a_failed_connect_says_why_for_each_address() -> None:
    other = Endpoint.tcp("192.0.2.8:1")
    assert texts(Event.ConnectionFailed((HERE,), {HERE: "nobody listens there"}), PeerTable()) == [
        "Could not connect to tcp://192.0.2.7:5483: nobody listens there"
    ]
    both = Event.ConnectionFailed((HERE, other), {HERE: "refused", other: "timed out"})
    assert texts(both, PeerTable()) == [
        "Could not connect to that peer:",
        "  tcp://192.0.2.7:5483: refused",
        "  tcp://192.0.2.8:1: timed out",
    ]


def test_other_events_are_shown_too() -> None:
    assert texts(Event.ListenerFailed(Port.tcp(1), "no more files"), PeerTable()) == [
        "No longer listening on tcp:1: no more files"
    ]
    assert texts(Event.Stopped(), PeerTable()) == ["Stopped."]
    assert texts(("an event of a later version",), PeerTable()) == ["('an event of a later version',)"]


def test_traffic_is_summed_up_over_ten_seconds() -> None:
    traffic = Traffic()
    traffic.received(5, 0.0)
    assert traffic.due() is None  # off
    traffic.switch(True)
    assert traffic.due() is None  # nothing came
    traffic.received(100, 50.0)
    traffic.received(1000, 59.0)
    assert traffic.due() == 50.0 + TRAFFIC_WINDOW
    assert traffic.report(59.9) == []
    assert [line.text for line in traffic.report(60.0)] == ["Received 2 messages, 1,100 bytes in the last 10 s."]
    assert traffic.due() is None
    assert traffic.report(70.0) == []
    assert traffic.total().text == "Received 3 messages, 1,105 bytes since the start."


def test_switching_traffic_off_ends_the_regular_line() -> None:
    traffic = Traffic()
    traffic.switch(True)
    traffic.received(1, 0.0)
    traffic.switch(False)
    assert traffic.due() is None
    assert traffic.report(100.0) == []


def test_a_flood_is_cut_to_what_can_be_read() -> None:
    gate = Gate(rate=2)
    assert [gate.lets_through(10, 5.0 + number / 10) for number in range(5)] == [True, True, False, False, False]
    assert gate.due() == 6.0
    assert gate.report(5.9) == []
    assert "3 more messages, 30 bytes, not shown" in gate.report(6.0)[0].text
    assert gate.due() is None
    assert gate.lets_through(10, 6.1)


def test_the_sum_comes_before_the_next_message_shown() -> None:
    gate = Gate(rate=1)
    assert gate.lets_through(1, 0.0)
    assert not gate.lets_through(1, 0.5)
    assert not gate.lets_through(1, 1.5), "the line about the hidden ones is still owed"
    assert "2 more messages" in gate.report(1.5)[0].text


def test_without_a_rate_everything_is_shown() -> None:
    gate = Gate(rate=None)
    assert all(gate.lets_through(1, 0.0) for _ in range(1000))
    assert gate.due() is None


def test_new_addresses_are_told() -> None:
    (line,) = describe(Event.OwnEndpointsChanged((HERE, Endpoint.utp("[2001:db8::7]:1"))), PeerTable())
    assert line.text == f"Reached at {HERE}, utp://[2001:db8::7]:1 now."
    (line,) = describe(Event.OwnEndpointsChanged(()), PeerTable())
    assert line.text == "Reached nowhere now."


def test_floods_and_misbehaviour_are_told() -> None:
    peers = PeerTable()
    describe(Event.NewConnection(HERE, PeerId(bytes(32))), peers)
    (line,) = describe(Event.Flood(HERE, PeerId(bytes(32)), "control frames", 612.4, 50.0), peers)
    assert line.text.startswith("Too many control frames from ")
    assert line.text.endswith("612 a second, where 50 are allowed. They are slowed down.")
    (line,) = describe(Event.Flood(HERE, None, "handshakes", 99.0, 50.0), PeerTable())
    assert line.text.startswith(f"Too many handshakes from {HERE}: 99 a second")
    (line,) = describe(Event.Misbehaviour(HERE, PeerId(bytes(32)), "a forged\nrecord"), peers)
    assert line.style == "warn"
    assert "\n" not in line.text
    assert f"at {HERE} misbehaves: a forged" in line.text


def test_an_id_that_is_only_claimed_is_called_so() -> None:
    peers = PeerTable()
    ((text, _),) = describe(Event.NewConnection(Endpoint.tracer("192.0.2.7:1"), UnprovenPeerId(bytes(32))), peers)
    assert text == "Connected to peer 1 at tracer://192.0.2.7:1 (id unproven:00000000). 1 connected peer."
