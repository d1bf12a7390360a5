"""`crust.connecting.negotiate`: both sides of the handshake and of the choice, refusals and strangers. Peers that do
otherwise are in `test_negotiate_choice.py`."""

import socket
from functools import partial
from typing import Any

import pytest

from crust import Config, Endpoint, Identity
from crust.connecting import negotiate
from crust.connecting.negotiate import CutShort, Refused, negotiate_incoming, negotiate_outgoing, who_is_there
from crust.errors import ConnectionLost, HandshakeFailed, RemoteError, TimedOut
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import Deadline
from crust.transport.framing import BYE, CHOSEN, message_frame
from crust.transport.handshake import Initiator, Responder
from tests.connecting.negotiations import Side, connected_pair, either_dials, frames, start
from tests.manager.helpers import two_identities
from tests.manager.wire import WirePeer, read_to_end
from tests.streams import Pair, node
from tests.together import PATIENCE

pair = pytest.fixture(connected_pair)


# --- between honest nodes -----------------------------------------------------------------------------


@pytest.mark.parametrize("initiator_is_greater", [True, False], ids=["initiator chooses", "responder chooses"])
def test_the_greater_id_chooses(pair: Pair, initiator_is_greater: bool) -> None:
    lesser, greater = two_identities()
    dialer = node(greater if initiator_is_greater else lesser)
    listener = node(lesser if initiator_is_greater else greater)
    out, into = pair.stream(pair.ours), pair.stream(pair.theirs)
    responding = start(negotiate_incoming, into, listener)
    outgoing = start(negotiate_outgoing, out, dialer).result()
    incoming = responding.result()

    assert (outgoing.peer_chose, incoming.peer_chose) == (not initiator_is_greater, initiator_is_greater)
    assert outgoing.candidate.peer_id == listener.identity.peer_id
    assert incoming.candidate.peer_id == dialer.identity.peer_id
    assert (outgoing.candidate.session, incoming.candidate.session) == (listener.session, dialer.session)
    assert incoming.candidate.peer_serial == outgoing.candidate.serial == 1
    assert incoming.candidate.peer_alone
    assert outgoing.candidate.address == "127.0.0.1"
    for end in (outgoing, incoming):
        assert end.rtt is not None
        assert 0 <= end.rtt < PATIENCE
    # Where the initiator chooses, the choice is in one piece with its third message. The other one answers the choice.
    assert (len(out.sent), len(into.sent)) == ((2, 2) if initiator_is_greater else (3, 2))
    chooser, other = (outgoing, incoming) if initiator_is_greater else (incoming, outgoing)
    assert frames(chooser) == ([], [(CHOSEN, {"serial": other.candidate.serial})])


def test_what_is_said_after_the_choice_is_read_on_the_link(pair: Pair) -> None:
    lesser, greater = two_identities()
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node(lesser))
    outgoing = start(negotiate_outgoing, pair.stream(pair.ours), node(greater)).result()
    incoming = responding.result()
    assert frames(outgoing)[1], "the answer to the choice"
    for sender, receiver in ((outgoing, incoming), (incoming, outgoing)):
        sender.link.writer.add(message_frame(b"hello"))
        sender.link.writer.flush()
        assert frames(receiver)[0] == [b"hello"]


def test_no_deadline_is_left_on_the_stream(pair: Pair) -> None:
    out, into = pair.stream(pair.ours), pair.stream(pair.theirs)
    responding = start(negotiate_incoming, into, node())
    start(negotiate_outgoing, out, node()).result()
    responding.result()
    assert (pair.ours.gettimeout(), pair.theirs.gettimeout()) == (None, None)
    assert (out._deadline, into._deadline) == (None, None)


def test_a_later_stream_has_a_later_number() -> None:
    numbers = []
    for _ in range(3):
        with Pair() as pair:
            responding = start(negotiate_incoming, pair.stream(pair.theirs), node())
            numbers.append(start(negotiate_outgoing, pair.stream(pair.ours), node()).result().candidate.began)
            responding.result()
    assert numbers == sorted(set(numbers))


# --- refusals -----------------------------------------------------------------------------------------

