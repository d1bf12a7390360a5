"""Promises 4 and 5 against those who mean harm: nothing they send is believed, answered for nothing, or waited for."""

import os
import random
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from crust import Config, Event
from crust.limits import MIB
from crust.transport.framing import BYE, CHOOSE, FIRST, MESSAGE, MESSAGES, NEXT, PING, PONG, control_frame
from tests.manager.helpers import LOOPBACK, PATIENCE, SCALE, Node, Nodes, join, two_identities, wait_until
from tests.manager.proxy import Proxy
from tests.manager.test_bounds import is_open
from tests.manager.wire import WirePeer, raw_socket, read_to_end

SOON = 1.0 * SCALE  # seconds; the handshake deadline of these tests, within which honest peers are done


def assert_serves(node: Node, nodes: Nodes) -> None:
    """An honest peer gets in and is heard."""
    honest = nodes.make(listen=False)
    honest.connect(node)
    honest.send(node, b"good morning")
    node.expect_messages(honest, [b"good morning"])
    node.send(node.link(honest), b"good morning to you")
    honest.expect_messages(node, [b"good morning to you"])
    honest.stop()


def first_message(network: Config | None = None) -> bytes:
    """The first message of a genuine handshake."""
    with socket.socket() as unused:
        return WirePeer(unused, network=network)._handshake.start()


def flip(data: bytes, position: int, bit: int) -> bytes:
    """``data`` with one bit changed."""
    return data[:position] + bytes((data[position] ^ 1 << bit,)) + data[position + 1 :]


# --- strangers ------------------------------------------------------------------------------------

