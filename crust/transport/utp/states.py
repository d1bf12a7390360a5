"""The states of a uTP connection and what leads from one to another; the picture in docs/utp.md is drawn from this."""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a connection stands. Names are libutp's where it has one; it has none for the halves of a close."""

    SYN_SENT = "we dial"
    SYN_RECV = "they dial; it is not proved yet that they receive what we send them"
    CONNECTED = "both may send"
    FIN_SENT = "we have ended our half"
    FIN_ACKED = "we have ended our half, and they know; they may still send"
    GOT_FIN = "they have ended their half; we may still send"
    CLOSING = "both have ended, and they may not know"
    LINGER = "over; repetitions of their last packets are still answered"
    CLOSED = "over"

    __hash__ = object.__hash__  # Enum's own is written in Python, and sets are asked for each packet


class Happening(Enum):
    """What moves a connection to another state."""

    SYN_ACK = auto()
    """Our SYN was acknowledged."""
    CROSSING_SYN = auto()
    """Both dialled, and theirs is the SYN that counts (rendezvous)."""
    PROOF = auto()
    """A packet that only who received our answer to the SYN can send."""
    OUR_FIN = auto()
    """Our FIN left."""
    OUR_FIN_ACKED = auto()
    """Our FIN, and so everything before it, was acknowledged."""
    THEIR_FIN = auto()
    """Their FIN, and everything before it, has arrived."""
    LINGERED = auto()
    """Nothing was heard for as long as we answer repetitions."""
    FAILURE = auto()
    """A RESET from either side, an ICMP error, or a timeout."""


_S, _H = State, Happening

TRANSITIONS: Final[dict[State, dict[Happening, State]]] = {
    _S.SYN_SENT: {_H.SYN_ACK: _S.CONNECTED, _H.CROSSING_SYN: _S.SYN_RECV, _H.FAILURE: _S.CLOSED},
    _S.SYN_RECV: {_H.PROOF: _S.CONNECTED, _H.FAILURE: _S.CLOSED},
    _S.CONNECTED: {_H.OUR_FIN: _S.FIN_SENT, _H.THEIR_FIN: _S.GOT_FIN, _H.FAILURE: _S.CLOSED},
    _S.FIN_SENT: {_H.OUR_FIN_ACKED: _S.FIN_ACKED, _H.THEIR_FIN: _S.CLOSING, _H.FAILURE: _S.CLOSED},
    _S.FIN_ACKED: {_H.THEIR_FIN: _S.LINGER, _H.FAILURE: _S.CLOSED},
    _S.GOT_FIN: {_H.OUR_FIN: _S.CLOSING, _H.FAILURE: _S.CLOSED},
    _S.CLOSING: {_H.OUR_FIN_ACKED: _S.LINGER, _H.FAILURE: _S.CLOSED},
    _S.LINGER: {_H.LINGERED: _S.CLOSED, _H.FAILURE: _S.CLOSED},
    _S.CLOSED: {},
}

ESTABLISHED: Final = frozenset({_S.CONNECTED, _S.FIN_SENT, _S.FIN_ACKED, _S.GOT_FIN, _S.CLOSING, _S.LINGER})
"""Both sides know of the connection."""

MAY_RECEIVE: Final = frozenset({_S.CONNECTED, _S.FIN_SENT, _S.FIN_ACKED})
"""The peer has not ended its half."""

MAY_SEND: Final = frozenset({_S.CONNECTED, _S.GOT_FIN})
"""We have not ended ours."""


def after(state: State, happening: Happening) -> State:
    """The state that follows.

    Raises:
        KeyError: that cannot happen in this state; a programming error.
    """
    return TRANSITIONS[state][happening]
