"""Who a node is: a static X25519 key pair (`Identity`), and its public half as others know it (`PeerId`)."""

import os
import secrets
from functools import total_ordering
from pathlib import Path
from typing import Any, Final, Self, SupportsIndex

from nacl import bindings

from crust.errors import EndpointError, IdentityError

KEY_SIZE: Final = 32  # bytes; X25519, RFC 7748 section 5
_FILE_HEADER: Final = "crust identity 1"


@total_ordering
class PeerId:
    """The public key that a peer proves in the handshake; hashable and ordered, prints as short hex.

    Args:
        key: the 32 bytes of an X25519 public key.

    Raises:
        EndpointError: not 32 bytes.
    """

    __slots__ = ("_hash", "_key")
    _key: bytes
    _hash: int

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_SIZE:
            raise EndpointError(f"a peer id is {KEY_SIZE} bytes")
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_hash", hash(key))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `hex` gives.

        Raises:
            EndpointError: not 64 hexadecimal digits.
        """
        try:
            return cls(bytes.fromhex(text))
        except (ValueError, TypeError):
            raise EndpointError(f"{text!r} is not a peer id: it has {2 * KEY_SIZE} hexadecimal digits") from None

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
        return self._key == other._key if isinstance(other, PeerId) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._key < other._key if isinstance(other, PeerId) else NotImplemented

    def __str__(self) -> str:
        return self._key[:4].hex()

    def __repr__(self) -> str:
        return f"PeerId.parse({self._key.hex()!r})"

    def __reduce_ex__(self, version: SupportsIndex) -> tuple[Any, ...]:
        return (type(self), (self._key,))


class Identity:
    """A node's static key pair. ``Identity()`` makes a fresh one; `load` keeps one in a file.

    Args:
        private_key: 32 secret bytes, or ``None`` for new random ones.

    Raises:
        IdentityError: not 32 bytes.
    """

    __slots__ = ("_private_key", "peer_id")
    peer_id: PeerId
    """The public half."""

    def __init__(self, private_key: bytes | None = None) -> None:
        if private_key is None:
            private_key = secrets.token_bytes(KEY_SIZE)
        if not isinstance(private_key, bytes) or len(private_key) != KEY_SIZE:
            raise IdentityError(f"a private key is {KEY_SIZE} bytes")
        self._private_key = private_key
        self.peer_id = PeerId(bindings.crypto_scalarmult_base(private_key))

    @property
    def private_key(self) -> bytes:
        """The secret half: whoever has it can be this node."""
        return self._private_key

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, create: bool = True) -> Self:
        """Read the identity in ``path``; where there is no file, make one (readable by its owner only).

        Several processes may do so at once: all get the same identity.

        Args:
            path: the file.
            create: whether a missing file is made.

        Raises:
            IdentityError: the file is damaged or cannot be read or written. It is never overwritten.
        """
        file = Path(path)
        try:
            if create and not file.exists():
                cls._write_new(file)
            text = file.read_text("ascii")
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
        """Write a new key beside ``file``, whole, then link it into place unless another process was first."""
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                out.write(f"{_FILE_HEADER}\n{secrets.token_bytes(KEY_SIZE).hex()}\n")
                out.flush()
                os.fsync(out.fileno())
            try:
                os.link(draft, file)
            except FileExistsError:
                pass  # another process was first: its identity is the one
            except OSError:  # a file system without hard links
                os.rename(draft, file)
        finally:
            draft.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"<Identity {self.peer_id}>"
