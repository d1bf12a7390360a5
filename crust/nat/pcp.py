"""PCP, the Port Control Protocol (RFC 6887): its bytes, as far as the opcodes ANNOUNCE and MAP go.

Requests (sections 7.1 and 11.1)::

    0        1          2          4          8                24     36         37         40
    version  R, opcode  reserved   lifetime   client address   nonce  transport  reserved
    2        0, 1: MAP

    40              42              44                60
    internal port   external port   external address

Answers (sections 7.2 and 11.1) differ in the header::

    0        1          2          3             4          8       12                24
    version  R, opcode  reserved   result code   lifetime   epoch   reserved
    2        1, 0: ANNOUNCE, 1: MAP
"""

import ipaddress
import struct
from typing import Final

from crust.errors import Malformed
from crust.nat.gateway_answer import Answer, Kind, Outcome, Seen
from crust.nat.mapping_report import Method

NONCE_SIZE: Final = 12
"""Bytes; section 11.1."""

_VERSION: Final = 2
_ANSWER_BIT: Final = 0x80
_ANNOUNCE, _MAP = 0, 1
_REQUEST: Final = struct.Struct("!BBHI16s")
_HEADER: Final = struct.Struct("!BBBBII12x")
_MAPPING: Final = struct.Struct("!12sB3xHH16s")
_LARGEST: Final = 1100  # bytes; section 7
_SMALLEST_OTHER: Final = 4  # bytes of the refusal of a router that knows NAT-PMP only

# Section 7.4.
_OUTCOMES: Final = {
    0: Outcome.OK,
    1: Outcome.OTHER_VERSION,
    2: Outcome.REFUSED,
    3: Outcome.NOT_UNDERSTOOD,
    4: Outcome.UNSUPPORTED,
    5: Outcome.UNSUPPORTED,
    6: Outcome.NOT_UNDERSTOOD,
    7: Outcome.NOT_CONNECTED,
    8: Outcome.NO_ROOM,
    9: Outcome.UNSUPPORTED,
    10: Outcome.NO_ROOM,
    11: Outcome.NO_ROOM,
    12: Outcome.ANOTHER_NAT,
    13: Outcome.NO_ROOM,
}


def _sixteen(address: str) -> bytes:
    """An address as PCP writes it; section 5: IPv4 ones are mapped to IPv6."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def _address(sixteen: bytes) -> str:
    parsed = ipaddress.IPv6Address(sixteen)
    return str(parsed.ipv4_mapped or parsed)


class Pcp:
    """The dialect. Pure.

    Args:
        local: our address, from which the requests leave; IPv4 or IPv6.
    """

    method = Method.PCP

    def __init__(self, local: str) -> None:
        self._client = _sixteen(local)
        self._unspecified = "::" if ipaddress.ip_address(local.partition("%")[0]).version == 6 else "0.0.0.0"

    def ask_address(self) -> bytes | None:
        """See `crust.nat.gateway_answer.Dialect`: answers about mappings tell it."""
        return None

    def ask_map(
        self, transport: int, internal: int, external: int, address: str | None, lifetime: int, nonce: bytes
    ) -> bytes:
        """See `crust.nat.gateway_answer.Dialect`; section 11.1. Without a wish, the address is the unspecified one."""
        header = _REQUEST.pack(_VERSION, _MAP, 0, lifetime, self._client)
        if not lifetime:  # section 15: nothing is wished for then
            external, address = 0, None
        wish = _sixteen(address or self._unspecified)
        return header + _MAPPING.pack(nonce, transport, internal, external, wish)

    def parse(self, data: bytes) -> Answer:
        """See `crust.nat.gateway_answer.Dialect`; sections 7.2, 8.3 and 11.4.

        Raises:
            Malformed: it is not an answer of PCP, nor what a router says that knows NAT-PMP only.
        """
        if len(data) >= _SMALLEST_OTHER and data[0] == 0 and data[1] & _ANSWER_BIT and data[2:4] == b"\x00\x01":
            return Answer(Outcome.OTHER_VERSION, Kind.ANNOUNCE)  # appendix A
        if not _HEADER.size <= len(data) <= _LARGEST or len(data) % 4:
            raise Malformed(f"an answer of PCP does not have {len(data)} bytes")
        version, opcode, _, result, lifetime, epoch = _HEADER.unpack_from(data)
        if version != _VERSION and _OUTCOMES.get(result) is Outcome.OTHER_VERSION and opcode & _ANSWER_BIT:
            return Answer(Outcome.OTHER_VERSION, Kind.ANNOUNCE)
        if version != _VERSION or not opcode & _ANSWER_BIT:
            raise Malformed(f"version {version} and opcode {opcode} are not those of an answer of PCP")
        outcome = _OUTCOMES.get(result, Outcome.NOT_UNDERSTOOD)
        if opcode == _ANSWER_BIT | _ANNOUNCE:
            return Answer(outcome, Kind.ANNOUNCE, epoch)
        if opcode != _ANSWER_BIT | _MAP:
            raise Malformed(f"opcode {opcode & ~_ANSWER_BIT} was not asked for")
        return self._mapping(outcome, lifetime, epoch, data)

    def _mapping(self, outcome: Outcome, lifetime: int, epoch: int, data: bytes) -> Answer:
        if len(data) < _HEADER.size + _MAPPING.size:
            if outcome is Outcome.OTHER_VERSION:
                return Answer(outcome, Kind.ANNOUNCE, epoch)
            raise Malformed("an answer about a mapping ends early")
        nonce, transport, internal, external, address = _MAPPING.unpack_from(data, _HEADER.size)
        if outcome is Outcome.OK and lifetime and not external:
            raise Malformed("a mapping of port 0 leads nowhere")
        told = _address(address) if outcome is Outcome.OK and lifetime else None
        return Answer(outcome, Kind.MAP, epoch, transport, internal, external, told, lifetime, nonce)

    def lost_state(self, before: Seen, after: Seen) -> bool:
        """See `crust.nat.gateway_answer.Dialect`; section 8.5: both clocks may differ by a sixteenth, and 2 s."""
        if after.epoch < before.epoch - 1:
            return True
        ours, theirs = after.at - before.at, after.epoch - before.epoch
        return ours + 2 < theirs - theirs / 16 or theirs + 2 < ours - ours / 16
