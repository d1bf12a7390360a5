"""`crust.cli.peer_reach` where nobody waits: the events tell what comes of it. (Scripts wait: test_peer_session.)"""

import threading

import pytest

from crust.channel import Channel
from crust.cli.peer_reach import Reacher, choose
from crust.cli.peer_table import UnknownPeer
from crust.cli.peer_view import View
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus
from crust.endpoint import Endpoint
from crust.event import Event
from crust.identity import PeerId, UnprovenPeerId
from crust.nat.connection_info import ConnectionInfo
from tests.cli.test_peer_session import FakeManager

HERE = Endpoint.tcp("192.0.2.7:5483")
RELAYED = Endpoint.parse("relayed://192.0.2.9:1")
ONE = PeerId(bytes.fromhex("3fa2b1c0" + "00" * 28))
LIKE_IT = PeerId(bytes.fromhex("3fa2b1c1" + "00" * 28))
CLAIMS = UnprovenPeerId(bytes.fromhex("9be04c11" + "00" * 28))


@pytest.mark.parametrize("text", ["3fa2b1c0", "3FA2B1C0", "3fa2b1c00", ONE.hex(), ONE.hex().upper()])
def test_an_id_is_meant_by_its_first_digits(text: str) -> None:
    assert choose(text, [LIKE_IT, ONE, ONE]) == ONE


def test_an_id_in_full_need_not_be_known() -> None:
    assert choose(ONE.hex(), []) == ONE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("3fa2", "could be any of 3fa2b1c100000000, 3fa2b1c000000000; give more digits"),
        ("3fa", "is no id: give its 64 digits"),
        ("hello", "is no id: give its 64 digits"),
        ("cafe", "no known id begins with cafe"),
        ("9be0", "no known id begins with 9be0"),
        (ONE.hex() + "0", "no known id begins with"),
    ],
)
def test_what_means_nobody_is_refused(text: str, told: str) -> None:
    with pytest.raises(UnknownPeer) as caught:
        choose(text, [LIKE_IT, ONE, CLAIMS])
    assert told in str(caught.value)


class Rig:
    def __init__(self) -> None:
        self.events: Channel[object] = Channel()
        self.manager = FakeManager(self.events)
        self.view = View(on_terminal=False)
        self.said: list[str] = []
        self.reacher = Reacher(
            self.manager, self.view, threading.Lock(), lambda text, style: self.said.append(text), wait=None
        )


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_peer_that_others_told_of_is_reached(rig: Rig) -> None:
    rig.manager.status = BootstrapStatus(contacts=(ContactStatus((HERE,), ONE, "gossip", 0, 0, None, ""),))
    assert rig.reacher.punch("3fa2")
    assert rig.manager.calls == [("connect_peer", ONE)]
    assert rig.said == ["Looking for a way to 3fa2b1c0 ..."]


def test_one_that_has_gone_is_reached_again(rig: Rig) -> None:
    rig.view.digest(Event.NewConnection(HERE, ONE), 0.0)
    rig.view.digest(Event.LostConnection(HERE, ONE, "gone"), 0.0)
    assert rig.reacher.strangers() == [("3fa2b1c0", "was connected")]
    assert rig.reacher.punch("3fa2")
    assert rig.manager.calls == [("connect_peer", ONE)]


def test_one_that_is_there_is_left_alone(rig: Rig) -> None:
    rig.view.digest(Event.NewConnection(HERE, ONE), 0.0)
    assert rig.reacher.strangers() == []
    assert rig.reacher.punch("3fa2")
    assert rig.reacher.connect_info(ConnectionInfo(ONE))
    assert rig.manager.calls == []
    assert rig.said == ["Already connected to peer 1 at tcp://192.0.2.7:5483."] * 2


def test_one_that_is_relayed_is_sought_directly(rig: Rig) -> None:
    rig.view.digest(Event.NewConnection(RELAYED, ONE), 0.0)
    assert rig.reacher.punch("3fa2")
    assert rig.manager.calls == [("connect_peer", ONE)]
    assert rig.said == ["Peer 1 is connected through another peer; trying to do without ..."]


def test_nobody_reaches_themselves(rig: Rig) -> None:
    with pytest.raises(UnknownPeer, match="is this node itself"):
        rig.reacher.punch(rig.manager.identity.peer_id.hex())


def test_who_only_claims_an_id_is_not_offered(rig: Rig) -> None:
    rig.view.digest(Event.NewConnection(HERE, CLAIMS), 0.0)
    rig.view.digest(Event.LostConnection(HERE, CLAIMS, "gone"), 0.0)
    assert rig.reacher.strangers() == []
