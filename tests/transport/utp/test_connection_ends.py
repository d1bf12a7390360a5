"""What ends a connection: both sides in order, one of them at once, the network, or silence."""

import pytest

from crust.errors import ConnectionLost, CrustError, DialFailed
from crust.transport.utp import constants as c
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.packet import HEADER_SIZE, Packet, PacketType, decode
from crust.transport.utp.states import State
from tests.transport.utp.wire import ID, NOW, OURS, SIZE, THEIRS, connected, make, packet, sent

DATA, FIN, STATE, RESET, SYN = (PacketType(kind) for kind in range(5))
SOON = NOW + 0.2


# --- in order ---
def ended_by_us(connection: UtpConnection) -> Packet:
    connection.finish()
    (fin,) = sent(connection, SOON)
    assert fin.type == FIN
    return fin


def test_our_end_then_theirs() -> None:
    connection = connected()
    fin = ended_by_us(connection)
    assert connection.state is State.FIN_SENT
    assert not connection.delivered
    connection.receive(packet(STATE, ack_nr=fin.seq_nr), SOON)
    assert connection.state is State.FIN_ACKED
    assert connection.delivered
    connection.receive(packet(DATA, b"still", ack_nr=fin.seq_nr), SOON)
    assert connection.read(100) == b"still"
    connection.receive(packet(FIN, seq_nr=THEIRS + 1, ack_nr=fin.seq_nr), SOON)
    assert connection.state is State.LINGER
    assert connection.at_end
    assert [each.ack_nr for each in sent(connection, SOON)] == [THEIRS + 1]
    connection.tick(SOON + c.LINGER - 0.01)
    assert connection.state is State.LINGER
    connection.tick(SOON + c.LINGER)
    assert connection.over
    assert connection.error is None


def test_their_end_then_ours() -> None:
    connection = connected()
    connection.receive(packet(FIN), SOON)
    assert connection.state is State.GOT_FIN
    assert connection.at_end
    connection.write(b"answer")
    connection.finish()
    data, fin = sent(connection, SOON)
    assert (data.payload, fin.type) == (b"answer", FIN)
    assert connection.state is State.CLOSING
    connection.receive(packet(STATE, seq_nr=THEIRS + 1, ack_nr=fin.seq_nr), SOON)
    assert connection.state is State.LINGER


def test_a_repeated_end_is_acknowledged_as_long_as_it_lingers() -> None:
    connection = connected()
    fin = ended_by_us(connection)
    connection.receive(packet(FIN, ack_nr=fin.seq_nr), SOON)
    sent(connection, SOON)
    connection.receive(packet(FIN, ack_nr=fin.seq_nr), SOON + 3)
    assert [each.ack_nr for each in sent(connection, SOON + 3)] == [THEIRS]
    assert connection.stats().duplicates == 1
    connection.tick(SOON + c.LINGER + 1)
    assert connection.state is State.LINGER, "it counts from the last repetition"


def test_the_end_that_is_read_is_the_end_after_everything() -> None:
    connection = connected()
    connection.receive(packet(FIN, seq_nr=THEIRS + 1), SOON)
    assert connection.state is State.CONNECTED
    connection.receive(packet(DATA, b"last"), SOON)
    assert connection.state is State.GOT_FIN
    assert not connection.at_end
    assert connection.read(100) == b"last"
    assert connection.at_end


def test_a_fin_that_never_left_cannot_be_acknowledged() -> None:
    connection = connected()
    connection.finish()
    burst = connection.next_burst(SOON)
    assert burst is not None
    connection.sent(burst, 0, SOON)
    connection.receive(packet(STATE, ack_nr=OURS + 1), SOON)
    connection.receive(packet(STATE, ack_nr=OURS, sack=b"\1\0\0\0"), SOON)
    assert connection.state is State.CONNECTED
    assert [each.type for each in sent(connection, SOON)] == [FIN]


@pytest.mark.parametrize("close", [UtpConnection.finish, UtpConnection.close])
def test_nothing_can_be_written_after_our_end(close: object) -> None:
    connection = connected()
    assert callable(close)
    close(connection)
    with pytest.raises(ConnectionLost, match="this side of the connection was ended before"):
        connection.write(b"more")


