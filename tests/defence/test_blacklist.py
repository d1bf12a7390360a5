"""`crust.defence.blacklist`: who is meant by an entry, and who is not."""

import ipaddress
from typing import Any

import pytest

from crust.defence.blacklist import Blacklist, Rules
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.identity import PeerId, UnprovenPeerId

BAD, GOOD = PeerId.parse("ba" * 32), PeerId.parse("60" * 32)


def test_an_empty_one_refuses_nobody() -> None:
    nobody = Blacklist()
    assert not nobody.has_peer(BAD)
    assert not nobody.has_address("192.0.2.1")


@pytest.mark.parametrize("entry", [BAD, BAD.hex()])
def test_peers(entry: PeerId | str) -> None:
    blacklist = Blacklist([entry])
    assert blacklist.has_peer(BAD)
    assert not blacklist.has_peer(GOOD)
    assert not blacklist.has_address("192.0.2.1")


@pytest.mark.parametrize(
    ("entry", "meant", "not_meant"),
    [
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "::1"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:c000:207"], ["192.0.3.0"]),
        ("192.0.2.77/24", ["192.0.2.1"], ["192.0.3.0"]),
        ("0.0.0.0/0", ["8.8.8.8"], ["::1"]),
        ("2001:db8::1", ["2001:db8::1", "2001:DB8:0::1", "2001:db8::1%eth0"], ["2001:db8::2"]),
        ("2001:db8::/32", ["2001:db8:1::"], ["2001:db9::"]),
        ("fe80::1%eth0", ["fe80::1", "fe80::1%eth1"], ["fe80::2"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.9"], ["192.0.3.9"]),
        ("tcp://192.0.2.1:5483", ["192.0.2.1"], ["192.0.2.2"]),
        ("192.0.2.1:5483", ["192.0.2.1"], ["192.0.2.2"]),
        ("[2001:db8::1]:5483", ["2001:db8::1"], ["2001:db8::2"]),
        (Endpoint.tcp("192.0.2.1:1"), ["192.0.2.1"], ["192.0.2.2"]),
        (Endpoint.utp("[2001:db8::1]:1"), ["2001:db8::1"], ["2001:db8::2"]),
        (ipaddress.ip_address("192.0.2.1"), ["192.0.2.1"], ["192.0.2.2"]),
    ],
)
def test_addresses(entry: Any, meant: list[str], not_meant: list[str]) -> None:
    blacklist = Blacklist([entry, BAD])
    for host in meant:
        assert blacklist.has_address(host), host
    for host in [*not_meant, "example.org", "", "192.0.2", "not an address"]:
        assert not blacklist.has_address(host), host
    assert blacklist.has_peer(BAD)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "example.org",
        "example.org:5483",
        "tcp://example.org:5483",
        Endpoint.tcp("example.org:1"),
        "192.0.2.0/33",
        "2001:db8::/129",
        "192.0.2",
        "abcdef",
        "ftp://192.0.2.1:1",
        b"192.0.2.1",
        None,
        ["192.0.2.1"],
        GOOD.hex()[:-1],
    ],
)
def test_anything_else_is_refused_with_what_would_do(entry: Any) -> None:
    with pytest.raises(ConfigError, match=r"none of: a peer id, an endpoint .* 192\.0\.2\.0/24"):
        Blacklist([entry])


@pytest.mark.parametrize("entry", ["relayed://192.0.2.1:1", Endpoint.parse("relayed://192.0.2.1:1")])
def test_who_carries_a_connection_is_not_meant_by_it(entry: Any) -> None:
    with pytest.raises(ConfigError, match=r"relayed://192.0.2.1:1 is that of the peer in the middle"):
        Blacklist([entry])


# --- functions ----------------------------------------------------------------------------------------

HERE, THERE = Endpoint.tcp("192.0.2.1:5483"), Endpoint.utp("[2001:db8::1]:5483")


