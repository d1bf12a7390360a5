"""The handshake: honest peers agree, everybody else gets nothing."""

import itertools
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from crust.errors import HandshakeFailed
from crust.identity import Identity
from crust.transport.aead import AEGIS256, CHACHA20
from crust.transport.handshake import PROLOGUE, Initiator, Responder, SessionKeys
from crust.transport.hello import Hello
from crust.transport.masking import MAX_HANDSHAKE_MESSAGE, Unmasker, network_keys
from crust.transport.noise import PROTOCOL
from crust.transport.records import Opener, Sealer
from tests.transport.independent import IndependentDirection
from tests.transport.uniformity import assert_uniform, surprise

ALICE, BOB, INDEPENDENT = Identity(b"a" * 32), Identity(b"b" * 32), Identity(b"i" * 32)
NETWORK = network_keys("crust", None)
BOTH = (AEGIS256, CHACHA20)
SALT_AND_LENGTH = range(18)  # the places of an envelope before its Noise message


def initiator(**changes: Any) -> Initiator:
    arguments: dict[str, Any] = {
        "identity": ALICE,
        "network": NETWORK,
        "session": b"alice's ",
        "ciphers": BOTH,
    } | changes
    return Initiator(**arguments)


def responder(**changes: Any) -> Responder:
    arguments: dict[str, Any] = {"identity": BOB, "network": NETWORK, "session": b"bob's   ", "ciphers": BOTH} | changes
    return Responder(**arguments)


def shake(alice: Initiator, bob: Responder) -> list[bytes]:
    """A whole handshake; its three messages."""
    first = alice.start()
    second = bob.receive(first)
    assert alice.receive(second) is True
    third = alice.finish(serial=9, alone=True)
    assert bob.receive(third) == b""
    return [first, second, third]


# --- honest peers -----------------------------------------------------------------------------------------------------


def test_both_sides_agree() -> None:
    alice, bob = initiator(), responder()
    shake(alice, bob)
    assert alice.done
    assert bob.done
    assert alice.keys.send_key == bob.keys.receive_key
    assert alice.keys.receive_key == bob.keys.send_key
    assert alice.keys.send_key != alice.keys.receive_key
    assert alice.keys.cipher == bob.keys.cipher
    assert alice.keys.handshake_hash == bob.keys.handshake_hash
    assert (alice.peer_id, bob.peer_id) == (BOB.peer_id, ALICE.peer_id)
    assert alice.peer_hello == Hello(session=b"bob's   ", ciphers=BOTH)
    assert bob.peer_hello == Hello(session=b"alice's ", cipher=AEGIS256, serial=9, alone=True)
    assert alice.unused == bob.unused == b""
    assert alice.failure is bob.failure is None


@pytest.mark.parametrize("seen", [None, ("203.0.113.9", 40000), ("2001:db8::7", 5483)])
def test_the_responder_tells_where_it_sees_the_initiator(seen: tuple[str, int] | None) -> None:
    alice, bob = initiator(), responder(seen=seen)
    shake(alice, bob)
    assert alice.peer_hello == Hello(session=b"bob's   ", ciphers=BOTH, seen=seen)
    assert bob.peer_hello.seen is None


@given(cuts=st.lists(st.integers(0, 1024), max_size=6), after=st.binary(max_size=30))
def test_any_cut_gives_the_same(cuts: list[int], after: bytes) -> None:
    alice, bob = initiator(), responder()

    def pieces(data: bytes) -> list[bytes]:
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        return [data[start:end] for start, end in itertools.pairwise(places)]

    *early, answer = [bob.receive(piece) for piece in pieces(alice.start())]
    assert not any(early)
    assert answer
    outcomes = [alice.receive(piece) for piece in pieces(answer)]
    assert outcomes == [False] * (len(outcomes) - 1) + [True]
    for piece in pieces(alice.finish() + after):
        assert bob.receive(piece) == b""
    assert bob.done
    assert bob.unused == after


def test_byte_by_byte() -> None:
    alice, bob = initiator(), responder()
    answer = b"".join(bob.receive(bytes([byte])) for byte in alice.start())
    assert [alice.receive(bytes([byte])) for byte in answer] == [False] * (len(answer) - 1) + [True]
    assert b"".join(bob.receive(bytes([byte])) for byte in alice.finish()) == b""
    assert bob.done


