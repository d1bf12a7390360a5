"""How the connections of a port begin and end, what the network says of them, and in which order packets leave."""

import errno

import pytest

from crust.errors import ConnectionLost, DialFailed
from crust.transport.utp import constants as c
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import PacketType, encode
from crust.transport.utp.states import State
from tests.transport.utp.wire import (
    ID,
    NOW,
    OTHER,
    PEER,
    SOON,
    THEIRS,
    WINDOW,
    accepted,
    ask,
    bursts,
    dialled,
    give,
    packet,
    packets,
    port,
    prove,
    sent,
)

DATA, FIN, STATE, RESET, SYN = (PacketType(kind) for kind in range(5))


# --- dialling ---
def test_there_are_no_more_connections_than_are_allowed() -> None:
    mux = port(max_connections=2)
    dialled(mux)
    mux.connect(OTHER, NOW)
    with pytest.raises(DialFailed, match="2 uTP connections already"):
        mux.connect(PEER, NOW)


def ended(mux: Multiplexer, connection: UtpConnection) -> None:
    """Let both sides end it."""
    connection.close()
    mux.wake(connection, SOON)
    (fin,) = sent(mux, SOON)
    answer = packet(FIN, connection_id=connection.recv_id, ack_nr=fin.seq_nr)
    give(mux, answer, SOON, (connection.address[0], connection.address[1]))
    sent(mux, SOON)
    assert connection.state is State.LINGER


def test_what_is_over_takes_no_place_from_what_is_not() -> None:
    mux = port(max_connections=2)
    first, second = dialled(mux), dialled(mux, OTHER)
    ended(mux, second)
    ended(mux, first)
    assert len(mux) == 2
    mux.connect(PEER, SOON)
    assert second.over, "it was over for longest"
    assert second.error is None
    assert first.state is State.LINGER
    assert [each.type for each in sent(mux, SOON)] == [SYN], "nobody is told"
    give(mux, prove(ask(mux, OTHER)), SOON, OTHER)
    assert first.over
    assert len(mux.accepted) == 1
    assert len(mux) == 2
    with pytest.raises(DialFailed, match="2 uTP connections already"):
        mux.connect(PEER, SOON)


def test_another_id_is_tried_after_some_syns() -> None:
    mux, ids, now = port(), list[int](), NOW
    connection = mux.connect(PEER, NOW)
    while len(ids) < 5:
        ids += [each.connection_id for each in sent(mux, now)]
        deadline = mux.next_deadline()
        assert deadline is not None
        now = deadline
        mux.tick(now)
    assert [ids.count(each) for each in dict.fromkeys(ids)] == [c.SYNS_PER_ID, c.SYNS_PER_ID, 1]
    assert mux._connections == {(PEER, connection.recv_id): connection}
    assert connection.send_id == (connection.recv_id + 1) & 0xFFFF


def test_only_one_rendezvous_with_an_address_at_a_time() -> None:
    mux = port()
    mux.connect(PEER, NOW, rendezvous=True)
    with pytest.raises(DialFailed, match="a rendezvous with that address is under way"):
        mux.connect(PEER, NOW, rendezvous=True)
    mux.connect(OTHER, NOW, rendezvous=True)
    mux.connect(PEER, NOW)


def test_a_rendezvous_with_somebody_who_was_first() -> None:
    mux = port()
    answer = ask(mux)
    assert answer is not None
    connection = mux.connect(PEER, SOON, rendezvous=True)
    assert connection.state is State.SYN_RECV
    assert [(each.type, each.seq_nr) for each in sent(mux, SOON)] == [(STATE, answer.seq_nr)]
    give(mux, prove(answer), SOON)
    assert connection.established
    assert not mux.accepted, "whoever dialled has it"
    other = accepted(mux, OTHER)
    mux.accepted.append(other)
    assert mux.connect(OTHER, SOON, rendezvous=True) is other
    assert not mux.accepted


