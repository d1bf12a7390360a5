"""One connection, packet by packet: what it says and what it believes."""

import pytest

from crust.errors import DialFailed
from crust.transport.utp import constants as c
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.packet import Packet, PacketType, sack_bits
from crust.transport.utp.path_mtu import PathMtu
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import State
from tests.transport.utp.wire import ID, NOW, OURS, PEER, SIZE, THEIRS, WINDOW, connected, make, packet, packets, sent

DATA, FIN, STATE, RESET, SYN = (PacketType(kind) for kind in range(5))
SOON = NOW + 0.2


# --- beginning ---
def test_dialling_begins_with_a_syn() -> None:
    connection = make()
    assert connection.deadline(NOW) == NOW
    (syn,) = sent(connection, NOW)
    assert syn == Packet(SYN, ID, 1_000_000_000, 0, c.RECEIVE_WINDOW, OURS, 0)
    assert connection.state is State.SYN_SENT
    assert not connection.established
    assert connection.initiator


def test_a_syn_is_repeated_until_patience_ends() -> None:
    connection = make()
    times, now = [], NOW
    while not connection.over:
        deadline = connection.deadline(now)
        assert deadline is not None
        now = max(deadline, now)
        connection.tick(now)
        times += [now - NOW for _ in sent(connection, now)]
    assert times[:7] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 47.0]
    assert isinstance(connection.error, DialFailed)
    assert "no answer" in str(connection.error)
    assert NOW + c.DIAL_TIMEOUT <= now <= NOW + c.DIAL_TIMEOUT + 16
    assert connection.deadline(now) is None
    assert connection.next_burst(now) is None


def test_the_answer_connects_and_is_acknowledged_at_once() -> None:
    connection = make()
    sent(connection, NOW)
    connection.receive(packet(STATE), NOW + 0.1)
    assert connection.state is State.CONNECTED
    (proof,) = sent(connection, NOW + 0.1)
    # libutp's way: the number in the answer to a SYN is that of the first packet with data.
    assert (proof.type, proof.connection_id, proof.seq_nr, proof.ack_nr) == (STATE, ID + 1, OURS + 1, THEIRS - 1)
    assert connection.stats().round_trip == pytest.approx(0.1)
    assert connection.stats().peer_window == WINDOW


@pytest.mark.parametrize("wrong", [packet(STATE, ack_nr=OURS - 1), packet(STATE, ack_nr=OURS + 1), packet(DATA, b"x")])
def test_what_is_no_answer_is_ignored(wrong: Packet) -> None:
    connection = make()
    sent(connection, NOW)
    connection.receive(wrong, NOW + 0.1)
    assert connection.state is State.SYN_SENT
    assert connection.readable == 0


def test_the_answer_to_one_of_several_syns_gives_no_round_trip() -> None:
    connection = make()
    sent(connection, NOW)
    sent(connection, NOW + 1)
    connection.receive(packet(STATE), NOW + 1.1)
    assert connection.stats().round_trip is None


def test_the_numbers_may_be_at_their_end() -> None:
    path = PathMtu(548, 548)
    connection = UtpConnection(PEER, 65535, 0, 65535, path, UtpSettings(), NOW)
    (syn,) = sent(connection, NOW)
    assert (syn.connection_id, syn.seq_nr) == (65535, 65535)
    connection.receive(packet(STATE, seq_nr=0, ack_nr=65535), NOW)
    connection.write(b"first")
    (first,) = sent(connection, NOW)
    assert (first.connection_id, first.seq_nr, first.ack_nr) == (0, 0, 65535)


def test_what_is_accepted_begins_with_the_number_of_the_answer() -> None:
    connection = UtpConnection.accepted(PEER, 2001, 700, THEIRS, PathMtu(548, 548), UtpSettings(), NOW)
    assert connection.state is State.CONNECTED
    assert not connection.initiator
    connection.receive(packet(DATA, b"hello", seq_nr=THEIRS + 1, ack_nr=699), NOW)
    assert connection.read(100) == b"hello"
    connection.write(b"first")
    (first,) = sent(connection, NOW)
    assert (first.connection_id, first.seq_nr, first.ack_nr) == (2000, 700, THEIRS + 1)


def test_a_repeated_syn_is_answered_and_another_one_is_not() -> None:
    connection = UtpConnection.accepted(PEER, 2001, 700, THEIRS, PathMtu(548, 548), UtpSettings(), NOW)
    sent(connection, NOW)
    connection.receive(packet(SYN, seq_nr=THEIRS + 5, ack_nr=0), SOON)
    assert sent(connection, SOON) == []
    connection.receive(packet(SYN, seq_nr=THEIRS, ack_nr=0), SOON)
    assert [each.ack_nr for each in sent(connection, SOON)] == [THEIRS]


def test_a_crossing_syn_is_answered_until_it_is_proved_that_the_answer_came() -> None:
    connection = make(rendezvous=True)
    sent(connection, NOW)
    connection.accept_crossing(3001, 77, NOW + 0.1)
    assert connection.state is State.SYN_RECV
    assert not connection.initiator
    (answer,) = sent(connection, NOW + 0.1)
    assert (answer.type, answer.connection_id, answer.seq_nr, answer.ack_nr) == (STATE, 3000, OURS + 1, 77)
    assert [each.type for each in sent(connection, NOW + 0.1 + c.RENDEZVOUS_INTERVAL)] == [STATE]
    connection.receive(packet(STATE, seq_nr=78, ack_nr=OURS + 40), NOW + 0.5)
    assert connection.state is State.SYN_RECV, "only who got the answer knows its number"
    connection.receive(packet(STATE, seq_nr=78, ack_nr=OURS), NOW + 0.5)
    assert connection.state is State.CONNECTED


