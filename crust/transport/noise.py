"""The Noise Protocol Framework, revision 34, as far as Crust needs it: the XX pattern with pre-shared keys.

https://noiseprotocol.org/noise.html ; the objects and their methods have the names of its section 5. Supported are
``Noise_XX[pskN[+pskN...]]_25519_ChaChaPoly_BLAKE2b``; Crust itself speaks `PROTOCOL`.

No sockets, threads or clocks. An object belongs to one thread at a time. Whatever bytes a peer sends, the only
exception is `HandshakeFailed`; using the objects out of turn is a `RuntimeError` of ours.
"""

import hmac
import os
import re
import struct
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from crust.errors import HandshakeFailed

PROTOCOL: Final = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"

DHLEN: Final = 32  # bytes; section 12.1
HASHLEN: Final = 64  # bytes; section 12.8
TAGLEN: Final = 16  # bytes; section 12.3
MAX_MESSAGE: Final = 65535  # bytes; section 3
MAX_NONCE: Final = 2**64 - 1  # reserved for rekeying; section 5.1

_NAME: Final = re.compile(r"Noise_XX((?:psk[0-3](?:\+psk[0-3])*)?)_25519_ChaChaPoly_BLAKE2b")
_XX: Final = (("e",), ("e", "ee", "s", "es"), ("s", "se"))  # section 7.5
_nonce: Final = struct.Struct("<4xQ").pack  # section 12.3: 32 bits of zeros, then the counter


def message_patterns(protocol: str) -> tuple[tuple[str, ...], ...]:
    """The tokens of each handshake message (sections 7.5 and 9.4).

    Raises:
        ValueError: not a protocol that this module speaks.
    """
    match = _NAME.fullmatch(protocol)
    if match is None:
        raise ValueError(f"{protocol!r} is not Noise_XX[pskN...]_25519_ChaChaPoly_BLAKE2b")
    patterns = [list(tokens) for tokens in _XX]
    for modifier in filter(None, match[1].split("+")):
        place = int(modifier[-1])
        if place == 0:
            patterns[0].insert(0, "psk")
        else:
            patterns[place - 1].append("psk")
    return tuple(map(tuple, patterns))


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """HKDF of section 4.3."""
    secret = hmac.digest(chaining_key, material, "blake2b")
    last, result = b"", []
    for number in range(1, outputs + 1):
        last = hmac.digest(secret, last + bytes((number,)), "blake2b")
        result.append(last)
    return result


def _dh(private_key: bytes, public_key: bytes) -> bytes:
    """DH of section 12.1, refusing public keys that force the result to all zeros, as section 12.1 allows."""
    try:
        return crypto_scalarmult(private_key, public_key)
    except CryptoError:
        raise HandshakeFailed("the peer sent a degenerate public key") from None


class CipherState:
    """A key and the number of messages it has sealed or opened (section 5.1)."""

    __slots__ = ("k", "n")

    def __init__(self, k: bytes | None = None) -> None:
        self.k = k
        self.n = 0

    def _take_nonce(self) -> bytes:
        if self.n == MAX_NONCE:
            raise HandshakeFailed("the session has used up its message numbers; connect again")
        nonce = _nonce(self.n)
        self.n += 1
        return nonce

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        """Seal ``plaintext``; as it is while there is no key."""
        if self.k is None:
            return plaintext
        return crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, ad, self._take_nonce(), self.k)

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        """Open ``ciphertext``.

        Raises:
            HandshakeFailed: it is not what the holder of the key sealed.
        """
        if self.k is None:
            return ciphertext
        if len(ciphertext) < TAGLEN:
            raise HandshakeFailed("a handshake message is too short")
        nonce = self._take_nonce()
        try:
            return crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, ad, nonce, self.k)
        except CryptoError:
            self.n -= 1  # section 5.1: the nonce is not incremented when authentication fails
            raise HandshakeFailed("a handshake message does not authenticate") from None