def test_a_rendezvous_is_not_with_somebody_who_came_first_and_is_gone() -> None:
    mux = port()
    gone = accepted(mux)
    mux.accepted.append(gone)
    mux.fail(gone, ConnectionLost("they reset it"), NOW)
    connection = mux.connect(PEER, NOW, rendezvous=True)
    assert connection is not gone
    assert connection.state is State.SYN_SENT
    assert list(mux.accepted) == [gone], "it is for accept() to say what became of it"


def test_a_rendezvous_is_with_the_last_attempt_of_who_came_first() -> None:
    mux = port()
    ask(mux, connection_id=100)  # the answer is lost, and they try again
    answer = ask(mux, connection_id=200)
    connection = mux.connect(PEER, SOON, rendezvous=True)
    assert connection.recv_id == 201
    assert len(mux._half_open) == 0
    with pytest.raises(DialFailed, match="a rendezvous with that address is under way"):
        mux.connect(PEER, SOON, rendezvous=True)
    give(mux, packet(SYN, connection_id=100, ack_nr=0), SOON)  # a late repetition
    assert {each.connection_id for each in sent(mux, SOON)} == {200}
    give(mux, prove(answer), SOON)
    assert connection.established
    assert not mux.accepted, "it is one connection"
    assert not mux._dialling


def test_of_two_syns_that_cross_the_greater_counts() -> None:
    mux = port(accepting=False)
    connection = mux.connect(PEER, NOW, rendezvous=True)
    sent(mux, NOW)
    give(mux, packet(SYN, seq_nr=connection.syn_seq - 1, connection_id=9), NOW)
    assert connection.state is State.SYN_SENT
    assert mux.counters["crossing_ignored"] == 1
    give(mux, packet(SYN, seq_nr=connection.syn_seq + 1, connection_id=9), NOW)
    assert connection.state is State.SYN_RECV
    assert mux._connections == {(PEER, 10): connection}
    (answer,) = sent(mux, NOW)
    assert (answer.connection_id, answer.ack_nr) == (9, connection.syn_seq + 1)


def test_two_syns_that_are_the_same_give_way_to_greater_ones() -> None:
    """What is still on its way under the old numbers must count for neither side."""
    mux, theirs = port(accepting=False), port(accepting=False)
    connection, other = mux.connect(PEER, NOW, rendezvous=True), theirs.connect(PEER, NOW, rendezvous=True)
    (early,), (same,) = sent(mux, NOW), sent(theirs, NOW)
    assert (early.seq_nr, early.connection_id) == (same.seq_nr, same.connection_id), "both drew from the same numbers"
    theirs._random.getrandbits(16)  # and do not any more
    give(mux, same, NOW)
    give(theirs, same, NOW)
    assert min(connection.recv_id, other.recv_id) > early.connection_id
    give(mux, same, SOON)  # another of those that were sent before
    give(theirs, same, SOON)
    assert connection.state is other.state is State.SYN_SENT
    assert mux._connections == {(PEER, connection.recv_id): connection}
    later = NOW + c.RENDEZVOUS_INTERVAL
    mux.tick(later)
    theirs.tick(later)
    (mine,), (yours,) = sent(mux, later), sent(theirs, later)
    give(mux, yours, later)
    give(theirs, mine, later)
    assert {connection.state, other.state} == {State.SYN_SENT, State.SYN_RECV}


def test_who_gives_a_rendezvous_up_says_so_where_the_other_may_know_of_it() -> None:
    mux = port(accepting=False)
    connection = mux.connect(PEER, NOW, rendezvous=True)
    sent(mux, NOW)
    give(mux, packet(SYN, seq_nr=connection.syn_seq + 1, connection_id=9), NOW)
    (answer,) = sent(mux, NOW)
    mux.fail(connection, ConnectionLost("had enough"), SOON)
    (reset,) = sent(mux, SOON)
    assert (reset.type, reset.connection_id, reset.ack_nr) == (RESET, 9, answer.ack_nr)


