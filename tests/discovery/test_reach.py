"""`crust.discovery.reach`: who speaks to whom, and who keeps silent."""

from collections.abc import Collection
from typing import Any

import pytest

from crust.discovery import reach
from crust.discovery.reach import ISOLATED, isolated, links_towards, on_this_machine_only


@pytest.mark.parametrize(
    ("listening", "local"),
    [
        (("127.0.0.1",), True),
        (("127.0.0.2", "::1"), True),
        (("0.0.0.0", "::"), False),
        (("127.0.0.1", "192.0.2.1"), False),
        (("fe80::1%eth0",), False),
    ],
)
def test_who_listens_on_loopback_only_has_peers_on_this_machine_only(listening: tuple[str, ...], local: bool) -> None:
    assert on_this_machine_only(listening) is local


@pytest.mark.parametrize(
    ("listening", "asked"),
    [
        (("127.0.0.1", "::1"), {"loopback": True}),
        (("0.0.0.0", "192.0.2.1"), {}),
        (("192.0.2.1", "fe80::1%eth0", "127.0.0.1"), {"only": {"192.0.2.1", "fe80::1", "127.0.0.1"}}),
    ],
)
def test_the_beacon_speaks_where_others_can_connect(
    monkeypatch: pytest.MonkeyPatch, listening: tuple[str, ...], asked: dict[str, Collection[str]]
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(reach, "links", lambda **wanted: calls.append(wanted) or [])
    assert links_towards(listening) == []
    assert calls == [asked]


@pytest.mark.parametrize(("value", "silent"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_the_environment_can_ask_for_silence(monkeypatch: pytest.MonkeyPatch, value: str | None, silent: bool) -> None:
    if value is None:
        monkeypatch.delenv(ISOLATED)
    else:
        monkeypatch.setenv(ISOLATED, value)
    assert isolated() is silent


def test_these_tests_are_silent() -> None:
    """No test speaks to the LAN of who runs it, nor opens that person's cache (tests/conftest.py)."""
    assert isolated()
