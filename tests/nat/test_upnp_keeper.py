"""`crust.nat.upnp_keeper`: finding a UPnP gateway, and keeping ports mapped by it, in virtual time."""

import ipaddress

import pytest

from crust.endpoint import Endpoint, Port
from crust.nat import ssdp
from crust.nat.keeping import ERROR_PAUSE, LEASE, MIN_RENEWAL, NEVER, Status
from crust.nat.upnp_keeper import ROUTER_GRACE, SEARCH_TIME, UpnpKeeper
from crust.nat.upnp_messages import NO_HOLE, Answer, Call, Given, Wish
from tests.nat.test_ssdp import answer as ssdp_answer

TCP, UTP = Port.tcp(5483), Port.utp(5484)
ROUTER, OTHER = "192.168.1.1", "192.168.1.7"
URL = f"http://{ROUTER}:5000/rootDesc.xml"
OTHER_URL = f"http://{OTHER}:80/d.xml"
NETWORK = ipaddress.ip_network("192.168.1.0/24")


def keeper(*ports: Port, gateway: str | None = ROUTER) -> UpnpKeeper:
    made = UpnpKeeper("192.168.1.2", gateway, NETWORK, 0.0)
    made.want(ports or (TCP, UTP), 0.0)
    return made


def found(*ports: Port) -> UpnpKeeper:
    """One that has found its router."""
    made = keeper(*ports)
    made.outgoing(0.0)
    made.heard(ssdp_answer(URL), ROUTER, 0.1)
    made.outgoing(0.1)
    return made


def granted(call: Call, lease: int = LEASE, external: str | None = "11.1.1.2") -> Answer:
    return Answer(external, {wish.port: Given(wish.external, lease) for wish in call.wanted}, {}, None)


def mapped(*ports: Port, lease: int = LEASE) -> UpnpKeeper:
    """One whose ports are mapped at 0.1."""
    made = found(*ports)
    call = made.take_call(0.1)
    assert call is not None
    made.called(granted(call, lease), 0.1)
    return made


def test_it_searches_three_times_and_gives_up() -> None:
    searching, times, now = keeper(), [], 0.0
    while searching.status is Status.ASKING:
        if datagrams := searching.outgoing(now):
            assert datagrams == [ssdp.search(target) for target in ssdp.TARGETS]
            times.append(now)
        now = max(now, min(searching.next_deadline(), SEARCH_TIME))
    assert times == [0.0, 0.5, 1.5]
    assert now == SEARCH_TIME
    assert searching.settled
    assert not searching.searching
    assert searching.next_deadline() == NEVER
    assert searching.take_call(now) is None


def test_the_router_is_asked_at_once() -> None:
    call = found().take_call(0.1)
    assert call == Call(URL, "192.168.1.2", (Wish(TCP, 5483), Wish(UTP, 5484)), (), LEASE)


def test_another_device_waits_for_the_router() -> None:
    searching = keeper()
    searching.outgoing(0.0)
    searching.heard(ssdp_answer(OTHER_URL), OTHER, 0.2)
    searching.outgoing(0.2 + ROUTER_GRACE - 0.1)
    assert searching.take_call(0.2 + ROUTER_GRACE - 0.1) is None
    searching.outgoing(0.2 + ROUTER_GRACE)
    call = searching.take_call(0.2 + ROUTER_GRACE)
    assert call is not None
    assert call.url == OTHER_URL


def test_the_router_comes_before_other_devices() -> None:
    searching = keeper()
    searching.outgoing(0.0)
    searching.heard(ssdp_answer(OTHER_URL), OTHER, 0.2)
    searching.heard(ssdp_answer(URL), ROUTER, 0.3)
    searching.outgoing(0.3)
    call = searching.take_call(0.3)
    assert call is not None
    assert call.url == URL


