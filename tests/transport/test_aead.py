"""The fast cipher against PyNaCl's public one, and against buffers that do not fit."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from crust.transport import aead
from crust.transport.aead import AEGIS256, CHACHA20, TAG_SIZES, Aead, FastAead, PortableAead

KEY = bytes(range(32))
AD = 4
ciphers = pytest.mark.parametrize("cipher", [AEGIS256, CHACHA20])
makers = pytest.mark.parametrize("maker", [FastAead, PortableAead])


@pytest.fixture
def fresh_caches() -> Iterator[None]:
    """What was found out about this process is found out again, before and after."""
    cached: list[Any] = [aead.fast_aead_works, aead.has_fast_aes, aead._sodium]
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def sealed(box: Aead, counter: int, ad: bytes, plaintext: bytes) -> bytearray:
    out = bytearray(ad + bytes(len(plaintext) + box.tag_size))
    box.seal(counter, out, AD, plaintext, len(plaintext))
    return out


@ciphers
def test_the_fast_one_works_here(cipher: str) -> None:
    """Else a new PyNaCl made everything several times slower, which nothing but this test would tell."""
    assert aead.fast_aead_works(cipher)
    assert isinstance(aead.new_aead(cipher, KEY, AD), FastAead)


@ciphers
@given(
    plaintext=st.binary(max_size=2000),
    key=st.binary(min_size=32, max_size=32),
    ad=st.binary(min_size=AD, max_size=AD),
    counter=st.integers(0, 2**64 - 1),
)
def test_both_give_the_same(cipher: str, plaintext: bytes, key: bytes, ad: bytes, counter: int) -> None:
    fast, portable = FastAead(cipher, key, AD), PortableAead(cipher, key, AD)
    wire = sealed(fast, counter, ad, plaintext)
    assert wire == sealed(portable, counter, ad, plaintext)
    assert wire[:AD] == ad
    for box in (fast, portable):
        buffer = bytearray(wire)
        assert box.open(counter, buffer, AD, len(buffer) - AD)
        assert buffer[AD : len(buffer) - box.tag_size] == plaintext


@pytest.mark.parametrize(("cipher", "nonce_size"), [(AEGIS256, 32), (CHACHA20, 12)])
def test_nonces_are_zeros_and_the_counter(cipher: str, nonce_size: int) -> None:
    symbol = {AEGIS256: "aegis256", CHACHA20: "chacha20poly1305_ietf"}[cipher]
    encrypt = getattr(bindings, f"crypto_aead_{symbol}_encrypt")
    nonce = bytes(nonce_size - 8) + (258).to_bytes(8, "little")
    wire = sealed(FastAead(cipher, KEY, AD), 258, b"head", b"text")
    assert wire == b"head" + encrypt(b"text", b"head", nonce, KEY)


@ciphers
@makers
def test_any_changed_bit_is_noticed(cipher: str, maker: type[Any]) -> None:
    box = maker(cipher, KEY, AD)
    wire = sealed(box, 7, b"head", b"plaintext")
    for bit in range(8 * len(wire)):
        changed = bytearray(wire)
        changed[bit // 8] ^= 1 << bit % 8
        assert not box.open(7, changed, AD, len(changed) - AD)
    assert not box.open(8, bytearray(wire), AD, len(wire) - AD), "another counter"
    assert not maker(cipher, bytes(32), AD).open(7, bytearray(wire), AD, len(wire) - AD), "another key"
    assert box.open(7, bytearray(wire), AD, len(wire) - AD)


@ciphers
@makers
def test_messages_between_others_touch_nothing_else(cipher: str, maker: type[Any]) -> None:
    box = maker(cipher, KEY, AD)
    size = 50 + TAG_SIZES[cipher]
    buffer = bytearray(b"\xaa" * 300)
    box.seal(1, buffer, 100, memoryview(bytes(80))[10:], 50)
    assert set(buffer[:100]) == set(buffer[100 + size :]) == {0xAA}
    assert box.open(1, buffer, 100, size)
    assert buffer[100:150] == bytes(50)
    assert set(buffer[:100]) == set(buffer[100 + size :]) == {0xAA}


@ciphers
@makers
@pytest.mark.parametrize(
    ("offset", "given_size", "length"),
    [(3, 10, 10), (-1, 10, 10), (4, 10, 11), (4, 10, -1), (4, 200, 200), (2**40, 10, 10), (95, 10, 10), (4, 0, 1)],
)
def test_sealing_never_leaves_its_buffers(
    cipher: str, maker: type[Any], offset: int, given_size: int, length: int
) -> None:
    out = bytearray(100)
    with pytest.raises(ValueError, match="fit"):
        maker(cipher, KEY, AD).seal(0, out, offset, bytes(given_size), length)
    assert out == bytes(100)


@ciphers
@makers
@pytest.mark.parametrize(
    ("offset", "length"), [(3, 40), (-5, 40), (4, 15), (4, -1), (4, 97), (61, 40), (2**40, 40), (4, 2**40)]
)
def test_opening_never_leaves_its_buffer(cipher: str, maker: type[Any], offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        maker(cipher, KEY, AD).open(0, bytearray(100), offset, length)


def test_opening_moves_on_to_another_buffer() -> None:
    box = FastAead(AEGIS256, KEY, AD)
    for size in (10, 1000, 20):
        wire = sealed(box, 1, b"head", bytes(size))
        assert box.open(1, wire, AD, len(wire) - AD)
        assert wire[AD : AD + size] == bytes(size)


def test_constants_are_never_written_to() -> None:
    box: Any = FastAead(CHACHA20, KEY, AD)
    constant = bytes(100)
    with pytest.raises((BufferError, TypeError)):
        box.seal(0, constant, 4, b"text", 4)
    with pytest.raises((BufferError, TypeError)):
        box.open(0, constant, 4, 40)
    assert constant == bytes(100)


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        FastAead(CHACHA20, KEY[:31], AD)


@pytest.mark.usefixtures("fresh_caches")
def test_without_the_private_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError("nacl._sodium is gone")

    monkeypatch.setattr(aead, "_sodium", missing)
    aead.fast_aead_works.cache_clear()
    assert not aead.fast_aead_works(CHACHA20)
    assert not aead.has_fast_aes()
    assert isinstance(aead.new_aead(CHACHA20, KEY, AD), PortableAead)
    assert aead.supported_ciphers() == (CHACHA20,)


@pytest.mark.usefixtures("fresh_caches")
@pytest.mark.parametrize("fault", ["size", "output", "accepts"])
def test_a_library_that_changed_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    class Wrong(FastAead):
        def seal(self, *arguments: Any) -> None:
            super().seal(*arguments)
            if fault == "output":
                arguments[1][-1] ^= 1

        def open(self, *arguments: Any) -> bool:
            return super().open(*arguments) or fault == "accepts"

    if fault == "size":
        monkeypatch.setitem(aead._CIPHERS, AEGIS256, aead._Cipher("aegis256", tag_size=16, nonce_size=32))
    else:
        monkeypatch.setattr(aead, "FastAead", Wrong)
    with caplog.at_level(logging.WARNING, "crust.transport.aead"):
        assert not aead.fast_aead_works(AEGIS256)
    assert "self-test" in caplog.text


@pytest.mark.usefixtures("fresh_caches")
def test_ciphers_without_aes_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aead, "has_fast_aes", lambda: False)
    assert aead.supported_ciphers() == (CHACHA20,)


@pytest.mark.usefixtures("fresh_caches")
def test_ciphers_of_an_older_pynacl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aead, "has_fast_aes", lambda: True)
    assert aead.supported_ciphers() == (AEGIS256, CHACHA20)
    monkeypatch.delattr(bindings, "crypto_aead_aegis256_encrypt")
    assert aead.supported_ciphers() == (CHACHA20,)


@given(key=st.binary(min_size=32, max_size=32), number=st.integers(0, 2**64 - 1), size=st.integers(0, 300))
def test_the_key_stream_is_chacha20(key: bytes, number: int, size: int) -> None:
    start = (1).to_bytes(4, "little") + bytes(4) + number.to_bytes(8, "little")
    expected = Cipher(ChaCha20(key, start), mode=None).encryptor().update(bytes(size))
    assert aead.keystream(key, number, size) == expected
