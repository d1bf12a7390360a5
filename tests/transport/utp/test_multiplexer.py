"""All connections of a port: who gets which packet, and who may connect."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.transport.utp.burst import Address
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import PacketType, encode
from tests.transport.utp.wire import (
    ID,
    NOW,
    OTHER,
    PEER,
    SOON,
    THEIRS,
    accepted,
    ask,
    dialled,
    give,
    packet,
    port,
    prove,
    sent,
)

DATA, STATE, RESET, SYN = PacketType.DATA, PacketType.STATE, PacketType.RESET, PacketType.SYN


# --- who gets which packet ---
def test_packets_go_to_the_connection_with_their_id_and_address() -> None:
    mux = port()
    one, two, three = dialled(mux), dialled(mux), dialled(mux, OTHER)
    assert len({one.recv_id, two.recv_id}) == 2
    mux.touched.clear()
    for connection, address in ((one, PEER), (two, PEER), (three, OTHER)):
        answer = packet(DATA, b"x", connection_id=connection.recv_id, ack_nr=connection.syn_seq)
        give(mux, answer, SOON, address)
        assert mux.touched.keys() == {connection}
        mux.touched.clear()
        assert connection.read(10) == b"x"
    give(mux, packet(DATA, b"x", connection_id=one.recv_id, ack_nr=one.syn_seq), SOON, ("192.0.2.9", 7))
    assert not mux.touched
    assert mux.counters["stray"] == 1
    assert mux.connections == [one, two, three]


def test_a_batch_is_taken_at_once_or_packet_by_packet() -> None:
    mux = port()
    connection = dialled(mux)
    fields = {"connection_id": connection.recv_id, "ack_nr": connection.syn_seq}
    row = [encode(packet(DATA, bytes([65 + i]), seq_nr=THEIRS + i, **fields)) for i in range(4)]
    mux.receive(b"".join(row), PEER, len(row[0]), SOON)
    assert connection.read(10) == b"ABCD"
    mixed = [
        encode(packet(DATA, b"F", seq_nr=THEIRS + 5, **fields)),
        bytes(21),
        encode(packet(DATA, b"E", seq_nr=THEIRS + 4, **fields)),
        encode(packet(STATE, seq_nr=THEIRS + 6, **fields)),
    ]
    mux.receive(b"".join(mixed), PEER, 21, SOON)
    assert connection.read(10) == b"EF"
    assert mux.counters == {"malformed": 1}


def test_a_reset_may_have_the_id_of_our_packets() -> None:
    mux = port()
    connection = dialled(mux)
    forged = packet(RESET, connection_id=connection.send_id, ack_nr=connection.syn_seq + 9)
    give(mux, forged, SOON)
    assert not connection.over
    give(mux, forged._replace(connection_id=connection.recv_id - 1, ack_nr=connection.syn_seq), SOON)
    assert not connection.over, "that is nobody's id"
    give(mux, packet(RESET, connection_id=connection.send_id, ack_nr=connection.syn_seq), SOON)
    assert connection.over
    assert len(mux) == 0
    theirs = accepted(mux)
    give(mux, packet(RESET, connection_id=ID, ack_nr=theirs._sender.buffer.next_seq - 1), SOON)
    assert theirs.over


def test_a_reset_for_nobody_is_not_answered() -> None:
    mux = port()
    dialled(mux)
    give(mux, packet(RESET, connection_id=7), SOON)
    assert sent(mux, SOON) == []


@pytest.mark.parametrize("data", [b"", b"x", bytes(20), b"\x51" + bytes(30), b"\x01\x01" + bytes(18), b"\xff" * 100])
def test_what_is_no_packet_is_only_counted(data: bytes) -> None:
    mux = port()
    mux.receive(data, PEER, len(data), NOW)
    assert mux.counters == {"malformed": 1}
    assert sent(mux, NOW) == []


@given(data=st.binary(max_size=200), segment=st.integers(1, 100))
def test_whatever_comes_nothing_is_raised(data: bytes, segment: int) -> None:
    mux = port()
    connection = dialled(mux)
    mux.receive(data, PEER, segment, NOW)
    assert connection.established


# --- others on the port ---
def test_what_is_no_packet_or_nobodys_is_offered_to_handlers() -> None:
    mux, offered = port(), list[bytes]()

    def handler(data: bytes, address: Address) -> bool:
        offered.append(data)
        return True

    mux.handlers.append(handler)
    connection = dialled(mux)
    ours = packet(DATA, b"x", connection_id=connection.recv_id, ack_nr=connection.syn_seq)
    stray = encode(packet(DATA, b"x"))
    stun = b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    for data in (encode(ours), stray, b"punch", stun):
        mux.receive(data, PEER, len(data), SOON)
    assert offered == [stray, b"punch", stun]
    assert mux.counters == {"handled": 3}
    assert connection.readable == 1


def test_a_packet_that_only_looks_like_stun_is_delivered() -> None:
    mux = port()
    mux.handlers.append(lambda data, address: False)
    connection = dialled(mux)
    fields = {"connection_id": connection.recv_id, "ack_nr": connection.syn_seq, "timestamp": 0x2112A442}
    give(mux, packet(DATA, b"x", **fields), SOON)
    assert connection.readable == 1


# --- being dialled ---
def test_who_asks_and_proves_is_connected() -> None:
    mux = port()
    answer = ask(mux)
    assert answer is not None
    assert (answer.type, answer.connection_id, answer.ack_nr) == (STATE, ID, THEIRS)
    assert len(mux) == 0, "a record is all that is kept until then"
    give(mux, prove(answer, b"hello"), SOON)
    (connection,) = mux.accepted
    assert connection.address == PEER
    assert connection.read(100) == b"hello"
    assert mux.touched.keys() == {connection}


def test_who_does_not_know_our_number_is_not() -> None:
    mux = port()
    proof = prove(ask(mux))
    for ack_nr in (proof.ack_nr + 1, proof.ack_nr - 1):
        give(mux, proof._replace(ack_nr=ack_nr & 0xFFFF), SOON)
    give(mux, proof._replace(type=RESET), SOON)
    give(mux, proof, SOON, OTHER)
    assert not mux.accepted
    assert mux.counters["unproved"] == 3
    assert len(mux) == 0


def refusals() -> dict[str, Callable[[], Multiplexer]]:
    def backlog() -> Multiplexer:
        mux = port(accept_backlog=1)
        give(mux, prove(ask(mux, OTHER)), NOW, OTHER)
        return mux

    def full() -> Multiplexer:
        mux = port(max_connections=1)
        dialled(mux, OTHER)
        return mux

    def blacklisted() -> Multiplexer:
        mux = port()
        mux.refuses = lambda host: host == PEER[0]
        return mux

    def crowded() -> Multiplexer:
        mux = port(half_open_per_host=1)
        ask(mux, connection_id=5)
        return mux

    def busy() -> Multiplexer:
        mux = port()
        connection = mux.connect(PEER, NOW)
        sent(mux, NOW)
        del mux._connections[(PEER, connection.recv_id)]
        connection.recv_id = ID + 1
        mux._connections[(PEER, ID + 1)] = connection
        return mux

    return {
        "not accepting": lambda: port(accepting=False),
        "backlog": backlog,
        "full": full,
        "blacklisted": blacklisted,
        "crowded": crowded,
        "the id is in use": busy,
    }


@pytest.mark.parametrize("why", refusals())
def test_who_is_not_welcome_is_not_answered(why: str) -> None:
    mux = refusals()[why]()
    sent(mux, NOW)
    assert ask(mux) is None
    assert mux.counters["syn_refused"] == 1


def test_a_stranger_who_is_not_welcome_is_not_asked_about_before_there_is_room() -> None:
    mux, asked = port(max_connections=1), list[str]()
    dialled(mux, OTHER)
    mux.refuses = lambda host: bool(asked.append(host))
    ask(mux)
    assert asked == []


def test_who_asked_when_there_was_room_waits_while_there_is_none() -> None:
    mux = port(accept_backlog=1)
    first, second = prove(ask(mux)), prove(ask(mux, OTHER))
    give(mux, first, NOW)
    give(mux, second, NOW, OTHER)
    assert len(mux.accepted) == 1
    mux.accepted.clear()
    give(mux, second, NOW + 1, OTHER)
    assert [each.address for each in mux.accepted] == [OTHER]


def test_who_asked_while_we_accepted_is_sent_away_afterwards() -> None:
    mux = port()
    proof = prove(ask(mux))
    mux.accepting = False
    give(mux, proof, SOON)
    assert [each.type for each in sent(mux, SOON)] == [RESET]
    assert not mux.accepted


def test_a_repeated_syn_of_a_connection_is_answered_by_it() -> None:
    mux = port()
    give(mux, prove(ask(mux), b""), NOW)
    sent(mux, SOON)
    give(mux, packet(SYN, ack_nr=0), SOON)
    assert sent(mux, SOON) == [], "more came after it: it was delayed"
    assert len(mux.accepted) == 1
    assert len(mux) == 1