def test_a_device_that_is_no_gateway_after_all_leaves_the_turn_to_the_next() -> None:
    searching = keeper(gateway=None)
    searching.outgoing(0.0)
    searching.heard(ssdp_answer(OTHER_URL), OTHER, 0.1)
    searching.heard(ssdp_answer(URL), ROUTER, 0.1)
    searching.outgoing(1.0)
    first = searching.take_call(1.0)
    searching.failed("its description names nothing", 1.1)
    second = searching.take_call(1.1)
    assert first is not None
    assert second is not None
    assert {first.url, second.url} == {URL, OTHER_URL}
    searching.failed("its description names nothing", 1.2)
    assert searching.status is Status.FAILED


@pytest.mark.parametrize("sender", ["11.1.1.10", "10.0.0.1"])
def test_who_is_elsewhere_is_not_listened_to(sender: str) -> None:
    searching = keeper()
    searching.heard(ssdp_answer(f"http://{sender}/x"), sender, 0.1)
    searching.outgoing(SEARCH_TIME)
    assert searching.status is Status.FAILED
    assert searching.counters["malformed"] == 1


def test_a_crowd_of_devices_is_not_remembered() -> None:
    searching = keeper(gateway=None)
    for number in range(3, 250):
        searching.heard(ssdp_answer(f"http://192.168.1.{number}/x"), f"192.168.1.{number}", 0.1)
    assert len(searching._urls) <= 8


def test_what_was_given_is_reported() -> None:
    working = mapped()
    assert working.status is Status.WORKING
    assert working.settled
    assert [(each.port, each.external, each.lease) for each in working.mappings()] == [
        (TCP, Endpoint.tcp("11.1.1.2:5483"), LEASE),
        (UTP, Endpoint.utp("11.1.1.2:5484"), LEASE),
    ]
    assert working.warnings == []


def test_nothing_is_reported_without_an_outside_address() -> None:
    working = found()
    call = working.take_call(0.1)
    assert call is not None
    working.called(Answer(None, {TCP: Given(5483, 60)}, {}, "does not tell its outside address"), 0.2)
    assert working.mappings() == []
    assert working.warnings == ["does not tell its outside address"]


@pytest.mark.parametrize(("lease", "renewed"), [(LEASE, LEASE / 2), (600, 300), (10, 15), (0, LEASE / 2)])
def test_all_are_renewed_in_one_call_without_a_search(lease: int, renewed: float) -> None:
    working = mapped(lease=lease)
    assert min(working.next_deadline(), renewed + 0.1) <= renewed + 0.1
    assert working.take_call(renewed) is None
    assert working.outgoing(renewed + 0.1) == []
    call = working.take_call(renewed + 0.1)
    assert call is not None
    assert [wish.port for wish in call.wanted] == [TCP, UTP]
    assert working.next_deadline() == NEVER  # until something comes of it


def test_a_mapping_without_an_end_is_told_of() -> None:
    working = mapped(lease=0)
    assert [each.lease for each in working.mappings()] == [None, None]
    assert "crash" in working.warnings[0]


def test_what_is_not_renewed_is_not_reported() -> None:
    working = mapped(lease=60)
    working.outgoing(59.0)
    assert working.mappings()
    working.outgoing(60.2)
    assert not working.mappings()


def test_another_port_is_kept() -> None:
    working = found(TCP)
    assert working.take_call(0.1) is not None
    working.called(Answer("11.1.1.2", {TCP: Given(7000, LEASE)}, {}, None), 0.2)
    call = working.take_call(LEASE / 2 + 0.2)
    assert call is not None
    assert call.wanted == (Wish(TCP, 7000),)


def test_what_was_given_and_is_refused_is_asked_for_again_soon_and_then_seldom() -> None:
    """A router that begins to restart in the midst of a call renews one port, and is not there for the next."""
    working = found()
    call = working.take_call(0.1)
    assert call is not None
    working.called(granted(call), 0.2)
    now = LEASE / 2 + 0.3
    for pause in (MIN_RENEWAL, ERROR_PAUSE, ERROR_PAUSE):
        call = working.take_call(now)
        assert call is not None
        assert UTP in [wish.port for wish in call.wanted]
        working.called(Answer("11.1.1.2", {TCP: Given(5483, LEASE)}, {UTP: "cannot be spoken with"}, None), now)
        assert working.warnings == ["cannot be spoken with (utp:5484)"]
        assert working.take_call(now + pause - 0.1) is None
        now += pause
    call = working.take_call(now)
    assert call is not None
    working.called(granted(call), now)
    assert working.warnings == []


