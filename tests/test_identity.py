"""Identities and peer ids: what they are, and that a file never loses one."""

import copy
import errno
import logging
import os
import pickle
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import EndpointError, IdentityError
from crust.identity import Identity, PeerId

KEY = bytes(range(32))
RFC_PRIVATE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
RFC_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
keys = st.binary(min_size=32, max_size=32)
posix = pytest.mark.skipif(os.name != "posix", reason="file modes")


# --- peer ids ---------------------------------------------------------------------------------------------------------


@given(key=keys)
def test_hex_and_back(key: bytes) -> None:
    peer = PeerId(key)
    assert bytes(peer) == key
    assert peer.hex() == key.hex()
    assert PeerId.parse(peer.hex()) == PeerId.parse(peer.hex().upper()) == peer
    assert repr(peer) == f"PeerId.parse({peer.hex()!r})"
    assert peer.hex().startswith(str(peer))
    assert len(str(peer)) == 8


@given(first=keys, second=keys)
def test_equal_ordered_and_hashable_as_their_bytes(first: bytes, second: bytes) -> None:
    one, two = PeerId(first), PeerId(second)
    assert (one == two) is (first == second)
    assert (one < two) is (first < second)
    assert (one >= two) is (first >= second)
    assert len({one, two, PeerId(first)}) == len({first, second})


def test_not_comparable_with_others() -> None:
    peer: Any = PeerId(KEY)
    assert peer != KEY
    with pytest.raises(TypeError):
        assert peer < KEY


def test_never_changes() -> None:
    peer: Any = PeerId(KEY)
    for name in ("_key", "other"):
        with pytest.raises(AttributeError, match="never changes"):
            setattr(peer, name, b"")


def test_copies() -> None:
    peer = PeerId(KEY)
    assert pickle.loads(pickle.dumps(peer)) == copy.copy(peer) == copy.deepcopy(peer) == peer


@pytest.mark.parametrize(
    "text",
    ["", "00", "00" * 31, "00" * 33, "0g" * 32, " " + "00" * 32, "00 " * 32, "00" * 32 + "\n", "٠" * 64, None, 5],
)
def test_what_is_no_peer_id(text: Any) -> None:
    with pytest.raises(EndpointError, match="64 hexadecimal digits"):
        PeerId.parse(text)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytearray(32), "x" * 32, None])
def test_what_is_no_key(key: Any) -> None:
    with pytest.raises(EndpointError):
        PeerId(key)
    if key is not None:
        with pytest.raises(IdentityError):
            Identity(key)


# --- identities -------------------------------------------------------------------------------------------------------


def test_the_peer_id_is_the_public_key() -> None:
    """The example of RFC 7748, section 6.1."""
    alice = Identity(bytes.fromhex(RFC_PRIVATE))
    assert alice.peer_id.hex() == RFC_PUBLIC


def test_fresh_ones_differ() -> None:
    assert len({Identity().peer_id for _ in range(5)}) == 5


def test_the_private_key_does_not_show() -> None:
    identity = Identity(KEY)
    assert repr(identity) == f"<Identity {identity.peer_id}>"
    assert KEY.hex() not in repr(identity) + repr(identity.peer_id)


# --- files ------------------------------------------------------------------------------------------------------------


def test_made_once_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "made" / "with its folders" / "identity"
    first = Identity.load(path)
    content = path.read_bytes()
    assert Identity.load(path).peer_id == Identity.load(str(path)).peer_id == first.peer_id
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["identity"], "no drafts are left"


@posix
def test_only_its_owner_can_read_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "identity"
    old = os.umask(0)
    try:
        Identity.load(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not caplog.records


@posix
def test_a_file_that_others_can_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "identity"
    Identity.load(path)
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "crust.identity"):
        Identity.load(path)
    assert f"chmod 600 {path}" in caplog.text


def test_a_missing_file_may_be_an_error(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="there is no identity file"):
        Identity.load(tmp_path / "identity", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"crust identity 1",
        b"crust identity 1\n",
        b"crust identity 1\n" + b"00" * 31,
        b"crust identity 1\n" + b"00" * 33,
        b"crust identity 1\n" + b"zz" * 32,
        b"crust identity 2\n" + b"00" * 32,
        b"\xff\xfe",
        bytes(100_000),
    ],
    ids=lambda content: str(content[:30]),
)
def test_a_damaged_file_is_told_and_never_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="identity file") as caught:
        Identity.load(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_the_error_does_not_show_the_key(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    path.write_text("crust identity 1\n" + KEY.hex() + "00\n")
    with pytest.raises(IdentityError) as caught:
        Identity.load(path)
    assert KEY.hex()[:16] not in str(caught.value)


def test_an_unusable_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "identity"):
        with pytest.raises(IdentityError, match="identity file"):
            Identity.load(path)


def load_from_many_threads(path: Path) -> set[PeerId]:
    found: list[PeerId] = []
    together = threading.Barrier(8)

    def load() -> None:
        together.wait()
        found.append(Identity.load(path).peer_id)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    return set(found)


def test_all_that_start_at_once_get_the_same(tmp_path: Path) -> None:
    for round in range(10):
        assert len(load_from_many_threads(tmp_path / str(round))) == 1
    assert len(list(tmp_path.iterdir())) == 10, "no drafts are left"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "identity"
    first = Identity.load(path)
    assert Identity.load(path).peer_id == first.peer_id
    assert list(tmp_path.iterdir()) == [path]


def test_another_process_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look and our write: theirs is the identity."""
    path = tmp_path / "identity"
    theirs: list[Identity] = []
    link = os.link

    def late(source: Path, target: Path) -> None:
        if not theirs:
            theirs.append(Identity(KEY))
            path.write_text(f"crust identity 1\n{KEY.hex()}\n")
            path.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert Identity.load(path).peer_id == theirs[0].peer_id
    assert list(tmp_path.iterdir()) == [path]
