"""Whose packet a complaint of the network quotes, and what it is told."""

import errno

import pytest

from crust.errors import DialFailed
from crust.transport.utp.complaints import Quote, by_name, complain
from crust.transport.utp.packet import PacketType, encode
from tests.transport.utp.wire import ID, NOW, OURS, connected, make, packet, sent


def quoted(kind: PacketType, connection_id: int, seq_nr: int) -> Quote:
    found = Quote.read(encode(packet(kind, connection_id=connection_id, seq_nr=seq_nr)))
    assert found is not None
    return found


@pytest.mark.parametrize("data", [b"", bytes(19), b"\x21" * 19, b"\xff" * 40])
def test_what_is_no_packet_of_ours_is_nobodys(data: bytes) -> None:
    assert Quote.read(data) is None


def test_a_syn_has_the_id_at_which_its_sender_receives_and_other_packets_a_neighbour_of_it() -> None:
    assert quoted(PacketType.SYN, ID, OURS).recv_ids == (ID,)
    assert quoted(PacketType.DATA, ID, OURS).recv_ids == (ID - 1, ID + 1)
    assert quoted(PacketType.DATA, 0, OURS).recv_ids == (0xFFFF, 1)


def test_only_what_was_sent_is_ours() -> None:
    dialling, connection = make(), connected()
    assert quoted(PacketType.SYN, ID, OURS).is_of(dialling)
    assert quoted(PacketType.STATE, ID + 1, OURS + 1).is_of(connection)
    assert not quoted(PacketType.STATE, ID + 2, OURS + 1).is_of(connection)
    assert not quoted(PacketType.STATE, ID + 1, OURS + 30_000).is_of(connection)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (errno.ECONNREFUSED, "nothing listens on that port; is the peer running, and is the port right?"),
        (errno.ENETUNREACH, "the network says: ENETUNREACH"),
        (99_999, "the network says: 99999"),
    ],
)
def test_whoever_dials_is_told_why_it_failed(error: int, why: str) -> None:
    dialling, connection = make(), connected()
    sent(dialling, NOW)
    for each in (dialling, connection):
        complain(each, error, None, by_name, NOW)
    assert isinstance(dialling.error, DialFailed)
    assert str(dialling.error) == why
    assert not connection.over, "a connection has proved that there is a way"
