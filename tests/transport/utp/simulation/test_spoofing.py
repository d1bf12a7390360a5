"""Packets from those who write somebody else's address on them but do not see what is sent there."""

from random import Random

import pytest

from crust.transport.utp.packet import Packet, PacketType, encode, sack_mask
from crust.transport.utp.states import State
from tests.transport.utp.simulation.pair import End, Pair


class Forger:
    """Sends packets to the second node as if from the first: it may know the ids, not the numbers."""

    def __init__(self, pair: Pair, end: End) -> None:
        self.pair = pair
        self.end = end
        genuine = pair.packets(PacketType.DATA, pair.first)[-1]
        self.connection_id = genuine.connection_id
        self.seq_nr = genuine.seq_nr
        self.ack_nr = pair.packets(node=pair.first)[-1].ack_nr

    def forge(self, kind: PacketType, seq: int, ack: int, payload: bytes = b"", sack: bytes = b"") -> None:
        """A packet whose numbers are so far from the right ones."""
        seq_nr, ack_nr = (self.seq_nr + seq) & 0xFFFF, (self.ack_nr + ack) & 0xFFFF
        packet = Packet(kind, self.connection_id, 1, 1, 0, seq_nr, ack_nr, sack, None, payload)
        self.pair.network.inject(self.pair.first.address, self.pair.second.address, encode(packet))
        self.pair.pass_time(0.02)


def live() -> tuple[Pair, End, End, Forger]:
    pair = Pair()
    dialler, accepted = pair.connected()
    dialler.send(5000)
    accepted.send(5000)
    pair.until(lambda: len(accepted.received) == 5001 and len(dialler.received) == 5000)
    pair.pass_time(1.0)
    return pair, dialler, accepted, Forger(pair, dialler)


def still_good(pair: Pair, dialler: End, accepted: End) -> None:
    """Bytes go both ways as if nothing had been."""
    assert accepted.connection.state is State.CONNECTED
    before = len(accepted.received), len(dialler.received)
    dialler.send(20_000)
    accepted.send(20_000)
    pair.until(
        lambda: len(accepted.received) == before[0] + 20_000 and len(dialler.received) == before[1] + 20_000,
        patience=3.0,
    )
    assert bytes(accepted.received) == dialler.sent
    assert bytes(dialler.received) == accepted.sent
    dialler.finish()
    accepted.finish()
    pair.until(lambda: pair.closed(dialler, accepted))
    assert dialler.connection.error is None
    assert accepted.connection.error is None


FAR = [3000, 20_000, 32_767, 40_000, -3000]


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("kind", list(PacketType))
def test_a_packet_off_the_window_is_ignored(kind: PacketType, far: int) -> None:
    pair, dialler, accepted, forger = live()
    forger.forge(kind, far, far, b"forged" if kind in (PacketType.DATA, PacketType.FIN) else b"")
    still_good(pair, dialler, accepted)


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("kind", [PacketType.DATA, PacketType.FIN, PacketType.STATE])
def test_a_packet_that_acknowledges_what_was_never_sent_is_ignored(kind: PacketType, far: int) -> None:
    """Even where its own number fits: both must."""
    pair, dialler, accepted, forger = live()
    forger.forge(kind, 1, far, b"forged" if kind == PacketType.DATA else b"")
    still_good(pair, dialler, accepted)


def test_a_reset_needs_the_right_numbers() -> None:
    pair, dialler, accepted, forger = live()
    for far in (50, -50, 500, 9999):
        forger.forge(PacketType.RESET, 0, far)
    still_good(pair, dialler, accepted)


def test_a_reset_with_the_right_numbers_counts() -> None:
    """Else the tests above would prove nothing."""
    _, _, accepted, forger = live()
    forger.forge(PacketType.RESET, 0, 0)
    assert accepted.connection.state is State.CLOSED


def test_a_reset_for_another_id_is_ignored() -> None:
    pair, dialler, accepted, forger = live()
    right = forger.connection_id
    for other in (right + 2, right - 3, right + 1000):
        forger.connection_id = other & 0xFFFF
        forger.forge(PacketType.RESET, 0, 0)
    still_good(pair, dialler, accepted)


def test_a_selective_acknowledgement_of_what_was_never_sent_is_harmless() -> None:
    pair, dialler, accepted, forger = live()
    mask = sack_mask(forger.ack_nr, [(forger.ack_nr + ahead) & 0xFFFF for ahead in range(2, 200)])
    forger.forge(PacketType.STATE, 0, 0, sack=mask)
    still_good(pair, dialler, accepted)


def test_a_syn_for_a_live_connection_does_not_disturb_it() -> None:
    pair, dialler, accepted, forger = live()
    receive_id = (forger.connection_id - 1) & 0xFFFF
    for seq_nr in (0, 1, forger.seq_nr, forger.seq_nr + 1, 40_000):
        packet = Packet(PacketType.SYN, receive_id, 0, 0, 1 << 20, seq_nr & 0xFFFF, 0)
        pair.network.inject(pair.first.address, pair.second.address, encode(packet))
        pair.pass_time(0.02)
    still_good(pair, dialler, accepted)


def test_thousands_of_random_packets_do_not_disturb_a_live_connection() -> None:
    """Random ids and numbers at both sides; whatever hits an id still misses the window (but for one in dozens)."""
    pair, dialler, accepted, _ = live()
    rng = Random(5)
    for _ in range(3000):
        packet = Packet(
            rng.choice(list(PacketType)), rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(32), 0,
            rng.getrandbits(16), rng.getrandbits(16), payload=bytes(rng.choice((0, 0, 10))),
        )  # fmt: skip
        source, destination = rng.sample([pair.first.address, pair.second.address], 2)
        pair.network.inject(source, destination, encode(packet))
        pair.pass_time(0.001)
    pair.pass_time(30.0)
    still_good(pair, dialler, accepted)
    pair.pass_time(60.0)
    assert pair.forgotten


def test_a_stray_packet_is_answered_with_one_reset() -> None:
    pair = Pair()
    packet = Packet(PacketType.DATA, 77, 0, 0, 0, 5, 6, payload=b"stray")
    for _ in range(20):
        pair.network.inject(pair.first.address, pair.second.address, encode(packet))
        pair.pass_time(0.1)
    resets = pair.packets(PacketType.RESET, pair.second)
    assert len(resets) == 1
    assert resets[0].connection_id == 77
    pair.pass_time(15.0)
    pair.network.inject(pair.first.address, pair.second.address, encode(packet))
    pair.pass_time(0.1)
    assert len(pair.packets(PacketType.RESET, pair.second)) == 2


def test_a_reset_is_never_answered() -> None:
    """Two nodes that know of no connection must not send each other resets for ever."""
    pair = Pair()
    packet = Packet(PacketType.RESET, 77, 0, 0, 0, 5, 6)
    pair.network.inject(pair.first.address, pair.second.address, encode(packet))
    pair.pass_time(5.0)
    assert not pair.sent