def test_a_refused_port_is_told_of_and_tried_again() -> None:
    working = found()
    assert working.take_call(0.1) is not None
    working.called(Answer("11.1.1.2", {TCP: Given(5483, LEASE)}, {UTP: "did not map the port: X"}, None), 0.2)
    assert working.warnings == ["did not map the port: X (utp:5484)"]
    assert working.settled
    call = working.take_call(0.2 + ERROR_PAUSE)
    assert call is not None
    assert call.wanted == (Wish(UTP, 5484),)
    working.called(granted(call), 301.0)
    assert working.warnings == []


def test_a_device_that_maps_nothing_is_none_of_ours() -> None:
    working = found()
    assert working.take_call(0.1) is not None
    working.called(Answer(None, {}, {TCP: "did not map the port: X", UTP: "no"}, "problem"), 0.2)
    assert working.status is Status.FAILED
    assert working.reason == "did not map the port: X"


def test_what_is_not_wanted_any_more_ends() -> None:
    working = mapped()
    working.want((UTP,), 5.0)
    assert not working.settled
    call = working.take_call(5.0)
    assert call is not None
    assert (call.wanted, call.unwanted) == ((), (Wish(TCP, 5483),))
    working.called(granted(call, external=None), 5.1)
    assert working.settled
    assert [mapping.external for mapping in working.mappings()] == [Endpoint.utp("11.1.1.2:5484")]
    assert working.take_call(6.0) is None


def test_stopping_during_a_call_ends_what_it_maps() -> None:
    working = found(TCP)
    assert working.take_call(0.1) is not None
    working.want((), 0.2)
    assert not working.settled
    working.called(Answer("11.1.1.2", {TCP: Given(7000, LEASE)}, {}, None), 0.3)
    call = working.take_call(0.3)
    assert call is not None
    assert call.unwanted == (Wish(TCP, 7000),)
    working.called(granted(call), 0.4)
    assert working.settled


def test_a_call_that_fails_ends_it() -> None:
    working = mapped()
    working.forget(100.0)
    assert working.take_call(100.0) is not None
    working.failed("does not answer", 101.0)
    assert working.status is Status.FAILED
    assert working.reason == "does not answer"
    assert working.mappings() == []


def test_forged_announcements_cost_little() -> None:
    working, calls = mapped(), 0
    for step in range(1000):
        now = 100 + step / 100
        working.forget(now)
        call = working.take_call(now)
        if call is not None:
            calls += 1
            working.called(granted(call), now)
    assert calls <= 3


def test_answers_without_a_call_change_nothing() -> None:
    working = mapped()
    before = working.mappings()
    working.called(Answer("11.1.1.9", {}, {}, None), 1.0)
    working.failed("boom", 1.0)
    assert working.mappings() == before
    assert working.status is Status.WORKING


def test_what_the_router_does_not_end_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    working = mapped()
    working.want((UTP,), 5.0)
    assert working.take_call(5.0) is not None
    working.called(Answer(None, {}, {}, None, ("did not end the mapping (tcp:5483)",)), 5.1)
    assert working.warnings == ["did not end the mapping (tcp:5483)"]
    assert "the router asked from 192.168.1.2 did not end the mapping (tcp:5483)" in caplog.text


OUR_IPV6, ROUTER_IPV6 = "2a00::5", "fe80::1%eth0"
ANSWER_IPV6 = ssdp_answer("http://[2a00::1]:5000/d.xml", ssdp.TARGETS_IPV6[0])


