"""The file itself: shared, damaged, cut off, replaced, locked by somebody who was stopped."""

import errno
import logging
import mmap
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crust.discovery import cache_file, file_lock
from crust.discovery.cache_file import MAX_SET_ASIDE, CacheFile, CacheUnusable, LockBusy
from crust.discovery.cache_record import NO_TAG, SIZE, Header, _checksum, encode_header
from crust.discovery.cache_table import CacheTable
from crust.discovery.contact import Source
from crust.discovery.file_lock import FileLock
from crust.endpoint import Endpoint
from crust.threads.clock import now

CAPACITY = 50
WHOLE = Header(CAPACITY).file_size


def at(number: int) -> Endpoint:
    return Endpoint.tcp(f"192.0.2.{number}:5483")


def worked(*numbers: int) -> Callable[[CacheTable], None]:
    def change(table: CacheTable) -> None:
        for number in numbers:
            table.worked(at(number), None, Source.GOSSIP, NO_TAG, 1000)

    return change


def known(file: CacheFile) -> set[Endpoint]:
    return {record.endpoint for record in file.read()}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "some.bootstrap.cache")


@pytest.fixture
def opened(path: str) -> Iterator[Callable[..., CacheFile]]:
    """Opens the cache; closes it after the test."""
    files: list[CacheFile] = []

    def open_it(capacity: int = CAPACITY, patience: float = 5) -> CacheFile:
        files.append(CacheFile(path, capacity, patience))
        return files[-1]

    yield open_it
    for file in files:
        file.close()


@pytest.fixture
def stopped_holder(path: str) -> Iterator[Callable[[], FileLock]]:
    """Takes the lock as another process would that is stopped then."""
    descriptors: list[int] = []

    def hold() -> FileLock:
        descriptors.append(os.open(path, os.O_RDWR))
        lock = FileLock(descriptors[-1])
        assert lock.acquire(5)
        return lock

    yield hold
    for descriptor in descriptors:
        os.close(descriptor)