def test_records_follow_at_once() -> None:
    """The first record may come in the same read as the last handshake message."""
    alice, bob = initiator(), responder()
    alice.receive(bob.receive(alice.start()))
    stream = alice.finish()
    stream += Sealer(alice.keys.send_key, alice.keys.cipher).seal(b"first data")
    bob.receive(stream[:-3])
    bob.receive(stream[-3:])
    opener = Opener(bob.keys.receive_key, bob.keys.cipher)
    opener.feed(bob.unused)
    assert bytes(opener.open_next() or b"") == b"first data"


def test_what_follows_the_answer_is_kept() -> None:
    alice, bob = initiator(), responder()
    assert alice.receive(bob.receive(alice.start()) + b"early")
    assert alice.receive(b" bird")
    assert alice.unused == b"early bird"


@pytest.mark.parametrize(
    ("alices", "bobs", "chosen"),
    [
        (BOTH, BOTH, AEGIS256),
        (BOTH, (CHACHA20,), CHACHA20),
        ((CHACHA20,), BOTH, CHACHA20),
        ((CHACHA20, AEGIS256), BOTH, CHACHA20),
        (BOTH, ("later-cipher", AEGIS256), AEGIS256),
    ],
)
def test_the_cipher_is_the_initiators_first_that_both_have(
    alices: tuple[str, ...], bobs: tuple[str, ...], chosen: str
) -> None:
    alice, bob = initiator(ciphers=alices), responder(ciphers=bobs)
    shake(alice, bob)
    assert alice.keys.cipher == bob.keys.cipher == chosen


def test_no_two_sessions_share_anything() -> None:
    seen: set[bytes] = set()
    for _ in range(5):
        alice, bob = initiator(), responder()
        shake(alice, bob)
        seen |= {alice.keys.send_key, alice.keys.receive_key, alice.keys.handshake_hash, bob.replay_token}
    assert len(seen) == 20


def test_secrets_do_not_show() -> None:
    keys = SessionKeys(b"sending", b"receiving", CHACHA20, b"hash")
    assert "sending" not in repr(keys)
    assert "receiving" not in repr(keys)


# --- others -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [("other", None), ("crust", b"secret"), ("crust", b"")])
def test_another_network_gets_no_byte_back(network: tuple[str, bytes | None]) -> None:
    for _ in range(20):  # the masked length is a matter of chance
        bob = responder()
        with pytest.raises(HandshakeFailed, match="not from our network"):
            # More than any message, so that a length that happens to be possible does not make it wait.
            bob.receive(initiator(network=network_keys(*network)).start() + os.urandom(MAX_HANDSHAKE_MESSAGE))
        assert not bob.done


def test_no_diffie_hellman_for_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: bytes) -> bytes:
        raise AssertionError("a stranger cost us a Diffie-Hellman")

    stranger = initiator(mask=False, network=network_keys("other", None)).start()
    bob = responder(mask=False)
    monkeypatch.setattr("crust.transport.noise.crypto_scalarmult", refuse)
    monkeypatch.setattr("crust.transport.noise.crypto_scalarmult_base", refuse)
    with pytest.raises(HandshakeFailed, match="not from our network"):
        bob.receive(stranger)


@given(st.binary(max_size=1200))
def test_strangers_get_no_byte_back(garbage: bytes) -> None:
    bob = responder()
    try:
        assert bob.receive(garbage) == b""
    except HandshakeFailed:
        pass
    assert not bob.done


@given(st.binary(max_size=1200))
def test_no_garbage_is_an_answer(garbage: bytes) -> None:
    alice = initiator()
    alice.start()
    try:
        assert alice.receive(garbage) is False
    except HandshakeFailed as error:
        assert "the answer is not from our network" in str(error)


@pytest.mark.parametrize("mask", [True, False])
def test_our_own_message_is_no_answer(mask: bool) -> None:
    alice = initiator(mask=mask)
    message = alice.start()
    with pytest.raises(HandshakeFailed):
        alice.receive(message + os.urandom(MAX_HANDSHAKE_MESSAGE))


