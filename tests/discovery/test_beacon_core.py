"""`crust.discovery.beacon_core`: who is found, and what that costs, on a simulated LAN."""

import pytest

from crust.discovery import beacon_core
from crust.discovery.beacon_core import ANSWERS_WANTED, MAX_ANSWERS_WAITING, SOURCE_BURST, TOTAL_BURST, BeaconCore
from crust.discovery.beacon_packet import NO_TOKEN, Kind, Message
from tests.discovery.beacon_world import Lan, announcement

STRANGER = ("10.9.9.9", 40_000)


def ask(token: int, kind: Kind = Kind.ASK, guid: int = 77, port: int = 1000) -> Message:
    return Message(kind, guid.to_bytes(16), announcement(guid, port, port), token.to_bytes(8))


def replies(core: BeaconCore, now: float) -> list[tuple[Kind, object]]:
    return [(out.message.kind, out.to) for out in core.outgoing(now) if out.to is not None]


# --- finding ---
def test_two_find_each_other_at_once() -> None:
    lan = Lan()
    first = lan.join()
    lan.run(20.0)
    second = lan.join()
    lan.run(0.2)
    assert lan.known(second) == {first[0]}
    assert lan.known(first) == {second[0]}
    assert lan.found[second][0].about == announcement(1)


def test_ten_find_each_other_though_every_fifth_datagram_is_lost() -> None:
    lan = Lan(seed=3, loss=0.2)
    hosts = []
    for _ in range(10):
        hosts.append(lan.join())
        lan.run(lan.random.random())
    lan.run(3.0)
    assert all(len(lan.known(host)) >= 3 for host in hosts)
    lan.run(600.0)  # announcements do the rest
    assert all(len(lan.known(host)) == 9 for host in hosts)


def test_one_that_came_while_nobody_could_hear_is_found_by_its_announcement() -> None:
    """Two halves of a LAN that are joined: no interface of theirs changes."""
    lan = Lan()
    lan.apart = lambda one, other: True
    hosts = [lan.join() for _ in range(6)]
    lan.run(10.0)
    assert not any(lan.known(host) for host in hosts)
    lan.apart = lambda one, other: False
    lan.run(2 * beacon_core.MIN_ANNOUNCE_INTERVAL)
    assert all(len(lan.known(host)) == 5 for host in hosts)


def test_found_once_and_again_when_sought_again() -> None:
    lan = Lan()
    first, second = lan.join(), lan.join()
    lan.run(100.0)
    assert len(lan.found[first]) == len(lan.found[second]) == 1
    lan.seek(first)
    lan.run(5.0)
    assert len(lan.found[first]) == 2
    assert len(lan.found[second]) == 1


def test_seeking_all_the_time_does_not_ask_all_the_time() -> None:
    lan = Lan()
    first, _ = lan.join(), lan.join()
    lan.run(10.0)
    before = lan.sent["ASK"]
    for _ in range(1000):
        lan.seek(first)
        lan.run(0.01)
    rounds = 10.0 / beacon_core.ROUND_SPACING + 1
    assert lan.sent["ASK"] - before <= rounds * len(beacon_core.ASK_OFFSETS)
    assert len(lan.found[first]) <= rounds + 2


def test_new_ports_are_news() -> None:
    lan = Lan()
    first, second = lan.join(), lan.join()
    lan.run(10.0)
    lan.cores[second]._own = lambda: announcement(2, 1111, 0)
    lan.seek(second)
    lan.run(1.0)
    assert lan.found[first][-1].about == announcement(2, 1111, 0)


def test_one_that_was_gone_for_long_is_news() -> None:
    lan = Lan()
    first, second = lan.join(), lan.join()
    lan.run(10.0)
    core = lan.cores[second]
    lan.leave(second)
    lan.run(10 * beacon_core.MIN_ANNOUNCE_INTERVAL)
    assert len(lan.cores[first]._census) == 0
    lan.cores[second] = core
    lan.seek(second)
    lan.run(1.0)
    assert [found.host for found in lan.found[first]] == [second[0]] * 2


