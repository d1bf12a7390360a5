"""The folder that receives: nothing outside it, nothing replaced unasked, nothing half done under the real name."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.cli import transfer_folder
from crust.cli.transfer_folder import DiskFolder, DiskSlot, IfExists, part_name
from crust.cli.transfer_names import MAX_NAME_BYTES
from crust.cli.transfer_wire import Code, TransferError
from tests.cli.transfer_fakes import hash_of

DATA = b"some bytes of a file"
SIZE = len(DATA)


def unheard(position: int) -> None:
    """Nobody wants to know how far a check is."""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fill(slot: DiskSlot, data: bytes = DATA) -> str:
    slot.write(memoryview(data))
    assert slot.digest(unheard) == hash_of(data)
    return slot.place()


def refusal(code: Code, act: Callable[[], object]) -> TransferError:
    with pytest.raises(TransferError) as caught:
        act()
    assert caught.value.code is code
    return caught.value


def test_a_file_gets_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    slot = DiskFolder(tmp_path).open("name", SIZE)
    slot.write(memoryview(DATA))
    assert files(tmp_path) == {part_name("name", SIZE): DATA}
    assert slot.place() == "name"
    assert files(tmp_path) == {"name": DATA}


def test_an_empty_file(tmp_path: Path) -> None:
    assert DiskFolder(tmp_path).open("name", 0).place() == "name"
    assert files(tmp_path) == {"name": b""}


def test_a_part_is_found_again_checked_and_gone_on_with(tmp_path: Path) -> None:
    slot = DiskFolder(tmp_path).open("name", SIZE)
    slot.write(memoryview(DATA[:7]))
    slot.close()
    assert DiskFolder(tmp_path).unfinished() == [("name", 7, SIZE)]

    again = DiskFolder(tmp_path).open("name", SIZE)
    assert again.position == 7
    assert again.digest(unheard) == hash_of(DATA[:7])
    again.write(memoryview(DATA[7:]))
    assert again.digest(unheard) == hash_of(DATA)
    again.place()
    assert files(tmp_path) == {"name": DATA}


def test_a_part_that_is_not_the_beginning_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / part_name("name", SIZE)).write_bytes(b"other")
    slot = DiskFolder(tmp_path).open("name", SIZE)
    slot.digest(unheard)
    slot.restart()
    fill(slot)
    assert files(tmp_path) == {"name": DATA}


def test_a_part_longer_than_the_file_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / part_name("name", SIZE)).write_bytes(DATA + b"x")
    fill(DiskFolder(tmp_path).open("name", SIZE))
    assert files(tmp_path) == {"name": DATA}


def test_files_of_other_sizes_have_other_parts(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path)
    one, other = folder.open("name", SIZE), folder.open("name", SIZE + 1)
    one.write(memoryview(b"1"))
    assert other.position == 0
    one.close()
    other.close()


def test_nothing_is_left_of_a_file_of_which_no_byte_came(tmp_path: Path) -> None:
    DiskFolder(tmp_path).open("name", SIZE).close()
    assert not files(tmp_path)


def test_one_part_has_one_writer(tmp_path: Path) -> None:
    first = DiskFolder(tmp_path).open("name", SIZE)
    refusal(Code.BUSY, lambda: DiskFolder(tmp_path).open("name", SIZE))
    fill(first)
    assert files(tmp_path) == {"name": DATA}


@pytest.mark.parametrize("there", [b"short", b"x" * SIZE])
def test_a_file_that_exists_stays(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "name").write_bytes(there)

    def take() -> None:
        slot = DiskFolder(tmp_path).open("name", SIZE)
        assert slot.complete
        assert slot.digest_of_complete(unheard) == hash_of(there)
        slot.replace_complete()

    assert "--overwrite" in refusal(Code.EXISTS, take).local
    assert files(tmp_path) == {"name": there}


def test_a_file_that_appears_meanwhile_stays_and_so_does_the_part(tmp_path: Path) -> None:
    slot = DiskFolder(tmp_path).open("name", SIZE)
    slot.write(memoryview(DATA))
    (tmp_path / "name").write_bytes(b"mine")
    refusal(Code.EXISTS, slot.place)
    slot.close()
    assert files(tmp_path) == {"name": b"mine", part_name("name", SIZE): DATA}


@pytest.mark.parametrize("there", [b"short", b"x" * SIZE])
def test_overwriting_is_done_when_told(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "name").write_bytes(there)
    slot = DiskFolder(tmp_path, IfExists.OVERWRITE).open("name", SIZE)
    if slot.complete:
        slot.replace_complete()
    fill(slot)
    assert files(tmp_path) == {"name": DATA}


def test_renaming_finds_a_free_number(tmp_path: Path) -> None:
    for name in ("name.txt", "name (2).txt"):
        (tmp_path / name).write_bytes(b"short")
    assert fill(DiskFolder(tmp_path, IfExists.RENAME).open("name.txt", SIZE)) == "name (3).txt"
    assert files(tmp_path) == {"name.txt": b"short", "name (2).txt": b"short", "name (3).txt": DATA}


def test_a_name_of_the_greatest_length_has_room_for_the_part_and_the_number(tmp_path: Path) -> None:
    name = "ü" * (MAX_NAME_BYTES // 2)
    (tmp_path / name).write_bytes(b"short")
    fill(DiskFolder(tmp_path, IfExists.RENAME).open(name, SIZE))
    assert len(files(tmp_path)) == 2


def test_where_there_are_no_links_the_name_is_still_taken_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*args: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    fill(DiskFolder(tmp_path).open("name", SIZE))
    assert files(tmp_path) == {"name": DATA}
    slot = DiskFolder(tmp_path).open("other", SIZE)
    slot.write(memoryview(DATA))
    (tmp_path / "other").write_bytes(b"mine")
    refusal(Code.EXISTS, slot.place)
    slot.close()
    assert files(tmp_path)["other"] == b"mine"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("if_exists", [IfExists.REFUSE, IfExists.OVERWRITE])
def test_a_link_in_the_folder_is_not_followed(tmp_path: Path, if_exists: IfExists) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    inside.mkdir()
    outside.write_bytes(b"x" * SIZE)
    (inside / "name").symlink_to(outside)
    (inside / "dangling").symlink_to(tmp_path / "nothing")
    refusal(Code.EXISTS, lambda: DiskFolder(inside, if_exists).open("name", SIZE))
    refusal(Code.EXISTS, lambda: DiskFolder(inside, if_exists).open("dangling", SIZE))

    (inside / part_name("other", SIZE)).symlink_to(outside)
    refusal(Code.DENIED, lambda: DiskFolder(inside, if_exists).open("other", SIZE))

    slot = DiskFolder(inside, if_exists).open("late", SIZE)
    slot.write(memoryview(DATA))
    (inside / "late").symlink_to(outside)
    try:
        slot.place()
    except TransferError as error:
        assert error.code is Code.EXISTS
    slot.close()
    assert outside.read_bytes() == b"x" * SIZE
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_not_followed_where_the_system_does_not_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_folder, "_SAFE", 0)
    (tmp_path / part_name("name", SIZE)).symlink_to(tmp_path / "outside")
    refusal(Code.DENIED, lambda: DiskFolder(tmp_path).open("name", SIZE))
    assert not (tmp_path / "outside").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.timeout(10)
def test_a_pipe_in_the_folder_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "name")
    os.mkfifo(tmp_path / part_name("other", SIZE))
    refusal(Code.EXISTS, lambda: DiskFolder(tmp_path, IfExists.OVERWRITE).open("name", SIZE))
    refusal(Code.DENIED, lambda: DiskFolder(tmp_path).open("other", SIZE))


def test_a_folder_of_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    refusal(Code.EXISTS, lambda: DiskFolder(tmp_path, IfExists.OVERWRITE).open("name", SIZE))


def test_a_part_that_is_also_a_finished_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"short")
    os.link(tmp_path / "name", tmp_path / part_name("name", SIZE))
    slot = DiskFolder(tmp_path, IfExists.OVERWRITE).open("name", SIZE)
    assert slot.position == 0
    slot.write(memoryview(DATA))
    assert files(tmp_path)["name"] == b"short"
    slot.close()


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path, max_size=SIZE)
    refusal(Code.TOO_LARGE, lambda: folder.open("name", SIZE + 1))
    folder.open("name", SIZE).close()


def test_what_the_disk_has_no_room_for_is_refused_before_it_comes(tmp_path: Path) -> None:
    refusal(Code.NO_SPACE, lambda: DiskFolder(tmp_path).open("name", 2**62))
    assert not files(tmp_path)


def test_a_disk_that_fills_up_keeps_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = DiskFolder(tmp_path).open("name", SIZE)
    slot.write(memoryview(DATA[:5]))
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:4])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        error = refusal(Code.NO_SPACE, lambda: slot.write(memoryview(DATA[5:11])))
    assert "full" in error.text
    slot.close()
    again = DiskFolder(tmp_path).open("name", SIZE)
    assert again.digest(unheard) == hash_of(DATA[: again.position])
    again.close()


def test_a_folder_that_vanishes_is_an_error_with_a_cause(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path / "into")
    assert "vanished" in refusal(Code.DISK, lambda: folder.open("name", SIZE)).text


@given(st.text(max_size=250), st.integers(0, 2**63 - 1))
def test_the_name_of_a_part_can_never_be_offered(name: str, size: int) -> None:
    name = name.encode(errors="replace").decode()
    assert part_name(name, size).startswith(".")
    assert len(part_name(name, size).encode()) <= 255
