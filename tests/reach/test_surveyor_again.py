"""`crust.reach.surveyor`: what was not learned is found out later, though nobody asks for it; and names of servers."""

from collections.abc import Iterator

import pytest

from crust.nat.survey import SURVEY_SERVERS, Survey
from crust.reach.surveyor import GLANCE_LIFETIME, SURVEY_PAUSE, SURVEY_PAUSE_LATEST, SURVEY_SOON
from tests.reach.survey_bench import CONE, SERVERS, Bench, Pretence, known, looked_up, told
from tests.together import PATIENCE


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    bench.surveyor.stop()
    assert bench.surveyor.join(PATIENCE)


def test_who_was_silent_is_asked_again_by_itself_after_pauses_that_grow(bench: Bench) -> None:
    """A server that came up late, say. What that costs is bounded: an hour takes a handful of surveys."""
    bench.peers = SERVERS[:2]
    bench.surveyor.begin()
    bench.end()
    begun = []
    for pause in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        bench.later(pause - 1)
        assert len(bench.made) == 1 + len(begun)
        bench.later(1)
        begun.append(pause)
        assert len(bench.made) == 1 + len(begun)
        bench.end()
    bench.later(SURVEY_PAUSE_LATEST)
    bench.end(*map(told, SERVERS[:2]), behaviour=CONE)
    count = len(bench.made)
    bench.later(100_000)
    assert len(bench.made) == count, "all is known: silence"
    assert bench.timers.next_deadline() is None


def test_one_who_has_answered_is_left_alone(bench: Bench) -> None:
    """One observer cannot tell how the NAT maps, today or in an hour."""
    bench.peers = SERVERS[:1]
    bench.surveyor.begin()
    bench.end(told(SERVERS[0]))
    bench.later(100_000)
    assert len(bench.made) == 1
    assert bench.timers.next_deadline() is None


def test_peers_that_came_during_the_first_survey_are_asked_in_one_more(bench: Bench) -> None:
    """A node joins several, one after the other: nobody looks again afterwards."""
    bench.peers = SERVERS[:1]
    bench.surveyor.begin()
    for count in (2, 3, 4):
        bench.peers = SERVERS[:count]
        bench.surveyor.look()
    bench.end(told(SERVERS[0]))
    assert len(bench.made) == 1, "not at once: more may come"
    bench.later(SURVEY_SOON)
    assert len(bench.made) == 2
    assert bench.asked() == SERVERS[:4]
    bench.end(*map(told, SERVERS[:4]), behaviour=CONE)
    assert bench.surveyor.behaviour == CONE


def test_newcomers_that_tell_nothing_are_asked_less_and_less_often(bench: Bench) -> None:
    """Where UDP is blocked, a stream of peers must not make a stream of surveys."""
    bench.peers = SERVERS[:1]
    bench.surveyor.begin()
    bench.end()
    for number, pause in enumerate((2, 4, 8, 16, 30, 30), 1):
        bench.peers = [(f"198.18.{number}.{each}", 3478) for each in range(20)]
        bench.surveyor.look()
        bench.later(pause - 0.5)
        bench.surveyor.look()
        assert len(bench.made) == number
        bench.later(0.5)
        assert len(bench.made) == number + 1
        bench.end()


def test_nobody_waits_behind_those_who_are_silent(bench: Bench) -> None:
    """There may be more peers than one survey asks."""
    bench.peers = SERVERS[: SURVEY_SERVERS + 2]
    bench.surveyor.begin()
    assert bench.asked() == SERVERS[:SURVEY_SERVERS]
    bench.end()
    bench.later(SURVEY_SOON)
    assert bench.asked()[:2] == SERVERS[SURVEY_SERVERS : SURVEY_SERVERS + 2]


def test_after_a_glance_in_vain_a_survey_follows_by_itself(bench: Bench) -> None:
    """Not at once: it would disturb the meeting for which the glance was."""
    known(bench)
    bench.clock.time += GLANCE_LIFETIME
    bench.ask("first")
    bench.end()
    bench.later(SURVEY_PAUSE - 1)
    assert len(bench.made) == 2
    bench.later(1)
    assert isinstance(bench.made[-1].machine, Survey)


