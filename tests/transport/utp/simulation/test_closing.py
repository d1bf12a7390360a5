"""The end of a connection: half of it, all of it, lost and repeated, and giving up."""

import pytest

from crust.errors import ConnectionLost, RemoteError
from crust.transport.utp.packet import PacketType
from crust.transport.utp.states import State
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.pair import End, Pair, of_kind, only_once
from tests.transport.utp.simulation.scripted import connected_to_script


def closed_both(pair: Pair, dialler: End, accepted: End, patience: float = 60.0) -> None:
    pair.until(lambda: pair.closed(dialler, accepted) and pair.forgotten, patience)
    assert dialler.connection.error is None
    assert accepted.connection.error is None
    assert bytes(accepted.received) == dialler.sent
    assert bytes(dialler.received) == accepted.sent
    assert not pair.packets(PacketType.RESET)


def test_half_a_connection_can_be_closed() -> None:
    """Who has finished still receives, for as long as the other side likes."""
    pair = Pair()
    dialler, accepted = pair.connected()
    dialler.finish()
    pair.until(lambda: accepted.connection.at_end)
    for _ in range(10):
        pair.pass_time(30.0)
        accepted.send(1000)
    pair.until(lambda: len(dialler.received) == 10_000)
    assert not dialler.connection.at_end
    accepted.finish()
    closed_both(pair, dialler, accepted)


def test_the_accepting_side_may_close_its_half_first() -> None:
    pair = Pair()
    dialler, accepted = pair.connected()
    accepted.finish()
    pair.until(lambda: dialler.connection.at_end)
    dialler.send(100_000)
    dialler.finish()
    closed_both(pair, dialler, accepted)


def test_both_close_at_once() -> None:
    pair = Pair()
    dialler, accepted = pair.connected()
    dialler.finish()
    accepted.finish()
    closed_both(pair, dialler, accepted)


def test_a_connection_that_carried_nothing_closes() -> None:
    pair = Pair()
    dialler = pair.dial()
    dialler.finish()
    pair.until(lambda: pair.accepted)
    pair.accepted[0].finish()
    closed_both(pair, dialler, pair.accepted[0])


def test_what_is_queued_goes_before_the_end() -> None:
    pair = Pair(Conditions(rate=100e3))
    dialler, accepted = pair.connected()
    dialler.send(300_000)
    dialler.finish()
    accepted.finish()
    closed_both(pair, dialler, accepted)


def test_nothing_can_be_written_after_the_end() -> None:
    pair = Pair()
    dialler, _ = pair.connected()
    dialler.finish()
    with pytest.raises(ConnectionLost):
        dialler.connection.write(b"late")


def test_a_fin_before_the_data_that_it_ends() -> None:
    """Premature FIN: it comes before what was lost; the end is the end of the data, not of patience."""
    peer, end = connected_to_script()
    first = peer.seq_nr
    peer.say(PacketType.FIN, seq_nr=first + 2)
    assert not end.connection.at_end
    assert end.connection.state is State.CONNECTED
    peer.say(PacketType.DATA, b"two", seq_nr=first + 1)
    assert not end.connection.at_end
    peer.say(PacketType.DATA, b"one", seq_nr=first)
    assert bytes(end.received) == b"!onetwo"
    assert end.connection.at_end
    assert end.connection.state is State.GOT_FIN
    assert peer.last(PacketType.STATE).ack_nr == first + 2


def test_data_beyond_the_fin_is_ignored() -> None:
    peer, end = connected_to_script()
    peer.say(PacketType.FIN, seq_nr=peer.seq_nr + 1)
    peer.say(PacketType.DATA, b"beyond", seq_nr=peer.seq_nr + 2)
    peer.say(PacketType.DATA, b"last", seq_nr=peer.seq_nr)
    assert bytes(end.received) == b"!last"
    assert end.connection.at_end


def test_a_fin_that_carries_bytes_ends_the_stream() -> None:
    """It must not carry any (libtorrent ignores them); whether they count is no reason to hang or to be doubled."""
    peer, end = connected_to_script()
    peer.say(PacketType.FIN, b"extra")
    peer.say(PacketType.FIN, b"extra")
    assert end.connection.at_end
    assert bytes(end.received) in (b"!", b"!extra")


