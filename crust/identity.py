"""Who a node is: the secret that makes its keys (`Identity`), and its public key as others know it (`PeerId`).

One secret of 32 bytes, the seed, makes two key pairs of the same number: Ed25519 (RFC 8032) for signatures, and X25519
(RFC 7748) for the handshake. The X25519 public key, which is the `PeerId`, follows from the Ed25519 one by the map of
RFC 7748 section 4.1, so that a signature proves a `PeerId` without anybody's word for it: see `signer`.
"""

import os
import re
import secrets
from functools import lru_cache, total_ordering
from pathlib import Path
from typing import Any, ClassVar, Final, Self, SupportsIndex

from nacl import bindings
from nacl.exceptions import CryptoError

from crust.errors import EndpointError, IdentityError, Malformed
from crust.files import others_may_read, write_whole

KEY_SIZE: Final = 32
"""Bytes of a seed and of each public or private key."""
SIGNATURE_SIZE: Final = 64
"""Bytes; Ed25519, RFC 8032 section 5.1.6."""
_KNOWN_SIGNERS: Final = 1024
"""Signing keys whose peer ids are remembered: the map costs as much as a signature."""
_FILE_HEADER: Final = "crust identity 1"
_HEX_KEY: Final = re.compile(f"[0-9a-fA-F]{{{2 * KEY_SIZE}}}")
_MAX_FILE: Final = 4096  # characters read: whatever else the path leads to is not an identity


