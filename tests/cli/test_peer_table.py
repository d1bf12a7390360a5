import pytest

from crust.cli import peer_table
from crust.cli.peer_table import PeerTable, UnknownPeer
from crust.endpoint import Endpoint
from crust.identity import PeerId, UnprovenPeerId


def peer_id(start: str) -> PeerId:
    return PeerId.parse(start.ljust(64, "0"))


def at(port: int) -> Endpoint:
    return Endpoint.tcp(("192.0.2.7", port))


@pytest.fixture
def table() -> PeerTable:
    table = PeerTable()
    table.connected(at(1), peer_id("aaaa1111"))
    table.connected(at(2), peer_id("aaaa2222"))
    table.connected(at(3), peer_id("12345678"))
    return table


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("1", 1),
        ("#2", 2),
        ("aaaa1", 1),
        ("AAAA2222", 2),
        ("1234", 3),
        ("192.0.2.7:3", 3),
        ("tcp://192.0.2.7:2", 2),
    ],
)
def test_peers_are_selected_by_number_id_and_address(table: PeerTable, text: str, index: int) -> None:
    assert table.select(text).index == index


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("4", "there is no peer 4"),
        ("0", "there is no peer 0"),
        ("aaa", "there is no peer aaa"),
        ("aaaa", "could be any of peer 1, peer 2"),
        ("bbbb", "no connected peer has an id that begins with bbbb"),
        ("192.0.2.7:9", "no connection to tcp://192.0.2.7:9"),
        ("bob", "'bob' is no peer's number, id or address"),
        ("", "list shows the peers"),
        ("#", "list shows the peers"),
        ("\u00b2", "list shows the peers"),
    ],
)
def test_wrong_names_say_what_to_type(table: PeerTable, text: str, told: str) -> None:
    with pytest.raises(UnknownPeer) as caught:
        table.select(text)
    assert told in str(caught.value)


def test_a_number_is_never_given_to_another_peer(table: PeerTable) -> None:
    table.lost(at(1))
    table.lost(at(3))
    assert table.connected(at(4), peer_id("bbbb")).index == 4
    with pytest.raises(UnknownPeer, match="peer 1 is no longer connected"):
        table.select("1")


def test_who_reconnects_has_the_number_of_before(table: PeerTable) -> None:
    table.lost(at(2))
    assert [peer.index for peer in table] == [1, 3]
    assert table.connected(at(22), peer_id("aaaa2222")).index == 2
    assert table.select("2").endpoint == at(22)
    assert [peer.index for peer in table] == [1, 2, 3]


def test_the_late_end_of_a_replaced_connection_does_not_end_the_new_one(table: PeerTable) -> None:
    table.connected(at(22), peer_id("aaaa2222"))
    assert table.lost(at(2)) is None
    assert table.select("2").endpoint == at(22)
    assert len(table) == 3


def test_strangers_that_come_and_go_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, table: PeerTable) -> None:
    monkeypatch.setattr(peer_table, "MAX_GONE", 5)
    for number in range(20):
        table.connected(at(100 + number), peer_id(f"cccc{number:04x}"))
        table.lost(at(100 + number))
    assert len(table._by_id) == 3 + 5
    assert table.connected(at(9), peer_id("dddd")).index == 24
    with pytest.raises(UnknownPeer, match="peer 23 is no longer connected"):
        table.select("23")
    with pytest.raises(UnknownPeer, match="there is no peer 10"):
        table.select("10")


def test_who_only_claims_an_id_is_not_found_by_it() -> None:
    """By number and address it is; and the same id, proven, is another peer."""
    peers = PeerTable()
    at = Endpoint.tracer("192.0.2.66:5484")
    impostor = peers.connected(at, UnprovenPeerId(bytes(32)))
    with pytest.raises(UnknownPeer, match="no connected peer has an id"):
        peers.select("00000000")
    assert peers.select("1") is peers.select(str(at)) is impostor
    genuine = peers.connected(Endpoint.tcp("192.0.2.7:5483"), PeerId(bytes(32)))
    assert peers.select("00000000") is genuine is not impostor


def test_who_has_gone_is_remembered_by_number_and_id(table: PeerTable) -> None:
    table.lost(at(1))
    assert [table.remembered(text) for text in ("1", "#1", "AAAA1")] == [dict(table.items())[peer_id("aaaa1111")]] * 3
    assert [table.remembered(text) for text in ("aaaa", "aaa", "9", "bob", "", "192.0.2.7:1")] == [None] * 6
    assert table.remembered("1234") is table.select("3"), "digits that are no number are those of an id"
