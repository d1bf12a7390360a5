"""`crust.connecting.negotiate.negotiate_crossing`: streams of which both ends were dialled, or only ours."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from crust import Config, Endpoint, PeerId
from crust.connecting import negotiate
from crust.connecting.negotiate import CutShort, Established, Node, Refused, negotiate_crossing, negotiate_incoming
from crust.errors import ConnectionLost, HandshakeFailed, RemoteError, TimedOut
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import Deadline
from crust.transport.framing import message_frame
from crust.transport.handshake import Initiator, Responder
from crust.transport.noise import DHLEN
from tests.connecting.negotiations import Lazy, connected_pair, frames, start
from tests.manager.helpers import two_identities
from tests.manager.wire import read_to_end
from tests.streams import Pair, node
from tests.together import PATIENCE

pair = pytest.fixture(connected_pair)
either_part = pytest.mark.parametrize("we_initiate", [True, False], ids=["we initiate", "they initiate"])
either_chooser = pytest.mark.parametrize("we_choose", [True, False], ids=["we choose", "they choose"])


@pytest.fixture
def greater_key(monkeypatch: pytest.MonkeyPatch) -> Callable[[Node, Node], None]:
    """Sees to it that of two nodes the first one has the greater ephemeral key."""
    made: list[tuple[bytes, bytes]] = []
    for private in (bytes(32), b"\1" * 32):
        known = _initiator(node(), private)
        known.start()
        made.append((known.replay_token, private))
    lesser, greater = (private for _, private in sorted(made))

    def arrange(first: Node, second: Node) -> None:
        keys = {first.session: greater, second.session: lesser}
        monkeypatch.setattr(negotiate, "_secure_initiator", lambda own: _initiator(own, keys[own.session]))

    return arrange


def _initiator(own: Node, ephemeral: bytes) -> Initiator:
    def random(size: int) -> bytes:
        return ephemeral if size == DHLEN else os.urandom(size)

    return Initiator(own.identity, own.keys, own.session, own.ciphers, random=random)


def nodes(we_choose: bool, config: Config | None = None) -> tuple[Node, Node]:
    """Ours and theirs."""
    lesser, greater = two_identities()
    return (node(greater), node(lesser, config)) if we_choose else (node(lesser), node(greater, config))


def talk(ends: tuple[Established, Established]) -> None:
    for sender, receiver in (ends, ends[::-1]):
        sender.link.writer.add(message_frame(b"hello"))
        sender.link.writer.flush()
        while not (messages := frames(receiver)[0]):
            pass  # before it there is the answer to the choice
        assert messages == [b"hello"]


# --- between honest nodes -----------------------------------------------------------------------------


def assert_connected(ends: tuple[Established, Established], ours: Node, theirs: Node, we_choose: bool) -> None:
    assert [end.candidate.peer_id for end in ends] == [theirs.identity.peer_id, ours.identity.peer_id]
    assert [end.candidate.session for end in ends] == [theirs.session, ours.session]
    assert [end.candidate.serial for end in ends] == [1, 1]
    assert [end.peer_chose for end in ends] == [not we_choose, we_choose]
    for end in ends:
        assert end.rtt is not None
        assert 0 <= end.rtt < PATIENCE
        assert end.candidate.endpoint == end.link.stream.remote
    talk(ends)


@either_part
@either_chooser
def test_both_have_dialled(
    pair: Pair, greater_key: Callable[[Node, Node], None], we_initiate: bool, we_choose: bool
) -> None:
    ours, theirs = nodes(we_choose)
    greater_key(*((ours, theirs) if we_initiate else (theirs, ours)))
    out, into = pair.stream(pair.ours), pair.stream(pair.theirs)
    running = start(negotiate_crossing, into, theirs)
    ends = start(negotiate_crossing, out, ours).result(), running.result()
    assert [end.candidate.peer_alone for end in ends] == [not we_initiate, we_initiate], "told by who initiates"
    assert (pair.ours.gettimeout(), pair.theirs.gettimeout()) == (None, None)
    assert_connected(ends, ours, theirs, we_choose)


@either_chooser
def test_only_we_have_dialled(pair: Pair, we_choose: bool) -> None:
    ours, theirs = nodes(we_choose)
    running = start(negotiate_incoming, pair.stream(pair.theirs), theirs)
    ends = start(negotiate_crossing, pair.stream(pair.ours), ours).result(), running.result()
    assert [end.candidate.peer_alone for end in ends] == [False, True]
    assert_connected(ends, ours, theirs, we_choose)


def test_whose_key_is_greater_is_chance() -> None:
    parts = set()
    for _ in range(40):
        with Pair() as pair:
            running = start(negotiate_crossing, pair.stream(pair.theirs), node())
            end = start(negotiate_crossing, pair.stream(pair.ours), node()).result()
            running.result()
            parts.add(end.candidate.peer_alone)
        if len(parts) == 2:
            break
    assert parts == {True, False}


# --- whom one does not want ---------------------------------------------------------------------------


@either_part
def test_whoever_it_is_it_is_not_the_right_one(
    pair: Pair, greater_key: Callable[[Node, Node], None], we_initiate: bool
) -> None:
    """The one who asks may raise; then nothing more is said. Who initiates has not told who it is."""
    asked: list[PeerId] = []

    def nobody(candidate: Candidate) -> Verdict:
        asked.append(candidate.peer_id)
        raise HandshakeFailed("somebody else is there")

    ours, theirs = nodes(we_choose=False)
    greater_key(*((ours, theirs) if we_initiate else (theirs, ours)))
    out = pair.stream(pair.ours)
    running = start(
        negotiate_crossing, pair.stream(pair.theirs), theirs, None if we_initiate else lambda _: Verdict.WAIT
    )
    with pytest.raises(HandshakeFailed, match="somebody else is there"):
        start(negotiate_crossing, out, ours, nobody).result()
    with pytest.raises(ConnectionLost if we_initiate else CutShort):
        running.result()
    assert asked == [theirs.identity.peer_id]
    assert len(out.sent) == (1 if we_initiate else 2), "message 1, and the answer to theirs"


@either_part
def test_a_manager_that_has_no_answer(pair: Pair, greater_key: Callable[[Node, Node], None], we_initiate: bool) -> None:
    def too_late(_: Candidate) -> Verdict:
        raise TimedOut("no place was free in time")

    ours, theirs = nodes(we_choose=True)
    greater_key(*((ours, theirs) if we_initiate else (theirs, ours)))
    running = start(negotiate_crossing, pair.stream(pair.theirs), theirs)
    with pytest.raises(TimedOut, match="no place"):
        start(negotiate_crossing, pair.stream(pair.ours), ours, too_late).result()
    with pytest.raises(RemoteError):
        running.result()


@either_part
@pytest.mark.parametrize("verdict", [Verdict.DUPLICATE, Verdict.FULL])
def test_refusals(pair: Pair, greater_key: Callable[[Node, Node], None], we_initiate: bool, verdict: Verdict) -> None:
    ours, theirs = nodes(we_choose=True)
    greater_key(*((ours, theirs) if we_initiate else (theirs, ours)))
    running = start(negotiate_crossing, pair.stream(pair.theirs), theirs)
    with pytest.raises(Refused) as refused:
        start(negotiate_crossing, pair.stream(pair.ours), ours, lambda _: verdict).result()
    assert refused.value.duplicate is (verdict is Verdict.DUPLICATE)
    assert refused.value.peer_id == theirs.identity.peer_id
    if we_initiate:
        with pytest.raises(ConnectionLost):
            running.result()
    else:
        with pytest.raises(Refused) as there:
            running.result()
        assert there.value.duplicate is refused.value.duplicate


def test_two_streams_of_ours_that_somebody_joined(pair: Pair) -> None:
    """Their first messages differ, so that it is this node shows only when both ends prove who they are."""
    us = node()
    running = start(negotiate_crossing, pair.stream(pair.theirs), us)
    ending = start(negotiate_crossing, pair.stream(pair.ours), us)
    outcomes = set()
    for side in (running, ending):
        with pytest.raises(RemoteError) as error:
            side.result()
        outcomes.add(type(error.value))
    assert Refused in outcomes


# --- others -------------------------------------------------------------------------------------------


def test_a_mirror(pair: Pair) -> None:
    out = pair.stream(pair.ours)
    running = start(negotiate_crossing, out, node())
    pair.theirs.sendall(pair.theirs.recv(4096))
    with pytest.raises(HandshakeFailed, match="our own first message came back"):
        running.result()
    assert len(out.sent) == 1


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_another_network(pair: Pair, byte_by_byte: bool) -> None:
    ours, stranger = nodes(True, Config(network="another"))
    out = pair.stream(pair.ours)
    running = start(negotiate_crossing, out, ours)
    first = Initiator(stranger.identity, stranger.keys, stranger.session, stranger.ciphers).start() + bytes(1024)
    try:
        for at in range(0, len(first), 1 if byte_by_byte else len(first)):
            pair.theirs.sendall(first[at : at + (1 if byte_by_byte else len(first))])
    except ConnectionError:
        pass  # it did not wait for all of it
    with pytest.raises(HandshakeFailed, match="not from our network"):
        running.result()
    assert len(out.sent) == 1


def test_a_replay(pair: Pair) -> None:
    ours, theirs = nodes(True)
    out = pair.stream(pair.ours)
    running = start(negotiate_crossing, out, replace(ours, is_replay=lambda token: len(token) == DHLEN))
    pair.theirs.sendall(_initiator(theirs, os.urandom(DHLEN)).start())
    with pytest.raises(HandshakeFailed, match="copy of an earlier one"):
        running.result()
    assert len(out.sent) == 1


def test_another_version_is_explained_on_both_sides(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = nodes(True)
    versions = {ours.session: 1, theirs.session: 2}

    def initiator(own: Node) -> Initiator:
        return Initiator(own.identity, own.keys, own.session, own.ciphers, version=versions[own.session])

    def responder(own: Node, _: Endpoint) -> Responder:
        return Responder(own.identity, own.keys, own.session, own.ciphers, version=versions[own.session])

    monkeypatch.setattr(negotiate, "_secure_initiator", initiator)
    monkeypatch.setattr(negotiate, "_secure_responder", responder)
    running = start(negotiate_crossing, pair.stream(pair.theirs), theirs)
    with pytest.raises(HandshakeFailed, match=r"speaks version 1 .* version 2: upgrade this node"):
        start(negotiate_crossing, pair.stream(pair.ours), ours).result()
    with pytest.raises(HandshakeFailed, match=r"speaks version 2 .* version 1: upgrade the peer"):
        running.result()


# --- peers that end or are silent in between ------------------------------------------------------------


def test_silence_is_explained(pair: Pair) -> None:
    with pytest.raises(HandshakeFailed, match=r"no valid answer came in time.*network_key"):
        start(negotiate_crossing, pair.stream(pair.ours), node(), deadline=Deadline(0.02)).result()


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_it_ends_before_it_is_clear_who_is_who(pair: Pair, cut: int) -> None:
    running = start(negotiate_crossing, pair.stream(pair.ours), node())
    pair.theirs.recv(4096)
    pair.theirs.sendall(_initiator(node(), os.urandom(DHLEN)).start()[:cut])
    pair.theirs.close()
    with pytest.raises(CutShort, match="network_key") as cut_short:
        running.result()
    assert not cut_short.value.proved


@either_part
@pytest.mark.parametrize("ends", [True, False], ids=["it ends", "it is silent"])
def test_nothing_follows_their_message_1(
    pair: Pair, greater_key: Callable[[Node, Node], None], we_initiate: bool, ends: bool
) -> None:
    ours, theirs = nodes(True)
    greater_key(*((ours, theirs) if we_initiate else (theirs, ours)))
    deadline = Lazy()

    def heard(_: bytes) -> bool:
        deadline.come = not ends
        return False

    running = start(negotiate_crossing, pair.stream(pair.ours), replace(ours, is_replay=heard), deadline=deadline)
    pair.theirs.recv(4096)
    pair.theirs.sendall(negotiate._secure_initiator(theirs).start())
    if not we_initiate:
        assert pair.theirs.recv(4096), "message 2"
    if ends:
        pair.theirs.shutdown(socket.SHUT_WR)
    expected = (CutShort if ends else HandshakeFailed) if we_initiate else (ConnectionLost if ends else TimedOut)
    with pytest.raises(expected):
        running.result()
    assert read_to_end(pair.theirs) == b""
