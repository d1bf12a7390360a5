"""Identities and peer ids: what they are, and that a file never loses one."""

import copy
import errno
import hashlib
import os
import pickle
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings
from nacl.exceptions import CryptoError

from crust.errors import EndpointError, IdentityError, Malformed
from crust.identity import Identity, PeerId, UnprovenPeerId, signer

KEY = bytes(range(32))
P = 2**255 - 19  # of the field of both curves; RFC 7748 section 4.1
# RFC 8032 section 7.1, TEST 2: secret, public key, message, signature.
RFC_SEED = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
RFC_SIGNING_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
RFC_MESSAGE = b"\x72"
RFC_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
# Points of small order, two of them not in their canonical form.
WEAK_KEYS = [
    bytes(32),
    b"\x01" + bytes(31),
    b"\x01" + bytes(30) + b"\x80",
    (P - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
]
ORDER = 2**252 + 27742317777372353535851937790883648493
keys = st.binary(min_size=32, max_size=32)
posix = pytest.mark.skipif(os.name != "posix", reason="file modes")


# --- peer ids that are only claimed -----------------------------------------------------------------------------------


@given(key=keys)
def test_a_claim_never_equals_a_proven_id(key: bytes) -> None:
    proved, claim = PeerId(key), UnprovenPeerId(key)
    assert (proved.proven, claim.proven) == (True, False)
    assert proved != claim
    assert claim == UnprovenPeerId.parse(claim.hex())
    assert proved not in {claim: "the claim"}
    assert len({proved, claim, UnprovenPeerId(key)}) == 2
    assert (proved < claim) != (claim < proved)
    assert isinstance(claim, PeerId)


def test_a_claim_says_so_wherever_it_is_printed() -> None:
    claim = UnprovenPeerId(KEY)
    assert str(claim) == "unproven:00010203"
    assert repr(claim) == f"UnprovenPeerId.parse({KEY.hex()!r})"
    assert claim.hex() == KEY.hex()


def test_a_claim_stays_one_when_copied() -> None:
    claim = UnprovenPeerId(KEY)
    for again in (copy.deepcopy(claim), pickle.loads(pickle.dumps(claim))):
        assert type(again) is UnprovenPeerId
        assert again == claim


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


def test_the_key_pairs_of_a_seed() -> None:
    """Signatures as in RFC 8032; the X25519 keys as its section 5.1.5 and RFC 7748 section 4.1 make them."""
    identity = Identity(bytes.fromhex(RFC_SEED))
    assert identity.seed.hex() == RFC_SEED
    assert identity.signing_key.hex() == RFC_SIGNING_KEY
    assert identity.sign(RFC_MESSAGE).hex() == RFC_SIGNATURE
    scalar = bytearray(hashlib.sha512(identity.seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    assert identity.private_key == bytes(scalar)
    y = int.from_bytes(identity.signing_key, "little") % 2**255
    assert bytes(identity.peer_id) == ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")
    assert bytes(identity.peer_id) == bindings.crypto_scalarmult_base(identity.private_key)


def test_fresh_ones_differ() -> None:
    assert len({Identity().peer_id for _ in range(5)}) == 5


def test_the_private_key_does_not_show() -> None:
    identity = Identity(KEY)
    assert repr(identity) == f"<Identity {identity.peer_id}>"
    shown = repr(identity) + repr(identity.peer_id)
    assert KEY.hex() not in shown
    assert identity.private_key.hex() not in shown


# --- signatures -------------------------------------------------------------------------------------------------------


@given(seed=keys, message=st.binary(max_size=300))
def test_a_signature_proves_the_peer_id(seed: bytes, message: bytes) -> None:
    """Whatever the sign of the point: the map to the peer id forgets it."""
    identity = Identity(seed)
    assert signer(message, identity.sign(message), identity.signing_key) == identity.peer_id


@given(place=st.integers(0, 63), bit=st.integers(0, 7))
def test_a_changed_signature_is_refused(place: int, bit: int) -> None:
    identity = Identity(KEY)
    signature = bytearray(identity.sign(b"hello"))
    signature[place] ^= 1 << bit
    with pytest.raises(Malformed):
        signer(b"hello", bytes(signature), identity.signing_key)


def test_another_message_or_signer_is_refused() -> None:
    identity, other = Identity(KEY), Identity()
    signature = identity.sign(b"hello")
    for message, key in ((b"hellp", identity.signing_key), (b"", identity.signing_key), (b"hello", other.signing_key)):
        with pytest.raises(Malformed):
            signer(message, signature, key)


def test_the_negative_of_a_signing_key_signs_nothing_for_others() -> None:
    """It leads to the same peer id, so a signature must not pass with it as well."""
    identity = Identity(KEY)
    negative = identity.signing_key[:31] + bytes([identity.signing_key[31] ^ 0x80])
    assert bindings.crypto_sign_ed25519_pk_to_curve25519(negative) == bytes(identity.peer_id)
    with pytest.raises(Malformed):
        signer(b"hello", identity.sign(b"hello"), negative)


@pytest.mark.parametrize("key", WEAK_KEYS, ids=lambda key: key.hex()[-8:])
def test_keys_that_anybody_can_sign_with_are_refused(key: bytes) -> None:
    """With R = the neutral point and S = 0 the equation of RFC 8032 holds for them, whatever the message."""
    for first in (b"\x01" + bytes(31), key):
        with pytest.raises(Malformed):
            signer(b"hello", first + bytes(32), key)


@pytest.mark.parametrize(
    "low",
    [
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        # Of order 2: libsodium let this one pass before PyNaCl 1.6.2 (CVE-2025-69277).
        b"\xec" + b"\xff" * 30 + b"\x7f",
    ],
    ids=["of order 8", "of order 2"],
)
def test_a_key_with_a_part_of_small_order_is_refused(low: bytes) -> None:
    """Its owner could have eight peer ids of one secret, and signatures that only some accept."""
    scalar = (7).to_bytes(32, "little")
    mixed = bindings.crypto_core_ed25519_add(bindings.crypto_scalarmult_ed25519_base_noclamp(scalar), low)
    # A signature that holds as far as the order of the base point goes: R = rB, S = r + 7h, tried until 8 divides h.
    for r in range(1, 100):
        first = bindings.crypto_scalarmult_ed25519_base_noclamp(r.to_bytes(32, "little"))
        h = int.from_bytes(hashlib.sha512(first + mixed + b"hello").digest(), "little") % ORDER
        signature = first + ((r + 7 * h) % ORDER).to_bytes(32, "little")
        try:
            bindings.crypto_sign_open(signature + b"hello", mixed)
        except CryptoError:
            continue
        with pytest.raises(Malformed):
            signer(b"hello", signature, mixed)
        return
    pytest.fail("no signature with such a key passed the first check, so the second was not tested")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_sizes_are_looked_at_before_anything_else(size: int) -> None:
    identity = Identity(KEY)
    with pytest.raises(Malformed, match="length"):
        signer(b"hello", identity.sign(b"hello"), identity.signing_key[:1] * size)
    with pytest.raises(Malformed, match="length"):
        signer(b"hello", bytes(size + (size == 64)), identity.signing_key)


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
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o610])
def test_a_file_that_others_have_rights_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity"
    known = Identity.load(path).peer_id
    path.chmod(mode)
    with pytest.raises(IdentityError, match=f"pretend to be this node; if nobody has, chmod 600 {path}"):
        Identity.load(path)
    path.chmod(0o400)
    assert Identity.load(path).peer_id == known


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
