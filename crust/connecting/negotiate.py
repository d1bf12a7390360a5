"""From a bare stream to a chosen, encrypted connection: the handshake and the choice between duplicates, over a
blocking stream, within one deadline. Runs on the threads of the dialers and of the acceptor.

::

    initiator                                   responder
        | ---- message 1 (version) ----------------> |
        | <--- message 2 (session, ciphers, seen) -- |
      ask own manager                                |
        | ---- message 3 (session, serial, alone) -> |   ask own manager
        | ---- CHOOSE, if the greater id is here --> |
        | <--- CHOOSE, if the greater id is there -- |   or BYE: a duplicate
        | ---- CHOSEN, from the one that waited ---> |   or <---
        | ==== messages both ways ================== |

So the first message can arrive after two and a half round trips of the network where the initiator has the greater id
(one for TCP, one and a half here), and after three in the other case. On tracer connections the same exchange runs in
clear; they tell a `PeerId` that is not proven.

Where both ends may have dialled, both begin as the initiator, and `crust.transport.crossing` finds out who is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from crust.connecting.choice import REFUSALS, await_choice, refused_here, say_no
from crust.connecting.choice import Refused as Refused  # for those who negotiate
from crust.defence.networks import subscriber
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import ConnectionLost, HandshakeFailed, TimedOut
from crust.identity import Identity, PeerId
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import Deadline, now
from crust.transport.base import Stream
from crust.transport.capture import Capture
from crust.transport.crossing import Crossing
from crust.transport.framing import CHOOSE, control_frame
from crust.transport.handshake import Initiator, Responder
from crust.transport.link import Link, RecordReader, RecordWriter
from crust.transport.masking import NetworkKeys
from crust.transport.records import Opener, Sealer
from crust.transport.tracer import TracerReader, TracerWriter
from crust.transport.tracer_hello import TracerInitiator, TracerResponder

_READ_SIZE: Final = 4096  # bytes; more than a whole handshake message

# Drawn for each stream when it is established and its handshake is to come; see `Candidate.began`.
_streams: Final = count(1)


class CutShort(HandshakeFailed):
    """Whoever answered ended the connection before it was chosen; a busy node may do so to an honest peer.

    Args:
        text: why, for people.
        proved: whether they had proved to be a node of our network.
    """

    def __init__(self, text: str, *, proved: bool) -> None:
        super().__init__(text)
        self.proved = proved


@dataclass(frozen=True, slots=True)
class Node:
    """What every handshake of a node needs; shared by its threads, never changed."""

    identity: Identity
    keys: NetworkKeys
    session: bytes
    ciphers: tuple[str, ...]
    is_replay: Callable[[bytes], bool]
    """Whether a first message was seen before. Any thread may call."""
    capture: Capture | None = None
    """Where everything is written down in clear, if anywhere."""


_Initiating = Initiator | TracerInitiator
_Responding = Responder | TracerResponder

Ask = Callable[[Candidate], Verdict]
"""Puts a candidate, whose ``peer_id`` is proved, to the manager and gives its verdict; blocks. It raises `CrustError`
when there is none, or when that is not whom the caller wants: the peer is then told nothing more."""


@dataclass(slots=True, eq=False)
class Established:
    """A chosen connection, ready to be handed to its threads."""

    candidate: Candidate
    link: Link
    rtt: float | None
    peer_chose: bool
    """Whether the peer made the choice (the candidate waited for it)."""


def negotiate_outgoing(stream: Stream, node: Node, deadline: Deadline, ask: Ask) -> Established:
    """Run the initiator's side.

    Raises:
        Refused: one side does not want this connection.
        CutShort: the stream ended before the choice.
        HandshakeFailed: whoever answered is not a peer that we can talk to.
        RemoteError: the deadline passed, or the peer broke the protocol.
    """
    stream.set_deadline(deadline)
    began = next(_streams)
    handshake = _initiator(stream, node)
    with _explained():
        stream.send_all(handshake.start())
        asked_at = now()
        _await_answer(stream, handshake)
    return _propose(stream, node, handshake, began, now() - asked_at, ask)


def who_is_there(stream: Stream, node: Node, deadline: Deadline) -> tuple[PeerId, Address | None]:
    """Run the initiator's side up to message 2, which proves who is there; nothing is said of who we are. The caller
    ends the stream, whatever comes of it; not for tracer connections.

    Returns:
        Who it is, and where it sees us, if it says so.

    Raises:
        HandshakeFailed, RemoteError: as from `negotiate_outgoing`.
    """
    stream.set_deadline(deadline)
    handshake = _secure_initiator(node)
    with _explained():
        stream.send_all(handshake.start())
        _await_answer(stream, handshake)
    return handshake.peer_id, handshake.peer_hello.seen


@contextmanager
def _explained() -> Iterator[None]:
    """What an end or silence in it tells whoever dialled."""
    try:
        yield
    except ConnectionLost as error:
        raise CutShort(
            f"the connection ended during the handshake ({error}): not a Crust peer, one of another network "
            "(check network and network_key on both sides), or one too busy",
            proved=False,
        ) from error
    except TimedOut as error:
        raise HandshakeFailed(
            "connected, but no valid answer came in time: not a Crust peer, one of another network "
            "(check network and network_key on both sides), or one too busy"
        ) from error


def _await_answer(stream: Stream, handshake: _Initiating) -> None:
    """Read until message 2 is there; some of it may be already."""
    data = b""
    while not handshake.receive(data):
        data = _receive(stream)


def _propose(stream: Stream, node: Node, handshake: _Initiating, began: int, rtt: float, ask: Ask) -> Established:
    """The rest of the initiator's side, from message 2 on."""
    hello = handshake.peer_hello
    candidate = Candidate(
        handshake.peer_id,
        subscriber(stream.remote.host),
        hello.session,
        began,
        endpoint=stream.remote,
        relayed=stream.remote.is_relayed,
    )
    verdict = ask(candidate)
    if verdict in REFUSALS:
        raise refused_here(verdict, candidate)
    parting = handshake.finish(candidate.serial, candidate.alone)
    link = _link(stream, handshake, node)
    try:
        if verdict is Verdict.CHOOSE:
            # In one piece with the third message: the choice costs no round trip of its own.
            stream.send_all(parting + link.writer.wrap(control_frame(CHOOSE, {"serial": candidate.serial})))
        else:
            stream.send_all(parting)
            await_choice(link, candidate)
    except ConnectionLost as error:
        text = f"the peer ended the connection before it was chosen ({error}); it may be too busy"
        raise CutShort(text, proved=True) from error
    stream.set_deadline(None)
    return Established(candidate, link, rtt, peer_chose=verdict is Verdict.WAIT)


