"""`crust.nat.punch`: one side at a time, with a peer that is scripted, silent, or hostile."""

import random
from itertools import pairwise

import pytest

from crust.endpoint import Address
from crust.nat import punch, punch_plan
from crust.nat.outgoing import Outgoing
from crust.nat.punch import Opened, Punch
from crust.nat.punch_packet import NO_TOKEN, Probe, ProbeKind, PunchSeal
from crust.nat.punch_plan import Method, Plan, Target

KEY = bytes(32)
THERE, ELSEWHERE = ("203.0.113.9", 40000), ("203.0.113.9", 40001)
MANY = 2**16
PLAN = Plan(Method.PROBE, (Target(THERE, MANY),), 8.0)


class Meeting:
    """A `Punch` and what its peer would see and say."""

    def __init__(self, plan: Plan = PLAN, chooses: bool = True) -> None:
        self.now = 0.0
        self.punch = Punch(plan, PunchSeal(KEY, chooses), chooses, 0.0, random.Random(1))
        self.peer = PunchSeal(KEY, not chooses)
        self.number = 0

    def run(self, until: float) -> list[tuple[float, Outgoing]]:
        """Let time pass; what was sent, and when."""
        sent = [(self.now, each) for each in self.punch.outgoing()]
        while (due := self.punch.next_deadline()) is not None and due <= until:
            self.now = max(due, self.now)
            self.punch.tick(self.now)
            sent += [(self.now, each) for each in self.punch.outgoing()]
        self.now = until
        return sent

    def read(self, sent: Outgoing) -> Probe:
        probe = self.peer.open(sent.data)
        assert probe is not None
        return probe

    def say(self, kind: ProbeKind, echo: bytes = NO_TOKEN, source: Address = THERE, socket: int = 0) -> None:
        self.number += 1
        self.hear(self.peer.close(Probe(kind, 0, self.number, b"theirs!!", echo)), source, socket)

    def hear(self, data: bytes, source: Address = THERE, socket: int = 0) -> None:
        assert self.punch.receive(data, source, self.now, socket)

    def token(self) -> bytes:
        ((_, first), *_) = self.run(self.now)
        return self.read(first).token


def test_probes_go_out_often_at_first() -> None:
    sent = Meeting().run(10.0)
    times = [at for at, _ in sent]
    assert times[:6] == pytest.approx([*punch_plan.PROBE_OFFSETS, 1.0])
    assert {round(after - before, 3) for before, after in pairwise(times[5:])} == {0.5}
    assert {each.to for _, each in sent} == {THERE}
    assert {(each.socket, each.ttl) for _, each in sent} == {(0, None)}
    assert len(sent) <= PLAN.budget


def test_nobody_there() -> None:
    meeting = Meeting()
    meeting.run(7.9)
    assert meeting.punch.failure == ""
    meeting.run(8.0)
    assert meeting.punch.failure == (
        "19 probes to 1 address, and nothing came back: a router uses other ports than those, or UDP is blocked"
    )
    assert meeting.run(100.0) == []
    assert meeting.punch.next_deadline() is None


def test_nobody_to_probe() -> None:
    """That says nothing about UDP."""
    meeting = Meeting(PLAN.without(lambda address: True))
    assert meeting.run(8.0) == []
    assert meeting.punch.failure == "the peer has no UDP address that may be probed, and no probe of its own came"


def test_who_chooses_has_the_path_after_one_round_trip() -> None:
    meeting = Meeting()
    token = meeting.token()
    meeting.now = 0.08
    meeting.say(ProbeKind.PROBE, token)
    assert meeting.punch.opened == Opened(THERE, 0)
    assert not meeting.punch.agreed
    answers = [meeting.read(each).kind for _, each in meeting.run(0.08)]
    assert answers.count(ProbeKind.USE) == 1
    meeting.say(ProbeKind.AGREED, token)
    assert meeting.punch.agreed
    assert meeting.run(10.0) == []


