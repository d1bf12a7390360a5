"""Records as docs/protocol.md says, written again with other libraries; ChaCha20-Poly1305 only."""

import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20


class IndependentDirection:
    """Seals or opens the records of one direction, one at a time, with no thought of speed."""

    def __init__(self, key: bytes, records_per_key: int = 2**20) -> None:
        self.chain = key
        self.records_per_key = records_per_key
        self.number = records_per_key  # of the record to come; this makes the first keys

    def _keys(self) -> None:
        def derive(purpose: bytes) -> bytes:
            return hashlib.blake2b(b"chacha20", digest_size=32, key=self.chain, person=purpose).digest()

        if self.number == self.records_per_key:
            self.record_key, self.length_key = derive(b"crust record key"), derive(b"crust length key")
            self.chain = derive(b"crust next key")
            self.number = 0

    def _mask(self) -> int:
        block, place = divmod(self.number, 256)
        start = (1).to_bytes(4, "little") + bytes(4) + block.to_bytes(8, "little")
        stream = Cipher(ChaCha20(self.length_key, start), mode=None).encryptor().update(bytes(1024))
        return int.from_bytes(stream[4 * place : 4 * place + 4], "little")

    def _nonce(self) -> bytes:
        return bytes(4) + self.number.to_bytes(8, "little")

    def seal(self, plaintext: bytes) -> bytes:
        self._keys()
        header = (self._mask() ^ (len(plaintext) + 16)).to_bytes(4, "little")
        record = header + ChaCha20Poly1305(self.record_key).encrypt(self._nonce(), plaintext, header)
        self.number += 1
        return record

    def open(self, stream: bytes) -> tuple[bytes, bytes]:
        """The plaintext of the first record, and what follows it."""
        self._keys()
        end = 4 + (self._mask() ^ int.from_bytes(stream[:4], "little"))
        assert 20 <= end <= len(stream)
        plaintext = ChaCha20Poly1305(self.record_key).decrypt(self._nonce(), stream[4:end], stream[:4])
        self.number += 1
        return plaintext, stream[end:]