@total_ordering
class PeerId:
    """The public key that a peer proves in the handshake; hashable and ordered, prints as short hex.

    Only tracer connections, which are clear text, come with one that is not `proven`; it never equals one that is.

    Args:
        key: the 32 bytes of an X25519 public key.

    Raises:
        EndpointError: not 32 bytes.
    """

    __slots__ = ("_hash", "_key")
    _key: bytes
    _hash: int
    proven: ClassVar[bool] = True
    """Whether the peer has proved that it is who it says; see `UnprovenPeerId`."""

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_SIZE:
            raise EndpointError(f"a peer id is {KEY_SIZE} bytes")
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_hash", hash((key, self.proven)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `hex` gives.

        Raises:
            EndpointError: not 64 hexadecimal digits.
        """
        if not isinstance(text, str) or not _HEX_KEY.fullmatch(text):
            raise EndpointError(f"{text!r} is not a peer id: that has {2 * KEY_SIZE} hexadecimal digits")
        return cls(bytes.fromhex(text))

    def hex(self) -> str:
        """All 64 hexadecimal digits."""
        return self._key.hex()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a PeerId never changes; cannot set {name!r}")

    def __bytes__(self) -> bytes:
        return self._key

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self._order == other._order if isinstance(other, PeerId) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._order < other._order if isinstance(other, PeerId) else NotImplemented

    @property
    def _order(self) -> tuple[bytes, bool]:
        return self._key, self.proven

    def __str__(self) -> str:
        return self._key[:4].hex()

    def __repr__(self) -> str:
        return f"PeerId.parse({self._key.hex()!r})"

    def __reduce_ex__(self, version: SupportsIndex) -> tuple[Any, ...]:
        return (type(self), (self._key,))


class UnprovenPeerId(PeerId):
    """The id that a peer claims on a tracer connection, where nobody proves anything.

    It is a `PeerId` whose `proven` is false, prints as ``unproven:3fa2b1c0``, and never equals an id that was proved:
    neither ``==`` nor a look-up in a set or dictionary mistakes one for the other.
    """

    __slots__ = ()
    proven: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"unproven:{super().__str__()}"

    def __repr__(self) -> str:
        return f"UnprovenPeerId.parse({self._key.hex()!r})"


class Identity:
    """A node's secret and what follows from it. ``Identity()`` makes a fresh one; `load` keeps one in a file.

    Args:
        seed: 32 secret bytes, or ``None`` for new random ones.

    Raises:
        IdentityError: not 32 bytes.
    """

    __slots__ = ("_private_key", "_signing_secret", "peer_id", "signing_key")
    peer_id: PeerId
    """The public half of the key pair of the handshake."""
    signing_key: bytes
    """The public half of the key pair of signatures, 32 bytes; `signer` makes the peer id of it."""

    def __init__(self, seed: bytes | None = None) -> None:
        if seed is None:
            seed = secrets.token_bytes(KEY_SIZE)
        if not isinstance(seed, bytes) or len(seed) != KEY_SIZE:
            raise IdentityError(f"the seed of an identity is {KEY_SIZE} bytes")
        self.signing_key, self._signing_secret = bindings.crypto_sign_seed_keypair(seed)
        self._private_key = bindings.crypto_sign_ed25519_sk_to_curve25519(self._signing_secret)
        self.peer_id = PeerId(bindings.crypto_scalarmult_base(self._private_key))

    @property
    def seed(self) -> bytes:
        """The secret that everything follows from, as the file keeps it: whoever has it can be this node."""
        return self._signing_secret[:KEY_SIZE]

    @property
    def private_key(self) -> bytes:
        """The X25519 private key that the handshake needs, as secret as the seed. It makes no signatures."""
        return self._private_key

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, `SIGNATURE_SIZE` bytes; any thread may call.

        The message has to begin with what it is for, so that no signature means something elsewhere.
        """
        return bindings.crypto_sign(message, self._signing_secret)[:SIGNATURE_SIZE]

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, create: bool = True) -> Self:
        """Read the identity in ``path``; where there is no file, make one (readable by its owner only).

        Several processes may do so at once: all get the same identity.

        Args:
            path: the file.
            create: whether a missing file is made.

        Raises:
            IdentityError: the file is damaged, cannot be read or written, or (POSIX) other users have rights to it. It
                is never overwritten.
        """
        file = Path(path)
        try:
            if create and not file.exists():
                cls._write_new(file)
            with open(file, encoding="ascii") as source:
                _refuse_if_others_can_read(file, source.fileno())
                text = source.read(_MAX_FILE)
        except FileNotFoundError as error:
            raise IdentityError(f"{file}: there is no identity file") from error
        except (OSError, UnicodeDecodeError) as error:
            raise IdentityError(f"{file}: cannot be used as an identity file: {error}") from error
        header, _, body = text.partition("\n")
        try:
            if header != _FILE_HEADER:
                raise ValueError
            return cls(bytes.fromhex(body.strip()))
        except ValueError:
            raise IdentityError(
                f"{file}: is not an identity file, or is damaged; restore it from a copy, or move it away "
                "and a new one is made"
            ) from None

    @classmethod
    def _write_new(cls, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = f"{_FILE_HEADER}\n{secrets.token_bytes(KEY_SIZE).hex()}\n"
        try:
            write_whole(file, text, mode=0o600, replace=False)
        except FileExistsError:
            pass  # another process was first: its identity is the one

    def __repr__(self) -> str:
        return f"<Identity {self.peer_id}>"


@lru_cache(maxsize=_KNOWN_SIGNERS)
def peer_id_of(signing_key: bytes) -> PeerId:
    """The `PeerId` of whoever has a signing key; any thread may call.

    The map forgets a sign: two signing keys, each the negative of the other, lead to one `PeerId`. Only its owner can
    sign with either. Keys of small order, of which anybody makes signatures, and those with a part of small order are
    refused.

    Raises:
        Malformed: nobody's signing key.
    """
    if len(signing_key) != KEY_SIZE:
        raise Malformed(f"a signing key of {len(signing_key)} bytes")
    try:
        return PeerId(bindings.crypto_sign_ed25519_pk_to_curve25519(signing_key))
    except CryptoError:
        raise Malformed("not a signing key") from None


def signer(message: bytes, signature: bytes, signing_key: bytes) -> PeerId:
    """Who signed a message; any thread may call.

    Args:
        message: what was signed.
        signature: what `Identity.sign` gave.
        signing_key: the `Identity.signing_key` of whoever says to have signed.

    Raises:
        Malformed: nobody with that key signed that message.
    """
    if len(signature) != SIGNATURE_SIZE or len(signing_key) != KEY_SIZE:
        raise Malformed("a signature or a signing key has an impossible length")  # nothing further down would look
    try:
        bindings.crypto_sign_open(signature + message, signing_key)
    except CryptoError:
        raise Malformed("a signature is not genuine") from None
    return peer_id_of(signing_key)


def _refuse_if_others_can_read(file: Path, descriptor: int) -> None:
    if others_may_read(os.fstat(descriptor).st_mode):
        raise IdentityError(
            f"{file}: other users may read or write it, and so could pretend to be this node; "
            f"if nobody has, chmod 600 {file}, else move it away, and a new one is made"
        )
