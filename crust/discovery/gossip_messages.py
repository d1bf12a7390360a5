"""What two peers tell each other in CONTACTS frames (docs/discovery.md, "Gossip"). Pure.

One exchange is up to four steps, all with the number that its initiator gave it::

    A -> B   Sums   the sums of A's records, by bucket
    B -> A   Have   the buckets that differ, and what B has in them: short ids and sequence numbers; nothing if none
    A -> B   Give   records that B lacks or has old ones of, and the short ids of those that A wants; several frames
    B -> A   Give   the records wanted; several frames

Each is one JSON object; binary parts are base64::

    Sums    {"x": number, "sums": sums, 6 bytes each; 1, 2, 4, ... 64 of them}
    Have    {"x": number, "in": 8 bytes, a bit for each of 64 buckets, "have": entries, "full": true}
    Give    {"x": number, "records": [record, ...], "want": short ids of 8 bytes each}

    entry = short id 8 bytes || sequence number 6 bytes, big-endian

"full" and "want" may be left out. Keys that are not known are ignored.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crust.discovery.contact_record import MAX_CONTACT_RECORD
from crust.discovery.record_store import BUCKETS, SHORT_ID, SUM_SIZE
from crust.errors import Malformed
from crust.transport.framing import MAX_CONTROL, number_in

NUMBER_BITS: Final = 32
"""Of the numbers of exchanges that this node starts: random, so that no two mix."""
MAX_ENTRIES: Final = 200
"""In one Have, which with them is as large as a frame may be."""
MAX_GIVEN: Final = 64
"""Records that each side gives in one exchange; what is left comes in the next one."""

_SEQUENCE_SIZE: Final = 6
_ENTRY: Final = SHORT_ID + _SEQUENCE_SIZE
_MASK_SIZE: Final = BUCKETS // 8
_SUM_COUNTS: Final = tuple(2**power for power in range(BUCKETS.bit_length()))
_ROOM: Final = MAX_CONTROL - 64  # characters of a Give for records and short ids; the rest is for what is around them


@dataclass(frozen=True, slots=True)
class Sums:
    """The first step."""

    number: int
    sums: list[int]
    """1, 2, 4, ... 64 of them."""

    def content(self) -> dict[str, Any]:
        """The JSON object."""
        return {"x": self.number, "sums": _text(b"".join(each.to_bytes(SUM_SIZE, "big") for each in self.sums))}


@dataclass(frozen=True, slots=True)
class Have:
    """The second step."""

    number: int
    buckets: list[int]
    """Those that `entries` are about, all that is in them; 0 to 63, of `BUCKETS`."""
    entries: dict[bytes, int]
    """Short ids and sequence numbers, at most `MAX_ENTRIES`."""
    full: bool = False
    """Whether no more nodes are wanted, only newer records of those listed."""

    def content(self) -> dict[str, Any]:
        """The JSON object."""
        mask = sum(1 << number for number in self.buckets).to_bytes(_MASK_SIZE, "big")
        pairs = (short + sequence.to_bytes(_SEQUENCE_SIZE, "big") for short, sequence in self.entries.items())
        content: dict[str, Any] = {"x": self.number, "in": _text(mask), "have": _text(b"".join(pairs))}
        return content | {"full": True} if self.full else content


@dataclass(frozen=True, slots=True)
class Give:
    """The third and the fourth step."""

    number: int
    records: list[str]
    """As they came, in base64; `decode_record` makes bytes of each."""
    wanted: list[bytes] = field(default_factory=list)
    """Short ids, at most `MAX_GIVEN`."""

    def content(self) -> dict[str, Any]:
        """The JSON object."""
        content: dict[str, Any] = {"x": self.number, "records": self.records}
        return content | {"want": _text(b"".join(self.wanted))} if self.wanted else content


Message = Sums | Have | Give


def parse_message(content: Mapping[str, Any]) -> Message:
    """Read what `content` of one of the three gives.

    Raises:
        Malformed: it is none.
    """
    number = number_in(dict(content), "x")
    if "sums" in content:
        return Sums(number, _parse_sums(_bytes(content, "sums")))
    if "have" in content:
        return _parse_have(number, content)
    records = content.get("records")
    if not isinstance(records, list) or not all(isinstance(each, str) for each in records):
        raise Malformed("gossip of an unknown kind")
    wanted = _pieces(_bytes(content, "want"), SHORT_ID) if "want" in content else []
    if len(wanted) > MAX_GIVEN:
        raise Malformed(f"gossip wants {len(wanted)} records; the limit is {MAX_GIVEN}")
    return Give(number, records, wanted)


def gives(number: int, records: Iterable[bytes], wanted: list[bytes]) -> Iterator[Give]:
    """As many `Give` as it takes for each to fit one frame; none if there is nothing to say."""
    batch: list[str] = []
    room = _ROOM - (len(_text(b"".join(wanted))) + 10 if wanted else 0)
    for record in records:
        text = _text(record)
        room -= len(text) + 3
        if room < 0:
            yield Give(number, batch, wanted)
            batch, wanted, room = [], [], _ROOM - len(text) - 3
        batch.append(text)
    if batch or wanted:
        yield Give(number, batch, wanted)


def decode_record(text: str) -> bytes:
    """A record of a `Give`.

    Raises:
        Malformed: it is not base64, or too long for a record.
    """
    if len(text) > (MAX_CONTACT_RECORD + 2) // 3 * 4:
        raise Malformed("a contact record is too long")
    return _from_text(text)


def _parse_sums(data: bytes) -> list[int]:
    sums = [int.from_bytes(piece, "big") for piece in _pieces(data, SUM_SIZE)]
    if len(sums) not in _SUM_COUNTS:
        raise Malformed(f"gossip with {len(sums)} sums")
    return sums


def _parse_have(number: int, content: Mapping[str, Any]) -> Have:
    mask, pieces = _bytes(content, "in"), _pieces(_bytes(content, "have"), _ENTRY)
    if len(mask) != _MASK_SIZE:
        raise Malformed("gossip about an impossible set of buckets")
    entries = {piece[:SHORT_ID]: int.from_bytes(piece[SHORT_ID:], "big") for piece in pieces}
    if len(entries) != len(pieces) or len(entries) > MAX_ENTRIES:
        raise Malformed("gossip lists too much, or a node twice")
    bits = int.from_bytes(mask, "big")
    buckets = [each for each in range(BUCKETS) if bits >> each & 1]
    return Have(number, buckets, entries, content.get("full") is True)


def _pieces(data: bytes, size: int) -> list[bytes]:
    if len(data) % size:
        raise Malformed("gossip that is cut off")
    return [data[at : at + size] for at in range(0, len(data), size)]


def _bytes(content: Mapping[str, Any], key: str) -> bytes:
    text = content.get(key)
    if not isinstance(text, str):
        raise Malformed(f"gossip without {key!r}")
    return _from_text(text)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_text(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        raise Malformed("gossip that is not base64") from None
