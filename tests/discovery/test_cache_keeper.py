"""`crust.discovery.cache_keeper`: the cache of a manager is opened when it is needed, and never in the user's own place
where that is not wanted."""

import logging
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crust import Config, ConfigError, Endpoint, Identity
from crust.discovery import cache_keeper
from crust.discovery.bootstrap_cache import BootstrapCache
from crust.discovery.cache_keeper import MAX_UNTOLD, RECENT, CacheKeeper, Ranked
from crust.discovery.cache_record import network_tag
from crust.discovery.contact import Source
from crust.discovery.contact_book import Promise
from crust.discovery.reach import ISOLATED
from crust.transport.masking import network_keys
from tests.together import PATIENCE

KEYS = network_keys("crust", None)
OWN, PEER = Identity().peer_id, Identity().peer_id
Make = Callable[..., CacheKeeper]


def number(count: int) -> Endpoint:
    return Endpoint.tcp((f"10.0.{count >> 8}.{count & 255}", 1))


class Opened(queue.SimpleQueue[Ranked]):
    """What keepers say when their cache is open."""

    def next(self) -> Ranked:
        return self.get(timeout=PATIENCE)


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def make(opened: Opened) -> Iterator[Make]:
    made: list[CacheKeeper] = []

    def keeper(**settings: Any) -> CacheKeeper:
        made.append(CacheKeeper(Config(**settings), KEYS, OWN, opened.put))
        return made[-1]

    yield keeper
    for one in made:
        one.close()


def cache_at(path: Path) -> BootstrapCache:
    return BootstrapCache(path, network=network_tag(KEYS.psk))


def test_nothing_is_opened_before_it_is_needed(make: Make, tmp_path: Path) -> None:
    """A program that only connects where it is told to has no use for a cache, and leaves no file."""
    keeper = make(cache_file=tmp_path / "cache")
    keeper.worked(number(1), PEER, Source.CONNECTED)
    assert (keeper.opening, keeper.state) == (False, "not opened")
    keeper.close()
    keeper.open()
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_before_it_was_open_is_not_lost(make: Make, opened: Opened, tmp_path: Path) -> None:
    keeper = make(cache_file=tmp_path / "cache")
    for count in range(MAX_UNTOLD + 10):
        keeper.worked(number(count), PEER, Source.GOSSIP)
        keeper.failed(number(5))
    keeper.worked(number(7), PEER, Source.GOSSIP)
    keeper.open()
    keeper.open()
    assert keeper.opening
    assert opened.next() == []
    assert keeper.opening, "whoever waits for its contacts has not got them yet"
    assert keeper.state == str(tmp_path / "cache")
    keeper.taken()
    assert not keeper.opening
    keeper.close()
    cache = cache_at(tmp_path / "cache")
    endpoints = [endpoint for contact in cache.contacts() for endpoint in contact.endpoints]
    cache.close()
    assert endpoints[0] == number(7)
    assert number(0) not in endpoints, "the oldest goes first where there is too much"


