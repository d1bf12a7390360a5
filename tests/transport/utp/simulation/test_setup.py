"""Making a connection, and what may get lost on the way."""

import errno
from random import Random

import pytest

from crust.errors import DialFailed, RemoteError
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.packet import HEADER_SIZE, Packet, PacketType, encode
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.states import State
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.network import Network
from tests.transport.utp.simulation.pair import End, Pair, of_kind, only_once
from tests.transport.utp.simulation.scripted import ScriptedPeer

DELAY = 0.010


def exchanged(pair: Pair, dialler: End, size: int = 5000) -> None:
    """Bytes go both ways and both sides close."""
    dialler.send(size)
    dialler.finish()
    pair.until(lambda: pair.accepted)
    accepted = pair.accepted[0]
    accepted.send(size)
    accepted.finish()
    pair.until(lambda: pair.closed(dialler, accepted))
    assert bytes(accepted.received) == dialler.sent
    assert bytes(dialler.received) == accepted.sent
    assert dialler.connection.error is None
    assert accepted.connection.error is None
    assert len(pair.accepted) == 1
    pair.until(lambda: pair.forgotten)


def test_a_connection_over_a_clean_link_takes_one_syn() -> None:
    pair = Pair()
    exchanged(pair, pair.dial())
    assert len(pair.packets(PacketType.SYN)) == 1
    assert not pair.packets(PacketType.RESET)


def test_the_dialler_is_connected_after_one_round_trip() -> None:
    pair = Pair(Conditions(delay=DELAY))
    end = pair.dial()
    assert end.connection.state is State.SYN_SENT
    pair.until(lambda: end.connection.state is State.CONNECTED)
    assert pair.clockwork.now == pytest.approx(2 * DELAY, abs=0.005)


@pytest.mark.parametrize("lost", [1, 2])
def test_loss_of_the_syn(lost: int) -> None:
    pair = Pair()
    pair.there.drop = only_once(of_kind(PacketType.SYN), lost)
    exchanged(pair, pair.dial())
    assert len(pair.packets(PacketType.SYN)) == lost + 1


@pytest.mark.parametrize("lost", [1, 2])
def test_loss_of_the_answer_to_the_syn(lost: int) -> None:
    pair = Pair()
    pair.back.drop = only_once(of_kind(PacketType.STATE), lost)
    exchanged(pair, pair.dial())
    assert pair.there.counts.delivered
    assert len({syn.seq_nr for syn in pair.packets(PacketType.SYN)}) == 1, "a repetition is the same SYN"


def test_loss_of_the_first_data() -> None:
    pair = Pair()
    pair.there.drop = only_once(of_kind(PacketType.DATA))
    exchanged(pair, pair.dial())


def test_a_syn_that_comes_twice_makes_one_connection() -> None:
    pair = Pair(Conditions(duplicate=1.0))
    exchanged(pair, pair.dial())


def test_data_is_right_when_the_syn_is_answered_again_while_it_flows() -> None:
    """A SYN that was late is answered again after the first data has gone; that answer must not disturb anything."""
    pair = Pair()
    dialler = pair.dial()
    syn = encode(pair.packets(PacketType.SYN)[0])
    dialler.send(300_000)
    pair.until(lambda: pair.accepted)
    pair.accepted[0].send(300_000)
    for _ in range(5):
        pair.network.inject(pair.first.address, pair.second.address, syn)
        pair.pass_time(0.007)
    dialler.finish()
    pair.accepted[0].finish()
    pair.until(lambda: pair.closed(dialler, pair.accepted[0]))
    assert bytes(pair.accepted[0].received) == dialler.sent
    assert bytes(dialler.received) == pair.accepted[0].sent


def test_the_accepting_side_may_speak_first() -> None:
    """Nothing comes from who dials; that it acknowledges our answer or data is proof enough."""
    pair = Pair()
    dialler = pair.dial()
    pair.until(lambda: pair.accepted, patience=5.0)
    accepted = pair.accepted[0]
    accepted.send(3000)
    pair.until(lambda: len(dialler.received) == 3000, patience=5.0)


def test_dialling_where_nobody_answers_ends_with_an_error() -> None:
    pair = Pair()
    pair.there.drop = lambda datagram: True
    end = pair.dial()
    end.send(1000)
    pair.until(lambda: pair.closed(end), patience=150.0)
    assert isinstance(end.connection.error, DialFailed)
    assert pair.clockwork.now >= 5.0, "less than a slow path takes"
    assert pair.forgotten
    assert pair.first.mux.next_deadline() is None


def test_dialling_where_the_port_is_closed_ends_at_once() -> None:
    pair = Pair()
    end = pair.dial()
    quoted = encode(pair.packets(PacketType.SYN)[0])
    pair.first.mux.icmp(pair.second.address, errno.ECONNREFUSED, None, quoted, pair.first.now)
    pair.first.wake()
    assert end.connection.state is State.CLOSED
    assert isinstance(end.connection.error, DialFailed)
    assert not len(pair.first.mux)


