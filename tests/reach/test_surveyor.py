"""`crust.reach.surveyor`: when others are asked where they see us, and whom; first with errands that only pretend, then
on loopback."""

import queue
from collections.abc import Iterator

import pytest

from crust import Protocol
from crust.connecting import notices
from crust.nat.behaviour import Allocation, Behaviour, Mapping, Sighting
from crust.nat.glance import GLANCE_SERVERS, Glance
from crust.nat.observations import Observations
from crust.nat.stun_responder import StunResponder
from crust.nat.stun_server import StunServer
from crust.nat.survey import SURVEY_SERVERS, Survey
from crust.reach import surveyor
from crust.reach.errands import Errands
from crust.reach.surveyor import GLANCE_LIFETIME, SURVEY_PAUSE, Surveyor
from crust.threads import clock
from crust.threads.timers import Timers
from crust.transport.utp import UtpSocket
from tests.reach.survey_bench import CONE, SEEN, SERVERS, Bench, Pretence, known, told
from tests.together import PATIENCE


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    bench.surveyor.stop()
    assert bench.surveyor.join(PATIENCE)


# --- the survey -----------------------------------------------------------------------------------


def test_nobody_to_ask(bench: Bench) -> None:
    """Then what is known is all that can be known."""
    bench.surveyor.begin()
    bench.ask("at once")
    assert bench.called == ["at once"]
    assert not bench.made


def test_no_port_to_ask_from(bench: Bench) -> None:
    bench.peers, bench.socket = SERVERS[:2], None
    bench.surveyor.begin()
    bench.ask("at once")
    assert bench.called == ["at once"]
    assert not bench.made


def test_a_survey_of_the_first_peers_that_are_there(bench: Bench) -> None:
    bench.surveyor.begin()
    bench.peers = SERVERS[:4]
    bench.surveyor.look()
    bench.surveyor.look()
    (errand,) = bench.made
    assert isinstance(errand.machine, Survey)
    assert bench.asked() == SERVERS[:4]
    assert len(bench.errands) == 1
    bench.ask("later")
    assert bench.called == []
    bench.end(*map(told, SERVERS[:3]), behaviour=CONE)
    assert bench.called == ["later"]
    assert bench.surveyor.behaviour == CONE
    assert (bench.surveyor.asked, bench.surveyor.answered) == (4, 3)
    assert bench.seen() == [SEEN] * 3
    assert bench.changes == 1


def test_it_is_done_once(bench: Bench) -> None:
    """Until this machine's addresses change."""
    bench.peers = SERVERS[:4]
    bench.surveyor.begin()
    bench.end(*map(told, SERVERS[:4]))
    bench.clock.time += 10_000
    bench.surveyor.look()
    assert len(bench.made) == 1
    bench.surveyor.begin()
    assert len(bench.made) == 2
    assert isinstance(bench.made[-1].machine, Survey)


def test_this_machine_moves_while_a_survey_is_under_way(bench: Bench) -> None:
    """What that one finds out is not the last word."""
    bench.peers = SERVERS[:4]
    bench.surveyor.begin()
    bench.surveyor.begin()
    assert len(bench.made) == 1
    bench.end(*map(told, SERVERS[:4]))
    assert len(bench.made) == 2
    bench.end(*map(told, SERVERS[:4]))
    assert len(bench.made) == 2


def test_one_that_learned_nothing_is_repeated_but_not_soon(bench: Bench) -> None:
    bench.peers = SERVERS[:1]
    bench.surveyor.begin()
    bench.end()
    assert (bench.surveyor.asked, bench.surveyor.answered) == (1, 0)
    for _ in range(10):
        bench.surveyor.look()
    bench.ask("at once")
    assert bench.called == ["at once"]
    assert len(bench.made) == 1
    bench.clock.time += SURVEY_PAUSE
    bench.surveyor.look()
    assert len(bench.made) == 2


def test_one_observer_is_not_enough_and_several_may_come_later(bench: Bench) -> None:
    bench.peers = SERVERS[:1]
    bench.surveyor.begin()
    bench.end(told(SERVERS[0]))
    bench.clock.time += SURVEY_PAUSE
    bench.surveyor.look()
    assert len(bench.made) == 1, "it has said what it knows"
    bench.peers = SERVERS[:3]
    bench.surveyor.look()
    assert bench.asked() == SERVERS[:3]
    bench.end(*map(told, SERVERS[:3]), behaviour=CONE)
    bench.peers = SERVERS[:4]
    bench.clock.time += SURVEY_PAUSE
    bench.surveyor.look()
    assert len(bench.made) == 2


def test_who_only_dials_asks_nobody_and_needs_no_port_until_a_meeting_is_wanted(bench: Bench) -> None:
    bench.peers, socket = SERVERS[:2], bench.socket
    opened: list[str] = []
    bench.surveyor._socket = lambda: opened.append("one") or socket  # type: ignore[func-returns-value]
    bench.surveyor.look()
    bench.surveyor.begin_again()
    assert not bench.made
    assert not opened
    bench.ask()
    assert len(bench.made) == 1


