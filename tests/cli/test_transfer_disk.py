"""What the errors of the system become."""

import errno

import pytest

from crust.cli.transfer_disk import as_transfer_errors
from crust.cli.transfer_wire import Code, TransferError


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [
        (errno.ENOSPC, Code.NO_SPACE, "the disk of the receiver is full"),
        (errno.EACCES, Code.DENIED, "permission denied"),
        (errno.EROFS, Code.DENIED, "read-only"),
        (errno.EFBIG, Code.TOO_LARGE, "cannot hold a file of that size"),
        (errno.EIO, Code.DISK, "the disk of the receiver failed"),
    ],
)
def test_the_peer_hears_the_cause_and_only_we_the_path(number: int, code: Code, text: str) -> None:
    with pytest.raises(TransferError, match=text) as caught, as_transfer_errors("the receiver"):
        raise OSError(number, "what the system says", "/home/ada/secret plans")
    assert caught.value.code is code
    assert "secret" not in caught.value.text
    assert "secret" in caught.value.local


def test_other_errors_pass() -> None:
    with pytest.raises(TransferError, match="mine"), as_transfer_errors("the sender"):
        raise TransferError(Code.OTHER, "mine")
    with pytest.raises(KeyError), as_transfer_errors("the sender"):
        raise KeyError
