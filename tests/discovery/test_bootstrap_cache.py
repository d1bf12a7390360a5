"""Traps of the original: 38 (writers that corrupt), 41 (full caches), 42 (not flushed), 43 (stale and private ones)."""

import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from crust.discovery import bootstrap_cache, file_lock
from crust.discovery.bootstrap_cache import BootstrapCache, usual_path
from crust.discovery.cache_file import CacheFile, CacheUnusable
from crust.discovery.cache_record import network_tag
from crust.discovery.contact import Contact, Source
from crust.discovery.file_lock import FileLock, NoLocks, WindowsLocks
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.identity import PeerId
from crust.threads.clock import now
from tests.discovery.test_file_lock import FakeMsvcrt
from tests.processes import Process

PATIENCE = 30.0  # seconds
Opener = Callable[..., BootstrapCache]


def at(number: int) -> Endpoint:
    return Endpoint.tcp(f"10.0.{number // 256}.{number % 256}:5483")


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def tell(cache: BootstrapCache, *numbers: int) -> None:
    for number in numbers:
        assert cache.worked(at(number), peer(number), Source.GOSSIP, 1_700_000_000.0)


def known(cache: BootstrapCache) -> list[Endpoint]:
    return [contact.endpoints[0] for contact in cache.contacts()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.bootstrap.cache"


@pytest.fixture
def opened(path: Path) -> Iterator[Opener]:
    caches: list[BootstrapCache] = []

    def open_it(*arguments: object, **settings: object) -> BootstrapCache:
        caches.append(BootstrapCache(*(arguments or (path,)), **settings))  # type: ignore[arg-type]
        return caches[-1]

    yield open_it
    for cache in caches:
        cache.close()


@pytest.fixture
def held(path: Path) -> Iterator[FileLock]:
    """The lock of the cache, as a stopped process holds it."""
    BootstrapCache(path).close()
    descriptor = os.open(path, os.O_RDWR)
    lock = FileLock(descriptor)
    assert lock.acquire(PATIENCE)
    yield lock
    os.close(descriptor)


@pytest.fixture(params=["file", "memory"])
def cache(request: pytest.FixtureRequest, opened: Opener, path: Path) -> BootstrapCache:
    return opened(path if request.param == "file" else None, capacity=20)


def test_what_is_told_is_known_at_once_best_first(cache: BootstrapCache) -> None:
    tell(cache, 1, 2, 3)
    assert known(cache) == [at(3), at(2), at(1)]
    assert cache.contacts(1) == [Contact((at(3),), peer(3), Source.CACHE)]
    cache.failed(at(3), 1_700_000_000.0)
    cache.remove(at(1))
    assert known(cache) == [at(2), at(3)]
    cache.clear()
    assert known(cache) == []
    assert cache.records() == []


def test_it_never_says_full(cache: BootstrapCache) -> None:
    tell(cache, *range(1, 100))
    assert known(cache) == [at(number) for number in range(99, 79, -1)]


def test_only_endpoints_that_others_can_dial_are_remembered(cache: BootstrapCache) -> None:
    for address in ("127.0.0.1:1", "0.0.0.0:1", "10.0.0.1:0", "[::1]:1", "[fe80::1%eth0]:1", "224.0.0.1:1", "name:1"):
        assert not cache.worked(Endpoint.tcp(address), peer(1), Source.GOSSIP, 1.0)
        assert not cache.add(Endpoint.tcp(address))
    assert not cache.worked(Endpoint.tracer("10.0.0.1:1"), peer(1), Source.GOSSIP, 1.0)
    assert cache.records() == []


def test_we_ourselves_are_not_remembered_and_not_given_out(opened: Opener, path: Path) -> None:
    one, other = opened(path, own=peer(1)), opened(path, own=peer(2))
    assert not one.worked(at(1), peer(1), Source.BEACON, 1.0)
    tell(other, 1, 3)
    assert other.flush(PATIENCE)
    assert known(one) == [at(3)]
    assert known(other) == [at(3), at(1)]


def test_loopback_is_remembered_only_where_it_is_asked_for(opened: Opener, path: Path) -> None:
    local = Endpoint.tcp("127.0.0.1:5483")
    tests = opened(path, allow_loopback=True)
    assert tests.worked(local, peer(1), Source.CONNECTED, 1.0)
    assert known(tests) == [local]
    assert tests.flush(PATIENCE)
    assert known(opened(path)) == []


def test_what_was_learned_is_there_after_a_restart(opened: Opener) -> None:
    first = opened()
    tell(first, *range(1, 31))
    first.failed(at(30), 1.0)
    first.close()
    assert known(opened())[:3] == [at(29), at(28), at(27)]
    assert len(opened().contacts()) == 30


def test_close_saves_and_ends_the_thread_and_may_be_called_again(opened: Opener) -> None:
    cache = opened()
    tell(cache, 1)
    cache.close()
    cache.close()
    assert "crust-cache" not in [thread.name for thread in threading.enumerate()]
    assert cache.contacts() == []
    assert not cache.worked(at(2), peer(2), Source.GOSSIP, 1.0)
    assert known(opened()) == [at(1)]


def test_close_saves_what_was_told_while_something_else_was_being_saved(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    update = CacheFile.update

    def slow_update(*arguments: Any) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        update(*arguments)

    monkeypatch.setattr(CacheFile, "update", slow_update)
    cache = opened()
    tell(cache, 1)
    assert begun.wait(PATIENCE)
    tell(cache, 2)
    closing = threading.Thread(target=cache.close)
    closing.start()
    with cache._changed:
        assert cache._changed.wait_for(lambda: cache._closed, PATIENCE)
    go.set()
    closing.join(PATIENCE)
    assert set(known(opened())) == {at(1), at(2)}


def test_without_a_thread_to_be_had_nothing_is_lost_and_nobody_waits(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    cache = opened()
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap_cache, "start_thread", refuse)
        tell(cache, 1)
        assert known(cache) == [at(1)]
        assert not cache.flush()
    tell(cache, 2)
    assert cache.flush(PATIENCE)
    assert set(known(opened())) == {at(1), at(2)}


def test_a_cache_that_learned_nothing_has_no_thread(opened: Opener) -> None:
    cache = opened()
    assert cache.contacts() == []
    assert "crust-cache" not in [thread.name for thread in threading.enumerate()]
    assert cache.flush(0)


def test_networks_share_a_file_but_no_contacts(opened: Opener, path: Path) -> None:
    one = opened(path, network=network_tag(b"one"))
    two = opened(path, network=network_tag(b"two"))
    tell(one, 1)
    tell(two, 2)
    assert one.flush(PATIENCE)
    assert two.flush(PATIENCE)
    assert (known(one), known(two)) == ([at(1)], [at(2)])
    assert {record.endpoint for record in one.records()} == {at(1), at(2)}


def test_threads_may_share_one(opened: Opener) -> None:
    cache = opened()

    def work(first: int) -> None:
        for number in range(first, first + 40):
            cache.worked(at(number), peer(number), Source.GOSSIP, 1.0)
            cache.contacts(3)

    threads = [threading.Thread(target=work, args=(1 + 40 * number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert cache.flush(PATIENCE)
    assert set(known(opened())) == set(known(cache)) == {at(number) for number in range(1, 201)}


WRITER = """
import sys
from crust.discovery.contact import Source
from crust.discovery.bootstrap_cache import BootstrapCache
from tests.discovery.test_bootstrap_cache import at, peer
cache = BootstrapCache(sys.argv[1])
first = int(sys.argv[2])
for number in range(first, first + 25):
    cache.worked(at(number), peer(number), Source.GOSSIP, 1.0)
    cache.flush(30)
cache.close()
sys.stdout.write("done\\n")
"""


def test_processes_that_write_at_once_lose_nothing_of_each_other(path: Path, opened: Opener) -> None:
    writers = [Process("-c", WRITER, str(path), str(first)) for first in (1, 101, 201)]
    with writers[0], writers[1], writers[2]:
        for writer in writers:
            writer.expect("done")
    cache = opened()
    assert set(known(cache)) == {at(first + number) for first in (1, 101, 201) for number in range(25)}
    assert cache.damaged == 0


def test_it_works_with_the_locks_of_windows(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    system = WindowsLocks(FakeMsvcrt())
    monkeypatch.setattr(file_lock, "system_locks", lambda: system)
    one, two = opened(), opened()
    tell(one, 1)
    tell(two, 2)
    assert one.flush(PATIENCE)
    assert two.flush(PATIENCE)
    assert set(known(one)) == set(known(two)) == set(known(opened())) == {at(1), at(2)}


def test_without_any_locks_it_reads_the_file_and_remembers_in_memory(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened()
    tell(first, 1)
    first.close()
    monkeypatch.setattr(file_lock, "system_locks", NoLocks)
    cache = opened()
    tell(cache, 2)
    assert known(cache) == [at(2), at(1)]
    assert "no file locks" in cache.why_memory


def test_a_stopped_process_with_the_lock_delays_no_start_and_no_caller(
    opened: Opener, held: FileLock, caplog: pytest.LogCaptureFixture
) -> None:
    before = now()
    cache = opened(lock_patience=0.2)
    tell(cache, 1)
    cache.failed(at(1), 1.0)
    assert known(cache) == [at(1)]
    assert now() - before < PATIENCE
    assert not cache.flush(0.5)
    assert "is it stopped?" in caplog.text
    held.release()
    tell(cache, 2)
    assert cache.flush(PATIENCE)
    assert set(known(opened())) == {at(1), at(2)}
    assert caplog.text.count("is it stopped?") == 1


def test_a_lock_that_stays_held_until_the_end_costs_a_warning(
    opened: Opener, held: FileLock, caplog: pytest.LogCaptureFixture
) -> None:
    cache = opened(lock_patience=0.05)
    tell(cache, 1)
    before = now()
    cache.close()
    assert now() - before < PATIENCE
    assert "contacts were not saved (1 changes)" in caplog.text


def test_what_waits_for_the_lock_is_bounded(opened: Opener, held: FileLock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap_cache, "MAX_UNSAVED", 10)
    cache = opened(lock_patience=0.05)
    tell(cache, *range(1, 31))
    assert len(known(cache)) <= 2 * 10  # those that the thread is trying to save, and as many that wait
    assert not cache.flush(0.2)
    assert set(known(cache)) <= {at(number) for number in range(11, 31)}
    assert at(30) in known(cache)
    held.release()


def test_a_missing_directory_degrades_to_memory_and_says_why(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = opened(tmp_path / "missing" / "cache")
    tell(cache, 1, 2)
    assert known(cache) == [at(2), at(1)]
    assert "its directory does not exist" in cache.why_memory
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert cache.why_memory in warning.getMessage()
    assert "only until this program ends" in warning.getMessage()
    assert not cache.flush(PATIENCE)


def test_a_file_that_becomes_unusable_degrades_to_memory_with_all_that_is_known(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = opened()
    tell(cache, 1)
    assert cache.flush(PATIENCE)

    def fail(*_: object) -> None:
        raise CacheUnusable("the disk is gone")

    monkeypatch.setattr(CacheFile, "update", fail)
    tell(cache, 2)
    assert not cache.flush(PATIENCE)
    assert known(cache) == [at(2), at(1)]
    assert cache.why_memory == "the disk is gone"
    tell(cache, 3)
    assert known(cache) == [at(3), at(2), at(1)]
    assert caplog.text.count("the disk is gone") == 1


def test_what_can_be_read_of_a_file_that_cannot_be_written_is_used(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened()
    tell(first, 1)
    first.close()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    cache = opened()
    monkeypatch.undo()
    assert "Permission denied" in cache.why_memory
    tell(cache, 2)
    assert known(cache) == [at(2), at(1)]


def test_no_bytes_in_the_file_can_stop_a_start(path: Path, opened: Opener) -> None:
    first = opened()
    tell(first, *range(1, 20))
    first.close()
    sound, dice = path.read_bytes(), random.Random(7)
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(dice.randint(1, 60)):
            data[dice.randrange(6000)] = dice.randrange(256)
        path.write_bytes(data[: dice.choice([len(data), len(data), dice.randrange(len(data))])])
        cache = opened()
        tell(cache, 200)
        assert at(200) in known(cache)
        assert cache.flush(PATIENCE)
        cache.close()


def test_a_clock_that_is_turned_back_by_decades_confuses_nothing(opened: Opener) -> None:
    cache = opened()
    for number, wall in enumerate([1.7e9, 1.6e9, 0.0, -1.0, 1e300, 5.0], 1):
        cache.worked(at(number), peer(number), Source.GOSSIP, wall)
        cache.failed(at(99), wall)
    assert cache.flush(PATIENCE)
    assert known(opened()) == [at(number) for number in range(6, 0, -1)]


@pytest.mark.parametrize(("settings", "why"), [({"capacity": 0}, "1 to"), ({"network": b"x"}, "8 bytes")])
def test_wrong_settings_are_refused(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        BootstrapCache(None, **settings)  # type: ignore[arg-type]


def test_the_usual_place_is_in_the_users_cache_directory_which_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "a" / name)
    assert usual_path("my-app") == tmp_path / "a" / "crust" / "my-app.bootstrap.cache"
    assert (tmp_path / "a" / "crust").is_dir()
    if sys.platform != "win32":
        assert (tmp_path / "a" / "crust").stat().st_mode & 0o777 == 0o700
    assert usual_path().name == "crust.bootstrap.cache"


def test_a_usual_place_that_cannot_be_made_degrades_to_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opener
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "file" / name)
    assert opened(usual_path()).why_memory


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".hidden", "x" * 65, "ä", "a\n"])
def test_a_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a file"):
        usual_path(name)