@pytest.mark.parametrize(("alices", "bobs", "older"), [(1, 2, "alice"), (2, 1, "bob"), (1, 65535, "alice")])
def test_other_versions_are_told_on_both_sides(alices: int, bobs: int, older: str) -> None:
    alice, bob = initiator(version=alices), responder(version=bobs)
    answer = bob.receive(alice.start())
    assert answer
    assert f"this node speaks version {bobs} of the protocol and the peer version {alices}" in str(bob.failure)
    assert str(bob.failure).endswith("upgrade this node" if older == "bob" else "upgrade the peer")
    with pytest.raises(HandshakeFailed, match="speaks version"):
        bob.receive(b"anything")
    with pytest.raises(HandshakeFailed) as caught:
        alice.receive(answer)
    assert f"this node speaks version {alices} of the protocol and the peer version {bobs}" in str(caught.value)
    assert str(caught.value).endswith("upgrade this node" if older == "alice" else "upgrade the peer")
    assert not alice.done
    assert not bob.done


def test_no_cipher_in_common() -> None:
    alice, bob = initiator(ciphers=(AEGIS256,)), responder(ciphers=(CHACHA20,))
    answer = bob.receive(alice.start())
    for data in (answer, b""):
        with pytest.raises(HandshakeFailed, match="the peer has chacha20, this node aegis256"):
            alice.receive(data)
    with pytest.raises(RuntimeError):
        alice.finish()


def test_a_cipher_that_was_not_offered() -> None:
    alice, bob = initiator(), responder(ciphers=(CHACHA20,))
    alice.receive(bob.receive(alice.start()))
    alice._cipher = AEGIS256
    with pytest.raises(HandshakeFailed, match="not offered"):
        bob.receive(alice.finish())
    assert not bob.done


class Rude:
    """Stands for `Hello.encode`: authentic payloads that make no sense."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def encode(self, padding: int) -> bytes:
        return self.payload


@pytest.mark.parametrize("payload", [b"", b"garbage", b'{"version":1}', b"[" * 600, b'{"version":1,"session":"x"}'])
def test_members_of_the_network_that_make_no_sense(payload: bytes) -> None:
    """Authentic nonsense from somebody who has the network's key, in each message."""
    rude: Any = Rude(payload)
    if payload != b'{"version":1}':  # which is a good first message
        with pytest.raises(HandshakeFailed, match="makes no sense"):
            responder().receive(initiator()._write(1, rude))
    alice, bob = initiator(), responder()
    bob._noise.read_message(Unmasker(NETWORK.mask_key, 1).feed(alice.start()) or b"")
    with pytest.raises(HandshakeFailed, match="makes no sense"):
        alice.receive(bob._write(2, rude))
    alice, bob = initiator(), responder()
    alice.receive(bob.receive(alice.start()))
    with pytest.raises(HandshakeFailed, match="makes no sense"):
        bob.receive(alice._write(3, rude))


@pytest.mark.parametrize("seen", [b'"a.example:1"', b'"203.0.113.9:0"', b'["203.0.113.9",1]', b'"' + b"1" * 200 + b'"'])
def test_seen_at_what_is_no_address(seen: bytes) -> None:
    rude: Any = Rude(b'{"version":1,"session":"0011223344556677","ciphers":["chacha20"],"seen":' + seen + b"}")
    alice, bob = initiator(), responder()
    bob._noise.read_message(Unmasker(NETWORK.mask_key, 1).feed(alice.start()) or b"")
    with pytest.raises(HandshakeFailed, match="makes no sense: seen"):
        alice.receive(bob._write(2, rude))


# --- replays ----------------------------------------------------------------------------------------------------------


def test_a_replay_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[bytes] = set()

    def is_replay(token: bytes) -> bool:
        known = token in seen
        seen.add(token)
        return known

    first = initiator().start()
    assert responder(is_replay=is_replay).receive(first)
    assert responder(is_replay=is_replay).receive(initiator().start())
    assert len(seen) == 2
    again = responder(is_replay=is_replay)
    monkeypatch.setattr("crust.transport.noise.crypto_scalarmult", None)
    monkeypatch.setattr("crust.transport.noise.crypto_scalarmult_base", None)
    with pytest.raises(HandshakeFailed, match="copy of an earlier one"):
        again.receive(first)
    assert again.replay_token in seen


def test_strangers_do_not_fill_the_replay_cache() -> None:
    asked: list[bytes] = []
    bob = responder(is_replay=lambda token: bool(asked.append(token)), mask=False)
    with pytest.raises(HandshakeFailed):
        bob.receive(initiator(network=network_keys("other", None), mask=False).start())
    assert asked == []