def test_what_is_known_is_ranked(make: Make, opened: Opened, tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache")
    for count in range(RECENT + 3):
        cache.worked(number(count), Identity().peer_id, Source.GOSSIP, 1e9)
    cache.failed(number(RECENT + 2), 1e9)
    cache.close()
    make(cache_file=tmp_path / "cache").open()
    ranked = opened.next()
    assert [promise for contact, promise in ranked if number(RECENT + 2) in contact.endpoints] == [Promise.FAILED]
    others = [promise for _, promise in ranked if promise is not Promise.FAILED]
    assert others == [Promise.RECENT] * RECENT + [Promise.OLDER] * 2
    assert {contact.source for contact, _ in ranked} == {Source.CACHE}


def test_what_other_processes_have_added_is_found_when_it_is_read_again(
    make: Make, opened: Opened, tmp_path: Path
) -> None:
    keeper = make(cache_file=tmp_path / "cache")
    keeper.look_again()
    keeper.open()
    assert opened.next() == []
    keeper.look_again()
    keeper.taken()
    other = cache_at(tmp_path / "cache")
    other.worked(number(1), PEER, Source.GOSSIP, 1e9)
    other.flush()
    keeper.look_again()
    keeper.look_again()
    assert keeper.opening, "it is worth waiting for"
    assert [contact.endpoints for contact, _ in opened.next()] == [(number(1),)]
    keeper.taken()
    keeper.look_again()
    assert opened.next() == [], "nothing is told twice"
    other.close()
    keeper.close()
    keeper.look_again()
    assert opened.empty(), "it was read three times: not before it was open, nor twice at a time, nor after its end"


def test_a_cache_in_memory_is_not_read_again(make: Make, opened: Opened) -> None:
    keeper = make(listen_addresses=("127.0.0.1",))
    keeper.open()
    opened.next()
    keeper.taken()
    keeper.look_again()
    assert not keeper.opening


def test_the_usual_place(make: Make, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ISOLATED)
    monkeypatch.setattr(cache_keeper, "usual_path", lambda: tmp_path / "usual")
    keeper = make()
    keeper.open()
    opened.next()
    assert keeper.state == str(tmp_path / "usual")
    keeper.close()
    assert (tmp_path / "usual").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"listen_addresses": ("127.0.0.1",)}, "in memory only: peers are on this machine only"),
        ({}, "in memory only: CRUST_ISOLATED is set"),
        ({"bootstrap_cache": False}, "off (bootstrap_cache is false)"),
    ],
)
def test_the_user_s_own_cache_is_left_alone(
    make: Make, opened: Opened, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], said: str
) -> None:
    def usual_path() -> Path:
        raise AssertionError("that is the user's")

    monkeypatch.setattr(cache_keeper, "usual_path", usual_path)
    keeper = make(**settings)
    keeper.open()
    if settings != {"bootstrap_cache": False}:
        assert opened.next() == []
    keeper.worked(number(1), PEER, Source.CONNECTED)
    assert said in keeper.state


def test_loopback_is_remembered_where_there_is_nothing_else(make: Make, opened: Opened, tmp_path: Path) -> None:
    local = Endpoint.tcp("127.0.0.1:1")
    for listening, expected in (("127.0.0.1", {local}), ("0.0.0.0", set())):
        path = tmp_path / listening
        keeper = make(listen_addresses=(listening,), cache_file=path)
        keeper.open()
        opened.next()
        keeper.worked(local, PEER, Source.CONNECTED)
        keeper.close()
        again = make(listen_addresses=(listening,), cache_file=path)
        again.open()
        assert {endpoint for contact, _ in opened.next() for endpoint in contact.endpoints} == expected


def test_own_endpoints_are_forgotten(make: Make, opened: Opened, tmp_path: Path) -> None:
    keeper = make(cache_file=tmp_path / "cache")
    keeper.open()
    opened.next()
    keeper.worked(number(1), PEER, Source.CONNECTED)
    keeper.remove(number(1))
    keeper.close()
    cache = cache_at(tmp_path / "cache")
    assert cache.records() == []
    cache.close()


@pytest.mark.parametrize("error", [RuntimeError("no home"), OSError("no disk"), ConfigError("no name")])
def test_without_a_place_it_is_kept_in_memory(
    make: Make, opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def usual_path() -> Path:
        raise error

    monkeypatch.delenv(ISOLATED)
    monkeypatch.setattr(cache_keeper, "usual_path", usual_path)
    keeper = make()
    keeper.open()
    assert opened.next() == []
    keeper.worked(number(1), PEER, Source.CONNECTED)
    assert f"contacts are remembered in memory only: {error}" in caplog.text
    assert "in memory only" in keeper.state


def test_a_directory_that_cannot_be_written(make: Make, opened: Opened, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    keeper = make(cache_file=tmp_path / "missing" / "cache")
    keeper.open()
    assert opened.next() == []
    assert keeper.state.startswith("in memory only: ")
    assert str(tmp_path / "missing") in keeper.state


def test_without_a_thread_it_is_kept_in_memory(
    make: Make, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(cache_keeper, "start_thread", start_thread)
    keeper = make(cache_file=tmp_path / "cache")
    keeper.open()
    assert opened.next() == []
    assert "in memory only" in keeper.state
