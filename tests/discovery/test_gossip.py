"""The engine of gossip: who tells whom what and when, and what becomes of peers that break the rules."""

import base64
import random
from typing import Any

import pytest

from crust.discovery.conduct import MUTE_TIME, Offence
from crust.discovery.contact import Contact, Source
from crust.discovery.contact_record import ContactRecord
from crust.discovery.gossip import (
    ANSWER_BURST,
    EXCHANGE_BURST,
    EXCHANGE_TIMEOUT,
    HUNGRY_PAUSE,
    LIFETIME,
    MAX_PAUSE,
    MESSAGE_BURST,
    MIN_PAUSE,
    NEWCOMER_DELAY,
    REFRESH,
    Gossip,
    Learned,
    Outcome,
    Reported,
    Send,
)
from crust.discovery.gossip_messages import MAX_GIVEN, Give, Have, Sums, parse_message
from crust.discovery.record_store import RENEWAL_GAP, short_id
from crust.endpoint import Endpoint
from crust.identity import PeerId
from tests.discovery.records import FOREIGN_TAG, KEYS, WALL, identity, record


class Node:
    """A `Gossip` with a clock, and what it said."""

    def __init__(self, number: int, **arguments: Any) -> None:
        self.identity = identity(number)
        self.id = self.identity.peer_id
        self.gossip = Gossip(self.identity, KEYS, random=random.Random(number), **arguments)
        self.now = 0.0
        self.clock_error = 0.0
        self.learned: list[Learned] = []
        self.reported: list[Reported] = []
        self.sent: list[Send] = []

    @property
    def wall(self) -> float:
        return WALL + self.now + self.clock_error

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.tcp(f"10.7.{self.id.hex()[0:2].encode()[0]}.{self.id.hex().encode()[1]}:5483")

    def publish(self, *endpoints: str) -> None:
        given = [Endpoint.parse(each) for each in endpoints] or [self.endpoint]
        self.gossip.publish(given, self.now, self.wall)

    def take(self, outcomes: list[Outcome]) -> list[Send]:
        sends = [each for each in outcomes if isinstance(each, Send)]
        self.sent += sends
        self.learned += [each for each in outcomes if isinstance(each, Learned)]
        self.reported += [each for each in outcomes if isinstance(each, Reported)]
        return sends

    def receive(self, peer: PeerId, content: dict[str, Any]) -> list[Send]:
        return self.take(self.gossip.receive(peer, content, self.now, self.wall))

    def tick(self) -> list[Send]:
        return self.take(self.gossip.handle_timer(self.now, self.wall))

    def known(self) -> set[PeerId]:
        return {contact.peer_id for contact in self.gossip.contacts(self.wall) if contact.peer_id}


def meet(*nodes: Node) -> None:
    """Connect each with each."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.gossip.connected(other.id, node.now)


def pass_on(nodes: dict[PeerId, Node], sends: list[tuple[Node, Send]]) -> None:
    """Deliver until nobody says anything more."""
    while sends:
        sender, send = sends.pop(0)
        receiver = nodes[send.peer]
        sends += [(receiver, each) for each in receiver.receive(sender.id, send.content)]


def run(nodes: list[Node], seconds: float) -> None:
    """Let time pass; messages take none."""
    by_id = {node.id: node for node in nodes}
    end = nodes[0].now + seconds
    while True:
        timers = [node.gossip.next_timer() for node in nodes]
        due = min((each for each in timers if each is not None), default=end)
        for node in nodes:
            node.now = min(max(due, node.now), end)
        if due >= end:
            return
        pass_on(by_id, [(node, send) for node in nodes for send in node.tick()])


def text_of(given: ContactRecord | bytes) -> str:
    return base64.b64encode(given if isinstance(given, bytes) else given.raw).decode()


class Liar:
    """A peer of a node that says whatever a test wants it to."""

    def __init__(self, node: Node, number: int = 666) -> None:
        self.node = node
        self.id = identity(number).peer_id
        node.gossip.connected(self.id, node.now)
        self.number = 0

    def say(self, content: dict[str, Any]) -> list[Any]:
        return [parse_message(send.content) for send in self.node.receive(self.id, content)]

    def open(self) -> Have:
        """Begin an exchange, with sums that differ from everybody's."""
        self.number += 1
        (answer,) = self.say(Sums(self.number, [12345]).content())
        assert isinstance(answer, Have)
        return answer

    def give(self, *records: ContactRecord | bytes, wanted: list[bytes] | None = None) -> list[Any]:
        return self.say(Give(self.number, [text_of(each) for each in records], wanted or []).content())

    @property
    def offences(self) -> dict[Offence, int]:
        return self.node.gossip.offences(self.id)


# --- two and more that are honest -------------------------------------------------------------------------------------