def test_a_survey_that_could_not_begin_begins_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pretence, "error", RuntimeError("can't start new thread"))
    bench.peers = SERVERS[:2]
    bench.surveyor.begin()
    monkeypatch.setattr(Pretence, "error", None)
    assert not bench.made
    bench.later(SURVEY_PAUSE)
    assert len(bench.made) == 1


def test_nothing_is_due_after_stop(bench: Bench) -> None:
    bench.peers = SERVERS[:1]
    bench.surveyor.begin()
    bench.end()
    assert bench.timers.next_deadline() is not None
    bench.surveyor.stop()
    assert bench.timers.next_deadline() is None


# --- names ----------------------------------------------------------------------------------------


def test_names_are_looked_up_elsewhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And one that nobody knows does no harm to the others."""
    bench = Bench(monkeypatch, "stun.example:3478", "gone.example:3478", "198.51.2.1:3478")
    bench.names = {"stun.example": SERVERS[:2], "198.51.2.1": [SERVERS[2]]}
    bench.surveyor.begin()
    assert bench.asked() == [SERVERS[2]], "what has no name is asked at once"
    looked_up(bench)
    assert "nobody knows gone.example" in caplog.text
    assert len(bench.made) == 1, "one survey at a time"
    bench.end(told(SERVERS[2]))
    assert bench.asked() == SERVERS[:3]
    assert len(bench.made) == 2
    bench.surveyor.stop()
    assert bench.surveyor.join(PATIENCE)


def test_names_that_could_not_be_looked_up_are_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine begins before its network is up. One line of the log is enough for that."""
    bench = Bench(monkeypatch, "stun.example:3478")
    bench.surveyor.begin()
    looked_up(bench)
    assert bench.surveyor.failed() == {"stun.example:3478": "nobody knows stun.example"}
    for pause in (30, 60):
        bench.later(pause - 1)
        assert bench.inbox.empty()
        bench.later(1)
        looked_up(bench)
    assert not bench.made
    assert caplog.text.count("nobody knows stun.example") == 1
    bench.names = {"stun.example": SERVERS[:1]}
    bench.later(120)
    looked_up(bench)
    assert bench.asked() == SERVERS[:1]
    assert bench.surveyor.failed() == {}
    bench.surveyor.stop()
    assert bench.surveyor.join(PATIENCE)


def test_a_name_that_is_not_known_any_more_stands_for_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network comes back, the name servers a little later."""
    bench = Bench(monkeypatch, "stun.example:3478")
    bench.names = {"stun.example": SERVERS[:1]}
    bench.surveyor.begin()
    looked_up(bench)
    bench.end(told(SERVERS[0]))
    bench.names = {}
    bench.surveyor.begin_again()
    looked_up(bench)
    assert bench.asked() == SERVERS[:1]
    bench.surveyor.stop()
    assert bench.surveyor.join(PATIENCE)


def test_servers_that_cannot_be_asked_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The survey is about IPv4."""
    bench = Bench(monkeypatch, "[2001:db8::1]:3478", "six.example:3478", "both.example:3478", "198.51.0.1:3478")
    bench.names = {"six.example": [("2001:db8::2", 3478)], "both.example": [("2001:db8::3", 3478), SERVERS[1]]}
    bench.surveyor.begin()
    looked_up(bench)
    assert list(bench.surveyor.failed()) == ["[2001:db8::1]:3478", "six.example:3478"]
    assert all("no IPv4 address" in why for why in bench.surveyor.failed().values())
    bench.surveyor.stop()
    assert bench.surveyor.join(PATIENCE)


def test_servers_that_were_silent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that answered, and peers, are not."""
    bench = Bench(monkeypatch, "198.51.0.1:3478", "198.51.1.1:3478")
    bench.peers = SERVERS[2:4]
    bench.surveyor.begin()
    assert bench.surveyor.failed() == {}
    bench.end(told(SERVERS[1]))
    assert bench.surveyor.failed() == {"198.51.0.1:3478": "it did not answer"}