class SymmetricState:
    """The chaining key, the transcript's hash and the current cipher (section 5.2)."""

    __slots__ = ("cipher", "ck", "h")

    def __init__(self, protocol: str) -> None:
        name = protocol.encode("ascii")
        self.h = name.ljust(HASHLEN, b"\0") if len(name) <= HASHLEN else blake2b(name).digest()
        self.ck = self.h
        self.cipher = CipherState()

    def mix_key(self, material: bytes) -> None:
        self.ck, key = _hkdf(self.ck, material, 2)
        self.cipher = CipherState(key[:32])

    def mix_hash(self, data: bytes) -> None:
        self.h = blake2b(self.h + data).digest()

    def mix_key_and_hash(self, material: bytes) -> None:
        self.ck, extra, key = _hkdf(self.ck, material, 3)
        self.mix_hash(extra)
        self.cipher = CipherState(key[:32])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self.cipher.encrypt_with_ad(self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self.cipher.decrypt_with_ad(self.h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = _hkdf(self.ck, b"", 2)
        return CipherState(first[:32]), CipherState(second[:32])


class HandshakeState:
    """One handshake of one side (section 5.3).

    Args:
        protocol: its name; see the module's text.
        initiator: whether this side sends the first message.
        static: our static private key, 32 bytes.
        static_public: its public half, which takes a scalar multiplication to find out.
        prologue: what both sides must agree on besides.
        psks: a pre-shared key of 32 bytes for each psk modifier, in the order of the name.
        random: gives that many random bytes; the ephemeral key is its only use.

    Raises:
        ValueError: a key of the wrong size, the wrong number of pre-shared keys, an unknown protocol.
    """

    def __init__(
        self,
        protocol: str,
        *,
        initiator: bool,
        static: bytes,
        static_public: bytes | None = None,
        prologue: bytes = b"",
        psks: Sequence[bytes] = (),
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._patterns = message_patterns(protocol)
        self._psk_mode = "psk" in protocol
        wanted = sum(tokens.count("psk") for tokens in self._patterns)
        if len(psks) != wanted or any(len(psk) != 32 for psk in psks):
            raise ValueError(f"{protocol} takes {wanted} pre-shared keys of 32 bytes")
        if len(static) != DHLEN:
            raise ValueError(f"a static key is {DHLEN} bytes")
        self._initiator = initiator
        self._static = static
        self._static_public = static_public or crypto_scalarmult_base(static)
        self._psks = list(psks)
        self._random = random
        self._ephemeral = b""
        self._next = 0
        self._broken = False
        self.remote_ephemeral: bytes | None = None
        """The peer's ephemeral public key, once received."""
        self.remote_static: bytes | None = None
        """The peer's static public key, once received; proved only when a later token used it."""
        self._symmetric = SymmetricState(protocol)
        self._symmetric.mix_hash(prologue)

    @property
    def done(self) -> bool:
        """Whether every message was exchanged, so that `split` can be called."""
        return self._next == len(self._patterns)

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes that name this session: both sides have the same, no other session has (section 11.2)."""
        return self._symmetric.h

    def write_message(self, payload: bytes = b"") -> bytes:
        """Make our next message.

        Raises:
            HandshakeFailed: the peer's public key is degenerate.
            RuntimeError: it is not our turn.
            ValueError: the message would be longer than Noise allows.
        """
        tokens = self._take_turn(writing=True)
        parts = [self._write_token(token) for token in tokens]
        parts.append(self._symmetric.encrypt_and_hash(payload))
        message = b"".join(parts)
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a Noise message has at most {MAX_MESSAGE} bytes")
        self._finish_turn()
        return message

    def read_message(self, message: bytes) -> bytes:
        """Take the peer's next message and give its payload.

        Raises:
            HandshakeFailed: it is not what a peer with the same keys and prologue sends; this handshake is over.
            RuntimeError: it is not the peer's turn.
        """
        tokens = self._take_turn(writing=False)
        if len(message) > MAX_MESSAGE:
            raise HandshakeFailed("a handshake message is too long")
        rest = message
        for token in tokens:
            rest = self._read_token(token, rest)
        payload = self._symmetric.decrypt_and_hash(rest)
        self._finish_turn()
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The two transport ciphers: the initiator's sending one, then the responder's (section 5.2).

        Raises:
            RuntimeError: messages are missing.
        """
        if not self.done:
            raise RuntimeError("the handshake is not done")
        return self._symmetric.split()

    def _take_turn(self, *, writing: bool) -> tuple[str, ...]:
        """The tokens of the message; until `_finish_turn` this handshake counts as broken."""
        if self._broken:
            raise HandshakeFailed("this handshake has failed")
        ours = (self._next % 2 == 0) == self._initiator
        if self.done or ours != writing:
            raise RuntimeError("handshake messages alternate, and there are three")
        self._broken = True
        return self._patterns[self._next]

    def _finish_turn(self) -> None:
        self._broken = False
        self._next += 1

    def _write_token(self, token: str) -> bytes:
        if token == "e":
            self._ephemeral = self._random(DHLEN)
            public = crypto_scalarmult_base(self._ephemeral)
            self._mix_ephemeral(public)
            return public
        if token == "s":
            return self._symmetric.encrypt_and_hash(self._static_public)
        self._mix_token(token)
        return b""

    def _read_token(self, token: str, message: bytes) -> bytes:
        """Take ``token`` from the front of ``message`` and give the rest."""
        if token == "e":
            public, rest = message[:DHLEN], message[DHLEN:]
            if len(public) < DHLEN:
                raise HandshakeFailed("a handshake message is too short")
            self.remote_ephemeral = public
            self._mix_ephemeral(public)
            return rest
        if token == "s":
            # Always encrypted in XX: the first s comes after ee.
            size = DHLEN + TAGLEN
            if len(message) < size:
                raise HandshakeFailed("a handshake message is too short")
            self.remote_static = self._symmetric.decrypt_and_hash(message[:size])
            return message[size:]
        self._mix_token(token)
        return message

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._psk_mode:  # section 9.2: randomises the key that the pre-shared key leads to
            self._symmetric.mix_key(public)

    def _mix_token(self, token: str) -> None:
        if token == "psk":
            self._symmetric.mix_key_and_hash(self._psks.pop(0))
            return
        initiators, responders = token[0], token[1]  # section 5.3: "es" is the initiator's e and the responder's s
        mine, theirs = (initiators, responders) if self._initiator else (responders, initiators)
        private = self._ephemeral if mine == "e" else self._static
        public = self.remote_ephemeral if theirs == "e" else self.remote_static
        if public is None:  # pragma: no cover - the pattern sends every key before it is used
            raise RuntimeError(f"{token} before the peer's key")
        self._symmetric.mix_key(_dh(private, public))
