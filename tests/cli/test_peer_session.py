import os
import queue
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from crust.channel import Channel
from crust.cli import Terminated, console
from crust.cli.interrupts import Interrupts
from crust.cli.peer_session import SEND_SLICE, Session
from crust.defence.blacklist import Entry
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus
from crust.endpoint import Endpoint
from crust.errors import ConfigError, NotConnected, SendQueueFull
from crust.event import Event
from crust.identity import Identity, PeerId
from crust.nat.connection_info import ConnectionInfo
from crust.nat.nat_status import NatStatus

HERE = Endpoint.tcp("192.0.2.7:5483")
THERE = Endpoint.tcp("192.0.2.8:5483")
ID = PeerId(bytes(range(32)))
OTHER_ID = PeerId(bytes(range(1, 33)))


class FakeManager:
    """Writes down what it is told; ``answer`` puts the events that a ``connect`` brings about."""

    def __init__(self, events: Channel[Any]) -> None:
        self.identity = Identity(bytes(32))
        self.calls: list[tuple[Any, ...]] = []
        self.refuse: Exception | None = None
        self.answer: Callable[[tuple[Endpoint, ...]], None] = lambda endpoints: None
        self.status = BootstrapStatus()
        self.brings: tuple[Any, ...] = ()
        """The events that a ``connect_peer`` or ``rendezvous_connect`` brings about."""
        self.listed: list[object] = []
        self.aliases: dict[Endpoint, PeerId] = {}
        self._events = events

    def peer_id(self, endpoint: Endpoint) -> PeerId:
        if endpoint not in self.aliases:
            raise NotConnected("no connection")
        return self.aliases[endpoint]

    def connect(self, endpoints: Iterable[Endpoint]) -> None:
        self.calls.append(("connect", *endpoints))
        self.answer(tuple(endpoints))

    def send(self, endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
        if self.refuse:
            raise self.refuse
        self.calls.append(("send", endpoint, data, timeout))

    def drop_node(self, endpoint: Endpoint) -> None:
        self.calls.append(("drop", endpoint))

    def get_own_endpoints(self) -> list[Endpoint]:
        return [Endpoint.tcp("198.51.100.1:4000")]

    def connections(self) -> list[Any]:
        return [
            SimpleNamespace(
                endpoint=HERE, bytes_received=10, bytes_sent=20, messages_received=1, messages_sent=2, rtt=0.001
            )
        ]

    def bootstrap_status(self) -> BootstrapStatus:
        return self.status

    def connect_peer(self, peer_id: PeerId) -> None:
        self.calls.append(("connect_peer", peer_id))
        for event in self.brings:
            self._events.put(event)

    def prepare_connection_info(self, token: object = None) -> None:
        self.calls.append(("prepare",))
        self._events.put(Event.ConnectionInfoPrepared(token, ConnectionInfo(self.identity.peer_id)))

    def rendezvous_connect(self, their_info: ConnectionInfo) -> None:
        self.calls.append(("rendezvous", their_info))
        for event in self.brings:
            self._events.put(event)

    def nat_status(self) -> NatStatus:
        return NatStatus(own=(HERE,))

    def blacklist(self, *entries: Entry) -> None:
        self.calls.append(("blacklist", *entries))

    def unblacklist(self, *entries: Entry) -> None:
        if "192.0.2.9" in entries:
            raise ConfigError("192.0.2.9 stands in the blacklist_file: take it out there")
        self.calls.append(("unblacklist", *entries))

    def blacklisted(self) -> Sequence[object]:
        return self.listed

    def allow_only(self, entries: Iterable[Entry] | None) -> None:
        self.calls.append(("allow_only", entries))

    def stop(self) -> None:
        self.calls.append(("stop",))
        self._events.put(Event.Stopped())


class Rig:
    def __init__(self, interrupts: Interrupts, scripted: bool = True) -> None:
        self.events: Channel[Any] = Channel()
        self.manager = FakeManager(self.events)
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.tables: list[list[Sequence[str]]] = []
        self.session = Session(
            self.manager,
            self.events,
            scripted=scripted,
            on_terminal=False,
            interrupts=interrupts,
            say=lambda text, style: self.said.put(text),
            table=lambda headers, rows: self.tables.append(list(rows)),
        )

    def heard(self, start: str) -> str:
        """The next line, which has to begin with ``start``."""
        line = self.said.get(timeout=10)
        assert line.startswith(start), line
        return line

    def with_peers(self) -> "Rig":
        self.events.put(Event.NewConnection(HERE, ID))
        self.heard("Connected to peer 1")
        self.events.put(Event.NewBootstrapConnection(THERE, OTHER_ID))
        self.heard("Bootstrapped to peer 2")
        return self


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    with Interrupts() as interrupts:
        yield interrupts


@pytest.fixture
def rig(interrupts: Interrupts) -> Iterator[Rig]:
    rig = Rig(interrupts)
    with rig.session:
        yield rig


def test_messages_are_sent_to_the_peer_meant(rig: Rig) -> None:
    rig.with_peers()
    assert rig.session.execute("send 2 hello there")
    rig.heard("Sending 11 bytes to peer 2")
    assert rig.session.execute("send-all hi")
    assert rig.manager.calls == [
        ("send", THERE, b"hello there", SEND_SLICE),
        ("send", HERE, b"hi", SEND_SLICE),
        ("send", THERE, b"hi", SEND_SLICE),
    ]
    assert rig.session.failures == 0


def test_bytes_that_are_no_utf8_go_out_as_they_came(rig: Rig) -> None:
    rig.with_peers()
    rig.session.execute(b"send 1 \xff\xfe".decode("utf-8", "surrogateescape"))
    assert rig.manager.calls == [("send", HERE, b"\xff\xfe", SEND_SLICE)]


def test_at_a_prompt_sending_never_blocks(interrupts: Interrupts) -> None:
    rig = Rig(interrupts, scripted=False)
    with rig.session:
        rig.with_peers()
        rig.session.execute("send 1 x")
        assert rig.manager.calls == [("send", HERE, b"x", 0.0)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("send 7 hello", "there is no peer 7"),
        ("sned 1 hello", "did you mean 'send'?"),
        ("send-all hello", "no peer is connected"),
    ],
)
def test_mistakes_are_told_counted_and_survived(
    rig: Rig, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    assert rig.session.execute(line)
    assert told in capsys.readouterr().err
    assert rig.session.failures == 1


def test_a_refused_message_is_told_at_a_prompt(interrupts: Interrupts, capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(interrupts, scripted=False)
    with rig.session:
        rig.with_peers()
        rig.manager.refuse = SendQueueFull("peer is slow; try again later")
        rig.session.execute("send 1 x")
        rig.manager.refuse = NotConnected("no connection")
        rig.session.execute("send-all x")
    assert capsys.readouterr().err.splitlines() == [
        "error: peer is slow; try again later",
        "error: peer 1: no connection",
        "error: peer 2: no connection",
    ]
    assert rig.session.failures == 3


def test_a_script_waits_for_room(rig: Rig) -> None:
    rig.with_peers()
    refusals = iter([SendQueueFull("full"), SendQueueFull("full"), None])

    def refuse_twice(endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
        if refusal := next(refusals):
            raise refusal
        rig.manager.calls.append(("send", endpoint, data))

    rig.manager.send = refuse_twice  # type: ignore[method-assign]
    rig.session.execute("send 1 x")
    assert rig.manager.calls == [("send", HERE, b"x")]
    assert rig.session.failures == 0


def test_a_script_waits_for_its_connect(rig: Rig) -> None:
    rig.manager.answer = lambda endpoints: rig.events.put(Event.NewConnection(endpoints[0], ID))
    rig.session.execute("connect 192.0.2.7:5483")
    rig.session.execute("send 1 hi")
    assert rig.manager.calls == [("connect", HERE), ("send", HERE, b"hi", SEND_SLICE)]


def test_a_script_notes_that_its_connect_failed(rig: Rig) -> None:
    def refuse(endpoints: tuple[Endpoint, ...]) -> None:
        rig.events.put(Event.ConnectionFailed(endpoints, dict.fromkeys(endpoints, "refused")))

    rig.manager.answer = refuse
    rig.session.execute("connect 192.0.2.7:5483 192.0.2.8:5483")
    assert rig.session.failures == 1
    rig.manager.answer = lambda endpoints: rig.events.put(Event.NewConnection(HERE, ID))
    rig.session.execute("connect 192.0.2.7:5483")
    assert rig.session.failures == 1, "the failure of before must not count again"


def test_connecting_twice_says_that_it_is_done(rig: Rig) -> None:
    rig.with_peers()
    rig.session.execute("connect 192.0.2.7:5483")
    rig.heard("Already connected to peer 1")
    assert rig.manager.calls == []


def test_a_connect_that_leads_to_a_known_peer_is_done(rig: Rig) -> None:
    rig.with_peers()
    alias = Endpoint.tcp("198.51.100.7:1")
    rig.manager.answer = lambda endpoints: rig.manager.aliases.update({alias: OTHER_ID})
    rig.session.execute("connect 198.51.100.7:1")
    rig.session.execute("send 198.51.100.7:1 hi")
    assert rig.session.failures == 0
    assert rig.manager.calls == [("connect", alias), ("send", THERE, b"hi", SEND_SLICE)]


def test_an_address_of_nobody_is_told(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.session.execute("send 198.51.100.7:1 hi")
    assert "no connection to tcp://198.51.100.7:1" in capsys.readouterr().err


def test_a_script_waits_for_its_punch(rig: Rig) -> None:
    rig.manager.brings = (Event.NewConnection(HERE, ID),)
    rig.session.execute(f"punch {ID.hex()}")
    rig.session.execute("send 1 hi")
    assert rig.manager.calls == [("connect_peer", ID), ("send", HERE, b"hi", SEND_SLICE)]
    assert rig.session.failures == 0


def test_a_script_notes_that_nobody_was_met(rig: Rig) -> None:
    rig.manager.brings = (Event.ConnectionFailed((), {}, ID, {"meeting": "no peer in common"}),)
    rig.session.execute(f"punch {ID.hex()}")
    assert rig.session.failures == 1
    rig.manager.brings = (Event.NewConnection(HERE, ID),)
    rig.session.execute(f"punch {ID.hex()}")
    assert rig.session.failures == 1, "the failure of before must not count again"


def test_a_script_meets_a_peer_by_lines(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = ConnectionInfo(ID)
    rig.session.execute(f"connect-info {theirs.encode()}")
    assert "type info first" in capsys.readouterr().err
    rig.session.execute("info")
    rig.heard("Asking where others see this node")
    rig.heard("Give this line to the peer")
    own = rig.heard("crust-info:")
    rig.session.execute(f"connect-info {own}")
    assert "this is the line of this node" in capsys.readouterr().err
    rig.manager.brings = (Event.NewConnection(HERE, ID),)
    rig.session.execute(f"connect-info {theirs.encode()}")
    assert rig.manager.calls == [("prepare",), ("rendezvous", theirs)]
    assert rig.session.failures == 2


def test_relayed_peers_are_marked_in_the_list(rig: Rig) -> None:
    relayed = Endpoint.parse("relayed://192.0.2.9:1")
    rig.events.put(Event.NewConnection(relayed, ID))
    rig.heard("Connected to peer 1 at relayed://192.0.2.9:1, carried by another peer")
    rig.session.execute("list")
    assert str(relayed) in rig.heard("#")
    rig.heard("What is at relayed://... is carried by another peer")


def test_nat_tells_how_this_node_is_reached(rig: Rig) -> None:
    rig.session.execute("nat")
    rig.heard("Probably others with the help of a peer")
    while not (line := rig.said.get(timeout=10)).startswith("This machine:"):
        assert line
    rig.heard(f"  {HERE}")


def test_known_strangers_are_offered_for_punching(rig: Rig) -> None:
    contacts = ContactStatus((THERE,), OTHER_ID, "gossip", 0, 0, None, "not tried yet")
    rig.manager.status = BootstrapStatus(contacts=(contacts,))
    assert rig.session.elsewhere() == [("01020304", str(THERE))]


def test_a_dropped_peer_is_gone_at_once(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.with_peers()
    rig.session.execute("drop 1")
    rig.heard("Dropped peer 1")
    rig.session.execute("send 1 x")
    assert "peer 1 is no longer connected" in capsys.readouterr().err
    assert rig.manager.calls == [("drop", HERE)]


def test_list_shows_peers_and_traffic(rig: Rig) -> None:
    rig.session.execute("list")
    rig.heard("No connected peers.")
    rig.with_peers().session.execute("list")
    header, first, second = rig.said.get(timeout=10).splitlines()
    assert header.split() == ["#", "id", "address", "received", "sent", "round", "trip"]
    assert first.split() == ["1", "00010203", str(HERE), "1", "(10", "B)", "2", "(20", "B)", "1.0", "ms"]
    assert second.split() == ["2", "01020304", str(THERE), "-", "-", "-"]


def test_whoami_shows_id_and_addresses(rig: Rig) -> None:
    rig.session.execute("whoami")
    rig.heard(f"This node's id is {rig.manager.identity.peer_id.hex()}")
    rig.heard("  reached at tcp://198.51.100.1:4000")


def test_traffic_totals_on_request(rig: Rig) -> None:
    rig.with_peers()
    rig.events.put(Event.NewMessage(HERE, b"12345"))
    rig.heard("From peer 1: 12345")
    rig.session.execute("traffic")
    rig.heard("Received 1 message, 5 bytes since the start.")
    rig.session.execute("traffic on")
    rig.heard("Traffic is shown every 10 s")
    rig.session.execute("traffic off")
    rig.heard("Traffic is no longer shown")


def test_help_and_empty_lines(rig: Rig) -> None:
    rig.session.execute("")
    rig.session.execute("# comment")
    rig.session.execute("help")
    rig.heard("connect ADDRESS")
    assert rig.session.failures == 0


def test_stop_ends_and_the_last_event_is_shown(interrupts: Interrupts) -> None:
    rig = Rig(interrupts)
    with rig.session:
        assert not rig.session.execute("stop")
    rig.heard("Stopped.")
    assert rig.manager.calls == [("stop",)]


def test_the_end_waits_for_events_still_to_be_shown(interrupts: Interrupts) -> None:
    rig = Rig(interrupts)
    with rig.session:
        rig.with_peers()
        for number in range(1000):
            rig.events.put(Event.NewMessage(HERE, str(number).encode()))
    lines = [rig.said.get_nowait() for _ in range(1001)]
    assert lines[-2:] == ["From peer 1: 999", "Stopped."]


def test_waiting_for_a_peer_ends_by_time(rig: Rig) -> None:
    assert not rig.session.wait_for_peer((), 0.0)
    rig.with_peers()
    assert rig.session.wait_for_peer((), 0.0)


@pytest.mark.parametrize("loss", [console.OutputGone(), console.OutputFailed("cannot write: no space left")])
def test_what_the_output_meets_ends_staying_and_waiting(interrupts: Interrupts, loss: OSError) -> None:
    def gone(text: str, style: str | None) -> None:
        raise loss

    events: Channel[Any] = Channel()
    manager = FakeManager(events)
    session = Session(manager, events, scripted=True, on_terminal=False, interrupts=interrupts, say=gone)

    def stay_and_wait() -> None:
        with session:
            events.put(Event.NewConnection(HERE, ID))
            with pytest.raises(type(loss)):
                session.stay()
            with pytest.raises(type(loss)):
                session.wait_for_peer((THERE,), None)

    with pytest.raises(type(loss)):
        stay_and_wait()
    assert manager.calls == [("stop",)], "it ends in order all the same"


def test_what_the_output_meets_at_the_end_is_told_as_well(interrupts: Interrupts) -> None:
    def gone(text: str, style: str | None) -> None:
        raise console.OutputFailed("cannot write: no space left")

    events: Channel[Any] = Channel()
    with pytest.raises(console.OutputFailed):
        with Session(FakeManager(events), events, scripted=True, on_terminal=False, interrupts=interrupts, say=gone):
            pass  # Event.Stopped cannot be shown


def test_a_signal_ends_staying_and_waiting(interrupts: Interrupts, rig: Rig) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Terminated):
        rig.session.stay()
    with pytest.raises(Terminated):
        rig.session.wait_for_peer((), None)


def test_a_signal_ends_a_send_that_waits_for_room(rig: Rig) -> None:
    def refuse(endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise SendQueueFull("full")

    rig.with_peers()
    rig.manager.send = refuse  # type: ignore[method-assign]
    with pytest.raises(Terminated):
        rig.session.execute("send 1 x")


def test_completions_name_the_connected_peers(rig: Rig) -> None:
    assert rig.session.completions() == []
    rig.with_peers()
    assert rig.session.completions() == [("1", f"00010203 {HERE}"), ("2", f"01020304 {THERE}")]


def test_status_shows_how_the_search_goes(rig: Rig) -> None:
    rig.session.execute("status")
    rig.heard("connections  0\nsearch       none\nbeacon       not started\n")
    assert rig.tables == []
    contacts = [ContactStatus((HERE,), ID, "beacon", 0, 0, None, "not tried yet")] * 31
    rig.manager.status = BootstrapStatus(running=True, contacts=tuple(contacts))
    rig.session.execute("status")
    rig.heard("connections")
    rig.heard("... and 1 contact more")
    assert [row[0] for row in rig.tables[0]] == [str(HERE)] * 30


def test_peers_ids_addresses_and_networks_go_on_the_blacklist(rig: Rig) -> None:
    rig.with_peers()
    rig.session.execute(f"blacklist 2 00010203 192.0.2.0/24 {HERE} {OTHER_ID.hex()}")
    rig.heard(f"On the blacklist: {OTHER_ID.hex()}, {ID.hex()}, 192.0.2.0/24, {HERE}, {OTHER_ID.hex()}.")
    assert rig.manager.calls == [("blacklist", OTHER_ID, ID, "192.0.2.0/24", str(HERE), OTHER_ID)]
    assert rig.session.failures == 0


def test_with_one_that_means_nobody_nothing_is_done(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.session.execute("blacklist 192.0.2.1 7")
    assert rig.manager.calls == []
    assert rig.session.failures == 1
    assert "'7' is no peer, no id, no address and no network" in capsys.readouterr().err


def test_the_blacklist_is_shown_and_shrinks(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.session.execute("blacklisted")
    rig.heard("The blacklist is empty.")
    rig.manager.listed = [ID, "192.0.2.0/24", "192.0.2.9"]
    rig.session.execute("blacklisted")
    rig.heard(f"{ID.hex()}\n192.0.2.0/24\n192.0.2.9")
    assert ("192.0.2.0/24", "") in rig.session.blacklisted()
    rig.session.execute("unblacklist 192.0.2.0/24")
    rig.heard("Off the blacklist: 192.0.2.0/24.")
    rig.session.execute("unblacklist 192.0.2.9")
    assert "take it out there" in capsys.readouterr().err
    assert rig.manager.calls == [("unblacklist", "192.0.2.0/24")]


def test_only_some_are_talked_to(rig: Rig) -> None:
    rig.with_peers()
    rig.session.execute("only 1 192.0.2.0/24")
    rig.heard(f"Only these now: {ID.hex()}, 192.0.2.0/24.")
    rig.session.execute("only")
    rig.heard(f"{ID.hex()}\n192.0.2.0/24")
    rig.session.execute("only OFF")
    rig.heard("No longer limited to anybody.")
    assert rig.manager.calls == [("allow_only", (ID, "192.0.2.0/24")), ("allow_only", None)]


def test_a_mistake_of_megabytes_is_told_in_a_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("", "send ", "blacklist ", "connect ", "help "):
        rig.session.execute(command + "z" * 2_000_000)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert max(map(len, told)) < 1000