def negotiate_incoming(
    stream: Stream, node: Node, deadline: Deadline, ask: Ask, answered: Callable[[], None] = lambda: None
) -> Established:
    """Run the responder's side; ``answered`` is called when the other side has proved to be of our network.

    Raises:
        Refused: one side does not want this connection.
        HandshakeFailed: whoever connected is not a peer that we can talk to; nothing was sent to a stranger.
        RemoteError: the stream ended, or the deadline passed.
    """
    stream.set_deadline(deadline)
    began = next(_streams)
    handshake = _responder(stream, node)
    while not (answer := handshake.receive(_receive(stream))):
        pass
    return _respond(stream, node, handshake, began, answer, ask, answered)


def negotiate_crossing(stream: Stream, node: Node, deadline: Deadline, ask: Ask) -> Established:
    """Run the side that turns out to be ours, on a stream of which we have dialled one end, and the other one may have
    been dialled too; not for tracer connections.

    Raises:
        Refused: one side does not want this connection.
        CutShort: as the initiator's side; also if the stream ended before it was clear which side we are.
        HandshakeFailed: whoever is there is not a peer that we can talk to.
        RemoteError: the stream ended, the deadline passed, or the peer broke the protocol.
    """
    stream.set_deadline(deadline)
    began = next(_streams)
    crossing = Crossing(_secure_initiator(node), _secure_responder(node, stream.remote))
    with _explained():
        stream.send_all(crossing.start())
        asked_at, answer = now(), b""
        while not (side := crossing.initiator or crossing.responder):
            answer = crossing.receive(_receive(stream))
        if isinstance(side, Initiator):
            _await_answer(stream, side)
    if isinstance(side, Responder):
        return _respond(stream, node, side, began, answer, ask)
    return _propose(stream, node, side, began, now() - asked_at, ask)