def test_a_replayed_initiator_cannot_finish() -> None:
    alice, bob = initiator(), responder()
    first, _, third = shake(alice, bob)
    later = responder()
    assert later.receive(first)
    with pytest.raises(HandshakeFailed, match="third handshake message"):
        later.receive(third + os.urandom(MAX_HANDSHAKE_MESSAGE))


# --- changes on the way -----------------------------------------------------------------------------------------------


def seeded() -> Callable[[int], bytes]:
    return random.Random(5).randbytes


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_changed_byte_goes_unnoticed(number: int) -> None:
    """For every byte of every message, padding and salt included: the handshake fails or waits, it never completes."""
    chance = random.Random(number)
    messages = shake(initiator(random=seeded()), responder(random=seeded()))
    for place in range(len(messages[number - 1])):
        alice, bob = initiator(random=seeded()), responder(random=seeded())
        changed = bytearray(messages[number - 1])
        changed[place] ^= 1 << chance.randrange(8)
        try:
            if number == 1:
                assert bob.receive(bytes(changed)) == b""
            else:
                answer = bob.receive(alice.start())
                assert alice.receive(answer if number == 3 else bytes(changed)) is (number == 3)
                if number == 3:
                    bob.receive(bytes(changed))
        except HandshakeFailed:
            continue
        assert place in SALT_AND_LENGTH, "only a longer length may make it wait"
        assert not bob.done
        assert not alice.done


def test_the_seeded_handshake_is_the_same_each_time() -> None:
    """Else the test above would change messages of another handshake, which fail for another reason."""
    runs = [shake(initiator(random=seeded()), responder(random=seeded())) for _ in range(2)]
    assert runs[0] == runs[1]


def test_early_bytes_do_not_change_the_answer() -> None:
    """What follows the first message before ours can only be wrong, but must not show in whether we answer."""
    bob = responder()
    assert bob.receive(initiator().start() + os.urandom(MAX_HANDSHAKE_MESSAGE))
    assert bob.failure is not None
    with pytest.raises(HandshakeFailed, match="third handshake message"):
        bob.receive(b"")
    assert not bob.done


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_out_of_turn() -> None:
    alice, bob = initiator(), responder()
    for use in (
        alice.finish,
        lambda: alice.peer_id,
        lambda: alice.peer_hello,
        lambda: bob.keys,
        lambda: bob.replay_token,
    ):
        with pytest.raises(RuntimeError):
            use()
    shake(alice, bob)
    for use in (alice.finish, alice.start):
        with pytest.raises(RuntimeError):
            use()


@pytest.mark.parametrize("change", [{"session": b"short"}, {"ciphers": ()}])
def test_arguments_are_checked(change: dict[str, Any]) -> None:
    for make in (initiator, responder):
        with pytest.raises(ValueError, match="session"):
            make(**change)


# --- other implementations --------------------------------------------------------------------------------------------


def frame(message: bytes) -> bytes:
    return len(message).to_bytes(2, "little") + message


def unframe(data: bytes) -> bytes:
    assert int.from_bytes(data[:2], "little") == len(data) - 2
    return data[2:]


def independent(initiator: bool) -> NoiseConnection:
    peer = NoiseConnection.from_name(PROTOCOL.encode("ascii"))
    peer.set_psks(NETWORK.psk)
    peer.set_prologue(PROLOGUE)
    peer.set_keypair_from_private_bytes(Keypair.STATIC, INDEPENDENT.private_key)
    if initiator:
        peer.set_as_initiator()
    else:
        peer.set_as_responder()
    peer.start_handshake()
    return peer


def exchange_records(keys: SessionKeys, theirs: NoiseConnection) -> None:
    """Records between ours and a re-implementation that has its keys from the independent handshake."""
    protocol = theirs.noise_protocol
    their_sealer = IndependentDirection(bytes(protocol.cipher_state_encrypt.k))
    their_opener = IndependentDirection(bytes(protocol.cipher_state_decrypt.k))
    sealer, opener = Sealer(keys.send_key, CHACHA20), Opener(keys.receive_key, CHACHA20)
    for text in (b"hello", b"", b"x" * 65536):
        assert their_opener.open(sealer.seal(text)) == (text, b"")
        opener.feed(their_sealer.seal(text))
        plaintext = opener.open_next()
        assert plaintext is not None
        assert bytes(plaintext) == text