# --- complaints of the network ---
@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.ECONNRESET])
def test_a_closed_port_ends_the_dial_that_it_is_about(error: int) -> None:
    mux = port()
    one, two = mux.connect(PEER, NOW), mux.connect(PEER, NOW)
    first, _ = sent(mux, NOW)
    mux.icmp(PEER, error, None, encode(first), NOW)
    assert one.over
    assert "nothing listens on that port" in str(one.error)
    assert not two.over
    assert mux.touched.keys() >= {one}


def test_other_complaints_end_a_dial_and_no_connection() -> None:
    mux = port()
    dialling = mux.connect(PEER, NOW)
    (syn,) = sent(mux, NOW)
    mux.icmp(PEER, errno.EHOSTUNREACH, None, encode(syn), NOW)
    assert str(dialling.error) == "the network says: EHOSTUNREACH"
    connection = dialled(mux)
    connection.write(b"x")
    mux.wake(connection, SOON)
    (data,) = sent(mux, SOON)
    mux.icmp(PEER, errno.EHOSTUNREACH, None, encode(data), SOON)
    mux.tick(SOON + c.UNREACHABLE + 1)
    sent(mux, SOON + c.UNREACHABLE + 1)
    assert not connection.over
    mux.icmp(PEER, errno.ECONNREFUSED, None, encode(data), SOON + 5)
    mux.tick(SOON + 5 + c.UNREACHABLE)
    assert connection.over


def test_complaints_about_what_we_did_not_send_are_ignored() -> None:
    mux = port()
    connection = mux.connect(PEER, NOW)
    (syn,) = sent(mux, NOW)
    mux.icmp(OTHER, errno.ECONNREFUSED, None, encode(syn), NOW)
    mux.icmp(PEER, errno.ECONNREFUSED, None, encode(syn._replace(connection_id=syn.connection_id + 1)), NOW)
    mux.icmp(PEER, errno.ECONNREFUSED, None, encode(syn)[:19], NOW)
    mux.icmp(PEER, errno.ECONNREFUSED, None, encode(syn._replace(type=STATE)), NOW)
    assert not connection.over
    assert not mux.counters


def test_complaints_that_quote_what_was_never_sent_are_ignored() -> None:
    mux = port()
    connection = dialled(mux)
    forged = packet(DATA, connection_id=connection.send_id, seq_nr=(connection.syn_seq + 30_000) & 0xFFFF)
    mux.icmp(PEER, errno.ECONNREFUSED, None, encode(forged), SOON)
    mux.tick(SOON + c.UNREACHABLE)
    sent(mux, SOON + c.UNREACHABLE)
    mux.tick(SOON + c.UNREACHABLE + 1)
    assert not connection.over


def test_a_packet_that_is_too_big_concerns_its_connection() -> None:
    mux = port(mtu_ceiling=1472)
    connection = dialled(mux)
    connection.write(bytes(5000))
    mux.wake(connection, SOON)
    probe = packets(bursts(mux, SOON)[0])[0]
    mux.icmp(PEER, errno.EMSGSIZE, 1028, encode(probe), SOON)
    assert connection._sender.mtu.probe(SOON) == 1000
    assert mux.counters == {"icmp": 1}


# --- what leaves, and when ---
def test_connections_take_turns() -> None:
    mux = port()
    connections = [dialled(mux), dialled(mux, OTHER)]
    for connection in connections:
        connection._sender.congestion.window = 1e6
        connection._sender.round_trip.smoothed = 0.001
        connection.write(bytes(100_000))
        mux.wake(connection, SOON)
    order = [mux.next_burst(SOON) for _ in range(1)]
    addresses = []
    for _ in range(6):
        burst = order.pop() if order else mux.next_burst(SOON)
        assert burst is not None
        addresses.append(burst.address)
        mux.sent(burst, burst.count, SOON)
    assert addresses == [PEER, OTHER] * 3