def test_who_listens_nowhere_asks_but_is_not_told_of() -> None:
    lan = Lan()
    first = lan.join()
    seeker = lan.join(announcement(2, 0, 0))
    lan.run(200.0)
    assert lan.known(seeker) == {first[0]}
    assert not lan.known(first)
    assert lan.sent["CHECK"] <= 1  # it may check what first announces, which nobody has to


def test_hidden_asks_without_telling_and_answers_who_asks() -> None:
    lan = Lan()
    first = lan.join()
    lan.run(20.0)
    hidden = lan.join(hidden=True)
    lan.run(200.0)
    assert lan.known(hidden) == {first[0]}
    assert not lan.known(first)
    lan.seek(first)
    lan.run(1.0)
    assert lan.known(first) == {hidden[0]}


# --- what does not happen ---
def test_own_datagrams_are_ignored_silently() -> None:
    """TRAPS T-28: never a contact that is ourselves, by our guid or by our peer id."""
    lan = Lan()
    host = lan.join()
    same_peer = lan.join(announcement(1))
    lan.run(60.0)
    assert not lan.known(host)
    assert not lan.known(same_peer)
    assert lan.cores[host].counters["own"] > 0
    assert lan.sent["ANSWER"] + lan.sent["EXCHANGE"] + lan.sent["CHECK"] == 0


def test_unauthenticated_answers_are_not_believed() -> None:
    """TRAPS T-67: an answer must carry what we asked with, and come from where we asked."""
    lan = Lan()
    host = lan.join()
    lan.run(10.0)
    core = lan.cores[host]
    token = core._ask(lan.now).message.token
    for echo in (NO_TOKEN, b"12345678"):
        core.receive(ask(1, Kind.ANSWER)._replace(echo=echo), bytes(23) + echo[:1], STRANGER, lan.now)
    assert core.counters["unasked"] == 2
    core.receive(ask(1, Kind.ANSWER)._replace(echo=token), b"l" * 24, STRANGER, lan.now + 6.0)  # too late
    assert core.counters["unasked"] == 3
    assert not core.found()
    core.receive(ask(1, Kind.ANSWER)._replace(echo=token), b"r" * 24, STRANGER, lan.now)
    assert [found.host for found in core.found()] == [STRANGER[0]]


def test_an_announcement_alone_is_not_believed() -> None:
    """Who records one and sends it from elsewhere is asked to prove it, and cannot."""
    core = BeaconCore(bytes(16), lambda: announcement(1), Lan().random, 0.0)
    core.receive(ask(1, Kind.ANNOUNCE), b"1" * 24, STRANGER, 1.0)
    [check] = [out for out in core.outgoing(1.1) if out.to is not None]
    assert (check.message.kind, check.to) == (Kind.CHECK, STRANGER)
    answer = ask(2, Kind.ANSWER)._replace(echo=check.message.token)
    core.receive(answer, b"2" * 24, ("10.9.9.8", 40_000), 1.2)
    assert not core.found()
    core.receive(answer, b"3" * 24, STRANGER, 1.2)
    assert len(core.found()) == 1


def test_a_recorded_datagram_is_not_answered_again() -> None:
    core = BeaconCore(bytes(16), lambda: announcement(1), Lan().random, 0.0)
    core.receive(ask(1), b"1" * 24, STRANGER, 1.0)
    assert len(replies(core, 2.0)) == 1
    for _ in range(10):
        core.receive(ask(1), b"1" * 24, ("10.9.9.7", 1), 2.0)
    assert not replies(core, 3.0)
    assert core.counters["repeated"] == 10