def test_the_choice_is_repeated() -> None:
    meeting = Meeting()
    meeting.say(ProbeKind.PROBE, meeting.token())
    kinds = [meeting.read(each).kind for _, each in meeting.run(60.0)]
    assert kinds.count(ProbeKind.USE) == punch.CHOICES
    assert kinds.count(ProbeKind.PROBE) <= 1 + punch.COURTESY
    assert meeting.punch.opened is not None


def test_the_other_side_waits_for_the_choice() -> None:
    meeting = Meeting(chooses=False)
    token = meeting.token()
    meeting.say(ProbeKind.PROBE, token)
    assert meeting.punch.opened is None
    meeting.run(0.01)
    meeting.say(ProbeKind.USE, token, ELSEWHERE)
    assert meeting.punch.opened == Opened(ELSEWHERE, 0)
    assert meeting.punch.agreed
    ((_, answer),) = meeting.run(0.01)
    assert (meeting.read(answer).kind, answer.to) == (ProbeKind.AGREED, ELSEWHERE)
    meeting.say(ProbeKind.USE, token, ELSEWHERE)
    assert len(meeting.run(0.01)) == 1, "the first answer may have been lost"
    meeting.say(ProbeKind.USE, token, THERE)
    assert meeting.punch.opened == Opened(ELSEWHERE, 0), "there is one path"
    assert meeting.run(10.0) == []


def test_who_does_not_choose_is_not_obeyed() -> None:
    meeting = Meeting()
    token = meeting.token()
    meeting.run(8.0)
    meeting.say(ProbeKind.USE, b"whatever")
    meeting.say(ProbeKind.AGREED, token)
    assert not meeting.punch.agreed
    assert meeting.punch.opened == Opened(THERE, 0), "but it heard us: that is a path"


def test_probes_are_aimed_at_where_the_peer_really_is() -> None:
    meeting = Meeting()
    meeting.run(0.0)
    meeting.say(ProbeKind.PROBE, source=ELSEWHERE)
    sent = [each for _, each in meeting.run(0.45) if each.to == ELSEWHERE]
    assert len(sent) == 1 + punch.COURTESY, "at once, and some more"
    assert {meeting.read(each).echo for each in sent} == {b"theirs!!"}


def test_a_token_that_is_not_ours_proves_nothing() -> None:
    meeting = Meeting()
    meeting.run(0.0)
    meeting.say(ProbeKind.PROBE, b"a guess!")
    assert meeting.punch.opened is None


def test_a_recorded_probe_cannot_aim_us_at_others() -> None:
    meeting = Meeting()
    meeting.run(0.0)
    datagram = meeting.peer.close(Probe(ProbeKind.PROBE, 0, 1, b"theirs!!"))
    meeting.hear(datagram)
    meeting.hear(datagram, ("198.51.100.66", 53))
    assert "198.51.100.66" not in {each.to[0] for _, each in meeting.run(5.0)}
    assert meeting.punch.counters["repeated"] == 1


