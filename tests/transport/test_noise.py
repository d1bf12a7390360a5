"""Noise against the published vectors, against an independent implementation, and against hostile bytes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_base
from noise.connection import Keypair, NoiseConnection

from crust.errors import HandshakeFailed
from crust.transport.noise import MAX_NONCE, PROTOCOL, CipherState, HandshakeState, message_patterns

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "noise_xx.json").read_text("ascii"))["vectors"]
PLAIN_XX = "Noise_XX_25519_ChaChaPoly_BLAKE2b"
PSK = bytes(range(32))
# Every public key whose shared secret is zero whatever the private key, RFC 7748 section 7: 0, 1, the two points of
# order 8, p-1, p and p+1.
DEGENERATE = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def side(initiator: bool, protocol: str = PROTOCOL, **changes: Any) -> HandshakeState:
    arguments: dict[str, Any] = {"static": bytes([1 + initiator]) * 32, "psks": [PSK] * protocol.count("psk")}
    return HandshakeState(protocol, initiator=initiator, **(arguments | changes))


def shake(first: HandshakeState, second: HandshakeState) -> None:
    for writer, reader in ((first, second), (second, first), (first, second)):
        reader.read_message(writer.write_message(b"x"))


def vector_side(vector: dict[str, Any], role: str) -> HandshakeState:
    def ephemeral(size: int) -> bytes:
        return bytes.fromhex(vector[f"{role}_ephemeral"])

    return HandshakeState(
        vector["protocol_name"],
        initiator=role == "init",
        static=bytes.fromhex(vector[f"{role}_static"]),
        prologue=bytes.fromhex(vector[f"{role}_prologue"]),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{role}_psks", [])],
        random=ephemeral,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["protocol_name"])
def test_published_vectors(vector: dict[str, Any]) -> None:
    sides = [vector_side(vector, "init"), vector_side(vector, "resp")]
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    assert len(messages) >= 3
    for number, (payload, ciphertext) in enumerate(messages[:3]):
        writer, reader = sides[number % 2], sides[1 - number % 2]
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message(ciphertext) == payload
    if "handshake_hash" in vector:
        assert [side.handshake_hash.hex() for side in sides] == [vector["handshake_hash"]] * 2
    ciphers = [side.split() for side in sides]
    for number, (payload, ciphertext) in enumerate(messages[3:], start=3):
        sending, receiving = (states[number % 2] for states in ciphers)
        assert sending.encrypt_with_ad(b"", payload) == ciphertext
        assert receiving.decrypt_with_ad(b"", ciphertext) == payload


def test_the_vectors_are_those_that_are_wanted() -> None:
    names = {vector["protocol_name"] for vector in VECTORS}
    modifiers = ("", "psk3", "psk0+psk1", "psk0+psk2", "psk0+psk3")
    assert {f"Noise_XX{modifier}_25519_ChaChaPoly_BLAKE2b" for modifier in modifiers} <= names
    assert any(len(vector["messages"]) > 3 for vector in VECTORS)


def independent(initiator: bool, psk: bytes = PSK) -> NoiseConnection:
    peer = NoiseConnection.from_name(PROTOCOL.encode("ascii"))
    peer.set_psks(psk)
    peer.set_prologue(b"both")
    peer.set_keypair_from_private_bytes(Keypair.STATIC, bytes([1 + initiator]) * 32)
    if initiator:
        peer.set_as_initiator()
    else:
        peer.set_as_responder()
    peer.start_handshake()
    return peer


@pytest.mark.parametrize("we_initiate", [True, False])
def test_an_independent_implementation_agrees(we_initiate: bool) -> None:
    ours, theirs = side(we_initiate, prologue=b"both"), independent(not we_initiate)
    for number, payload in enumerate((b"one", b"", b"x" * 500)):
        if (number % 2 == 0) == we_initiate:
            assert theirs.read_message(ours.write_message(payload)) == payload
        else:
            assert ours.read_message(bytes(theirs.write_message(payload))) == payload
    assert theirs.handshake_finished
    assert theirs.get_handshake_hash() == ours.handshake_hash
    assert ours.remote_static == crypto_scalarmult_base(bytes([1 + (not we_initiate)]) * 32)
    sending, receiving = ours.split() if we_initiate else ours.split()[::-1]
    for text in (b"first", b"second"):
        assert theirs.decrypt(sending.encrypt_with_ad(b"", text)) == text
        assert receiving.decrypt_with_ad(b"", bytes(theirs.encrypt(text))) == text


def test_both_sides_learn_each_other() -> None:
    first, second = side(True), side(False)
    shake(first, second)
    assert first.remote_static == crypto_scalarmult_base(b"\x01" * 32)
    assert second.remote_static == crypto_scalarmult_base(b"\x02" * 32)
    assert first.handshake_hash == second.handshake_hash
    assert [state.k for state in first.split()] == [state.k for state in second.split()]


def test_no_two_handshakes_agree() -> None:
    hashes = set()
    for _ in range(5):
        first, second = side(True), side(False)
        shake(first, second)
        hashes |= {first.handshake_hash, *(state.k for state in first.split())}
    assert len(hashes) == 15


@pytest.mark.parametrize("change", [{"psks": [bytes(32)]}, {"prologue": b"other"}])
def test_the_first_message_fails_without_key_or_prologue(change: dict[str, Any]) -> None:
    with pytest.raises(HandshakeFailed, match="does not authenticate"):
        side(False, **change).read_message(side(True).write_message())


def test_no_diffie_hellman_before_the_first_message_is_authentic(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: bytes) -> bytes:
        raise AssertionError("Diffie-Hellman too early")

    message = side(True).write_message(b"hello")
    reader, hostile = side(False), side(False)
    monkeypatch.setattr("crust.transport.noise.crypto_scalarmult", refuse)
    assert reader.read_message(message) == b"hello"
    with pytest.raises(HandshakeFailed):
        hostile.read_message(message[:-1] + bytes([message[-1] ^ 1]))


class TwistedSide(HandshakeState):
    """Announces a degenerate ephemeral key, authenticated as it should be."""

    key = b""

    def _write_token(self, token: str) -> bytes:
        if token != "e":
            return super()._write_token(token)
        self._mix_ephemeral(self.key)
        return self.key


@pytest.mark.parametrize("key", DEGENERATE, ids=bytes.hex)
@pytest.mark.parametrize("high_bit", [0, 0x80])
def test_degenerate_keys_fail_on_both_sides(key: bytes, high_bit: int) -> None:
    twisted = TwistedSide(PROTOCOL, initiator=True, static=b"\x01" * 32, psks=[PSK])
    twisted.key = key[:31] + bytes([key[31] | high_bit])
    responder = side(False)
    responder.read_message(twisted.write_message())
    with pytest.raises(HandshakeFailed, match="degenerate"):
        responder.write_message()


@pytest.mark.parametrize("key", DEGENERATE, ids=bytes.hex)
def test_a_degenerate_answer_fails(key: bytes) -> None:
    initiator = side(True)
    initiator.write_message()
    with pytest.raises(HandshakeFailed, match="degenerate"):
        initiator.read_message(key + bytes(64))


@pytest.mark.parametrize("key", DEGENERATE, ids=bytes.hex)
def test_a_degenerate_identity_fails(key: bytes) -> None:
    """Were it accepted, anybody could have it: the proof of a zero secret takes no private key."""
    first, second = side(True, static_public=key), side(False)
    second.read_message(first.write_message())
    first.read_message(second.write_message())
    with pytest.raises(HandshakeFailed, match="degenerate"):
        second.read_message(first.write_message())


def test_a_failed_handshake_stays_failed() -> None:
    first, second = side(True), side(False)
    message = first.write_message()
    with pytest.raises(HandshakeFailed):
        second.read_message(message[:-1])
    for use in (lambda: second.read_message(message), second.write_message):
        with pytest.raises(HandshakeFailed, match="has failed"):
            use()


def test_turns() -> None:
    first, second = side(True), side(False)
    wrong: list[Callable[[], object]] = [lambda: first.read_message(b""), second.write_message, first.split]
    for use in wrong:
        with pytest.raises(RuntimeError):
            use()
    shake(first, second)
    for use in (first.write_message, lambda: second.read_message(b""), first.write_message):
        with pytest.raises(RuntimeError):
            use()


@pytest.mark.parametrize("number", [0, 1, 2])
@given(data=st.data())
def test_a_changed_message_never_passes(number: int, data: st.DataObject) -> None:
    """Any change of any bit, truncation or addition; whatever is read raises HandshakeFailed and nothing else."""
    sides = [side(True), side(False)]
    for turn in range(number):
        sides[1 - turn % 2].read_message(sides[turn % 2].write_message(b"payload"))
    message = sides[number % 2].write_message(b"payload")
    how = data.draw(st.sampled_from(["flip", "cut", "extend"]))
    if how == "flip":
        bit = data.draw(st.integers(0, 8 * len(message) - 1))
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
    elif how == "cut":
        changed = bytearray(message[: data.draw(st.integers(0, len(message) - 1))])
    else:
        changed = bytearray(message + data.draw(st.binary(min_size=1)))
    with pytest.raises(HandshakeFailed):
        sides[1 - number % 2].read_message(bytes(changed))


@given(st.binary(max_size=300))
def test_garbage_is_refused_on_both_sides(garbage: bytes) -> None:
    initiator = side(True)
    initiator.write_message()
    for reader in (side(False), initiator):
        with pytest.raises(HandshakeFailed):
            reader.read_message(garbage)


@given(st.binary(max_size=300))
def test_garbage_without_a_key_raises_nothing_else(garbage: bytes) -> None:
    """Plain XX has no key to check the first message with, so the key exchange itself meets the garbage."""
    responder, initiator = side(False, PLAIN_XX), side(True, PLAIN_XX)
    initiator.write_message()
    with pytest.raises(HandshakeFailed):
        initiator.read_message(garbage)
    try:
        responder.read_message(garbage)
        responder.write_message()
        responder.read_message(garbage)
    except HandshakeFailed:
        pass


def test_messages_longer_than_noise_allows() -> None:
    with pytest.raises(HandshakeFailed, match="too long"):
        side(False).read_message(bytes(65536))
    with pytest.raises(ValueError, match="65535"):
        side(True).write_message(bytes(65535))


def test_nonces_run_out() -> None:
    state = CipherState(bytes(32))
    state.n = MAX_NONCE - 1
    sealed = state.encrypt_with_ad(b"", b"last")
    with pytest.raises(HandshakeFailed, match="used up"):
        state.encrypt_with_ad(b"", b"one more")
    state.n = MAX_NONCE - 1
    with pytest.raises(HandshakeFailed):
        state.decrypt_with_ad(b"other", sealed)
    assert state.decrypt_with_ad(b"", sealed) == b"last", "a failure uses up no nonce"


@pytest.mark.parametrize(
    ("protocol", "psks", "static"),
    [(PROTOCOL, [], 32), (PROTOCOL, [b"short"], 32), (PLAIN_XX, [PSK], 32), (PROTOCOL, [PSK], 31)],
)
def test_wrong_keys_are_refused(protocol: str, psks: list[bytes], static: int) -> None:
    with pytest.raises(ValueError):
        HandshakeState(protocol, initiator=True, static=bytes(static), psks=psks)


@pytest.mark.parametrize("name", ["Noise_NN_25519_ChaChaPoly_BLAKE2b", "Noise_XXpsk4_25519_ChaChaPoly_BLAKE2b", ""])
def test_other_protocols_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not Noise_XX"):
        message_patterns(name)


def test_patterns() -> None:
    assert message_patterns(PROTOCOL) == (("psk", "e"), ("e", "ee", "s", "es"), ("s", "se"))
    assert message_patterns("Noise_XXpsk0+psk3_25519_ChaChaPoly_BLAKE2b")[2] == ("s", "se", "psk")