def test_who_closed_reads_nothing_more() -> None:
    connection = connected()
    connection.receive(packet(DATA, b"unread"), SOON)
    connection.close()
    assert connection.readable == 0
    connection.receive(packet(DATA, b"unread"), SOON)
    assert connection.doom is None, "a repetition"
    connection.receive(packet(DATA, b"more", seq_nr=THEIRS + 1), SOON)
    assert isinstance(connection.doom, ConnectionLost)
    assert "sent more after this side had closed" in str(connection.doom)


def test_an_end_that_contradicts_what_came_dooms_the_connection() -> None:
    connection = connected()
    connection.receive(packet(DATA, b"c", seq_nr=THEIRS + 2), SOON)
    connection.receive(packet(FIN), SOON)
    assert "had sent more" in str(connection.doom)


def test_who_closed_waits_for_the_peers_end_for_a_while_only() -> None:
    connection = connected()
    connection.close()
    (fin,) = sent(connection, SOON)
    connection.receive(packet(STATE, ack_nr=fin.seq_nr), SOON)
    connection.tick(SOON + c.ORPHAN_TIMEOUT - 0.01)
    assert not connection.over
    connection.tick(SOON + c.ORPHAN_TIMEOUT)
    assert connection.over


def test_failing_tells_the_peer() -> None:
    connection = connected()
    reset = decode(connection.fail(ConnectionLost("why")))
    assert (reset.type, reset.connection_id, reset.ack_nr) == (RESET, ID + 1, THEIRS - 1)
    assert connection.over
    assert str(connection.error) == "why"
    assert connection.fail(ConnectionLost("again")) == b""
    assert str(connection.error) == "why"
    with pytest.raises(ConnectionLost, match="why"):
        connection.write(b"x")


def test_nobody_is_told_of_a_dial_that_failed() -> None:
    assert make().fail(DialFailed("given up")) == b""


@pytest.mark.parametrize("ack_nr", [OURS, OURS + 1, OURS + 2])
def test_a_reset_with_a_number_on_its_way_ends_it(ack_nr: int) -> None:
    connection = connected()
    connection.receive(packet(DATA, b"read me"), SOON)
    connection.write(bytes(SIZE))
    assert len(sent(connection, SOON)) == 1
    connection.receive(packet(RESET, ack_nr=ack_nr, seq_nr=12345), SOON)
    assert connection.over
    assert str(connection.error) == "the peer reset the connection"
    assert connection.read(100) == b"read me", "what arrived before can still be read"


@pytest.mark.parametrize("ack_nr", [OURS - 1, OURS + 3, OURS + 30_000])
def test_a_reset_with_another_number_is_ignored(ack_nr: int) -> None:
    connection = connected()
    connection.write(bytes(SIZE))
    assert len(sent(connection, SOON)) == 1
    connection.receive(packet(RESET, ack_nr=ack_nr, seq_nr=THEIRS), SOON)
    assert connection.state is State.CONNECTED


@pytest.mark.parametrize(("ack_nr", "over"), [(OURS, True), (OURS + 1, False), (OURS - 1, False)])
def test_a_reset_that_answers_the_syn(ack_nr: int, over: bool) -> None:
    connection = make()
    sent(connection, NOW)
    connection.receive(packet(RESET, ack_nr=ack_nr), NOW)
    assert connection.over is over
    assert (str(connection.error) == "the peer refused") is over


def test_a_reset_after_both_ends_is_no_error() -> None:
    connection = connected()
    connection.receive(packet(FIN), SOON)
    fin = ended_by_us(connection)
    connection.receive(packet(RESET, ack_nr=fin.seq_nr), SOON)
    assert connection.over
    assert connection.error is None, "libutp forgets it as soon as its end is acknowledged"


# --- the network complains ---
def test_a_closed_port_ends_a_dial_at_once() -> None:
    connection = make()
    connection.unreachable("nothing listens", NOW)
    assert connection.over
    assert str(connection.error) == "nothing listens"