def test_a_function_decides_with_and_without_the_id() -> None:
    asked: list[tuple[Endpoint, PeerId | None]] = []

    def is_bad(endpoint: Endpoint, peer_id: PeerId | None) -> bool:
        asked.append((endpoint, peer_id))
        return endpoint.port == 1 or peer_id == BAD

    blacklist = Blacklist([is_bad])
    assert not blacklist.refuses_at(HERE)
    assert blacklist.refuses_at(Endpoint.tcp("192.0.2.1:1"))
    assert blacklist.refuses(HERE, BAD)
    assert not blacklist.refuses(HERE, GOOD)
    assert asked == [(HERE, None), (Endpoint.tcp("192.0.2.1:1"), None), (HERE, BAD), (HERE, GOOD)]
    assert blacklist.entries() == [is_bad]
    blacklist.remove([is_bad])
    assert not blacklist.refuses(HERE, BAD)


def test_what_a_function_raises_is_said_once_and_counts_as_no(caplog: pytest.LogCaptureFixture) -> None:
    def broken(endpoint: Endpoint, peer_id: PeerId | None) -> bool:
        raise ZeroDivisionError("never mind")

    blacklist = Blacklist([broken])
    for _ in range(3):
        assert not blacklist.refuses_at(HERE)
        assert not blacklist.refuses(HERE, BAD)
    assert caplog.text.count("ZeroDivisionError: never mind") == 1
    alone = Blacklist(only=[broken])
    assert alone.refuses(HERE, GOOD)


# --- changes ------------------------------------------------------------------------------------------


def test_entries_come_and_go_in_any_spelling() -> None:
    blacklist = Blacklist()
    blacklist.add(["192.0.2.0/24", BAD.hex(), HERE])
    blacklist.add(["2001:DB8:0::1", BAD])
    assert blacklist.entries() == [BAD, "192.0.2.0/24", "192.0.2.1", "2001:db8::1"]
    assert Blacklist(blacklist.entries()).entries() == blacklist.entries()
    blacklist.remove([BAD, THERE, "192.0.2.77/24", "198.51.100.1"])
    assert blacklist.entries() == ["192.0.2.1"]
    assert not blacklist.has_address("192.0.2.2")
    assert blacklist.has_address("192.0.2.1")


def test_an_address_is_not_taken_out_of_a_network() -> None:
    blacklist = Blacklist(["192.0.2.0/24"])
    blacklist.remove(["192.0.2.1"])
    assert blacklist.has_address("192.0.2.1")


@pytest.mark.parametrize("method", ["add", "remove", "allow_only"])
def test_with_one_wrong_entry_nothing_is_changed(method: str) -> None:
    blacklist = Blacklist(["192.0.2.1"])
    with pytest.raises(ConfigError, match="none of"):
        getattr(blacklist, method)(["192.0.2.1", "192.0.2.2", "neither"])
    assert blacklist.entries() == ["192.0.2.1"]
    assert blacklist.allowed() is None


def test_the_file_has_entries_of_its_own() -> None:
    blacklist = Blacklist(["192.0.2.1"])
    blacklist.replace_file(Rules(["192.0.2.1", "192.0.2.2", BAD]))
    assert blacklist.entries() == ["192.0.2.1", BAD, "192.0.2.2"]
    assert blacklist.has_peer(BAD)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.2 stands in the blacklist_file: take it out there"):
        blacklist.remove(["192.0.2.2"])
    blacklist.replace_file(Rules())
    assert blacklist.entries() == ["192.0.2.1"]


# --- nobody but these ---------------------------------------------------------------------------------


def test_addresses_alone_decide_before_anybody_says_who_they_are() -> None:
    private = Blacklist(["192.0.2.66"], only=["192.0.2.0/24"])
    assert not private.refuses_at(HERE)
    assert not private.refuses(HERE, GOOD)
    for elsewhere in ("198.51.100.1", "192.0.2.66"):
        assert private.refuses_at(Endpoint.tcp((elsewhere, 1)))
        assert private.refuses(Endpoint.tcp((elsewhere, 1)), GOOD)
    assert not private.refuses_at(Endpoint.tcp("example.org:1")), "its address is not known yet"


def test_where_ids_are_allowed_the_id_decides() -> None:
    private = Blacklist(only=[GOOD, "192.0.2.1"])
    assert not private.refuses_at(THERE), "it may be the one"
    assert not private.refuses(THERE, GOOD)
    assert private.refuses(THERE, BAD)
    assert not private.refuses(HERE, BAD)
    private.add([GOOD])
    assert private.refuses(HERE, GOOD), "the blacklist goes first"


