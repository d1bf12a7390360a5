"""One file, one holder."""

import os
from pathlib import Path

from crust.cli.transfer_lock import try_lock


def test_a_locked_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    one, two = (os.open(path, os.O_RDWR) for _ in range(2))
    try:
        assert try_lock(one)
        assert not try_lock(two)
        assert os.read(one, 99) == b"content"  # the position stays what it was
        os.close(one)
        assert try_lock(two)
    finally:
        os.close(two)
