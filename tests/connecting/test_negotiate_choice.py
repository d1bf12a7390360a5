"""`crust.connecting.negotiate`, continued: peers that end, are silent, or say something else instead of the choice."""

from collections.abc import Callable
from typing import Any

import pytest

from crust.connecting.choice import part
from crust.connecting.negotiate import CutShort, Established, Refused, negotiate_incoming, negotiate_outgoing
from crust.errors import ConnectionLost, Malformed, TimedOut
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import Deadline
from crust.transport.framing import BYE, CHOOSE, PING, control_frame, message_frame
from tests.connecting.negotiations import Lazy, Side, connected_pair, either_dials, frames, start
from tests.manager.helpers import two_identities
from tests.manager.wire import WirePeer
from tests.streams import Pair, node
from tests.together import Running

UNKNOWN = 0x5F  # a kind of control frame that this version does not know
pair = pytest.fixture(connected_pair)


# --- peers that end or are silent in between ------------------------------------------------------------


def test_the_dialed_one_closes_before_it_proves_anything(pair: Pair) -> None:
    dialing = start(negotiate_outgoing, pair.stream(pair.ours), node())
    pair.theirs.recv(4096)
    pair.theirs.close()
    with pytest.raises(CutShort, match="network_key") as cut:
        dialing.result()
    assert not cut.value.proved


def test_the_proved_one_closes_before_it_chooses(pair: Pair) -> None:
    lesser, greater = two_identities()
    dialing = start(negotiate_outgoing, pair.stream(pair.ours), node(lesser))
    with WirePeer(pair.theirs, dials=False, identity=greater) as peer:
        peer.prove()
        peer.sock.close()
        with pytest.raises(CutShort, match="before it was chosen") as cut:
            dialing.result()
    assert cut.value.proved


@pytest.mark.parametrize("listens", [True, False])
def test_a_connection_that_is_not_wanted_any_more_ends_with_a_word(pair: Pair, listens: bool) -> None:
    """Its peer may know it already. One that is gone, or does not read, holds nobody up."""
    lesser, greater = two_identities()
    dialing = start(negotiate_outgoing, pair.stream(pair.ours), node(greater))
    with WirePeer(pair.theirs, dials=False, identity=lesser) as peer:
        peer.prove()
        established = dialing.result()
        if not listens:
            peer.sock.close()
        part(established.link, "bye", "too late")
        if listens:
            assert peer.await_control(BYE) == {"reason": "bye", "text": "too late"}


@pytest.mark.parametrize("proves", [False, True])
def test_the_one_who_dialed_closes(pair: Pair, proves: bool) -> None:
    lesser, greater = two_identities()
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node(lesser))
    with WirePeer(pair.ours, identity=greater) as peer:
        if proves:
            peer.prove()
    with pytest.raises(ConnectionLost):
        responding.result()


@either_dials
def test_silence_instead_of_the_choice(pair: Pair, we_dial: bool) -> None:
    deadline = Lazy()

    def ask(_: Candidate) -> Verdict:
        deadline.come = True
        return Verdict.WAIT

    with waiting_for(pair, we_dial, ask, deadline) as (running, _), pytest.raises(TimedOut):
        running.result()


# --- instead of the choice ------------------------------------------------------------------------------


class waiting_for:
    """One of us who waits for the choice of a peer that is proved and does what the test likes."""

    def __init__(
        self,
        pair: Pair,
        we_dial: bool,
        ask: Callable[[Candidate], Verdict] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        lesser, greater = two_identities()
        side: Side = negotiate_outgoing if we_dial else negotiate_incoming
        self._running = start(side, pair.stream(pair.ours), node(lesser), ask, deadline)
        self._peer = WirePeer(pair.theirs, dials=not we_dial, identity=greater)

    def __enter__(self) -> tuple[Running[Established], WirePeer]:
        self._peer.prove()
        return self._running, self._peer

    def __exit__(self, *_: object) -> None:
        self._peer.sock.close()


@either_dials
@pytest.mark.parametrize("message", [b"", b"early"])
def test_a_message_before_the_choice(pair: Pair, we_dial: bool, message: bytes) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        peer.send_messages(message)
        with pytest.raises(Malformed, match="message"):
            running.result()


@either_dials
@pytest.mark.parametrize(
    ("content", "text", "duplicate"),
    [
        ({"reason": "duplicate"}, "connected to us already", True),
        ({"reason": "self"}, "this node itself", False),
        ({"reason": "full"}, "as many connections", False),
        ({"reason": "refused"}, "refuses", False),
        ({"reason": "something new"}, "refuses", False),
        ({"reason": ["duplicate"]}, "refuses", False),
        ({"text": "\x1b[2Jboo"}, "refuses", False),
    ],
)
def test_goodbye_instead_of_the_choice(
    pair: Pair, we_dial: bool, content: dict[str, Any], text: str, duplicate: bool
) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        peer.send_frame(control_frame(BYE, content))
        with pytest.raises(Refused, match=text) as refused:
            running.result()
        assert refused.value.duplicate is duplicate
        assert refused.value.peer_id == peer.id
        assert str(refused.value).isprintable()


@either_dials
def test_other_control_frames_are_passed_over(pair: Pair, we_dial: bool) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        peer.send_frame(control_frame(UNKNOWN, {"a": [1]}), control_frame(PING, {"t": 1}))
        peer.send_frame(control_frame(UNKNOWN, {}), control_frame(CHOOSE, {"serial": 77}))
        assert running.result().candidate.peer_serial == 77


@either_dials
@pytest.mark.parametrize("serial", [0, 2**63 - 1])
def test_the_bounds_of_a_serial(pair: Pair, we_dial: bool, serial: int) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        peer.send_frame(control_frame(CHOOSE, {"serial": serial}))
        assert running.result().candidate.peer_serial == serial


@either_dials
@pytest.mark.parametrize("content", [{"serial": bad} for bad in (-1, 2**63, True, 1.0, "1", None, [1])] + [{}])
def test_a_hostile_serial(pair: Pair, we_dial: bool, content: dict[str, Any]) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        peer.send_frame(control_frame(CHOOSE, content))
        with pytest.raises(Malformed, match=r"without the number 'serial'|is not JSON"):
            running.result()


@either_dials
@pytest.mark.parametrize("after", [message_frame(b"x"), control_frame(PING, {"t": 1})])
def test_frames_in_the_record_of_the_choice(pair: Pair, we_dial: bool, after: bytes) -> None:
    """What followed would be lost: whoever reads on reads records."""
    with waiting_for(pair, we_dial) as (running, peer):
        peer.send_frame(control_frame(CHOOSE, {"serial": 1}), after)
        with pytest.raises(Malformed):
            running.result()


@either_dials
def test_a_record_in_one_piece_with_the_choice_is_kept(pair: Pair, we_dial: bool) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        choice, message = control_frame(CHOOSE, {"serial": 1}), message_frame(b"at once")
        peer.sock.sendall(peer.seal(choice) + peer.seal(message))
        assert frames(running.result())[0] == [b"at once"]


@either_dials
def test_a_forged_record_instead_of_the_choice(pair: Pair, we_dial: bool) -> None:
    with waiting_for(pair, we_dial) as (running, peer):
        record = bytearray(peer.seal(control_frame(CHOOSE, {"serial": 1})))
        record[-1] ^= 1
        peer.sock.sendall(record)
        with pytest.raises(Malformed, match="authenticate"):
            running.result()