def overwrite(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_is_written_is_there_for_the_next_and_for_others_at_once(opened: Callable[..., CacheFile]) -> None:
    one, two = opened(), opened()
    one.update(worked(1, 2), 5)
    assert known(two) == {at(1), at(2)}
    two.update(worked(3), 5)
    assert known(one) == known(opened()) == {at(1), at(2), at(3)}


def test_a_new_file_has_its_whole_length_and_belongs_to_its_owner(
    opened: Callable[..., CacheFile], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(descriptor: int, data: bytes) -> int:
        written.append(real_write(descriptor, data))
        return written[-1]

    written: list[int] = []
    real_write = os.write
    monkeypatch.setattr(os, "write", count)
    opened().update(worked(*range(1, CAPACITY + 20)), 5)
    assert sum(written) >= WHOLE, "a file with holes kills its writer when the disk is full"
    assert os.path.getsize(path) == WHOLE
    if sys.platform != "win32":
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert len(opened().read()) == CAPACITY


def test_a_file_keeps_its_capacity(opened: Callable[..., CacheFile]) -> None:
    assert opened(7).capacity == 7
    assert opened(CAPACITY).capacity == 7


def test_a_damaged_record_is_dropped_and_counted_and_the_others_stay(
    opened: Callable[..., CacheFile], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened().update(worked(1, 2, 3), 5)
    overwrite(path, 2 * SIZE + 40, b"\xff")
    file = opened()
    assert len(known(file)) == 2
    assert file.damaged == 1
    file.update(worked(9), 5)
    assert file.damaged == 1
    assert len(known(file)) == 3
    assert "dropped damaged records (1)" in caplog.text
    assert opened().damaged == 0


CORRUPT = {
    "text": b"[{'ip': '192.0.2.1'},]\n",
    "one byte": b"x",
    "no magic": b"\0" * SIZE + b"content" * SIZE,
    "cut off": encode_header(Header(CAPACITY)) + b"\0" * SIZE,
    "too long": encode_header(Header(CAPACITY)).ljust(WHOLE + 1, b"\0"),
    "wrong checksum": b"CRUSTBC\n".ljust(WHOLE, b"\1"),
    "noise": random.Random(3).randbytes(WHOLE),
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in CORRUPT.items()])
def test_a_file_that_is_no_cache_is_set_aside_and_a_new_one_begun(
    opened: Callable[..., CacheFile], path: str, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    Path(path).write_bytes(content)
    file = opened()
    assert file.read() == []
    file.update(worked(1), 5)
    assert Path(f"{path}.corrupt-1").read_bytes() == content, "nothing that somebody may want is destroyed"
    assert "is damaged (" in caplog.text
    assert f"{path}.corrupt-1" in caplog.text
    assert known(opened()) == {at(1)}


FOREIGN = {
    "a diary": b"Monday. Nothing happened.\n" * 9,
    "a secret key": b"crust identity 1\n" + bytes(range(64)),
    "one byte": b"x",
    "as long as a cache of another capacity": b"n" * Header(CAPACITY + 1).file_size,
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in FOREIGN.items()])
def test_a_file_that_never_was_a_cache_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "diary.txt"
    place.write_bytes(content)
    with pytest.raises(CacheUnusable, match=r"diary.txt is not a bootstrap cache .*; set cache_file to another place"):
        CacheFile(str(place), CAPACITY)
    assert [file.name for file in tmp_path.iterdir()] == ["diary.txt"]
    assert place.read_bytes() == content


@pytest.mark.parametrize("name", ["too long", "cut off", "wrong checksum", "noise"])
def test_what_is_left_of_a_cache_is_set_aside_whatever_its_name(tmp_path: Path, name: str) -> None:
    place = tmp_path / "mine"
    place.write_bytes(CORRUPT[name])
    file = CacheFile(str(place), CAPACITY)
    assert file.set_aside == f"{place}.corrupt-1"
    assert Path(file.set_aside).read_bytes() == CORRUPT[name]
    file.close()


def test_a_look_at_a_cache_takes_no_lock_and_changes_nothing(
    opened: Callable[..., CacheFile], path: str, stopped_holder: Callable[[], FileLock]
) -> None:
    opened().update(worked(1, 2, 3), 5)
    overwrite(path, 2 * SIZE + 40, b"\xff")
    before = Path(path).read_bytes()
    stopped_holder()
    records, damaged = cache_file.look(path)
    assert (len(records), damaged) == (2, 1)
    assert Path(path).read_bytes() == before


def test_a_header_that_asks_for_gigabytes_is_not_believed(opened: Callable[..., CacheFile], path: str) -> None:
    body = bytearray(encode_header(Header(CAPACITY))[:24])
    body[12:20] = b"\xff\xff\xff\x00\xff\xff\xff\x20"
    with open(path, "wb") as file:
        file.write(bytes(body) + _checksum(bytes(body)))
        file.truncate(2**40)
    assert opened().read() == []
    assert os.path.getsize(path) == WHOLE


def test_files_set_aside_are_bounded(opened: Callable[..., CacheFile], path: str, tmp_path: Path) -> None:
    for number in range(MAX_SET_ASIDE + 3):
        Path(path).write_text(f"damage {number}")
        opened()
    kept = sorted(file.name for file in tmp_path.glob("*.corrupt-*"))
    assert kept == [f"some.bootstrap.cache.corrupt-{number}" for number in range(1, MAX_SET_ASIDE + 1)]
    assert Path(f"{path}.corrupt-1").read_text() == "damage 0"


def test_what_a_later_version_adds_to_the_header_does_not_matter(opened: Callable[..., CacheFile], path: str) -> None:
    opened().update(worked(1), 5)
    overwrite(path, SIZE - 10, b"later")
    file = opened()
    file.update(worked(2), 5)
    assert known(file) == {at(1), at(2)}


@pytest.mark.parametrize("size", [0, 1, SIZE, 5 * SIZE, WHOLE, WHOLE + 999])
def test_a_file_whose_maker_was_killed_is_begun_again(
    opened: Callable[..., CacheFile], path: str, tmp_path: Path, size: int
) -> None:
    Path(path).write_bytes(bytes(size))
    opened().update(worked(1), 5)
    assert known(opened()) == {at(1)}
    assert [file.name for file in tmp_path.iterdir()] == ["some.bootstrap.cache"]


def test_a_file_of_a_newer_version_is_left_alone(opened: Callable[..., CacheFile], path: str) -> None:
    body = bytearray(encode_header(Header(CAPACITY))[:24])
    body[9] = 2
    content = (bytes(body) + _checksum(bytes(body))).ljust(WHOLE, b"\0")
    Path(path).write_bytes(content)
    with pytest.raises(CacheUnusable, match=r"newer version of crust .*layout 2.*set cache_file"):
        opened()
    assert Path(path).read_bytes() == content


def test_damage_that_appears_while_it_is_open_is_mended_by_the_next_update(
    opened: Callable[..., CacheFile], path: str
) -> None:
    file = opened()
    file.update(worked(1), 5)
    overwrite(path, 3, b"???")
    file.update(worked(2), 5)
    assert known(file) == known(opened()) == {at(2)}
    assert os.path.exists(f"{path}.corrupt-1")


def test_a_file_that_is_cut_off_while_it_is_open_kills_nobody(opened: Callable[..., CacheFile], path: str) -> None:
    file = opened()
    file.update(worked(1), 5)
    assert known(file) == {at(1)}
    for size in (SIZE, 0):
        os.truncate(path, size)
        assert at(1) in known(file)  # what was in it before
        file.update(worked(1, 2), 5)
        assert known(file) == known(opened()) == {at(1), at(2)}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of a file that is open")
def test_a_file_that_is_removed_or_replaced_while_it_is_open_is_opened_again(
    opened: Callable[..., CacheFile], path: str
) -> None:
    file = opened()
    file.update(worked(1), 5)
    os.unlink(path)
    file.update(worked(2), 5)
    assert known(file) == known(opened()) == {at(2)}
    os.rename(path, path + ".old")
    other = opened()
    other.update(worked(3), 5)
    file.update(worked(4), 5)
    assert known(file) == known(other) == {at(3), at(4)}


def test_a_stopped_process_with_the_lock_hinders_no_reader_and_delays_a_writer_for_so_long_only(
    opened: Callable[..., CacheFile], stopped_holder: Callable[[], FileLock]
) -> None:
    file = opened()
    file.update(worked(1), 5)
    lock = stopped_holder()
    before = now()
    late = opened(patience=0.05)
    assert known(late) == known(file) == {at(1)}
    with pytest.raises(LockBusy, match="is it stopped"):
        late.update(worked(2), 0.05)
    assert now() - before < 30
    assert known(file) == {at(1)}
    lock.release()
    late.update(worked(2), 5)
    assert known(file) == {at(1), at(2)}


def test_a_stopped_process_with_the_lock_of_a_file_that_is_not_made_yet(
    opened: Callable[..., CacheFile], path: str, stopped_holder: Callable[[], FileLock]
) -> None:
    Path(path).write_bytes(b"")
    stopped_holder()
    with pytest.raises(LockBusy):
        opened(patience=0.05)


UNUSABLE = {
    "no such directory": ("missing/cache", "its directory does not exist; make .*missing"),
    "a directory": ("", "Is a directory; set cache_file"),
    "no file": ("/dev/null", "no ordinary file; set cache_file"),
    "in a file": ("file/cache", "Not a directory; set cache_file"),
    "a name that is too long": ("x" * 300, "File name too long"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the messages are those of POSIX systems")
@pytest.mark.parametrize(("name", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_place_that_will_not_do_is_named_with_the_way_out(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheUnusable, match=why):
        CacheFile(str(tmp_path / name), CAPACITY)


def test_a_named_pipe_does_not_make_us_wait(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CacheUnusable, match="no ordinary file"):
        CacheFile(str(tmp_path / "pipe"), CAPACITY)


def test_a_file_that_may_only_be_read_is_read(
    opened: Callable[..., CacheFile], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().update(worked(1, 2), 5)

    def refuse(*_: object) -> int:  # the superuser may write anything, so the system's own refusal cannot be relied on
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CacheUnusable, match="Read-only file system") as caught:
        opened()
    monkeypatch.undo()
    assert {record.endpoint for record in caught.value.records} == {at(1), at(2)}


@pytest.mark.parametrize("content", [b"", b"nonsense", encode_header(Header(9)), encode_header(Header(9)) + b"x" * 200])
def test_what_can_be_read_of_a_file_that_may_only_be_read(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
    assert cache_file.read_only(path) == []
    assert cache_file.read_only(path + ".missing") == []


def test_a_file_system_without_locks_is_not_written(
    opened: Callable[..., CacheFile], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().update(worked(1), 5)
    before = Path(path).read_bytes()

    def no_locks(*_: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    with pytest.raises(CacheUnusable, match="its file system has no locks") as caught:
        opened()
    assert [record.endpoint for record in caught.value.records] == [at(1)]
    monkeypatch.undo()
    monkeypatch.setattr(cache_file, "FileLock", lambda descriptor: FileLock(descriptor, file_lock.NoLocks()))
    with pytest.raises(CacheUnusable, match="this system has no file locks"):
        opened()
    assert Path(path).read_bytes() == before


def test_a_full_disk_is_noticed_when_the_file_is_made_and_not_when_it_is_used(
    opened: Callable[..., CacheFile], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_some(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[:SIZE])

    real_write = os.write
    monkeypatch.setattr(os, "write", write_some)
    with pytest.raises(CacheUnusable, match="No space left"):
        opened()
    monkeypatch.undo()
    opened().update(worked(1), 5)
    assert known(opened()) == {at(1)}
    assert not os.path.exists(f"{path}.corrupt-1")


def test_a_record_that_moves_while_it_is_read_is_not_missed(
    opened: Callable[..., CacheFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened()
    file.update(worked(1), 5)
    whole = file._opened.map[:]
    torn = whole[:SIZE].ljust(WHOLE, b"\0")  # as copied while the record moved from behind us to before us

    class Moving(mmap.mmap):
        copies = iter([torn, whole, whole])

        def __getitem__(self, part: object) -> bytes:  # type: ignore[override]
            return next(self.copies)

    with Moving(-1, WHOLE) as moving:
        assert cache_file._steady_copy(moving) == whole


def test_nobody_writes_over_what_another_process_changed(opened: Callable[..., CacheFile]) -> None:
    one, two = opened(), opened()
    for number in range(1, 30):
        (one if number % 2 else two).update(worked(number), 5)
    assert known(one) == {at(number) for number in range(1, 30)}


def test_it_is_not_the_log_that_tells_of_an_undamaged_file(
    opened: Callable[..., CacheFile], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    opened().update(worked(1), 5)
    opened().update(worked(2), 5)
    assert caplog.text == ""
