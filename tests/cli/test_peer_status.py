"""``status`` of ``crust peer``: every state of the search in words."""

import pytest

from crust.cli.peer_status import HEADERS, MAX_ROWS, status_view
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus
from crust.endpoint import Endpoint
from crust.identity import PeerId

NOW = 1_000_000.0
ID = PeerId(bytes(range(32)))
ENDPOINTS = (Endpoint.tcp("192.0.2.7:5483"), Endpoint.utp("192.0.2.7:5484"))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (BootstrapStatus(), "none"),
        (BootstrapStatus(gave_up=True), "ended, as it knew nobody to try"),
        (BootstrapStatus(keep_going=True), "rests until all connections are lost"),
        (BootstrapStatus(running=True, round=3, wanted=8, made=2), "round 3: 2 of 8 connections made"),
        (
            BootstrapStatus(running=True, round=2, wanted=1, next_round_in=1.5),
            "round 2 reached nobody; the next begins in 1.5 s",
        ),
    ],
)
def test_how_the_search_goes(status: BootstrapStatus, told: str) -> None:
    assert status_view(status, NOW).lines[1] == f"search       {told}"


def test_the_sources_are_there() -> None:
    status = BootstrapStatus(connected=2, target=4, beacon="hears others", cache="/a/b", known_by_gossip=1)
    assert status_view(status, NOW) == (
        [
            "connections  2 (of 4 wanted)",
            "search       none",
            "beacon       hears others",
            "cache        /a/b",
            "gossip       1 node known",
        ],
        [],
        "",
    )


def test_each_contact_has_a_row() -> None:
    contacts = (
        ContactStatus(ENDPOINTS, ID, "beacon", 1, 0, NOW - 12, "connected"),
        ContactStatus(ENDPOINTS[:1], None, "cache", 3, 3, NOW - 90, "refused"),
        ContactStatus(ENDPOINTS[1:], None, "config", 0, 0, None, "not tried yet"),
        ContactStatus(ENDPOINTS[1:], None, "config", 2, 0, NOW + 1000, "the clock was turned back"),
    )
    rows = status_view(BootstrapStatus(contacts=contacts), NOW).rows
    assert rows[:3] == [
        ("tcp://192.0.2.7:5483 utp://192.0.2.7:5484", str(ID), "beacon", "once, 12.0 s ago", "connected"),
        ("tcp://192.0.2.7:5483", "-", "cache", "3 times, 1:30 ago", "refused"),
        ("utp://192.0.2.7:5484", "-", "config", "never", "not tried yet"),
    ]
    assert rows[3][3] == "2 times, 0 us ago"
    assert all(len(row) == len(HEADERS) for row in rows)


def test_a_full_cache_does_not_fill_the_screen() -> None:
    contact = ContactStatus(ENDPOINTS, None, "cache", 0, 0, None, "not tried yet")
    view = status_view(BootstrapStatus(contacts=(contact,) * 1500), NOW)
    assert (len(view.rows), view.more) == (MAX_ROWS, "... and 1,470 contacts more")
    assert status_view(BootstrapStatus(contacts=(contact,) * MAX_ROWS), NOW).more == ""