def test_two_learn_of_each_other_at_once() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    bob.publish()
    meet(alice, bob)
    run([alice, bob], NEWCOMER_DELAY)
    assert alice.known() == {bob.id}
    assert alice.learned == [Learned(Contact((bob.endpoint,), bob.id, Source.GOSSIP), bob.id)]
    assert bob.learned == [Learned(Contact((alice.endpoint,), alice.id, Source.GOSSIP), alice.id)]


def test_who_is_two_steps_away_is_learned_of() -> None:
    alice, bob, carol = Node(1), Node(2), Node(3)
    for node in (alice, bob, carol):
        node.publish()
    meet(alice, bob)
    meet(bob, carol)
    run([alice, bob, carol], 5 * MIN_PAUSE)
    assert alice.known() == {bob.id, carol.id}
    assert carol.learned[-1].introducer == bob.id


def test_who_cannot_be_reached_is_told_and_says_nothing_of_itself() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    meet(alice, bob)
    run([alice, bob], 5.0)
    assert bob.known() == {alice.id}
    assert alice.known() == set()
    assert bob.gossip.record is None
    assert bob.gossip.next_timer() is not None


def test_nothing_is_due_without_peers_or_a_record() -> None:
    assert Node(1).gossip.next_timer() is None


def test_new_endpoints_are_news() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    meet(alice, bob)
    run([alice, bob], 300.0)
    alice.publish("tcp://10.9.9.9:5483", "utp://10.9.9.9:5483")
    run([alice, bob], 2 * MIN_PAUSE)
    (contact,) = bob.gossip.contacts(bob.wall)
    assert [str(each) for each in contact.endpoints] == ["tcp://10.9.9.9:5483", "utp://10.9.9.9:5483"]
    assert bob.learned[-1].contact == contact


def test_the_same_endpoints_again_are_no_news() -> None:
    alice = Node(1)
    alice.publish()
    before = alice.gossip.record
    alice.now = 60.0
    alice.publish()
    assert alice.gossip.record is before


def test_a_node_that_stops_listening_withdraws() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    meet(alice, bob)
    run([alice, bob], 100.0)
    alice.gossip.publish([], alice.now, alice.wall)
    run([alice, bob], 5.0)
    assert bob.known() == set()


def test_records_are_renewed_before_they_expire() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    meet(alice, bob)
    run([alice, bob], 5 * LIFETIME)
    assert bob.known() == {alice.id}
    assert alice.gossip.record
    assert alice.gossip.record.expiry - alice.wall >= LIFETIME - REFRESH
    assert len(bob.learned) == 1, "a renewal is no news"


def test_who_has_gone_is_forgotten() -> None:
    alice, bob, carol = Node(1), Node(2), Node(3)
    alice.publish()
    meet(alice, bob)
    run([alice, bob], 5.0)
    alice.gossip.lost(bob.id)
    bob.gossip.lost(alice.id)
    carol.now = bob.now
    meet(bob, carol)
    run([bob, carol], LIFETIME - 100.0)
    assert alice.id in bob.known() & carol.known()
    run([bob, carol], 100.0 + MAX_PAUSE)
    assert len(bob.gossip) == len(carol.gossip) == 0


def test_loopback_only_where_allowed() -> None:
    alice, bob = Node(1, allow_loopback=True), Node(2)
    carol = Node(3, allow_loopback=True)
    alice.publish("tcp://127.0.0.1:5483", "tcp://10.0.0.1:5483")
    meet(alice, bob, carol)
    run([alice, bob, carol], 5.0)
    (of_bob,) = bob.gossip.contacts(bob.wall)
    assert of_bob.endpoints == (Endpoint.tcp("10.0.0.1:5483"),)
    (of_carol,) = carol.gossip.contacts(carol.wall)
    assert len(of_carol.endpoints) == 2


def test_a_node_with_an_old_identity_and_a_clock_that_went_back_is_heard_again() -> None:
    earlier, bob = Node(1), Node(2)
    earlier.clock_error = 3600.0
    earlier.publish("tcp://10.0.0.1:1")
    meet(earlier, bob)
    run([earlier, bob], 5.0)
    again = Node(1)
    again.now = bob.now = bob.now + RENEWAL_GAP
    again.publish("tcp://10.0.0.2:2")
    meet(again, bob)
    run([again, bob], 2 * RENEWAL_GAP)
    (contact,) = bob.gossip.contacts(bob.wall)
    assert contact.endpoints == (Endpoint.tcp("10.0.0.2:2"),)


@pytest.mark.parametrize("wall", [-1e9, 1e12])
def test_a_broken_clock_does_no_harm(wall: float) -> None:
    alice = Node(1)
    alice.clock_error = wall - WALL
    alice.publish()
    assert alice.gossip.record is None
    alice.clock_error = 0.0
    alice.now = REFRESH
    alice.tick()
    assert alice.gossip.record


