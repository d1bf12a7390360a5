"""`crust.nat.punch_gate`: nobody can have us send more than so much."""

from crust.nat import punch_gate
from crust.nat.punch_gate import PunchGate
from crust.nat.punch_plan import Method


def admitted(gate: PunchGate, requester: object, relay: object, now: float, method: Method = Method.PROBE) -> bool:
    reason = gate.admit(requester, relay, method, now)  # type: ignore[arg-type]
    assert not reason or "try again" in reason
    if not reason:
        gate.ended()
    return not reason


def test_a_peer_may_ask_so_often() -> None:
    gate = PunchGate()
    given = [admitted(gate, "peer", number, 0.0) for number in range(10)]
    assert given.count(True) == punch_gate.REQUESTER_BURST
    assert admitted(gate, "other", "relay", 0.0)
    assert admitted(gate, "peer", "relay", punch_gate.REQUESTER_INTERVAL)
    assert not admitted(gate, "peer", "relay", punch_gate.REQUESTER_INTERVAL)


def test_identities_are_free_so_who_brings_them_counts_too() -> None:
    gate = PunchGate()
    given = [admitted(gate, number, "relay", 0.0) for number in range(100)]
    assert given.count(True) == punch_gate.RELAY_BURST
    gate = PunchGate()
    given = [admitted(gate, number, number, 0.0) for number in range(100)]
    assert given.count(True) == punch_gate.MEETINGS_BURST


def test_so_many_at_once() -> None:
    gate = PunchGate()
    for number in range(punch_gate.MAX_MEETINGS):
        assert gate.admit(number, number, Method.PROBE, 0.0) == ""
    assert "under way" in gate.admit("one more", "relay", Method.PROBE, 0.0)
    gate.ended()
    assert gate.admit("one more", "relay", Method.PROBE, 0.0) == ""


def test_a_host_is_tried_hard_so_often_whoever_says_that_it_is_the_peers() -> None:
    gate, hosts = PunchGate(), ("203.0.113.9", "192.168.1.3")
    for _ in range(punch_gate.HOST_BURST):
        assert gate.vouched(hosts, 0.0) == set(hosts)
    assert gate.vouched(hosts, 0.0) == {"192.168.1.3"}
    assert gate.vouched(["203.0.113.10"], 0.0) == {"203.0.113.10"}
    assert gate.vouched(hosts, punch_gate.HOST_INTERVAL) == set(hosts)
    assert gate.vouched(["2001:db8::1"], 0.0)
    assert [bool(gate.vouched([f"2001:db8::{each}"], 0.0)) for each in range(2, 5)] == [True, True, False]


def test_one_birthday_at_a_time() -> None:
    gate = PunchGate()
    assert admitted(gate, 1, 1, 0.0, Method.SEARCH)
    assert not admitted(gate, 2, 2, 0.0, Method.OPEN_MANY)
    assert not admitted(gate, 3, 3, 39.0, Method.SEARCH)
    assert admitted(gate, 4, 4, 39.0, Method.PROBE)
    assert admitted(gate, 5, 5, punch_gate.BIRTHDAY_PAUSE, Method.SEARCH)
    assert not gate.admit_birthday(punch_gate.BIRTHDAY_PAUSE)


def test_what_is_remembered_is_bounded() -> None:
    gate = PunchGate()
    for number in range(punch_gate.KNOWN_REQUESTERS * 2):
        admitted(gate, number, number, number * 1.0)
    assert len(gate._requesters) == len(gate._relays) == punch_gate.KNOWN_REQUESTERS


def test_an_end_too_many_makes_no_room() -> None:
    gate = PunchGate()
    gate.ended()
    for number in range(punch_gate.MAX_MEETINGS):
        gate.admit(number, number, Method.PROBE, 0.0)
    assert gate.admit("one more", "relay", Method.PROBE, 0.0)