REFUSALS = [
    (Verdict.DUPLICATE, "connected to us already", "connected to that peer already"),
    (Verdict.SELF, "this node itself", "this node itself"),
    (Verdict.FULL, "as many connections as it allows", "max_connections"),
    (Verdict.REFUSED, "refuses to talk", "blacklist"),
]


@pytest.mark.parametrize(("verdict", "told", "here"), REFUSALS)
def test_the_responder_refuses(pair: Pair, verdict: Verdict, told: str, here: str) -> None:
    lesser, greater = two_identities()
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node(greater), lambda _: verdict)
    dialing = start(negotiate_outgoing, pair.stream(pair.ours), node(lesser))
    with pytest.raises(Refused, match=told) as there:
        dialing.result()
    with pytest.raises(Refused, match=here) as refused:
        responding.result()
    assert there.value.duplicate == refused.value.duplicate == (verdict is Verdict.DUPLICATE)
    assert (there.value.peer_id, refused.value.peer_id) == (greater.peer_id, lesser.peer_id)


@pytest.mark.parametrize(("verdict", "_told", "here"), REFUSALS)
def test_the_initiator_refuses_without_a_word(pair: Pair, verdict: Verdict, _told: str, here: str) -> None:
    out = pair.stream(pair.ours)
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node())
    dialing = start(negotiate_outgoing, out, node(), lambda _: verdict)
    with pytest.raises(Refused, match=here) as refused:
        dialing.result()
    assert refused.value.duplicate == (verdict is Verdict.DUPLICATE)
    with pytest.raises(ConnectionLost):
        responding.result()
    assert len(out.sent) == 1


def test_refused_after_the_initiator_has_chosen_it_finds_the_reason_on_the_link(pair: Pair) -> None:
    lesser, greater = two_identities()
    out = pair.stream(pair.ours)
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node(lesser), lambda _: Verdict.FULL)
    outgoing = start(negotiate_outgoing, out, node(greater)).result()
    ((kind, content),) = frames(outgoing)[1]
    assert (kind, content["reason"]) == (BYE, "full")
    assert not outgoing.link.reader.fill()
    out.close()
    with pytest.raises(Refused):
        responding.result()


def test_a_refused_peer_that_does_not_wait_for_the_reason(pair: Pair) -> None:
    """It resets the connection: we have refused it all the same."""
    with WirePeer(pair.ours) as peer:
        into = pair.stream(pair.theirs)

        def refuse(_: Candidate) -> Verdict:
            into.abort()
            return Verdict.REFUSED

        responding = start(negotiate_incoming, into, node(), refuse)
        peer.prove()
        with pytest.raises(Refused):
            responding.result()


@either_dials
def test_a_manager_that_has_no_answer(pair: Pair, we_dial: bool) -> None:
    def too_late(_: Candidate) -> Verdict:
        raise TimedOut("no place was free in time")

    sides: list[Side] = [negotiate_outgoing, negotiate_incoming]
    lesser, greater = two_identities()
    there = start(sides[we_dial], pair.stream(pair.theirs), node(lesser))
    with pytest.raises(TimedOut, match="no place"):
        start(sides[not we_dial], pair.stream(pair.ours), node(greater), too_late).result()
    with pytest.raises(RemoteError):
        there.result()


# --- only looking -------------------------------------------------------------------------------------


def test_who_is_there_and_where_it_sees_us(pair: Pair) -> None:
    """The other side hears nothing of who asked, and asks its manager nothing."""
    asked: list[Candidate] = []
    there, out = node(), pair.stream(pair.ours)
    responding = start(negotiate_incoming, pair.stream(pair.theirs), there, asked.append)  # type: ignore[arg-type]
    assert who_is_there(out, node(), Deadline(PATIENCE)) == (there.identity.peer_id, pair.ours.getsockname())
    out.abort()
    out.close()
    with pytest.raises(ConnectionLost):
        responding.result()
    assert not asked
    assert len(out.sent) == 1


def test_who_looks_at_somebody_of_another_network(pair: Pair) -> None:
    start(negotiate_incoming, pair.stream(pair.theirs), node(config=Config(network="another")))
    with pytest.raises(HandshakeFailed, match="network_key"):
        who_is_there(pair.stream(pair.ours), node(), Deadline(PATIENCE))


