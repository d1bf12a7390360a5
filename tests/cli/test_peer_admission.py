"""Who is talked to, as the commands of ``crust peer`` say it, on a real blacklist."""

import threading
from pathlib import Path

import pytest

from crust.channel import Channel
from crust.cli.peer_admission import Doorkeeper
from crust.cli.peer_commands import BadCommand
from crust.cli.peer_view import View
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.identity import PeerId, UnprovenPeerId

HERE = Endpoint.tcp("192.0.2.7:5483")
THERE = Endpoint.tcp("192.0.2.8:5483")
ID = PeerId(bytes(range(32)))
OTHER_ID = PeerId(bytes(range(1, 33)))


class Rig:
    """A doorkeeper with the blacklist of a manager that never starts; peer 1 is connected, peer 2 has gone."""

    def __init__(self, only: list[str] | None = None) -> None:
        self.manager = ConnectionManager(Channel(), Config(beacon_port=None), only=only)
        self.said: list[str] = []
        view = View(False)
        view.peers.connected(HERE, ID)
        view.peers.connected(THERE, OTHER_ID)
        view.peers.lost(THERE)
        self.view = view
        self.keeper = Doorkeeper(
            self.manager, view, threading.Lock(), view.peers.select, lambda text, style: self.said.append(text), only
        )


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_was_put_on_the_blacklist_is_taken_off_by_the_same_word(rig: Rig) -> None:
    for word in ("1", "#1", "00010203", str(HERE), "192.0.2.0/24", ID.hex()):
        rig.keeper.blacklist([word])
        assert rig.manager.blacklisted(), word
        rig.keeper.unblacklist([word])
        assert rig.manager.blacklisted() == [], word


def test_a_peer_that_went_for_it_is_taken_off_by_its_number(rig: Rig) -> None:
    rig.keeper.blacklist(["1"])
    rig.view.peers.lost(HERE)
    rig.keeper.unblacklist(["1"])
    assert rig.manager.blacklisted() == []
    assert rig.said == [f"On the blacklist: {ID.hex()}.", f"Off the blacklist: {ID.hex()}."]


def test_a_peer_that_has_gone_can_be_kept_away_by_its_number(rig: Rig) -> None:
    rig.keeper.blacklist(["2"])
    assert rig.manager.blacklisted() == [OTHER_ID]


def test_an_id_that_was_only_claimed_comes_off_and_the_proven_one_stays(rig: Rig) -> None:
    rig.view.peers.connected(THERE, UnprovenPeerId(bytes(ID)))
    rig.keeper.blacklist(["1", "3"])
    rig.keeper.unblacklist(["3"])
    assert rig.manager.blacklisted() == [ID]
    rig.keeper.unblacklist([ID.hex()])
    assert rig.manager.blacklisted() == []
    rig.keeper.blacklist(["3"])
    rig.keeper.unblacklist([ID.hex()])  # nothing else on the list has it
    assert rig.manager.blacklisted() == []


def test_an_id_on_the_list_is_meant_by_its_first_digits_though_no_peer_has_it(rig: Rig) -> None:
    stranger = "cafe" * 16
    rig.keeper.blacklist([stranger])
    rig.keeper.unblacklist(["CAFEca"])
    assert rig.manager.blacklisted() == []


def test_what_is_not_on_the_blacklist_is_not_said_to_be_off_it(rig: Rig) -> None:
    rig.keeper.blacklist(["192.0.2.0/24", "1"])
    for word in ("10.0.0.0/8", "192.0.2.9", "2", OTHER_ID.hex()):
        with pytest.raises(BadCommand, match=f"{word} is not on the blacklist as such; blacklisted shows what is"):
            rig.keeper.unblacklist([ID.hex(), word])
    assert len(rig.manager.blacklisted()) == 2, "nothing is changed with one that is wrong"
    assert len(rig.said) == 1


@pytest.mark.parametrize("word", ["9", "nobody", "beef0000", "10.0.0.0/99", "300.1.1.1"])
def test_who_means_nobody_is_told_so(rig: Rig, word: str) -> None:
    for call in (rig.keeper.blacklist, rig.keeper.unblacklist, rig.keeper.allow_only):
        with pytest.raises(BadCommand, match=f"^'{word}' is no peer, no id, no address and no network"):
            call([word])


def test_what_stands_in_a_file_is_taken_out_there(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("192.0.2.9\n")
    rig = Rig()
    rig.manager = ConnectionManager(Channel(), Config(beacon_port=None, blacklist_file=str(file)))
    keeper = Doorkeeper(rig.manager, rig.view, threading.Lock(), rig.view.peers.select, lambda text, style: None)
    with pytest.raises(ConfigError, match="take it out there"):
        keeper.unblacklist(["192.0.2.9"])


def test_the_blacklist_is_shown_and_offered_for_completion(rig: Rig) -> None:
    rig.keeper.show_blacklist()
    rig.keeper.blacklist(["1", "192.0.2.0/24"])
    rig.keeper.show_blacklist()
    assert rig.said[0] == "The blacklist is empty."
    assert rig.said[-1] == f"{ID.hex()}\n192.0.2.0/24"
    assert rig.keeper.blacklisted() == [(ID.hex(), "peer 1"), ("192.0.2.0/24", "")]


def test_an_allow_list_is_set_shown_and_lifted(rig: Rig) -> None:
    rig.keeper.show_only()
    rig.keeper.allow_only(["1", "2", "192.0.2.0/24"])
    rig.keeper.show_only()
    refuses = rig.manager._blacklist.refuses
    elsewhere = Endpoint.tcp("198.51.100.1:1")
    assert [refuses(elsewhere, each) for each in (ID, OTHER_ID, PeerId(bytes(32)))] == [False, False, True]
    assert not refuses(HERE, PeerId(bytes(32)))
    rig.keeper.allow_only(None)
    rig.keeper.show_only()
    assert not refuses(elsewhere, PeerId(bytes(32)))
    shown = [ID.hex(), OTHER_ID.hex(), "192.0.2.0/24"]
    assert rig.said == [
        "Everybody who is not on the blacklist.",
        f"Only these now: {', '.join(shown)}.",
        "\n".join(shown),
        "No longer limited to anybody.",
        "Everybody who is not on the blacklist.",
    ]


def test_the_allow_list_of_the_start_is_shown() -> None:
    rig = Rig(only=["192.0.2.0/24"])
    rig.keeper.show_only()
    assert rig.said == ["192.0.2.0/24"]
