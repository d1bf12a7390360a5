"""Flow control: a receiver without room, and a sender that waits for it."""

import pytest

from crust.transport.utp.packet import PacketType
from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.pair import Pair, only_once
from tests.transport.utp.simulation.scripted import connected_to_script


@pytest.mark.parametrize("window", [3_000, 5_000, 20_000])
def test_no_more_is_sent_than_the_receiver_has_room_for(window: int) -> None:
    pair = Pair(settings=(None, UtpSettings(receive_window=window)))
    pair.accepted_reads = False
    dialler, accepted = pair.connected()
    dialler.send(window * 3)
    pair.pass_time(5.0)
    sizes = {packet.seq_nr: len(packet.payload) for packet in pair.packets(PacketType.DATA, pair.first)}
    assert window * 0.5 - 1500 <= sum(sizes.values()) <= window + 1452, "but for one packet, to probe a closed window"
    accepted.read()
    pair.until(lambda: len(accepted.received) == window * 3 + 1)
    assert bytes(accepted.received) == dialler.sent


def test_a_window_that_opens_is_announced() -> None:
    """The sender waits for no probe: the reader's read makes room, and the other side hears of it at once."""
    pair = Pair(Conditions(delay=0.02), settings=(None, UtpSettings(receive_window=20_000)))
    pair.accepted_reads = False
    dialler, accepted = pair.connected()
    dialler.send(50_000)
    pair.pass_time(20.0)
    begun = pair.clockwork.now
    accepted.read()
    pair.until(lambda: len(accepted.received) == 50_001)
    assert pair.clockwork.now - begun < 0.5


def test_a_lost_window_update_is_found_by_a_probe() -> None:
    pair = Pair(Conditions(delay=0.02), settings=(None, UtpSettings(receive_window=20_000)))
    pair.accepted_reads = False
    dialler, accepted = pair.connected()
    dialler.send(50_000)
    pair.pass_time(20.0)
    pair.back.drop = only_once(lambda packet: packet.type == PacketType.STATE)
    accepted.read()
    pair.until(lambda: len(accepted.received) == 50_001, patience=20.0)
    assert pair.back.counts.dropped == 1


def test_a_closed_window_for_an_hour_is_not_a_dead_peer() -> None:
    pair = Pair(Conditions(delay=0.02), settings=(None, UtpSettings(receive_window=20_000)))
    pair.accepted_reads = False
    dialler, accepted = pair.connected()
    dialler.send(50_000)
    pair.pass_time(10.0)
    before = len(pair.sent)
    pair.pass_time(3600.0)
    assert len(pair.sent) - before < 2000, "probes and their answers"
    assert dialler.connection.error is None
    accepted.read()
    pair.until(lambda: len(accepted.received) == 50_001)


@pytest.mark.parametrize("window", [3_000, 3_500, 4_000, 10_000])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_small_window_full_of_what_came_early_still_takes_what_is_missing(window: int, lost: int) -> None:
    """Else nothing could ever be read, and nothing ever get in."""
    pair = Pair(Conditions(delay=0.02), settings=(None, UtpSettings(receive_window=window)))
    dialler, accepted = pair.connected()
    pair.pass_time(0.5)
    first = (pair.packets(PacketType.DATA, pair.first)[-1].seq_nr + 1) & 0xFFFF
    pair.there.drop = only_once(lambda packet: packet.seq_nr == first and packet.type == PacketType.DATA, lost)
    dialler.send(50_000)
    pair.until(lambda: len(accepted.received) == 50_001, patience=60.0)
    assert pair.there.counts.dropped == lost


def test_memory_of_a_receiver_is_bounded_against_a_sender_that_ignores_its_window() -> None:
    peer, end = connected_to_script(receive_window=10_000)
    end.reads = False
    for number in range(200):
        peer.say(PacketType.DATA, bytes(500), seq_nr=peer.seq_nr + number)
    end.reads = True
    end.act()
    assert len(end.received) <= 10_001