def test_who_looks_at_somebody_silent(pair: Pair) -> None:
    with pytest.raises(HandshakeFailed, match="no valid answer came in time"):
        who_is_there(pair.stream(pair.ours), node(), Deadline(0.02))


def test_through_a_peer_nobody_is_told_an_address() -> None:
    remote = Endpoint.parse("relayed://203.0.113.9:7")
    own = node()
    first = Initiator(own.identity, own.keys, own.session, own.ciphers)
    first.receive(negotiate._secure_responder(node(), remote).receive(first.start()))
    assert first.peer_hello.seen is None


def test_a_scope_is_nobody_elses_business() -> None:
    remote = Endpoint.tcp("[fe80::7%eth0]:5483")
    own = node()
    first = Initiator(own.identity, own.keys, own.session, own.ciphers)
    first.receive(negotiate._secure_responder(node(), remote).receive(first.start()))
    assert first.peer_hello.seen == ("fe80::7", 5483)


# --- strangers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [Config(network="another"), Config(network_key=bytes(32))], ids=["another network", "another key"]
)
def test_a_stranger_gets_no_byte(pair: Pair, config: Config) -> None:
    stranger = node(config=config)
    into = pair.stream(pair.theirs)
    responding = start(negotiate_incoming, into, node())
    pair.ours.sendall(Initiator(stranger.identity, stranger.keys, stranger.session, stranger.ciphers).start())
    pair.ours.shutdown(socket.SHUT_WR)
    with pytest.raises((HandshakeFailed, ConnectionLost)):
        responding.result()
    assert read_to_end(pair.ours) == b""
    assert into.sent == []


def test_a_replay_gets_no_byte(pair: Pair) -> None:
    tokens: list[bytes] = []

    def seen(token: bytes) -> bool:
        tokens.append(token)
        return True

    peer = node()
    into = pair.stream(pair.theirs)
    responding = start(negotiate_incoming, into, node(is_replay=seen))
    pair.ours.sendall(Initiator(peer.identity, peer.keys, peer.session, peer.ciphers).start())
    with pytest.raises(HandshakeFailed, match="copy of an earlier one"):
        responding.result()
    assert [len(token) for token in tokens] == [32]
    assert into.sent == []


def test_an_answer_that_is_not_from_our_network(pair: Pair) -> None:
    dialing = start(negotiate_outgoing, pair.stream(pair.ours), node())
    pair.theirs.recv(4096)
    pair.theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
    with pytest.raises(HandshakeFailed, match="not from our network"):
        dialing.result()


def test_silence_of_the_dialed_one_is_explained(pair: Pair) -> None:
    with pytest.raises(HandshakeFailed, match=r"no valid answer came in time.*network_key"):
        start(negotiate_outgoing, pair.stream(pair.ours), node(), deadline=Deadline(0.02)).result()


def test_silence_of_the_one_who_dialed(pair: Pair) -> None:
    into = pair.stream(pair.theirs)
    with pytest.raises(TimedOut):
        start(negotiate_incoming, into, node(), deadline=Deadline(0.02)).result()
    assert into.sent == []


@pytest.mark.parametrize("side", ["Initiator", "Responder"])
def test_another_version_is_explained_on_both_sides(pair: Pair, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRAPS T-37: versions that do not understand each other do not connect."""
    newer: Any = partial({"Initiator": Initiator, "Responder": Responder}[side], version=2)
    monkeypatch.setattr(negotiate, side, newer)
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node())
    dialing = start(negotiate_outgoing, pair.stream(pair.ours), node())
    upgrade = {"Initiator": ("the peer", "this node"), "Responder": ("this node", "the peer")}[side]
    for running, who in zip((dialing, responding), upgrade, strict=True):
        with pytest.raises(HandshakeFailed, match=rf"speaks version \d .* version \d: upgrade {who}"):
            running.result()


def test_both_are_failures_of_a_handshake() -> None:
    refused = Refused("no", Identity().peer_id)
    assert isinstance(refused, HandshakeFailed)
    assert not refused.duplicate
    assert isinstance(CutShort("cut", proved=True), HandshakeFailed)