def test_an_independent_initiator() -> None:
    bob, theirs = responder(mask=False), independent(initiator=True)
    answer = unframe(bob.receive(frame(theirs.write_message(b'{"version": 1, "unknown": []}'))))
    assert Hello.parse(bytes(theirs.read_message(answer))) == Hello(session=b"bob's   ", ciphers=BOTH)
    bob.receive(frame(theirs.write_message(b'{"version": 1, "session": "0011223344556677", "cipher": "chacha20"}')))
    assert bob.done
    assert bob.peer_id == INDEPENDENT.peer_id
    assert bob.keys.handshake_hash == theirs.get_handshake_hash()
    exchange_records(bob.keys, theirs)


def test_an_independent_responder() -> None:
    alice, theirs = initiator(mask=False), independent(initiator=False)
    assert Hello.parse(bytes(theirs.read_message(unframe(alice.start())))) == Hello()
    hello = b'{"version": 1, "session": "0011223344556677", "ciphers": ["chacha20"]}'
    assert alice.receive(frame(theirs.write_message(hello)))
    assert alice.peer_id == INDEPENDENT.peer_id
    told = Hello.parse(bytes(theirs.read_message(unframe(alice.finish(serial=2)))))
    assert told == Hello(session=b"alice's ", cipher=CHACHA20, serial=2)
    assert alice.keys.handshake_hash == theirs.get_handshake_hash()
    exchange_records(alice.keys, theirs)


# --- what it looks like -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captured() -> list[list[bytes]]:
    """Many handshakes between the same two nodes, each direction with a first record of the same content."""
    handshakes = []
    for _ in range(1300):
        alice, bob = initiator(), responder()
        first, second, third = shake(alice, bob)
        third += Sealer(alice.keys.send_key, alice.keys.cipher).seal(bytes(20))
        second += Sealer(bob.keys.send_key, bob.keys.cipher).seal(bytes(20))
        handshakes.append([first, second, third])
    return handshakes


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_message_looks_uniform_from_its_first_byte(captured: list[list[bytes]], number: int) -> None:
    assert_uniform([messages[number - 1] for messages in captured], positions=64)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_ends_look_uniform_too(captured: list[list[bytes]], number: int) -> None:
    assert_uniform([messages[number - 1][::-1] for messages in captured], positions=64)


@pytest.mark.parametrize(("number", "span"), [(1, 64), (3, 256)])
def test_no_message_has_a_fixed_length(captured: list[list[bytes]], number: int, span: int) -> None:
    lengths = [len(messages[number - 1]) for messages in captured]
    shortest = min(lengths)
    assert span - 16 < max(lengths) - shortest < span
    stretched = (256 // span * (length - shortest) + place % (256 // span) for place, length in enumerate(lengths))
    assert abs(surprise(stretched)) < 7, "all lengths are about equally frequent"


def test_an_answer_is_never_longer_than_what_it_answers_and_of_any_length_below() -> None:
    lengths = [(len(first), len(second)) for first, second, _ in (shake(initiator(), responder()) for _ in range(500))]
    assert all(second <= first for first, second in lengths)
    assert len({first - second for first, second in lengths}) > 60
    assert len({second for _, second in lengths}) > 60


def test_what_is_too_short_for_its_answer_gets_none() -> None:
    """So that nobody gets more than they send, whatever they send."""
    short, long = (initiator(random=seeded()) for _ in range(2))
    bare = short._write(1, Hello(version=1), least=0, most=100)
    assert len(bare) < len(long.start())
    with pytest.raises(HandshakeFailed, match="shorter than its answer"):
        responder().receive(bare)


def test_nothing_repeats(captured: list[list[bytes]]) -> None:
    blocks = [message[place : place + 8] for messages in captured for message in messages for place in range(0, 200, 8)]
    whole = [block for block in blocks if len(block) == 8]
    assert len(set(whole)) == len(whole)


def test_without_masks_it_would_show() -> None:
    """That the measure can fail: the ephemeral key's top bit, and the length in front of it."""
    starts = [initiator(mask=False).start() for _ in range(1500)]
    assert surprise(start[33] for start in starts) > 7
    assert surprise(start[1] for start in starts) > 7
    assert abs(surprise(start[20] for start in starts)) < 7
