"""From a bare stream to a chosen, encrypted connection: the handshake and the choice between duplicates, over a
blocking stream, within one deadline. Runs on the threads of the dialers and of the acceptor.

::

    initiator                                   responder
        | ---- message 1 (version) ----------------> |
        | <--- message 2 (version, session, ciphers) |
      ask own manager                                |
        | ---- message 3 (session, serial, alone) -> |   ask own manager
        | ---- CHOOSE, if the greater id is here --> |
        | <--- CHOOSE, if the greater id is there -- |   or BYE: a duplicate
        | ---- CHOSEN, from the one that waited ---> |   or <---
        | ==== messages both ways ================== |

So the first message can arrive after two and a half round trips of the network where the initiator has the greater id
(one for TCP, one and a half here), and after three in the other case. On tracer connections the same exchange runs in
clear; they tell a `PeerId` that is not proven.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from crust.capture import Capture
from crust.clock import Deadline, now
from crust.endpoint import Protocol
from crust.errors import ConnectionLost, HandshakeFailed, Malformed, RemoteError, TimedOut
from crust.identity import Identity, PeerId
from crust.networks import subscriber
from crust.peers import Candidate, Verdict
from crust.transport.base import Stream
from crust.transport.framing import BYE, CHOOSE, CHOSEN, Decoder, control_frame, number_in
from crust.transport.handshake import Initiator, Responder
from crust.transport.link import Link, RecordReader, RecordWriter
from crust.transport.masking import NetworkKeys
from crust.transport.records import Opener, Sealer
from crust.transport.tracer import TracerReader, TracerWriter
from crust.transport.tracer_hello import TracerInitiator, TracerResponder

log = logging.getLogger("crust.negotiate")

_READ_SIZE: Final = 4096  # bytes; more than a whole handshake message

# Drawn for each stream when it is established and its handshake is to come; see `Candidate.began`.
_streams: Final = count(1)

_REFUSALS: Final[dict[Verdict, tuple[str, str]]] = {
    Verdict.DUPLICATE: ("duplicate", "the peer is connected to us already"),
    Verdict.SELF: ("self", "that is this node itself"),
    Verdict.FULL: ("full", "the peer has as many connections as it allows"),
    Verdict.REFUSED: ("refused", "the peer does not want to talk to us"),
}


class Refused(HandshakeFailed):
    """The peer is genuine, but one of the two nodes does not want this connection.

    Args:
        text: why, for people.
        peer_id: who the peer is.
        duplicate: whether the two are connected already, or about to be.
    """

    def __init__(self, text: str, peer_id: PeerId, *, duplicate: bool = False) -> None:
        super().__init__(text)
        self.peer_id = peer_id
        self.duplicate = duplicate


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
"""Puts a candidate to the manager and gives its verdict; blocks, and raises `CrustError` when there is none."""


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
    try:
        stream.send_all(handshake.start())
        asked_at = now()
        while not handshake.receive(_receive(stream)):
            pass
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
    rtt = now() - asked_at
    hello = handshake.peer_hello
    candidate = Candidate(
        handshake.peer_id, subscriber(stream.remote.host), hello.session, began, endpoint=stream.remote
    )
    verdict = ask(candidate)
    if verdict in _REFUSALS:
        raise _refused_here(verdict, candidate)
    parting = handshake.finish(candidate.serial, candidate.alone)
    link = _link(stream, handshake, node)
    try:
        if verdict is Verdict.CHOOSE:
            # In one piece with the third message: the choice costs no round trip of its own.
            stream.send_all(parting + link.writer.wrap(control_frame(CHOOSE, {"serial": candidate.serial})))
        else:
            stream.send_all(parting)
            _await_choice(link, candidate)
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
    rtt, answered_at = None, None
    while not handshake.done:
        answer = handshake.receive(_receive(stream))
        if answer:
            stream.send_all(answer)
            answered_at = now()
            answered()
        if handshake.failure is not None:  # the peer learns why from our answer
            raise handshake.failure
    if answered_at is not None:
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
    )
    link = _link(stream, handshake, node)
    verdict = ask(candidate)
    if verdict in _REFUSALS:
        _say_no(link, verdict)
        raise _refused_here(verdict, candidate)
    if verdict is Verdict.CHOOSE:
        stream.send_all(link.writer.wrap(control_frame(CHOOSE, {"serial": candidate.serial})))
    else:
        _await_choice(link, candidate)
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
    return Initiator(node.identity, node.keys, node.session, node.ciphers)


def _responder(stream: Stream, node: Node) -> _Responding:
    if stream.remote.protocol is Protocol.TRACER:
        return TracerResponder(node.identity, node.keys, node.session)
    return Responder(node.identity, node.keys, node.session, node.ciphers, is_replay=node.is_replay)


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


def _refused_here(verdict: Verdict, candidate: Candidate) -> Refused:
    texts = {
        Verdict.DUPLICATE: "we are connected to that peer already",
        Verdict.SELF: "that is this node itself",
        Verdict.FULL: "max_connections (or max_connections_per_address) is reached on this node",
        Verdict.REFUSED: "that peer is on the blacklist",
    }
    return Refused(texts[verdict], candidate.peer_id, duplicate=verdict is Verdict.DUPLICATE)


def _say_no(link: Link, verdict: Verdict) -> None:
    """Tell an authenticated peer why we end this: it must not think that we crashed."""
    word, text = _REFUSALS[verdict]
    try:
        link.writer.add(control_frame(BYE, {"reason": word, "text": text}))
        link.writer.flush()
        link.stream.finish_sending()
        _drain(link.stream)
    except RemoteError as error:
        log.debug("a refused peer did not wait for the reason: %s", error)


def _drain(stream: Stream) -> None:
    """Read to the end: closing with unread bytes would destroy what we sent."""
    scrap = memoryview(bytearray(_READ_SIZE))
    while stream.receive_into(scrap):
        pass


def _await_choice(link: Link, candidate: Candidate) -> None:
    """Wait for the peer's CHOOSE, and answer it.

    The answer is not left to the connection's writer: that may start much later, after the reading of a connection that
    this one replaces, and the peer waits.

    Raises:
        Refused: it said BYE instead.
        Malformed: it said something else.
    """
    decoder = Decoder(max_message_size=0)
    while True:
        while (plaintext := link.reader.next()) is not None:
            decoder.feed(plaintext)
            controls = decoder.take_controls()
            if decoder.take_messages()[0]:
                raise Malformed("a message before the choice")
            if controls and _is_choice(controls, candidate):
                _say_chosen(link, candidate)
                return
        if not link.reader.fill():
            raise ConnectionLost("without a reason")


def _say_chosen(link: Link, candidate: Candidate) -> None:
    answer = link.writer.wrap(control_frame(CHOSEN, {"serial": candidate.serial}))
    try:
        link.stream.send_all(answer)
    except RemoteError as error:  # a peer that has ended already may have said something before
        log.debug("the peer did not wait for our answer to its choice: %s", error)


def _is_choice(controls: list[tuple[int, dict[str, Any]]], candidate: Candidate) -> bool:
    """Look at what came: CHOOSE is it, BYE is a refusal, anything unknown is passed over."""
    for index, (kind, content) in enumerate(controls):
        if kind == CHOOSE:
            serial = number_in(content, "serial")
            if index + 1 != len(controls):
                raise Malformed("frames in one record with CHOOSE")
            candidate.peer_serial = serial
            return True
        if kind == BYE:
            raise _refused_there(content, candidate.peer_id)
    return False


def _refused_there(content: dict[str, Any], peer_id: PeerId) -> Refused:
    words = {
        "duplicate": "the peer is connected to us already",
        "self": "that is this node itself",
        "full": "the peer has as many connections as it allows; try again later, or another peer",
        "refused": "the peer refuses to talk to us",
    }
    word = content.get("reason")
    text = words.get(word if isinstance(word, str) else "refused", words["refused"])
    return Refused(text, peer_id, duplicate=word == "duplicate")