STRANGERS: dict[str, Callable[[], bytes]] = {
    "says nothing": lambda: b"",
    "one byte": lambda: b"\x00",
    "zeros": lambda: bytes(2000),
    "noise": lambda: os.urandom(2000),
    "a lot of noise": lambda: os.urandom(3 * MIB),
    "HTTP": lambda: b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "the start of a handshake": lambda: first_message()[:60],
    "a handshake of another network": lambda: first_message(Config(network="elsewhere")),
    "a handshake with a bit flipped": lambda: flip(first_message(), 0, 0),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_gets_no_byte_and_is_closed_in_time(nodes: Nodes, kind: str) -> None:
    """Whatever they send, and whether or not they then close their side; the original's ``listener_timeout``."""
    node = nodes.make(handshake_timeout=SOON)
    with raw_socket(node.endpoint) as stranger, raw_socket(node.endpoint) as hasty:
        for sock in (stranger, hasty):
            try:
                sock.sendall(STRANGERS[kind]())
            except ConnectionError:
                pass  # it was thrown out before it had said everything
        hasty.shutdown(socket.SHUT_WR)
        assert read_to_end(stranger) == b""
        assert read_to_end(hasty) == b""
    wait_until(lambda: node.manager._core.half_open == 0)
    assert_serves(node, nodes)


def test_a_replayed_first_message_gets_no_byte(nodes: Nodes) -> None:
    node = nodes.make(handshake_timeout=SOON)
    recorded = first_message()
    with raw_socket(node.endpoint) as genuine, raw_socket(node.endpoint) as replay:
        genuine.sendall(recorded)
        assert genuine.recv(65536)
        replay.sendall(recorded)
        assert read_to_end(replay) == b""


def test_a_handshake_byte_by_byte_is_a_handshake(nodes: Nodes) -> None:
    """Slow, but honest, and within the deadline."""
    node = nodes.make()
    with WirePeer(raw_socket(node.endpoint)) as peer:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in peer._handshake.start():
            peer.sock.sendall(bytes((byte,)))
        assert peer.sock.recv(65536)


def test_slow_loris_ends_at_the_deadline_and_delays_nobody(nodes: Nodes) -> None:
    """A byte now and then does not move the deadline (T-15)."""
    node = nodes.make(handshake_timeout=SOON)
    with ExitStack() as stack:
        sluggards = [stack.enter_context(raw_socket(node.endpoint)) for _ in range(20)]
        sent = 0
        while any(map(is_open, sluggards)):
            assert sent < 1000, "more would be a whole handshake"
            for sluggard in sluggards:
                try:
                    sluggard.send(b"\x17")
                except (BlockingIOError, ConnectionError):
                    pass
            sent += 1
            assert_serves(node, nodes)


# --- many of them ---------------------------------------------------------------------------------


def besiege(nodes: Nodes, count: int) -> None:
    """``count`` half-open connections while honest peers come and go."""
    node = nodes.make()
    resident = nodes.make(listen=False)
    join(resident, node)
    opening = first_message()
    with ExitStack() as stack:
        for number in range(count):
            source = f"127.0.{1 + number % 250}.{1 + number // 250 % 250}"
            sock = stack.enter_context(raw_socket(node.endpoint, source))
            if number % 3 == 0:
                try:
                    sock.sendall(opening[: number % 100])
                except ConnectionError:
                    pass
            if number % (count // 5) == 0:
                assert_serves(node, nodes)
        assert node.manager._core.half_open <= node.manager.config.max_half_open
        assert_serves(node, nodes)
        resident.send(node, b"all quiet")
        node.expect_messages(resident, [b"all quiet"])
    assert node.count["LostConnection"] == node.count["NewConnection"] - 1


def test_five_hundred_half_open_connections(nodes: Nodes) -> None:
    besiege(nodes, 500)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_half_open_connections(nodes: Nodes) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 12_000:
        pytest.skip(f"this process may open {limits[1]} files at the most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 12_000), limits[1]))
    try:
        besiege(nodes, 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_crowd_that_does_prove_itself_is_no_flood(nodes: Nodes) -> None:
    """A hundred honest peers of one address, all at the same moment."""
    node = nodes.make()
    crowd = [nodes.make(listen=False) for _ in range(100)]
    for guest in crowd:
        guest.connect(node)
    for guest in crowd:
        guest.link(node)
    node.wait(lambda node: node.count["NewConnection"] == 100)


# --- peers that prove an identity and then break the rules ----------------------------------------


def frame(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A frame, with a length that may lie."""
    return ((len(body) if length is None else length) << 8 | kind).to_bytes(4, "little") + body


BREACHES: dict[str, bytes] = {
    "an unknown kind of frame": frame(0x99, b"?"),
    "a length beyond the record": frame(MESSAGE, b"short", 5000),
    "a header that is cut off": b"\x02\x00",
    "nothing at all": b"",
    "a count that lies": frame(MESSAGES, (1000).to_bytes(2, "little") + b"abc"),
    "lengths that do not add up": frame(MESSAGES, b"\x01\x00\xff\x7fabc"),
    "no message in a batch": frame(MESSAGES, b"\x00\x00"),
    "a huge message announced": frame(FIRST, (2**32 - 1).to_bytes(4, "little") + bytes(65536)),
    "a piece of nothing": frame(NEXT, bytes(65536)),
    "a first piece that is small": frame(FIRST, (70_000).to_bytes(4, "little") + b"x"),
    "control that is not JSON": frame(PING, b"{"),
    "control without what it needs": control_frame(PING, {"u": 1}),
    "deep JSON": frame(PING, b"[" * 4000),
    "control that is too large": frame(PING, b'{"t":1,"x":"' + b"y" * 5000 + b'"}'),
    "a second choice": control_frame(CHOOSE, {"serial": 5}),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_peer_that_breaks_the_protocol_is_lost_with_a_reason(nodes: Nodes, breach: str) -> None:
    """What was right before still counts, what comes after does not."""
    node = nodes.make()
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        node.link(peer.id)
        peer.send_messages(b"so far so good")
        peer.send_frame(BREACHES[breach])
        lost = node.expect(Event.LostConnection)
        assert "goodbye" not in lost.reason
        assert lost.reason
        peer.read_until_closed()
        assert node.heard[peer.id] == [b"so far so good"]
    assert_serves(node, nodes)


@pytest.mark.parametrize("what", ["a message before the choice", "a goodbye before the choice", "a wrong choice"])
def test_a_peer_that_cannot_wait_for_the_choice_is_turned_away(nodes: Nodes, what: str) -> None:
    lesser, greater = two_identities()
    node = nodes.make(identity=lesser)
    with WirePeer.dial(node.endpoint, identity=greater) as peer:
        if what == "a message before the choice":
            peer.send_messages(b"too early")
        elif what == "a goodbye before the choice":
            peer.send_frame(control_frame(BYE, {"reason": "duplicate"}))
        else:
            peer.send_frame(control_frame(CHOOSE, {"serial": "one"}))
        peer.read_until_closed()
    wait_until(lambda: node.manager._core.half_open == 0)
    assert_serves(node, nodes)
    assert greater.peer_id not in node.peers.values()


def test_a_peer_that_does_not_wait_for_our_choice_is_heard_once_it_is_made(nodes: Nodes) -> None:
    """Data on the heels of the handshake, before CHOOSE can have arrived: early, but in order."""
    lesser, greater = two_identities()
    node = nodes.make(identity=greater)
    with WirePeer.dial(node.endpoint, identity=lesser) as peer:
        peer.send_messages(b"hasty")
        node.expect_messages(lesser.peer_id, [b"hasty"])


def test_a_peer_that_asks_and_never_reads_the_answers_is_bounded(nodes: Nodes) -> None:
    """A flood of PINGs costs the one who sends them."""
    node = nodes.make(linger=0.0, max_controls_per_second=0)
    with WirePeer.dial(node.endpoint) as peer:
        peer.settle()
        node.link(peer.id)
        peer.sock.settimeout(None)
        for number in range(100):
            peer.send_frame(*[control_frame(PING, {"t": 1000 * number + k}) for k in range(1000)])
        assert node.info(peer.id).waiting_bytes == 0
        assert_serves(node, nodes)
        peer.sock.settimeout(PATIENCE)
        assert PONG in [kind for kind, _ in peer.read_controls()]


@pytest.mark.parametrize("when", ["during the handshake", "after it"])
def test_who_resets_the_connection_harms_nobody(nodes: Nodes, when: str) -> None:
    """T-52: an accepted socket whose peer has left already, at any moment."""
    node = nodes.make()
    for _ in range(20):
        with WirePeer(raw_socket(node.endpoint)) as peer:
            if when == "after it":
                peer.prove()
            else:
                peer.sock.sendall(peer._handshake.start())
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    assert_serves(node, nodes)


# --- somebody between two honest peers ------------------------------------------------------------


@pytest.mark.parametrize("towards_target", [True, False], ids=["outbound", "inbound"])
def test_a_bit_flipped_on_the_way_ends_the_connection_and_delivers_nothing_wrong(
    nodes: Nodes, towards_target: bool
) -> None:
    dice = random.Random(7)
    for _ in range(8):
        first, second = nodes.make(), nodes.make()
        spoil_at = dice.randrange(1500, 60_000)  # after the handshake

        def spoil(data: bytes, position: int, outbound: bool, spoil_at: int = spoil_at) -> bytes:
            at = spoil_at - position
            if outbound is not towards_target or not 0 <= at < len(data):
                return data
            return flip(data, at, dice.randrange(8))

        with Proxy(second.endpoint, spoil) as way:
            first.connect(way.endpoint)
            sender, receiver = (first, second) if towards_target else (second, first)
            receiver.link(sender)
            # Far more than 64 KiB: with a spoilt length the receiver waits for as much before it can tell.
            messages = [b"%d" % number * 100 for number in range(1000)]
            link = sender.link(receiver)
            for message in messages:
                if not sender.try_send(link, message):
                    break
            receiver.expect(Event.LostConnection)
            heard = receiver.heard[sender.id]
            assert heard == messages[: len(heard)]
            assert len(heard) < len(messages)
            sender.expect(Event.LostConnection)
        first.stop()
        second.stop()


@pytest.mark.slow
def test_a_bit_flipped_during_the_handshake_prevents_the_connection(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in the first message of each direction."""
    monkeypatch.setattr("crust.connecting.dialing.CUT_EARLY", 0.0)  # no second tries
    hub = nodes.make(handshake_timeout=SOON)
    dice = random.Random(8)
    for position in range(0, 130, 9):
        outbound = bool(dice.getrandbits(1))
        limit = 66 if outbound else 130  # bytes of the shortest handshake messages

        def spoil(data: bytes, at: int, way: bool, position: int = position % limit, out: bool = outbound) -> bytes:
            index = position - at
            if way is not out or not 0 <= index < len(data):
                return data
            return flip(data, index, 4)

        guest = nodes.make(listen=False, dial_timeout=2 * SOON)
        with Proxy(hub.endpoint, spoil) as way:
            guest.connect(way.endpoint)
            guest.expect(Event.ConnectionFailed)
        guest.stop()
    hub.stop()
    assert hub.log == [Event.Stopped()]


def test_a_handshake_that_is_cut_short_is_tried_again(nodes: Nodes) -> None:
    """A node that is overrun throws handshakes out, honest ones too; they get in a moment later."""
    hub, guest = nodes.make(), nodes.make(listen=False)
    with Proxy(hub.endpoint, lambda data, _position, _towards: data if way.accepted > 2 else None) as way:
        guest.connect(way.endpoint)
        guest.send(hub, b"at last")
        hub.expect_messages(guest, [b"at last"])
        assert way.accepted == 3
    guest.stop()
    assert guest.count["ConnectionFailed"] == 0


def test_a_connection_cut_at_any_byte_of_the_handshake_is_a_failure_or_a_loss(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crust.connecting.dialing.CUT_SHORT_PAUSE", 0.001)
    hub = nodes.make(handshake_timeout=SOON)
    for cut_at in range(0, 1200, 60):

        def cut(data: bytes, position: int, _: bool, cut_at: int = cut_at) -> bytes | None:
            return None if position + len(data) > cut_at else data

        guest = nodes.make(listen=False, dial_timeout=2 * SOON)
        with Proxy(hub.endpoint, cut) as way:
            guest.connect(way.endpoint)
            guest.wait(lambda node: node.log)
            if guest.count["NewConnection"]:
                guest.try_send(guest.link(hub), bytes(2000))
                guest.expect(Event.LostConnection)
        guest.stop()
    assert_serves(hub, nodes)
    assert hub.endpoint.host == LOOPBACK