# --- data ---
def test_what_is_written_before_the_answer_leaves_after_it() -> None:
    connection = make()
    assert connection.write(b"early") == 5
    (syn,) = sent(connection, NOW)
    assert syn.type == SYN
    connection.receive(packet(STATE), NOW + 0.1)
    assert [(each.type, each.payload) for each in sent(connection, NOW + 0.1)] == [(DATA, b"early")]


def test_no_more_is_taken_than_there_is_room_for() -> None:
    connection = connected(UtpSettings(send_buffer=1000))
    assert connection.room() == connection.send_buffer == 1000
    assert connection.write(bytes(1500), 100) == 1000
    assert connection.room() == 0
    assert connection.write(b"more") == 0
    sent(connection, SOON)
    connection.receive(packet(STATE, ack_nr=OURS + 1), SOON)
    assert connection.room() == SIZE


def test_data_in_order_can_be_read_and_is_acknowledged() -> None:
    connection = connected()
    connection.receive(packet(DATA, b"abc"), SOON)
    connection.receive(packet(DATA, b"def", seq_nr=THEIRS + 1), SOON)
    assert connection.readable == 6
    target = bytearray(4)
    assert connection.read_into(memoryview(target)) == 4
    assert target == b"abcd"
    assert connection.read(100) == b"ef"
    assert connection.read(100) == b""
    assert [(each.type, each.ack_nr) for each in sent(connection, SOON)] == [(STATE, THEIRS + 1)]


def test_what_came_early_is_named_beside_a_short_packet() -> None:
    connection = connected()
    connection.receive(packet(DATA, b"later", seq_nr=THEIRS + 2), SOON)
    connection.write(b"short")
    (both,) = sent(connection, SOON)
    assert (both.type, both.payload) == (DATA, b"short")
    assert list(sack_bits(both.sack, both.ack_nr)) == [THEIRS + 2]


def test_what_came_early_is_named_apart_from_packets_that_fill_the_path() -> None:
    connection = connected()
    connection.receive(packet(DATA, b"later", seq_nr=THEIRS + 2), SOON)
    connection.write(bytes(SIZE))
    full, control = sent(connection, SOON)
    assert (full.type, len(full.payload), full.sack) == (DATA, SIZE, b"")
    assert control.type == STATE
    assert list(sack_bits(control.sack, control.ack_nr)) == [THEIRS + 2]


def test_several_packets_at_once() -> None:
    connection = connected()
    first, last = packet(DATA), packet(DATA, seq_nr=THEIRS + 2, ack_nr=OURS)
    assert connection.receive_run(first, last, 3, b"abcdef", SOON)
    assert connection.read(100) == b"abcdef"
    assert connection.stats().packets_received == 4
    assert [each.ack_nr for each in sent(connection, SOON)] == [THEIRS + 2]


def test_several_packets_at_once_that_must_be_looked_at_one_by_one() -> None:
    first, last = packet(DATA), packet(DATA, seq_nr=THEIRS + 2)
    dialling, closed, early, forged = make(), connected(), connected(), connected()
    closed.close()
    assert not dialling.receive_run(first, last, 3, b"abc", SOON)
    assert not closed.receive_run(first, last, 3, b"abc", SOON)
    assert not early.receive_run(packet(DATA, seq_nr=THEIRS + 1), last, 2, b"abc", SOON)
    assert not forged.receive_run(first, last._replace(ack_nr=OURS + 1), 3, b"abc", SOON)
    assert not forged.readable


def test_a_packet_that_acknowledges_what_was_never_sent_changes_nothing() -> None:
    connection = connected()
    for ack_nr in (OURS + 1, OURS + 20_000, OURS - c.STALE_ACKS - 1):
        connection.receive(packet(DATA, b"forged", ack_nr=ack_nr), SOON)
    assert connection.readable == 0
    assert connection.stats().packets_received == 1
    assert sent(connection, SOON) == []


def test_data_with_an_old_acknowledgement_still_counts() -> None:
    connection = connected()
    connection.receive(packet(DATA, b"overtaken", ack_nr=OURS - 3, window=5), SOON)
    assert connection.read(100) == b"overtaken"
    assert connection.stats().peer_window == WINDOW, "but what it acknowledges does not"


def test_the_kernel_took_only_some() -> None:
    connection = connected()
    connection.write(bytes(4 * SIZE))
    burst = connection.next_burst(SOON)
    assert burst is not None
    connection.sent(burst, 0, SOON)
    assert connection.stats().in_flight == 0
    assert connection.stats().packets_sent == 2
    again = connection.next_burst(SOON)
    assert again is not None
    assert packets(again)[0].seq_nr == OURS + 1
    connection.sent(again, 1, SOON)
    assert connection.stats().in_flight == SIZE


def test_clocks_that_drift_apart_are_no_queue() -> None:
    connection = connected()
    for second in range(5):
        fields = {"timestamp": 9_901_000 + second * 1_001_000, "timestamp_difference": 50_000 + second * 1000}
        connection.receive(packet(STATE, **fields), NOW + 10 + second)
    assert connection.stats().queueing_delay == 0.0