def test_answers_to_strangers_go_first_and_stay_until_they_are_taken() -> None:
    mux = port()
    connection = dialled(mux)
    connection.write(b"x")
    mux.wake(connection, SOON)
    give(mux, packet(SYN, ack_nr=0), SOON, OTHER)
    for _ in range(2):
        burst = mux.next_burst(SOON)
        assert burst is not None
        assert burst.address == OTHER
        mux.sent(burst, 0, SOON)
    assert [burst.address for burst in bursts(mux, SOON)] == [OTHER, PEER]


def test_what_the_system_does_not_take_is_offered_again() -> None:
    mux = port()
    connection = dialled(mux)
    connection.write(b"x")
    mux.wake(connection, SOON)
    burst = mux.next_burst(SOON)
    assert burst is not None
    mux.sent(burst, 0, SOON)
    assert [each.payload for each in sent(mux, SOON)] == [b"x"]
    assert sent(mux, SOON) == []


def test_the_next_deadline_is_the_earliest_of_all() -> None:
    mux = port()
    assert mux.next_deadline() is None
    dialled(mux)
    assert mux.next_deadline() == NOW + c.KEEPALIVE
    late = dialled(mux, OTHER, NOW + 5)
    assert mux.next_deadline() == NOW + c.KEEPALIVE
    give(mux, packet(DATA, b"x", connection_id=late.recv_id, ack_nr=late.syn_seq), NOW + 6, OTHER)
    assert sent(mux, NOW + 6) == []
    assert mux.next_deadline() == NOW + 6 + c.ACK_DELAY
    mux.tick(NOW + 6 + c.ACK_DELAY)
    assert [each.type for each in sent(mux, NOW + 6 + c.ACK_DELAY)] == [STATE]


# --- ends ---
def test_what_is_over_is_forgotten() -> None:
    mux = port()
    connection = dialled(mux)
    mux.fail(connection, ConnectionLost("given up"), SOON)
    assert len(mux) == 0
    assert mux.next_deadline() is None
    assert [each.type for each in sent(mux, SOON)] == [RESET]
    mux.wake(connection, SOON)
    assert not mux._ready
    give(mux, packet(DATA, b"x", connection_id=connection.recv_id), SOON)
    assert sent(mux, SOON) == [], "it was on its way"


def test_who_breaks_the_rules_is_told_and_forgotten() -> None:
    mux = port()
    connection = accepted(mux)
    connection.close()
    next_seq = connection._sender.buffer.next_seq
    late = packet(DATA, b"more", connection_id=ID + 1, seq_nr=THEIRS + 2, ack_nr=(next_seq - 1) & 0xFFFF)
    give(mux, late, SOON)
    assert connection.over
    assert "sent more" in str(connection.error)
    assert [each.type for each in sent(mux, SOON)] == [RESET]
    assert len(mux) == 0


def test_closing_ends_all_and_lets_nobody_in() -> None:
    mux = port()
    ours, theirs, dialling = dialled(mux), accepted(mux), mux.connect(OTHER, NOW)
    sent(mux, NOW)
    mux.handlers.append(lambda data, address: True)
    mux.close()
    assert [each.type for each in sent(mux, SOON)] == [RESET, RESET]
    assert all(each.over for each in (ours, theirs, dialling))
    assert len(mux) == 0
    assert not mux.handlers
    assert ask(mux) is None


def test_our_window_is_what_we_have_room_for() -> None:
    mux = port(receive_window=4000)
    connection = dialled(mux)
    fields = {"connection_id": connection.recv_id, "ack_nr": connection.syn_seq, "window": WINDOW}
    give(mux, packet(DATA, bytes(1000), **fields), SOON)
    give(mux, packet(DATA, bytes(1000), seq_nr=THEIRS + 1, **fields), SOON)
    assert [each.window for each in sent(mux, SOON)] == [2000]