@pytest.mark.parametrize("lost", [1, 3])
def test_loss_of_the_fin(lost: int) -> None:
    pair = Pair()
    dialler, accepted = pair.connected()
    pair.there.drop = only_once(of_kind(PacketType.FIN), lost)
    dialler.send(1000)
    dialler.finish()
    accepted.finish()
    closed_both(pair, dialler, accepted)
    assert pair.there.counts.dropped == lost


def test_loss_of_all_data_and_of_the_fin_once() -> None:
    pair = Pair()
    dialler, accepted = pair.connected()
    pair.there.drop = only_once(lambda packet: True, 5)
    dialler.send(4000)
    dialler.finish()
    accepted.finish()
    closed_both(pair, dialler, accepted)


@pytest.mark.parametrize("lost", [1, 2])
def test_loss_of_the_acknowledgement_of_the_fin(lost: int) -> None:
    """Who has closed answers repetitions for a while, so that the other side need not guess."""
    pair = Pair()
    dialler, accepted = pair.connected()
    dialler.finish()
    pair.until(lambda: accepted.connection.at_end)
    pair.there.drop = only_once(of_kind(PacketType.STATE), lost)
    accepted.finish()
    closed_both(pair, dialler, accepted)
    assert pair.there.counts.dropped == lost


def test_closing_ends_with_an_error_when_every_packet_is_dropped() -> None:
    pair = Pair()
    dialler, accepted = pair.connected()
    pair.there.drop = pair.back.drop = lambda datagram: True
    dialler.send(1000)
    dialler.finish()
    accepted.finish()
    pair.until(lambda: pair.closed(dialler, accepted) and pair.forgotten)
    assert isinstance(dialler.connection.error, RemoteError)
    assert isinstance(accepted.connection.error, RemoteError)


def test_closing_succeeds_when_only_the_last_acknowledgement_is_dropped_for_ever() -> None:
    """Everything arrived and was acknowledged; what cannot be known is only whether they know that we know."""
    pair = Pair()
    dialler, accepted = pair.connected()
    dialler.send(1000)
    dialler.finish()
    pair.until(lambda: dialler.connection.state is State.FIN_ACKED and accepted.connection.at_end)
    pair.there.drop = lambda datagram: True
    accepted.finish()
    pair.until(lambda: pair.closed(dialler, accepted) and pair.forgotten)
    assert dialler.connection.error is None
    assert bytes(accepted.received) == dialler.sent


def test_giving_up_tells_the_other_side() -> None:
    pair = Pair()
    dialler, accepted = pair.connected()
    dialler.send(100_000)
    dialler.abort()
    pair.until(lambda: pair.closed(dialler, accepted), patience=0.1)
    assert isinstance(accepted.connection.error, ConnectionLost)
    assert dialler.sent.startswith(accepted.received)
    assert pair.forgotten


def test_giving_up_where_the_reset_is_lost() -> None:
    """The other side's next packet is answered with another one."""
    pair = Pair()
    dialler, accepted = pair.connected()
    pair.pass_time(1.0)
    pair.there.drop = only_once(of_kind(PacketType.RESET))
    dialler.abort()
    pair.pass_time(1.0)
    assert accepted.connection.state is State.CONNECTED
    accepted.send(10)
    pair.until(lambda: pair.closed(accepted), patience=30.0)
    assert isinstance(accepted.connection.error, ConnectionLost)


def test_giving_up_while_dialling() -> None:
    pair = Pair()
    dialler = pair.dial()
    dialler.abort()
    pair.pass_time(60.0)
    assert pair.closed(dialler)
    assert pair.forgotten
    assert not pair.accepted or pair.closed(*pair.accepted)


def test_what_arrived_before_a_reset_can_still_be_read() -> None:
    pair = Pair()
    pair.accepted_reads = False
    dialler, accepted = pair.connected()
    dialler.send(1000)
    pair.pass_time(1.0)
    dialler.abort()
    pair.until(lambda: pair.closed(accepted))
    assert isinstance(accepted.connection.error, ConnectionLost)
    accepted.read()
    assert bytes(accepted.received) == dialler.sent


def test_a_slow_reader_gets_everything_after_the_connection_is_closed() -> None:
    pair = Pair()
    pair.accepted_reads = False
    dialler, accepted = pair.connected()
    dialler.send(100_000)
    dialler.finish()
    accepted.finish()
    pair.until(lambda: pair.closed(dialler, accepted))
    accepted.read()
    assert bytes(accepted.received) == dialler.sent
    assert accepted.connection.at_end
    assert accepted.connection.error is None