def test_a_closed_port_that_is_reported_for_something_else_is_ignored() -> None:
    """Anybody can make up an ICMP error; only who saw our packet can quote it."""
    pair = Pair()
    end = pair.dial()
    syn = pair.packets(PacketType.SYN)[0]
    wrong = encode(syn._replace(connection_id=(syn.connection_id + 5) & 0xFFFF))
    pair.first.mux.icmp(pair.second.address, errno.ECONNREFUSED, None, wrong, pair.first.now)
    pair.first.wake()
    exchanged(pair, end)


def dialling() -> tuple[UtpConnection, ScriptedPeer, Packet]:
    """A connection whose SYN has arrived at a peer who has not answered it."""
    network = Network()
    node = network.add()
    peer = ScriptedPeer(network, node)
    connection = node.mux.connect(peer.address, node.now)
    node.wake()
    peer.pass_time(0.05)
    return connection, peer, peer.last(PacketType.SYN)


def test_a_reset_in_answer_to_the_syn_ends_it() -> None:
    connection, peer, syn = dialling()
    peer.say(PacketType.RESET, connection_id=syn.connection_id, ack_nr=syn.seq_nr)
    assert connection.state is State.CLOSED
    assert isinstance(connection.error, RemoteError)


def test_a_reset_that_answers_another_syn_is_ignored() -> None:
    connection, peer, syn = dialling()
    peer.say(PacketType.RESET, connection_id=syn.connection_id, ack_nr=(syn.seq_nr + 7) & 0xFFFF)
    peer.say(PacketType.RESET, connection_id=(syn.connection_id + 9) & 0xFFFF, ack_nr=syn.seq_nr)
    assert connection.state is State.SYN_SENT
    peer.answer()
    assert connection.state is State.CONNECTED


def test_many_connections_at_once_between_two_nodes() -> None:
    pair = Pair(Conditions(loss=0.02), seed=3)
    diallers = [pair.dial(salt=2 * number + 1) for number in range(50)]
    for end in diallers:
        end.send(2000)
        end.finish()
    pair.until(lambda: len(pair.accepted) == 50)
    for end in pair.accepted:
        end.finish()
    pair.until(lambda: pair.closed(*diallers, *pair.accepted))
    assert {bytes(end.received) for end in pair.accepted} == {end.sent for end in diallers}
    pair.until(lambda: pair.forgotten)


def test_the_most_connections_are_a_bound() -> None:
    settings = UtpSettings(max_connections=5)
    pair = Pair(settings=(settings, None))
    for _ in range(5):
        pair.dial()
    with pytest.raises(DialFailed):
        pair.dial()


# --- strangers -------------------------------------------------------------------------------------------------------


def flood(network: Network, node: object, count: int, hosts: int) -> None:
    rng = Random(7)
    for number in range(count):
        host = number % hosts
        source = (f"172.16.{host >> 8}.{host & 255}", rng.randrange(1024, 65_536))
        syn = Packet(PacketType.SYN, rng.getrandbits(16), 0, 0, 1 << 20, rng.getrandbits(16), 0)
        network.clockwork.at(number * 1e-4, network.inject, source, node.address, encode(syn))  # type: ignore[attr-defined]
    network.clockwork.run(count * 1e-4 + 0.1)


def test_a_flood_of_syns_costs_a_bounded_number_of_records_that_go_away() -> None:
    pair = Pair()
    settings = UtpSettings()
    flood(pair.network, pair.second, 5000, 5000)
    assert 0 < len(pair.second.mux._half_open) <= settings.half_open
    assert not len(pair.second.mux), "no connection before the proof"
    pair.pass_time(60.0)
    assert pair.forgotten


def test_a_flood_from_one_host_leaves_room_for_others() -> None:
    pair = Pair()
    settings = UtpSettings()
    flood(pair.network, pair.second, 3000, 1)
    assert 0 < len(pair.second.mux._half_open) <= settings.half_open_per_host
    exchanged_after_flood(pair)


def test_a_flood_does_not_keep_members_out() -> None:
    """Records of strangers give way, or are answered without one: who really dials gets through."""
    pair = Pair()
    flood(pair.network, pair.second, 5000, 5000)
    exchanged_after_flood(pair)


def exchanged_after_flood(pair: Pair) -> None:
    dialler = pair.dial()
    dialler.send(3000)
    pair.until(lambda: pair.accepted and len(pair.accepted[0].received) == 3000, patience=30.0)


def test_a_stranger_never_gets_more_bytes_than_came_from_its_address() -> None:
    pair = Pair()
    into: dict[object, int] = {}
    out: dict[object, int] = {}

    def watch(node: object, destination: object, datagram: bytes) -> None:
        out[destination] = out.get(destination, 0) + len(datagram)
        assert out[destination] <= into[destination], "amplified"

    pair.network.watchers.append(watch)
    rng = Random(11)
    for number in range(2000):
        source = (f"172.17.{number >> 8}.{number & 255}", 7)
        kind = rng.choice(list(PacketType))
        size = rng.choice((0, 0, 1, 100))
        packet = Packet(
            kind, rng.getrandbits(16), 0, 0, 0, rng.getrandbits(16), rng.getrandbits(16), payload=bytes(size)
        )
        into[source] = into.get(source, 0) + len(encode(packet))
        pair.network.inject(source, pair.second.address, encode(packet))
        pair.pass_time(0.001)
    pair.pass_time(120.0)
    assert any(size >= HEADER_SIZE for size in out.values()), "nothing was answered at all"
    assert pair.forgotten
