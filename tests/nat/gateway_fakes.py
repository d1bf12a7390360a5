"""A router that speaks NAT-PMP and PCP, in the words of the RFCs: written apart from what it tests. Virtual time."""

import ipaddress
import struct
from collections.abc import Callable

OUTSIDE = "11.1.1.2"
TCP, UDP = 6, 17


def pcp_answer(
    *,
    result: int = 0,
    lifetime: int = 3600,
    epoch: int = 0,
    opcode: int = 1,
    nonce: bytes = bytes(12),
    transport: int = TCP,
    internal: int = 5483,
    external: int = 5483,
    address: str = OUTSIDE,
) -> bytes:
    """RFC 6887, figures 3 and 10."""
    header = bytes([2, 0x80 | opcode, 0, result]) + struct.pack("!II", lifetime, epoch) + bytes(12)
    if opcode == 0:
        return header
    parsed = ipaddress.ip_address(address)
    sixteen = parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed
    return header + nonce + bytes([transport, 0, 0, 0]) + struct.pack("!HH", internal, external) + sixteen


def natpmp_mapping(
    *,
    transport: int = TCP,
    result: int = 0,
    epoch: int = 0,
    internal: int = 5483,
    external: int = 5483,
    lifetime: int = 3600,
) -> bytes:
    """RFC 6886, section 3.3."""
    opcode = 130 if transport == TCP else 129
    return struct.pack("!BBHIHHI", 0, opcode, result, epoch, internal, external, lifetime)


def natpmp_address(*, result: int = 0, epoch: int = 0, address: str = OUTSIDE) -> bytes:
    """RFC 6886, section 3.2."""
    return struct.pack("!BBHI", 0, 128, result, epoch) + ipaddress.IPv4Address(address).packed


class FakeRouter:
    """See the module's text.

    Attributes:
        speaks: versions: 2 is PCP, 0 NAT-PMP.
        silent: answers nothing.
        result: what it answers to requests for mappings.
        lease: the most seconds that it gives.
        taken: external ports that are somebody else's.
        mappings: internal port and transport -> external port.
        asked: requests for mappings: (transport, internal port, wished external port, lifetime).
    """

    def __init__(self, *speaks: int) -> None:
        self.speaks = set(speaks)
        self.silent = False
        self.result = 0
        self.lease = 86_400
        self.outside = OUTSIDE
        self.taken: set[int] = set()
        self.mappings: dict[tuple[int, int], int] = {}
        self.asked: list[tuple[int, int, int, int]] = []
        self.nonces: set[bytes] = set()
        self.started = 0.0
        self.change: Callable[[bytes], bytes] = lambda answer: answer

    def restart(self, now: float) -> None:
        self.mappings.clear()
        self.started = now

    def answer(self, data: bytes, now: float) -> bytes | None:
        if self.silent:
            return None
        if data[0] == 2 and 2 in self.speaks:
            return self.change(self._pcp(data, int(now - self.started)))
        if 0 in self.speaks:
            if data[0] == 0:
                return self.change(self._natpmp(data, int(now - self.started)))
            return struct.pack("!BBHI", 0, 128 | data[1] & 127, 1, int(now - self.started))
        return None

    def _grant(self, transport: int, internal: int, wished: int, lifetime: int) -> tuple[int, int]:
        self.asked.append((transport, internal, wished, lifetime))
        key = internal, transport
        if not lifetime:
            self.mappings.pop(key, None)
            return 0, 0
        if self.result:
            return wished, lifetime
        while wished in self.taken:
            wished += 1
        self.mappings[key] = wished
        return wished, min(lifetime, self.lease)

    def _pcp(self, data: bytes, epoch: int) -> bytes:
        assert len(data) == 60
        lifetime = struct.unpack_from("!I", data, 4)[0]
        nonce, transport, internal, wished = data[24:36], data[36], *struct.unpack_from("!HH", data, 40)
        self.nonces.add(nonce)
        external, given = self._grant(transport, internal, wished, lifetime)
        return pcp_answer(
            result=self.result,
            lifetime=given,
            epoch=epoch,
            nonce=nonce,
            transport=transport,
            internal=internal,
            external=external,
            address=self.outside,
        )

    def _natpmp(self, data: bytes, epoch: int) -> bytes:
        if data == b"\0\0":
            return natpmp_address(epoch=epoch, address=self.outside)
        assert len(data) == 12
        _, opcode, _, internal, wished, lifetime = struct.unpack("!BBHHHI", data)
        transport = TCP if opcode == 2 else UDP
        external, given = self._grant(transport, internal, wished, lifetime)
        return natpmp_mapping(
            transport=transport,
            result=self.result,
            epoch=epoch,
            internal=internal,
            external=external,
            lifetime=given,
        )