def test_a_claim_does_not_let_in_but_keeps_out() -> None:
    claimed = UnprovenPeerId(bytes(GOOD))
    assert Blacklist(only=[GOOD]).refuses(HERE, claimed)
    assert Blacklist([GOOD]).refuses(HERE, claimed)


def test_nobody_and_everybody() -> None:
    blacklist = Blacklist(only=[])
    assert blacklist.refuses_at(HERE)
    assert blacklist.refuses(HERE, GOOD)
    blacklist.allow_only(None)
    assert not blacklist.refuses(HERE, GOOD)
    blacklist.allow_only([HERE])
    assert blacklist.allowed() == ["192.0.2.1"]


# --- contacts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "endpoints", "peer_id", "refused"),
    [
        (None, [HERE, THERE], GOOD, False),
        (None, [HERE, THERE], BAD, True),
        (None, [HERE, Endpoint.tcp("192.0.2.66:1")], GOOD, True),
        (["192.0.2.0/24"], [THERE], None, True),
        (["192.0.2.0/24"], [THERE, HERE], None, False),
        (["192.0.2.0/24"], [Endpoint.tcp("example.org:1")], GOOD, False),
        ([GOOD], [THERE], GOOD, False),
        ([GOOD], [THERE], None, False),
        ([GOOD], [THERE], PeerId.parse("0a" * 32), True),
        ([GOOD], [Endpoint.tcp("example.org:1")], BAD, True),
    ],
)
def test_who_is_not_dialled(only: Any, endpoints: list[Endpoint], peer_id: PeerId | None, refused: bool) -> None:
    blacklist = Blacklist([BAD, "192.0.2.66"], only=only)
    assert blacklist.refuses_contact(endpoints, peer_id) is refused


# --- ids that are only claimed ------------------------------------------------------------------------

CLAIM = UnprovenPeerId(bytes(BAD))


def test_an_id_that_was_only_claimed_does_not_mean_the_peer_that_has_it() -> None:
    """Anybody can claim it on a tracer connection, and misbehave in its name."""
    blacklist = Blacklist([CLAIM])
    assert blacklist.refuses(HERE, CLAIM)
    assert not blacklist.refuses(HERE, BAD)
    assert blacklist.entries() == [CLAIM]
    assert not blacklist.entries()[0].proven  # type: ignore[union-attr]


def test_claims_and_peers_are_entries_of_their_own() -> None:
    blacklist = Blacklist([BAD, CLAIM])
    assert blacklist.entries() == [BAD, CLAIM]
    blacklist.remove([BAD])
    assert not blacklist.refuses(HERE, BAD)
    assert blacklist.refuses(HERE, CLAIM)
    blacklist.add([BAD])
    blacklist.remove([CLAIM])
    assert blacklist.refuses(HERE, BAD)
    assert blacklist.refuses(HERE, CLAIM), "a proven id means whoever says so as well"


def test_to_allow_a_claim_lets_nobody_in() -> None:
    alone = Blacklist(only=[CLAIM])
    assert alone.refuses(HERE, BAD)
    assert alone.refuses(HERE, CLAIM)
    assert not alone.has_address("192.0.2.1"), "it is not the address that decides"


def test_what_stands_in_the_file_as_well_is_told_once() -> None:
    blacklist = Blacklist(["192.0.2.0/24", BAD, CLAIM])
    blacklist.replace_file(Rules(["2001:db8::/32", "192.0.2.0/24", BAD, GOOD]))
    assert blacklist.entries() == [BAD, CLAIM, "192.0.2.0/24", GOOD, "2001:db8::/32"]


def test_why_an_address_is_not_dialled() -> None:
    blacklist = Blacklist(["192.0.2.1", lambda endpoint, _: endpoint.port == 1], only=["192.0.2.0/24"])
    elsewhere = Endpoint.tcp("192.0.3.1:5483")
    for listed in (HERE, Endpoint.tcp("192.0.3.1:1")):
        assert blacklist.refuses_at(listed)
        assert blacklist.why_not_at(listed) == "that address is on the blacklist"
    assert blacklist.refuses_at(elsewhere)
    assert "none of those that alone are allowed" in (blacklist.why_not_at(elsewhere) or "")
    assert blacklist.why_not_at(Endpoint.tcp("192.0.2.2:5483")) is None