def _respond(
    stream: Stream,
    node: Node,
    handshake: _Responding,
    began: int,
    answer: bytes,
    ask: Ask,
    answered: Callable[[], None] = lambda: None,
) -> Established:
    """The rest of the responder's side, from message 2 on, which is ``answer``."""
    stream.send_all(answer)
    answered_at = now()
    answered()
    while not handshake.done:
        if handshake.failure is not None:  # the peer learns why from our answer
            raise handshake.failure
        handshake.receive(_receive(stream))
    rtt = now() - answered_at
    hello = handshake.peer_hello
    candidate = Candidate(
        handshake.peer_id,
        subscriber(stream.remote.host),
        hello.session,
        began,
        peer_serial=hello.serial,
        peer_alone=hello.alone,
        endpoint=stream.remote,
        relayed=stream.remote.is_relayed,
    )
    link = _link(stream, handshake, node)
    verdict = ask(candidate)
    if verdict in REFUSALS:
        say_no(link, verdict)
        raise refused_here(verdict, candidate)
    if verdict is Verdict.CHOOSE:
        stream.send_all(link.writer.wrap(control_frame(CHOOSE, {"serial": candidate.serial})))
    else:
        await_choice(link, candidate)
    stream.set_deadline(None)
    return Established(candidate, link, rtt, peer_chose=verdict is Verdict.WAIT)


def _receive(stream: Stream) -> bytes:
    buffer = bytearray(_READ_SIZE)
    count = stream.receive_into(memoryview(buffer))
    if not count:
        raise ConnectionLost("it closed the connection")
    return bytes(buffer[:count])


def _initiator(stream: Stream, node: Node) -> _Initiating:
    if stream.remote.protocol is Protocol.TRACER:
        return TracerInitiator(node.identity, node.keys, node.session)
    return _secure_initiator(node)


def _secure_initiator(node: Node) -> Initiator:
    return Initiator(node.identity, node.keys, node.session, node.ciphers)


def _responder(stream: Stream, node: Node) -> _Responding:
    if stream.remote.protocol is Protocol.TRACER:
        return TracerResponder(node.identity, node.keys, node.session)
    return _secure_responder(node, stream.remote)


def _secure_responder(node: Node, remote: Endpoint) -> Responder:
    seen = None if remote.is_relayed or remote.is_name else (remote.host.partition("%")[0], remote.port)
    return Responder(node.identity, node.keys, node.session, node.ciphers, is_replay=node.is_replay, seen=seen)


def _link(stream: Stream, handshake: _Initiating | _Responding, node: Node) -> Link:
    if isinstance(handshake, TracerInitiator | TracerResponder):
        link = Link(stream, TracerReader(stream, handshake.unused), TracerWriter(stream))
    else:
        keys = handshake.keys
        opener = Opener(keys.receive_key, keys.cipher)
        opener.feed(handshake.unused)
        link = Link(stream, RecordReader(stream, opener), RecordWriter(stream, Sealer(keys.send_key, keys.cipher)))
    if node.capture is None:
        return link
    outgoing = isinstance(handshake, Initiator | TracerInitiator)
    return node.capture.tap(link, node.identity.peer_id, handshake.peer_id, outgoing)