def test_a_rendezvous_goes_on_though_the_port_is_closed() -> None:
    connection = make(rendezvous=True)
    connection.unreachable("nothing listens", NOW)
    assert not connection.over


def test_a_closed_port_ends_a_connection_that_stays_silent() -> None:
    connection = connected()
    connection.unreachable("nothing listens", SOON)
    connection.tick(SOON + c.UNREACHABLE - 0.01)
    assert not connection.over
    connection.tick(SOON + c.UNREACHABLE)
    assert isinstance(connection.error, ConnectionLost)


def test_a_closed_port_where_all_was_said_is_the_end() -> None:
    connection = connected()
    connection.receive(packet(FIN), SOON)
    ended_by_us(connection)
    connection.unreachable("nothing listens", SOON)
    assert connection.over
    assert connection.error is None


def test_a_packet_that_was_too_big_makes_them_smaller() -> None:
    connection = connected(ceiling=1472)
    connection.write(bytes(100_000))
    first = connection.next_burst(SOON)
    assert first is not None
    assert first.dont_fragment
    assert first.segment == 1472
    connection.sent(first, 1, SOON)
    connection.too_big(1000 + 28, SOON)
    assert max(len(each.payload) + HEADER_SIZE for each in sent(connection, SOON + 0.3)) <= 1000


# --- silence ---
def test_an_idle_connection_says_something_now_and_then() -> None:
    connection = connected()
    at = connection.deadline(NOW + 0.1)
    assert at == NOW + 0.1 + c.KEEPALIVE
    at += 0.001
    connection.tick(at)
    assert [each.type for each in sent(connection, at)] == [STATE]
    assert connection.deadline(at) == at + c.KEEPALIVE


@pytest.mark.parametrize(("busy", "seconds"), [(False, c.IDLE_TIMEOUT), (True, c.DEAD_TIMEOUT)])
def test_a_silent_peer_is_dead_in_the_end(busy: bool, seconds: float) -> None:
    connection, now = connected(), SOON
    if busy:
        connection.write(b"anybody there?")
    while not connection.over:
        sent(connection, now)
        deadline = connection.deadline(now)
        assert deadline is not None
        now = max(deadline, now + 0.001)
        connection.tick(now)
    assert now - SOON == pytest.approx(seconds, abs=0.2)
    assert "nothing was heard from the peer" in str(connection.error)


def test_a_peer_without_room_only_has_to_say_so() -> None:
    connection = connected()
    connection.receive(packet(STATE, window=0), SOON)
    connection.write(b"waits")
    for minute in range(1, 10):
        now = SOON + 60 * minute
        connection.tick(now - 10)
        sent(connection, now - 10)
        connection.receive(packet(STATE, window=0), now)
    assert connection.error is None


def test_a_peer_that_reads_nothing_more_is_given_up_once_nobody_is_left_here() -> None:
    connection, now = connected(), SOON
    connection.receive(packet(STATE, window=0), now)
    connection.write(bytes(2 * SIZE))
    for _ in range(20):
        now += 10
        connection.tick(now)
        sent(connection, now)
        connection.receive(packet(STATE, window=0), now)
    connection.close()
    assert connection.deadline(now) is not None
    closed = now
    connection.receive(packet(STATE, window=SIZE), now + 1)
    (data,) = sent(connection, now + 1)
    connection.receive(packet(STATE, ack_nr=data.seq_nr, window=0), now + 2)
    while not connection.over:
        assert now < closed + 100
        now += 1
        connection.tick(now)
        sent(connection, now)
        connection.receive(packet(STATE, ack_nr=data.seq_nr, window=0), now)
    assert now == pytest.approx(closed + 2 + c.DEAD_TIMEOUT, abs=1), "it counts from what was taken last"


@pytest.mark.parametrize("error", [DialFailed("x"), ConnectionLost("x")])
def test_nothing_happens_after_the_end(error: CrustError) -> None:
    connection = connected()
    connection.write(b"data")
    connection.fail(error)
    for kind in PacketType:
        connection.receive(packet(kind, b"data"), SOON)
    connection.tick(SOON + 1000)
    assert connection.next_burst(SOON + 1000) is None
    assert connection.deadline(SOON) is None
    assert connection.error is error