# --- how often --------------------------------------------------------------------------------------------------------


def test_pauses_grow_while_there_is_no_news_and_shrink_when_there_is() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    bob.publish()
    meet(alice, bob)
    run([alice, bob], 600.0)
    begun = len(alice.sent) + len(bob.sent)
    run([alice, bob], 10 * MAX_PAUSE)
    at_rest = len(alice.sent) + len(bob.sent) - begun
    assert 2 * 2 * 10 <= at_rest <= 2 * 2 * 20 + 2, "each starts one per half to whole pause, with one answer"
    carol = Node(3)
    carol.now = alice.now
    carol.publish()
    meet(alice, carol)
    run([alice, bob, carol], 4 * MIN_PAUSE)
    assert carol.id in bob.known()


def test_who_wants_more_connections_asks_more_often() -> None:
    alice, bob = Node(1), Node(2)
    meet(alice, bob)
    run([alice, bob], 600.0)
    alice.gossip.want_more(True, alice.now)
    alice.sent.clear()
    run([alice, bob], 20 * HUNGRY_PAUSE)
    asked = sum(isinstance(parse_message(send.content), Sums) for send in alice.sent)
    assert 20 <= asked <= 45
    alice.gossip.want_more(False, alice.now)
    run([alice, bob], 2 * MAX_PAUSE)
    alice.sent.clear()
    run([alice, bob], 20 * HUNGRY_PAUSE)
    assert len(alice.sent) < 15


def test_all_peers_have_their_turn() -> None:
    nodes = [Node(number) for number in range(1, 8)]
    for node in nodes[1:]:
        meet(nodes[0], node)
    run(nodes, 20.0)
    nodes[0].publish()
    run(nodes, 8 * MIN_PAUSE)
    assert all(nodes[0].id in node.known() for node in nodes[1:])


def test_one_exchange_is_enough_for_two_that_met() -> None:
    alice, bob = Node(1), Node(2)
    meet(alice, bob)
    alice.now = bob.now = NEWCOMER_DELAY
    pass_on({alice.id: alice, bob.id: bob}, [(alice, send) for send in alice.tick()])
    assert bob.tick() == []


def test_a_peer_that_never_answers_does_not_keep_others_waiting() -> None:
    alice, bob = Node(1), Node(2)
    alice.publish()
    meet(alice, bob)
    Liar(alice)
    silent = identity(666).peer_id
    by_id = {alice.id: alice, bob.id: bob}
    heard_at = None
    for step in range(40):
        alice.now = bob.now = step * 0.25
        sends = [(node, send) for node in (alice, bob) for send in node.tick() if send.peer != silent]
        pass_on(by_id, sends)
        if heard_at is None and alice.id in bob.known():
            heard_at = alice.now
    assert heard_at is not None
    assert heard_at <= 3.0


def test_who_is_lost_is_told_nothing() -> None:
    alice = Node(1)
    alice.publish()
    liar = Liar(alice)
    alice.gossip.lost(liar.id)
    alice.now = 100.0
    assert alice.tick() == []
    assert liar.say(Sums(1, [5]).content()) == []
    alice.gossip.lost(liar.id)


# --- peers that break the rules ---------------------------------------------------------------------------------------

FORGED = record(5).raw[:-1] + bytes([record(5).raw[-1] ^ 1])


@pytest.mark.parametrize(
    ("bad", "offence"),
    [
        (FORGED, Offence.FORGED),
        (record(5, tag=FOREIGN_TAG).raw, Offence.FORGED),
        (b"nonsense", Offence.MALFORMED),
        (bytes(4000), Offence.MALFORMED),
        (record(5, expiry=WALL - 7200).raw, Offence.STALE),
        (record(5, expiry=WALL + 999_999).raw, Offence.STALE),
    ],
    ids=["forged", "foreign", "nonsense", "oversized", "expired", "eternal"],
)
def test_a_bad_record_is_dropped_and_its_sender_reported_in_the_end(bad: bytes, offence: Offence) -> None:
    alice = Node(1)
    alice.publish()
    liar = Liar(alice)
    liar.open()
    liar.give(bad, record(6))
    assert alice.known() == {identity(6).peer_id}, "the good one beside it counts"
    assert liar.offences == {offence: 1}
    while not alice.reported:
        alice.now += 0.5
        liar.open()
        liar.give(bad)
        assert alice.now < 100
    assert alice.reported == [Reported(liar.id, alice.reported[0].reason)]
    assert offence.text in alice.reported[0].reason
    assert liar.say(Sums(99, [5]).content()) == [], "who was reported is not talked to"