@pytest.mark.parametrize("kind", Kind)
def test_at_most_one_datagram_follows_from_one(kind: Kind) -> None:
    """No amplification: all datagrams have the same size, so one for one is never more than was asked with."""
    core = BeaconCore(bytes(16), lambda: announcement(1), Lan().random, 0.0)
    core.receive(ask(1, kind), b"1" * 24, STRANGER, 1.0)
    assert len(replies(core, 5.0)) <= 1


def test_one_host_cannot_have_answers_without_end() -> None:
    core = BeaconCore(bytes(16), lambda: announcement(1), Lan().random, 0.0)
    for number in range(1000):
        core.receive(ask(number, Kind.CHECK), number.to_bytes(24), STRANGER, 1.0)
    assert len(replies(core, 1.0)) == SOURCE_BURST
    core.receive(ask(1, Kind.CHECK), b"o" * 24, ("10.9.9.8", 40_000), 1.0)  # others still do
    assert len(replies(core, 1.0)) == 1


def test_all_hosts_together_cannot_either() -> None:
    core = BeaconCore(bytes(16), lambda: announcement(1), Lan().random, 0.0)
    for number in range(5000):
        core.receive(ask(number, Kind.CHECK), number.to_bytes(24), (f"10.1.{number >> 8}.{number & 255}", 1), 1.0)
    assert len(replies(core, 1.0)) == TOTAL_BURST <= MAX_ANSWERS_WAITING
    assert core.counters["refused"] == 5000 - TOTAL_BURST


# --- many ---
@pytest.mark.slow
def test_one_that_asks_many_is_answered_by_some() -> None:
    lan = Lan(seed=5)
    for _ in range(200):
        lan.join(seeks=False)
    lan.run(400.0)  # by now all have announced themselves
    lan.sent.clear()
    lan.join()
    lan.run(0.24)
    answers = lan.sent["ANSWER"] + lan.sent["EXCHANGE"]
    assert ANSWERS_WANTED / 2 < answers < ANSWERS_WANTED * 3


@pytest.mark.slow
def test_many_that_start_together_do_not_drown() -> None:
    """A hundred hosts after a power failure."""
    lan = Lan(seed=6)
    hosts = [lan.join() for _ in range(100)]
    lan.run(3.0)
    assert min(len(lan.known(host)) for host in hosts) >= 10
    assert max(lan.received_bytes.values()) < 100_000


@pytest.mark.slow
def test_large_halves_of_a_lan_meet_too() -> None:
    """Also where each knows plenty of others already, and does not ask."""
    lan = Lan(seed=8)
    lan.apart = lambda one, other: int(one[0][-1]) % 2 != int(other[0][-1]) % 2
    hosts = [lan.join() for _ in range(80)]
    lan.run(400.0)
    assert not any(lan.apart(host, (other, 0)) for host in hosts for other in lan.known(host))
    apart = lan.apart
    lan.apart = lambda one, other: False
    lan.run(200.0)
    assert sum(any(apart(host, (other, 0)) for other in lan.known(host)) for host in hosts) > 40


def at_rest(nodes: int, seconds: float) -> tuple[float, float]:
    """Bytes per second that a node sends and receives, on average, once all know of each other's existence."""
    lan = Lan(seed=7)
    for _ in range(nodes):
        lan.join(seeks=False)
    lan.run(max(1.2 * nodes, 120.0))
    lan.sent_bytes.clear()
    lan.received_bytes.clear()
    lan.run(seconds)
    return tuple(counter.total() / nodes / seconds for counter in (lan.sent_bytes, lan.received_bytes))  # type: ignore[return-value]


@pytest.mark.slow
def test_the_cost_at_rest_of_a_hundred_nodes_is_as_documented() -> None:
    sent, received = at_rest(100, 600.0)
    assert sent < 8
    assert received < 250


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_cost_at_rest_of_a_thousand_nodes_is_as_documented() -> None:
    sent, received = at_rest(1000, 150.0)
    assert sent < 4
    assert received < 250