def keeper_ipv6(*ports: Port) -> UpnpKeeper:
    made = UpnpKeeper(OUR_IPV6, ROUTER_IPV6, ipaddress.ip_network("2a00::/64"), 0.0)
    made.want(ports or (TCP, UTP), 0.0)
    return made


def found_ipv6(*ports: Port) -> UpnpKeeper:
    made = keeper_ipv6(*ports)
    made.outgoing(0.0)
    made.heard(ANSWER_IPV6, "fe80::1%2", 0.1)
    made.outgoing(0.1)
    return made


def test_over_ipv6_firewalls_are_searched_for() -> None:
    searching = keeper_ipv6()
    assert searching.outgoing(0.0) == [ssdp.search(target, ssdp.GROUP_IPV6) for target in ssdp.TARGETS_IPV6]
    assert not searching.answered


@pytest.mark.parametrize(("sender", "near"), [("fe80::9%2", True), ("2a00::9", True), ("2a00:bad::9", False)])
def test_over_ipv6_only_who_is_on_the_link_is_listened_to(sender: str, near: bool) -> None:
    searching = keeper_ipv6()
    searching.heard(ANSWER_IPV6, sender, 0.1)
    assert searching.answered is near


def test_a_hole_is_kept_open_by_its_number_at_our_own_address() -> None:
    working = found_ipv6()
    call = working.take_call(0.1)
    wishes = (Wish(TCP, NO_HOLE), Wish(UTP, NO_HOLE))
    assert call == Call("http://[fe80::1%2]:5000/d.xml", OUR_IPV6, wishes, (), LEASE)
    working.called(Answer(OUR_IPV6, {TCP: Given(7, LEASE), UTP: Given(0, LEASE)}, {}, None), 0.2)
    assert [(each.port, each.external, each.lease) for each in working.mappings()] == [
        (TCP, Endpoint.tcp("[2a00::5]:5483"), LEASE),
        (UTP, Endpoint.utp("[2a00::5]:5484"), LEASE),
    ]
    assert working.external_address == OUR_IPV6
    again = working.take_call(LEASE / 2 + 0.2)
    assert again is not None
    assert again.wanted == (Wish(TCP, 7), Wish(UTP, 0))
    working.called(granted(again, external=OUR_IPV6), LEASE / 2 + 0.3)
    working.want((), LEASE)
    ending = working.take_call(LEASE)
    assert ending is not None
    assert (ending.wanted, ending.unwanted) == ((), (Wish(TCP, 7), Wish(UTP, 0)))


def test_a_hole_that_is_not_renewed_is_not_reported() -> None:
    working = found_ipv6()
    call = working.take_call(0.1)
    assert call is not None
    working.called(Answer(OUR_IPV6, {TCP: Given(7, 60), UTP: Given(8, 60)}, {}, None), 0.2)
    working.outgoing(60.3)
    assert working.mappings() == []


@pytest.mark.parametrize("given", [True, False])
def test_stopping_during_a_call_closes_only_what_it_opened(given: bool) -> None:
    """Of a hole that there is not, there is no number to close it by."""
    working = found_ipv6(TCP, UTP)
    assert working.take_call(0.1) is not None
    working.called(Answer(OUR_IPV6, {UTP: Given(6, LEASE)}, {TCP: "no room"}, None), 0.2)
    call = working.take_call(0.2 + ERROR_PAUSE)
    assert call is not None
    assert [wish.port for wish in call.wanted] == [TCP]
    working.want((), 301.0)
    working.called(Answer(OUR_IPV6, {TCP: Given(9, LEASE)} if given else {}, {} if given else {TCP: "no"}, None), 302.0)
    ending = working.take_call(302.0)
    assert ending is not None
    assert ending.unwanted == ((Wish(TCP, 9), Wish(UTP, 6)) if given else (Wish(UTP, 6),))
    working.called(Answer(OUR_IPV6, {}, {}, None), 303.0)
    assert working.settled
    assert working.take_call(304.0) is None