def test_what_a_peer_can_make_us_send_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that says to be at very many addresses, as one can that forges senders."""
    monkeypatch.setattr(punch, "MAX_NUMBERS", 1000)
    meeting = Meeting()
    for number in range(1_100):
        meeting.say(ProbeKind.PROBE, source=(f"198.51.{number >> 8}.{number & 255}", 53))
        for _ in range(2 * (number < 5)):
            meeting.say(ProbeKind.PROBE, source=("198.51.0.1", 53))
    others = [each for _, each in meeting.run(8.0) if each.to != THERE]
    assert len({each.to for each in others}) == punch.PUNCH_PATHS
    assert len(others) <= punch.PUNCH_PATHS * (1 + punch.COURTESY) + punch.ANSWERS
    assert len(meeting.punch._seen) == 1000


def test_strangers_are_not_heard() -> None:
    meeting = Meeting()
    assert not meeting.punch.receive(b"hello", THERE, 0.0)
    assert not meeting.punch.receive(
        PunchSeal(b"x" * 32, False).close(Probe(ProbeKind.PROBE, 0, 1, b"12345678")), THERE, 0
    )
    ((_, own),) = meeting.run(0.0)
    assert not meeting.punch.receive(own.data, THERE, 0.0), "our own probe, thrown back"
    assert meeting.punch.counters["heard"] == 0


def test_a_peer_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting()
    monkeypatch.setattr("crust.nat.punch_packet.PROBE_VERSION", 2)
    datagram = meeting.peer.close(Probe(ProbeKind.PROBE, 0, 1, b"12345678"))
    monkeypatch.undo()
    meeting.hear(datagram)
    assert meeting.punch.counters["malformed"] == 1


def test_who_is_not_vouched_for_gets_few_probes() -> None:
    plan = Plan(Method.PROBE, (Target(THERE, 10), Target(ELSEWHERE, 10)), 8.0)
    sent = Meeting(plan).run(10.0)
    assert len(sent) == 10, "together: it is one host"


def test_late_probes_are_taken() -> None:
    """They are no business of what uses the path then."""
    meeting = Meeting()
    token = meeting.token()
    meeting.say(ProbeKind.PROBE, token)
    meeting.say(ProbeKind.AGREED, token)
    meeting.run(100.0)
    meeting.say(ProbeKind.PROBE)
    assert meeting.run(200.0) == []


def test_one_that_comes_after_all() -> None:
    meeting = Meeting()
    token = meeting.token()
    meeting.run(8.0)
    assert meeting.punch.failure
    meeting.say(ProbeKind.PROBE, token)
    assert meeting.punch.opened == Opened(THERE, 0)
    assert not meeting.punch.failure


def test_only_their_probes_came() -> None:
    meeting = Meeting(chooses=False)
    meeting.say(ProbeKind.PROBE)
    meeting.run(8.0)
    assert meeting.punch.failure.endswith(" to 1 address: the peer's probes came, but ours did not come through to it")


def test_what_cannot_work_is_not_tried() -> None:
    meeting = Meeting(Plan(Method.NONE, (), 8.0))
    assert "only a relay helps" in meeting.punch.failure
    assert meeting.punch.next_deadline() is None
    assert meeting.run(10.0) == []
    assert not Meeting(Plan(Method.PROBE, (), 8.0)).punch.failure, "they may come to us"


# --- the birthday method ----------------------------------------------------------------------------------------------


def test_the_side_that_searches() -> None:
    plan = Plan(Method.SEARCH, (Target(THERE, MANY),), 38.0, THERE)
    sent = Meeting(plan).run(40.0)
    search = [(at, each) for at, each in sent if each.to != THERE]
    ports = {each.to[1] for _, each in search}
    assert len(search) >= 1749
    assert len(ports) == len(search)
    assert {each.to[0] for _, each in search} == {THERE[0]}
    assert search[0][0] == 1.0
    assert search[-1][0] == pytest.approx(36.0, abs=0.1)
    assert len(sent) <= plan.budget


def test_the_side_that_opens() -> None:
    plan = Plan(Method.OPEN_MANY, (Target(THERE, MANY),), 38.0, THERE)
    sent = Meeting(plan).run(40.0)
    first = [(at, each) for at, each in sent if each.ttl is not None]
    assert {each.socket for _, each in first} == set(range(256))
    assert first[-1][0] == pytest.approx(1.02)
    again = [at for at, each in sent if each.socket == 7]
    assert again == pytest.approx([0.028, 10.028, 20.028, 30.028])
    assert {each.to for _, each in sent} == {THERE}
    assert len(sent) <= plan.budget


def test_a_path_from_one_of_the_many_sockets() -> None:
    meeting = Meeting(Plan(Method.OPEN_MANY, (Target(THERE, MANY),), 38.0, THERE))
    token = meeting.token()
    meeting.run(2.0)
    meeting.say(ProbeKind.PROBE, token, socket=200)
    assert meeting.punch.opened == Opened(THERE, 200)
    sent = meeting.run(20.0)
    assert {each.socket for _, each in sent} == {200}
    assert len(sent) < 20
