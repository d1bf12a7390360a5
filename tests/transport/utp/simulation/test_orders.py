"""Packets in orders and shapes that nobody expects."""

from random import Random

from crust.transport.utp.packet import PacketType, sack_bits
from tests.transport.utp.simulation.application import pattern
from tests.transport.utp.simulation.scripted import connected_to_script


def test_an_evil_sequence_of_packets() -> None:
    """Backwards, with repetitions, and each as often as it likes."""
    peer, end = connected_to_script()
    pieces = [pattern(9, 10 * number, 10) for number in range(12)]
    order = [*reversed(range(12)), *range(12)]
    Random(1).shuffle(order)
    for number in [3, 1, 1, 7, 11, 3, 2, 9, *order]:
        peer.say(PacketType.DATA, pieces[number], seq_nr=peer.seq_nr + number)
    assert bytes(end.received) == b"!" + b"".join(pieces)


def test_packets_that_came_early_are_named_in_the_acknowledgement() -> None:
    peer, end = connected_to_script()
    first = peer.seq_nr
    for ahead in (1, 3, 4, 33):
        peer.say(PacketType.DATA, b"early", seq_nr=first + ahead)
    answer = peer.last(PacketType.STATE)
    assert answer.ack_nr == first - 1
    assert set(sack_bits(answer.sack, answer.ack_nr)) == {first + 1, first + 3, first + 4, first + 33}
    peer.say(PacketType.DATA, b"in order", seq_nr=first)
    answer = peer.last(PacketType.STATE)
    assert answer.ack_nr == first + 1
    assert bytes(end.received) == b"!in orderearly"


def test_a_gap_is_acknowledged_at_once() -> None:
    """The peer's fast retransmit waits for three duplicates: none may wait for the timer of delayed ones."""
    peer, _ = connected_to_script()
    peer.pass_time(1.0)
    before = len(peer.received)
    for ahead in (1, 2, 3):
        peer.say(PacketType.DATA, b"early", seq_nr=peer.seq_nr + ahead)
    assert len(peer.received) - before == 3


def test_a_packet_far_ahead_is_dropped() -> None:
    peer, end = connected_to_script()
    peer.say(PacketType.DATA, b"far", seq_nr=peer.seq_nr + 5000)
    peer.data(b"near")
    assert bytes(end.received) == b"!near"
    assert not peer.last(PacketType.STATE).sack


def test_an_unknown_extension_is_skipped() -> None:
    peer, end = connected_to_script()
    header = bytearray.fromhex("0100") + bytes(18)
    header[1] = 77
    header[2:4] = peer.send_id.to_bytes(2, "big")
    header[12:16] = peer.window.to_bytes(4, "big")
    header[16:18] = peer.seq_nr.to_bytes(2, "big")
    header[18:20] = peer.ack_nr.to_bytes(2, "big")
    peer.say_raw(bytes(header) + bytes([200, 3]) + b"abc" + bytes([0, 0]) + b"data")
    assert bytes(end.received) == b"!data"


def test_malformed_packets_to_a_live_connection_are_only_counted() -> None:
    peer, end = connected_to_script()
    good = bytearray.fromhex("0100") + peer.send_id.to_bytes(2, "big") + bytes(12)
    good += peer.seq_nr.to_bytes(2, "big") + peer.ack_nr.to_bytes(2, "big")
    before = peer.node.mux.counters["malformed"]
    missing = bytearray(good)
    missing[1] = 1  # an extension is announced, and there is none
    short = bytes(missing) + bytes([0, 4, 1, 2])
    for datagram in (bytes(missing), short, bytes(missing) + b"\x01"):
        peer.say_raw(datagram)
    assert peer.node.mux.counters["malformed"] == before + 3
    peer.data(b"alive")
    assert bytes(end.received) == b"!alive"


def test_an_empty_packet_of_data_takes_its_number() -> None:
    peer, end = connected_to_script()
    peer.data(b"")
    peer.data(b"next")
    assert bytes(end.received) == b"!next"


# --- acknowledgements -----


def test_an_acknowledgement_is_not_delayed_for_long() -> None:
    """A sender whose window is one packet waits for it."""
    peer, _ = connected_to_script()
    peer.pass_time(1.0)
    before = len(peer.received)
    peer.data(b"alone")
    peer.pass_time(0.1)
    assert len(peer.received) == before + 1
    assert peer.last(PacketType.STATE).ack_nr == peer.seq_nr - 1
