"""NAT-PMP (RFC 6886): its bytes.

Requests (section 3.2, 3.3)::

    0        1        2                 4                 6                 8              12
    version  opcode   reserved          internal port     external port     lifetime
    0        0: outside address (2 bytes in all), 1: UDP, 2: TCP

Answers::

    0        1        2                 4        8                 10                12          16
    version  opcode   result code       epoch    internal port     external port     lifetime
    0        128 + n                             outside address (to byte 12)
"""

import ipaddress
import struct
from typing import Final

from crust.errors import Malformed
from crust.nat.gateway_answer import TCP, UDP, Answer, Kind, Outcome, Seen
from crust.nat.mapping_report import Method

_REQUEST: Final = struct.Struct("!BBHHHI")
_HEADER: Final = struct.Struct("!BBHI")
_MAPPING: Final = struct.Struct("!HHI")
_ANSWER_BIT: Final = 128
_ADDRESS, _UDP, _TCP = 0, 1, 2
_TRANSPORTS: Final = {_UDP: UDP, _TCP: TCP}

# Section 3.5.
_OUTCOMES: Final = {
    0: Outcome.OK,
    1: Outcome.OTHER_VERSION,
    2: Outcome.REFUSED,
    3: Outcome.NOT_CONNECTED,
    4: Outcome.NO_ROOM,
    5: Outcome.UNSUPPORTED,
}


class NatPmp:
    """The dialect. Pure."""

    method = Method.NAT_PMP

    def ask_address(self) -> bytes | None:
        """See `crust.nat.gateway_answer.Dialect`; section 3.2."""
        return bytes((0, _ADDRESS))

    def ask_map(
        self, transport: int, internal: int, external: int, address: str | None, lifetime: int, nonce: bytes
    ) -> bytes:
        """See `crust.nat.gateway_answer.Dialect`; section 3.3. There are no nonces, and no wishes for an address."""
        # Section 3.4: what asks for the end of a mapping names no outside port.
        return _REQUEST.pack(0, _TCP if transport == TCP else _UDP, 0, internal, external if lifetime else 0, lifetime)

    def parse(self, data: bytes) -> Answer:
        """See `crust.nat.gateway_answer.Dialect`; sections 3.2, 3.3 and 3.5.

        Raises:
            Malformed: it is not an answer of NAT-PMP.
        """
        if len(data) < _HEADER.size:
            raise Malformed(f"{len(data)} bytes are too few for an answer of NAT-PMP")
        version, opcode, result, epoch = _HEADER.unpack_from(data)
        if version != 0 or opcode < _ANSWER_BIT:
            raise Malformed(f"version {version} and opcode {opcode} are not those of an answer of NAT-PMP")
        outcome = _OUTCOMES.get(result, Outcome.NOT_UNDERSTOOD)
        if outcome is Outcome.OTHER_VERSION:
            return Answer(outcome, Kind.ANNOUNCE, epoch)
        body = data[_HEADER.size :]
        if opcode == _ANSWER_BIT + _ADDRESS:
            return self._address(outcome, epoch, body)
        transport = _TRANSPORTS.get(opcode - _ANSWER_BIT)
        if transport is None:
            raise Malformed(f"opcode {opcode} is not one of NAT-PMP")
        if len(body) < _MAPPING.size:
            raise Malformed("an answer about a mapping ends early")
        internal, external, lifetime = _MAPPING.unpack_from(body)
        if outcome is Outcome.OK and lifetime and not external:
            raise Malformed("a mapping of port 0 leads nowhere")
        return Answer(outcome, Kind.MAP, epoch, transport, internal, external, None, lifetime)

    def _address(self, outcome: Outcome, epoch: int, body: bytes) -> Answer:
        if outcome is not Outcome.OK:
            return Answer(outcome, Kind.ADDRESS, epoch)  # some send the address along, some do not
        if len(body) < 4:
            raise Malformed("an answer about the outside address ends early")
        return Answer(outcome, Kind.ADDRESS, epoch, address=str(ipaddress.IPv4Address(body[:4])))

    def lost_state(self, before: Seen, after: Seen) -> bool:
        """See `crust.nat.gateway_answer.Dialect`; section 3.6: its clock may be an eighth slow, and 2 s besides."""
        return after.epoch < before.epoch + (after.at - before.at) * 7 / 8 - 2
