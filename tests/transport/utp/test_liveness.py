"""How long a connection may be silent, in which state, and what is said when it was for too long."""

import pytest

from crust.errors import ConnectionLost
from crust.transport.utp import constants as c
from crust.transport.utp.liveness import Liveness, syn_pause
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import State

NOW = 1000.0
SETTINGS = UtpSettings(keepalive=20.0, idle_timeout=100.0, dead_timeout=50.0)


def alive() -> Liveness:
    return Liveness(SETTINGS, NOW)


def verdict(liveness: Liveness, at: float, state: State = State.CONNECTED, **named: object) -> str | None:
    """What is said ``at`` seconds after the start; it must be due exactly when the deadline says so."""
    waiting, orphan = named.get("waiting"), bool(named.get("orphan"))
    assert waiting is None or isinstance(waiting, float)
    found = liveness.verdict(state, waiting, orphan, NOW + at)
    if found is not None:
        assert isinstance(found, ConnectionLost)
        assert liveness.deadline(state, waiting, orphan) <= NOW + at
    return None if found is None else str(found)


def test_own_silence_makes_a_packet_due() -> None:
    liveness = alive()
    assert liveness.deadline(State.CONNECTED, None, False) == NOW + 20
    assert not liveness.keepalive_due(NOW + 19.99)
    assert liveness.keepalive_due(NOW + 20)
    liveness.sent_at = NOW + 20
    assert not liveness.keepalive_due(NOW + 20)
    assert liveness.deadline(State.CONNECTED, None, False) == NOW + 40


def test_a_peer_that_is_silent_is_dead_in_the_end() -> None:
    liveness = alive()
    assert verdict(liveness, 99.9) is None
    assert verdict(liveness, 100.0) == "nothing was heard from the peer for 100 s"
    liveness.heard(NOW + 100)
    assert verdict(liveness, 199.9) is None


def test_it_is_dead_sooner_where_something_waits() -> None:
    liveness = alive()
    assert verdict(liveness, 59.9, waiting=NOW + 10) is None
    assert verdict(liveness, 60.0, waiting=NOW + 10) == "nothing was heard from the peer for 60 s"
    assert verdict(liveness, 100.0, waiting=NOW + 99) == "nothing was heard from the peer for 100 s"


def test_a_peer_that_is_heard_and_hears_nothing_is_given_up() -> None:
    liveness = alive()
    liveness.heard(NOW + 40)
    why = verdict(liveness, 50.0, waiting=NOW)
    assert why == "what was sent does not arrive, though the peer is heard: is a firewall in between?"


def test_a_closed_port_counts_only_in_silence() -> None:
    liveness = alive()
    liveness.unreachable(NOW + 5)
    assert liveness.deadline(State.CONNECTED, None, False) == NOW + 5 + c.UNREACHABLE
    liveness.unreachable(NOW + 6)
    assert verdict(liveness, 5 + c.UNREACHABLE - 0.01) is None
    why = verdict(liveness, 5 + c.UNREACHABLE)
    assert why == "the peer's port is closed: its program ended, or its address changed"
    liveness.heard(NOW + 7)
    assert verdict(liveness, 99.0) is None, "it was forged, or the program is back"


def test_a_peer_without_room_is_waited_for_as_long_as_it_is_heard() -> None:
    liveness = alive()
    liveness.heard(NOW + 40)
    assert liveness.waiting_since(NOW + 10, 5000, NOW, False, NOW + 50) == NOW + 10
    assert liveness.waiting_since(NOW + 10, 0, NOW, False, NOW + 50) == NOW + 40
    assert liveness.waiting_since(None, 0, NOW, False, NOW + 50) is None, "nothing is on its way"


def test_of_an_orphan_only_counts_that_something_is_taken() -> None:
    liveness = alive()
    assert liveness.waiting_since(None, 0, NOW - 5, True, NOW + 10) == NOW + 10, "it begins with the end"
    liveness.heard(NOW + 40)
    assert liveness.waiting_since(NOW + 20, 0, NOW - 5, True, NOW + 50) == NOW + 10
    assert liveness.waiting_since(NOW + 20, 0, NOW + 30, True, NOW + 50) == NOW + 30
    assert liveness.waiting_since(NOW + 20, 5000, NOW + 30, True, NOW + 50) == NOW + 20
    assert liveness.waiting_since(NOW + 49, 5000, NOW + 30, True, NOW + 50) == NOW + 30, "an open window is no news"


def test_an_orphan_waits_for_the_peers_end_for_a_while() -> None:
    liveness = alive()
    liveness.changed_at = NOW + 3
    for at, orphan, state, over in (
        (3 + c.ORPHAN_TIMEOUT - 0.01, True, State.FIN_ACKED, False),
        (3 + c.ORPHAN_TIMEOUT, True, State.FIN_ACKED, True),
        (3 + c.ORPHAN_TIMEOUT, False, State.FIN_ACKED, False),
        (3 + c.ORPHAN_TIMEOUT, True, State.FIN_SENT, False),
    ):
        assert (verdict(liveness, at, state, orphan=orphan) is not None) is over
    liveness.sent_at = NOW + 30
    assert liveness.deadline(State.FIN_ACKED, None, True) == NOW + 3 + c.ORPHAN_TIMEOUT


def test_what_is_over_lingers_from_the_last_repetition_on() -> None:
    liveness = alive()
    liveness.changed_at = NOW + 1
    assert liveness.deadline(State.LINGER, None, True) == NOW + 1 + c.LINGER
    assert not liveness.lingered(State.LINGER, NOW + 1 + c.LINGER - 0.01)
    assert liveness.lingered(State.LINGER, NOW + 1 + c.LINGER)
    assert not liveness.lingered(State.CLOSING, NOW + 1 + c.LINGER)
    liveness.heard(NOW + 5)
    assert not liveness.lingered(State.LINGER, NOW + 1 + c.LINGER)
    assert liveness.lingered(State.LINGER, NOW + 5 + c.LINGER)


@pytest.mark.parametrize(("syns", "pause"), [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 16.0), (50, 16.0)])
def test_a_syn_is_repeated_ever_more_rarely(syns: int, pause: float) -> None:
    assert syn_pause(syns, False) == pause


def test_a_rendezvous_is_quick_for_ten_seconds() -> None:
    assert syn_pause(1, True) == syn_pause(c.RENDEZVOUS_QUICK - 1, True) == c.RENDEZVOUS_INTERVAL
    assert syn_pause(c.RENDEZVOUS_QUICK, True) == c.RENDEZVOUS_LATER
