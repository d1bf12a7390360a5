"""A file that is sent, and all that can be wrong with it."""

import os
from pathlib import Path

import pytest

from crust.cli.transfer_source import DiskSource
from crust.cli.transfer_wire import TransferError
from tests.cli.transfer_fakes import hash_of

DATA = bytes(range(256)) * 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def unheard(position: int) -> None:
    """Nobody wants to know how far a check is."""


def test_what_is_read_in_order_is_hashed_on_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DiskSource(str(path)) as source:
        assert source.size == len(DATA)
        assert source.read(0, 1000) + source.read(1000, 1560) == DATA
        monkeypatch.setattr(os, "read", None)  # not read again
        assert source.digest(len(DATA), unheard) == hash_of(DATA)


def test_after_a_proof_the_rest_is_hashed_on_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DiskSource(str(path)) as source:
        assert source.digest(1000, unheard) == hash_of(DATA[:1000])
        assert source.read(1000, 1560) == DATA[1000:]
        monkeypatch.setattr(os, "read", None)
        assert source.digest(len(DATA), unheard) == hash_of(DATA)


def test_the_hash_is_right_whatever_was_read_before(path: Path) -> None:
    with DiskSource(str(path)) as source:
        source.read(500, 100)
        assert source.digest(len(DATA), unheard) == hash_of(DATA)
        source.read(0, 100)
        assert source.digest(50, unheard) == hash_of(DATA[:50])
        assert source.read(7, 3) == DATA[7:10]
        assert source.digest(0, unheard) == hash_of(b"")


def test_a_long_check_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.cli.transfer_disk.READ_SIZE", 100)
    monkeypatch.setattr("crust.cli.transfer_disk.REPORT_EVERY", 1000)
    seen: list[int] = []
    with DiskSource(str(path)) as source:
        source.digest(len(DATA), seen.append)
    assert seen == [1000, 2000]


def test_a_file_that_gets_shorter_is_noticed(path: Path) -> None:
    with DiskSource(str(path)) as source:
        source.read(0, 1000)
        os.truncate(path, 1500)
        with pytest.raises(TransferError, match="shorter"):
            source.read(1000, 1000)
        with pytest.raises(TransferError, match="shorter"):
            source.digest(2000, unheard)


def test_a_file_that_is_written_to_is_noticed(path: Path) -> None:
    with DiskSource(str(path)) as source:
        source.check_unchanged()
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(TransferError, match="changed"):
            source.check_unchanged()


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
def test_a_file_that_is_removed_is_still_sent(path: Path) -> None:
    with DiskSource(str(path)) as source:
        path.unlink()
        assert source.read(0, len(DATA)) == DATA
        source.check_unchanged()


def test_a_folder_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=f"tar -czf {tmp_path.name}.tar.gz {tmp_path.name}"):
        DiskSource(f"{tmp_path}/")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="no such file"):
        DiskSource(str(tmp_path / "nothing"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.timeout(10)
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TransferError, match="not a plain file"):
        DiskSource(str(tmp_path / "pipe"))
