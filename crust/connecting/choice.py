"""How the choice between duplicates, or a refusal, is said on an encrypted link (docs/protocol.md, 5). Who chooses, and
what, is up to `crust.links.peers`; when, to `crust.connecting.negotiate`.
"""

import logging
from typing import Any, Final

from crust.errors import ConnectionLost, HandshakeFailed, Malformed, RemoteError
from crust.identity import PeerId
from crust.links.peers import Candidate, Verdict
from crust.transport.base import Stream
from crust.transport.framing import BYE, CHOOSE, CHOSEN, Decoder, control_frame, number_in
from crust.transport.link import Link

log = logging.getLogger("crust.choice")

_SCRAP_SIZE: Final = 4096  # bytes

REFUSALS: Final[dict[Verdict, tuple[str, str]]] = {
    Verdict.DUPLICATE: ("duplicate", "the peer is connected to us already"),
    Verdict.SELF: ("self", "that is this node itself, or one with the same identity file"),
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


def refused_here(verdict: Verdict, candidate: Candidate) -> Refused:
    """What our own side says when it does not want a connection."""
    texts = {
        Verdict.DUPLICATE: "we are connected to that peer already",
        Verdict.SELF: "that is this node itself, or one with the same identity file",
        Verdict.FULL: "max_connections (or max_connections_per_address) is reached on this node",
        Verdict.REFUSED: "that peer is on the blacklist",
    }
    return Refused(texts[verdict], candidate.peer_id, duplicate=verdict is Verdict.DUPLICATE)


def say_no(link: Link, verdict: Verdict) -> None:
    """Tell an authenticated peer why we end this: it must not think that we crashed."""
    word, text = REFUSALS[verdict]
    try:
        link.writer.add(control_frame(BYE, {"reason": word, "text": text}))
        link.writer.flush()
        link.stream.finish_sending()
        _drain(link.stream)
    except RemoteError as error:
        log.debug("a refused peer did not wait for the reason: %s", error)


def part(link: Link, word: str, text: str) -> None:
    """End at once a link that is established, and not wanted any more. The peer, which may know the connection by now,
    is told why if that takes no waiting.

    Args:
        word: the reason, for the other program.
        text: the same for people.
    """
    try:
        link.writer.add(control_frame(BYE, {"reason": word, "text": text}))
        link.writer.flush_waiting()
    except RemoteError as error:
        log.debug("a peer did not wait for the reason: %s", error)
    link.stream.abort()
    link.stream.close()


def _drain(stream: Stream) -> None:
    """Read to the end: closing with unread bytes would destroy what we sent."""
    scrap = memoryview(bytearray(_SCRAP_SIZE))
    while stream.receive_into(scrap):
        pass


def await_choice(link: Link, candidate: Candidate) -> None:
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
        "self": "that is this node itself, or one with the same identity file",
        "full": "the peer has as many connections as it allows; try again later, or another peer",
        "refused": "the peer refuses to talk to us",
    }
    word = content.get("reason")
    text = words.get(word if isinstance(word, str) else "refused", words["refused"])
    return Refused(text, peer_id, duplicate=word == "duplicate")