def test_who_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of the configuration first; IPv4 alone; each once; neighbours only if there is nobody else."""
    bench = Bench(monkeypatch, "198.51.19.1:3478", "[2001:db8::1]:3478")
    bench.peers = [("192.168.1.7", 5484), *SERVERS, ("2001:db8::2", 5484), ("198.51.19.1", 3478)]
    bench.surveyor.begin()
    assert bench.asked() == [SERVERS[19], *SERVERS[: SURVEY_SERVERS - 1]]
    bench = Bench(monkeypatch)
    bench.peers = [("192.168.1.7", 5484), ("2001:db8::2", 5484)]
    bench.surveyor.begin()
    assert bench.asked() == [("192.168.1.7", 5484)]


def test_private_addresses_of_other_networks_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers tell of them; here they are somebody else's. What the user has configured is asked wherever it is."""
    bench = Bench(monkeypatch, "10.0.0.9:3478")
    bench.peers = [("192.168.2.7", 5484), ("10.0.0.8", 5484), ("192.168.1.7", 5484)]
    bench.surveyor.begin()
    assert bench.asked() == [("10.0.0.9", 3478), ("192.168.1.7", 5484)]


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits is called all the same."""
    for error in (RuntimeError("can't start new thread"), OSError("too many open files")):
        bench = Bench(monkeypatch)
        monkeypatch.setattr(Pretence, "error", error)
        bench.peers = SERVERS[:1]
        bench.ask("all the same")
        assert bench.called == ["all the same"]
        assert str(error) in caplog.text


# --- the glance -----------------------------------------------------------------------------------


def test_what_is_recent_is_not_asked_for_again(bench: Bench) -> None:
    known(bench)
    bench.clock.time += GLANCE_LIFETIME - 1
    bench.ask("at once")
    assert bench.called == ["at once"]
    assert len(bench.made) == 1


def test_before_a_meeting_a_glance_tells_where_we_are_now(bench: Bench) -> None:
    known(bench)
    bench.clock.time += GLANCE_LIFETIME
    bench.ask("first")
    bench.ask("second")
    assert len(bench.made) == 2
    assert isinstance(bench.made[-1].machine, Glance)
    assert bench.asked() == SERVERS[:GLANCE_SERVERS]
    assert bench.called == []
    bench.end(told(SERVERS[0], ("203.0.113.9", 41000)))
    assert bench.called == ["first", "second"]
    assert bench.seen()[-1] == ("203.0.113.9", 41000), "the last one is what counts where ports are counted"
    bench.ask("third")
    assert bench.called[-1] == "third"
    assert len(bench.made) == 2


def test_a_glance_that_nobody_answers_leads_to_a_survey(bench: Bench) -> None:
    """Who answered then has gone, or we have moved."""
    known(bench)
    bench.clock.time += GLANCE_LIFETIME
    bench.ask("first")
    bench.end()
    assert bench.called == ["first"], "it does not wait for that"
    bench.surveyor.look()
    assert isinstance(bench.made[-1].machine, Survey)
    assert len(bench.made) == 3


def test_a_nat_that_counts_is_asked_each_time_with_a_fresh_socket(bench: Bench) -> None:
    """One server, which sees the port that was given last; that is no address of our own port."""
    counting = Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.SEQUENTIAL, delta=1)
    known(bench, counting)
    for number in range(3):
        bench.ask(str(number))
        assert len(bench.made) == 2 + number
        assert bench.asked() == SERVERS[:1]
        bench.end(told(SERVERS[0], ("203.0.113.9", 41000 + number)))
        assert bench.surveyor.last_given == ("203.0.113.9", 41000 + number)
    assert bench.called == ["0", "1", "2"]
    assert bench.seen() == [SEEN] * 5
    bench.ask("in vain")
    bench.end()
    assert bench.surveyor.last_given is None


def test_a_nat_with_random_ports_is_asked_each_time(bench: Bench) -> None:
    known(bench, Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM))
    bench.ask("first")
    assert bench.asked() == SERVERS[:GLANCE_SERVERS]
    bench.end(told(SERVERS[0], ("203.0.113.9", 50001)))
    assert bench.called == ["first"]
    assert bench.surveyor.last_given is None
    assert bench.seen()[-1] == ("203.0.113.9", 50001)


def test_between_meetings_nothing_is_sent(bench: Bench) -> None:
    """However often somebody looks."""
    known(bench)
    for _ in range(100):
        bench.clock.time += 60
        bench.surveyor.look()
    assert len(bench.made) == 1


def test_after_stop_nobody_is_asked_or_called(bench: Bench) -> None:
    bench.peers = SERVERS[:2]
    bench.ask("never")
    bench.surveyor.stop()
    bench.end(*map(told, SERVERS[:2]))
    assert bench.called == []
    bench.surveyor.begin()
    assert len(bench.made) == 1


# --- for real -------------------------------------------------------------------------------------


def test_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A survey, then a glance."""
    inbox, errands, observations = notices.Inbox(), Errands(), Observations()
    called: queue.SimpleQueue[str] = queue.SimpleQueue()
    with (
        UtpSocket(("127.0.0.1", 0)) as sock,
        UtpSocket(("127.0.0.1", 0)) as server,
    ):
        server.add_handler(StunResponder(StunServer(), server.send_datagram))
        address = server.local_address[:2]
        peers = [address]
        asking = Surveyor([], inbox, Timers(), lambda: sock, lambda: peers, observations, errands, lambda: None)
        for number, lifetime in enumerate((GLANCE_LIFETIME, -1.0)):
            monkeypatch.setattr(surveyor, "GLANCE_LIFETIME", lifetime)
            asking.when_known(lambda number=number: called.put(str(number)))  # type: ignore[misc]
            while called.empty():
                inbox.get(timeout=PATIENCE).call()
            assert called.get() == str(number)
            found = observations.sightings(Protocol.UTP, sock.local_address[1], clock.now())
            assert found == [Sighting(address, sock.local_address[:2])]
        assert asking.behaviour.mapping is Mapping.NONE
        assert (asking.asked, asking.answered) == (1, 1)
        asking.stop()
        errands.cancel()
        errands.join(PATIENCE)