def test_who_was_reported_is_not_asked_either_for_a_time() -> None:
    alice = Node(1)
    liar = Liar(alice)
    while not alice.reported:
        liar.say({"nonsense": True})
    alice.sent.clear()
    alice.gossip.lost(liar.id)
    alice.gossip.connected(liar.id, alice.now)
    while alice.now < MUTE_TIME - MAX_PAUSE:
        alice.now = alice.gossip.next_timer() or 0.0
        assert alice.tick() == []
    while not alice.sent and alice.now < MUTE_TIME + 3 * MAX_PAUSE:
        alice.now = alice.gossip.next_timer() or 0.0
        alice.tick()
    assert [send.peer for send in alice.sent] == [liar.id]


def test_old_records_are_counted() -> None:
    alice = Node(1)
    liar = Liar(alice)
    liar.open()
    liar.give(record(5, 7))
    assert liar.open().entries == {short_id(identity(5).peer_id): 7}
    liar.give(record(5, 6), record(5, 7))
    assert liar.offences == {Offence.OLD: 1}


def test_a_clock_that_is_wrong_reports_nobody() -> None:
    """Ours or theirs: everything of the one looks expired to the other."""
    alice, bob = Node(1), Node(2)
    bob.clock_error = -10 * LIFETIME
    for number in range(100, 160):
        bob.gossip._store.put(record(number, expiry=WALL - 9 * LIFETIME), alice.id, 0.0)
    alice.publish()
    bob.publish()
    meet(alice, bob)
    run([alice, bob], 1800.0)
    assert not alice.reported
    assert not bob.reported
    assert alice.gossip.offences(bob.id)[Offence.STALE] > 5


def test_more_records_than_are_due_are_not_looked_at() -> None:
    alice = Node(1)
    liar = Liar(alice)
    liar.open()
    records = [record(number) for number in range(2000, 2000 + MAX_GIVEN + 5)]
    for number in range(0, len(records), 10):
        liar.give(*records[number : number + 10])
    assert len(alice.known()) == MAX_GIVEN
    assert liar.offences[Offence.OVERSIZED] >= 1


def test_records_that_nobody_is_waiting_for_are_not_looked_at() -> None:
    alice = Node(1)
    liar = Liar(alice)
    liar.number = 77
    liar.give(record(5), FORGED)
    liar.open()
    alice.now = EXCHANGE_TIMEOUT + 1
    liar.give(record(5))
    assert alice.known() == set()
    assert liar.offences == {}, "they may have been late"


def test_what_is_wanted_comes_once() -> None:
    """A short question must not draw long answers again and again."""
    alice = Node(1)
    alice.publish()
    liar = Liar(alice)
    wanted = list(liar.open().entries)
    answers = liar.give(wanted=wanted * 40)
    assert sum(len(answer.records) for answer in answers) == 40
    assert liar.give(wanted=wanted) == []


def test_lists_of_what_is_not_there_lead_nowhere() -> None:
    """A peer that says to have much and gives nothing: the next exchange begins as ever."""
    alice = Node(1)
    liar = Liar(alice)
    for _ in range(5):
        alice.sent.clear()
        while not alice.sent:
            alice.now = alice.gossip.next_timer() or 0.0
            alice.tick()
        question = parse_message(alice.sent[0].content)
        assert isinstance(question, Sums)
        lies = {bytes([number]) * 8: 2**48 - 1 for number in range(200)}
        answers = liar.say(Have(question.number, list(range(64)), lies).content())
        assert sum(len(answer.wanted) for answer in answers) == MAX_GIVEN
        assert liar.say(Have(question.number, list(range(64)), lies).content()) == []
    assert liar.offences == {}


def test_too_many_exchanges_are_a_flood() -> None:
    alice = Node(1)
    liar = Liar(alice)
    for _ in range(EXCHANGE_BURST):
        liar.open()
    assert liar.say(Sums(99, [5]).content()) == []
    assert liar.offences == {Offence.FLOOD: 1}
    alice.now = 2.0
    liar.open()


def test_too_many_frames_are_a_flood() -> None:
    alice = Node(1)
    liar = Liar(alice)
    for _ in range(MESSAGE_BURST + 5):
        liar.give(b"")
    assert liar.offences == {Offence.FLOOD: 5}


def test_all_together_get_so_many_answers_and_then_none() -> None:
    alice = Node(1)
    answers = 0
    for number in range(2000, 2000 + ANSWER_BURST + 20):
        answers += len(Liar(alice, number).say(Sums(1, [5]).content()))
    assert answers == ANSWER_BURST


@pytest.mark.parametrize("content", [{}, {"x": 1}, {"x": 1, "sums": 5}, {"x": 1, "records": [5]}])
def test_what_is_no_gossip_is_counted(content: dict[str, Any]) -> None:
    liar = Liar(Node(1))
    assert liar.say(content) == []
    assert liar.offences == {Offence.MALFORMED: 1}
