"""Who a node is: a static X25519 key pair (`Identity`), and its public half as others know it (`PeerId`)."""

import logging
import os
import re
import secrets
import stat
from functools import total_ordering
from pathlib import Path
from typing import Any, Final, Self, SupportsIndex

from nacl import bindings

from crust.errors import EndpointError, IdentityError
from crust.files import write_whole

log = logging.getLogger("crust.identity")

KEY_SIZE: Final = 32  # bytes; X25519, RFC 7748 section 5
_FILE_HEADER: Final = "crust identity 1"
_HEX_KEY: Final = re.compile(f"[0-9a-fA-F]{{{2 * KEY_SIZE}}}")
_MAX_FILE: Final = 4096  # characters read: whatever else the path leads to is not an identity


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
            with open(file, encoding="ascii") as source:
                _warn_if_others_can_read(file, source.fileno())
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


def _warn_if_others_can_read(file: Path, descriptor: int) -> None:
    """Where files have owners and modes; elsewhere other means protect them, or none."""
    if os.name == "posix" and stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        log.warning(
            "%s can be read by other users, who could then pretend to be this node; try: chmod 600 %s", file, file
        )
