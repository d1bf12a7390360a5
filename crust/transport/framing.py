"""Frames: what travels inside records (or, on tracer connections, in clear). Pure.

Every frame is a 4-byte header and a body; a record holds one or more whole frames::

    byte 0     1..3                  4 ..
    +------+------------------+---------------------+
    | type | length u24 LE    | body: length bytes  |
    +------+------------------+---------------------+

    MESSAGES 0x01   count u16 LE | count x length u16 LE | the messages, one after the other
    MESSAGE  0x02   one message, whole, at most 65,536 bytes
    FIRST    0x03   total u32 LE | the first 65,536 bytes of a larger message
    NEXT     0x04   the next 65,536 bytes of it, or the last 1..65,536
    CARRIED  0x05   channel u32 LE | at most 16,384 bytes of a relayed connection; none: the end of this direction
    CREDIT   0x06   channel u32 LE | count u32 LE           the sender of the channel may send so much more
    PING     0x10   control: {"t": number}
    PONG     0x11   control: {"t": the number of the PING}
    CHOOSE   0x12   control: {"serial": number}          the peer with the greater id keeps this connection
    CHOSEN   0x13   control: {"serial": number}          the other one's answer
    BYE      0x14   control: {"reason": word, "text": for people}   the last frame of its direction
    CONTACTS 0x15   control: gossip, see crust.discovery.gossip_messages
    ADDRESS  0x16   control: where the other is seen, and whether it can be reached there, see docs/nat.md
    PUNCH    0x17   control: two peers agree on a meeting, see crust.reach.letters
    RELAY    0x18   control: a relayed connection begins, or is over, see crust.transport.relay.notes

Control frames carry one JSON object of at most 4 KiB in UTF-8, with no key twice, at most 8 levels deep, and integers
of at most 20 characters; 0x10 to 0x7f are control frames, and those that a version does not know are ignored. Between
FIRST and the last NEXT only control frames, CARRIED and CREDIT may come. What comes after BYE is not looked at.
"""

import json
import math
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate, pairwise, takewhile
from typing import Any, Final

from crust.errors import Malformed

MESSAGES: Final = 0x01
MESSAGE: Final = 0x02
FIRST: Final = 0x03
NEXT: Final = 0x04
CARRIED: Final = 0x05
CREDIT: Final = 0x06
PING: Final = 0x10
PONG: Final = 0x11
CHOOSE: Final = 0x12
CHOSEN: Final = 0x13
BYE: Final = 0x14
CONTACTS: Final = 0x15
ADDRESS: Final = 0x16
PUNCH: Final = 0x17
RELAY: Final = 0x18
LAST_CONTROL: Final = 0x7F

HEADER: Final = struct.Struct("<I")  # type | length << 8
_TOTAL: Final = struct.Struct("<I")
_COUNT: Final = struct.Struct("<H")

FRAGMENT_SIZE: Final = 65_536
"""Bytes of a large message in one frame: with its headers it fills one record."""
MAX_FRAME: Final = HEADER.size + _TOTAL.size + FRAGMENT_SIZE
"""Bytes of the largest frame, its header included."""
MAX_SMALL: Final = 16_384
"""Bytes; messages up to this size are packed together, larger ones go alone (copying them together would not pay)."""
MAX_BATCH: Final = FRAGMENT_SIZE
"""Bytes of messages and lengths in one MESSAGES frame."""
MAX_CONTROL: Final = 4096
"""Bytes of a control frame's body: enough for any of them, little to parse."""
MAX_CONTROLS: Final = 1024
"""Control frames that are kept until they are taken, and BYE; others are forgotten then. A correct peer sends a few at
a time; parsed, a tiny one takes a hundred times its size."""
NUMBER_LIMIT: Final = 2**63
"""Numbers in control frames (of PINGs, serials) are smaller than this."""
_MAX_DEPTH: Final = 8
_LENGTH_SIZE: Final = 2
_BATCH_BUDGET: Final = MAX_BATCH - _COUNT.size
_KEPT_PARTIAL: Final = 1024 * 1024
"""Bytes of the buffer for large messages that a connection keeps when there is none in the making."""
_BLOCK: Final = 16  # messages of equal length that one struct takes apart at a time

Chunk = bytes | memoryview


# --- encoding -------------------------------------------------------------------------------------


def control_frame(kind: int, content: Mapping[str, Any]) -> bytes:
    """A control frame with ``content`` as its JSON body."""
    body = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_CONTROL:
        raise ValueError(f"a control frame of {len(body)} bytes; the limit is {MAX_CONTROL}")
    return HEADER.pack(kind | len(body) << 8) + body


def message_frame(message: bytes) -> bytes:
    """One message of at most `FRAGMENT_SIZE` bytes as a frame of its own."""
    return HEADER.pack(MESSAGE | len(message) << 8) + message


def encode_messages(messages: list[bytes]) -> Iterator[tuple[tuple[Chunk, ...], int, int]]:
    """Pack messages into frames, at a cost per frame rather than per message.

    Yields, for each frame: the pieces that it is made of (to be joined once, when they are sealed), how many messages
    are complete with it, and how many bytes of messages it carries.
    """
    sizes = list(map(len, messages))
    # What the first n messages take in MESSAGES frames; increasing, so the end of a frame is found by bisection.
    costs = list(accumulate(map(_LENGTH_SIZE.__add__, sizes), initial=0))
    larges = [i for i, size in enumerate(sizes) if size > MAX_SMALL] if max(sizes, default=0) > MAX_SMALL else []
    larges.append(len(sizes))
    start = 0
    for large in larges:
        while start < large:
            # (The budget ends a frame long before its count could overflow: each message takes two bytes at least.)
            end = max(start + 1, bisect_right(costs, costs[start] + _BATCH_BUDGET, start + 1, large + 1) - 1)
            yield _encode_small(messages[start:end], sizes[start:end])
            start = end
        if large < len(sizes):
            yield from _encode_large(messages[large])
            start = large + 1


def _encode_small(batch: list[bytes], sizes: list[int]) -> tuple[tuple[Chunk, ...], int, int]:
    count, size = len(batch), sum(sizes)
    if count == 1:
        return (HEADER.pack(MESSAGE | size << 8), batch[0]), 1, size
    body = _COUNT.size + _LENGTH_SIZE * count + size
    return (struct.pack(f"<IH{count}H", MESSAGES | body << 8, count, *sizes), *batch), count, size


def _encode_large(message: bytes) -> Iterator[tuple[tuple[Chunk, ...], int, int]]:
    size = len(message)
    if size <= FRAGMENT_SIZE:
        yield (HEADER.pack(MESSAGE | size << 8), message), 1, size
        return
    view = memoryview(message)
    first = HEADER.pack(FIRST | (_TOTAL.size + FRAGMENT_SIZE) << 8) + _TOTAL.pack(size)
    yield (first, view[:FRAGMENT_SIZE]), 0, FRAGMENT_SIZE
    for at in range(FRAGMENT_SIZE, size, FRAGMENT_SIZE):
        piece = view[at : at + FRAGMENT_SIZE]
        yield (HEADER.pack(NEXT | len(piece) << 8), piece), int(at + FRAGMENT_SIZE >= size), len(piece)


# --- decoding -------------------------------------------------------------------------------------


@lru_cache(maxsize=128)
def _equal_lengths(length: int) -> struct.Struct:
    return struct.Struct(f"{length}s" * _BLOCK)


def _split_equal(body: memoryview, at: int, length: int, count: int) -> list[bytes]:
    """``count`` messages of the same length, a block at a time without a Python step per message."""
    found: list[bytes] = []
    if length and count >= _BLOCK:
        block = _equal_lengths(length)
        for _ in range(count // _BLOCK):
            found += block.unpack_from(body, at)
            at += block.size
        count %= _BLOCK
    whole = bytes(body[at : at + length * count])
    found += [whole[i * length : (i + 1) * length] for i in range(count)]
    return found


def parse_control(body: Chunk) -> dict[str, Any]:
    """The JSON object of a control frame.

    Raises:
        Malformed: too long, not JSON as the module's text says, or not an object.
    """
    if len(body) > MAX_CONTROL:
        raise Malformed(f"a control frame of {len(body)} bytes; the limit is {MAX_CONTROL}")
    try:
        content = _JSON.decode(str(body, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a control frame is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Malformed("a control frame is not a JSON object")
    if _is_deeper(content, _MAX_DEPTH):
        raise Malformed(f"a control frame is nested more than {_MAX_DEPTH} levels deep")
    return content


def number_in(content: dict[str, Any], key: str) -> int:
    """A number of a control frame, from 0, smaller than `NUMBER_LIMIT`.

    Raises:
        Malformed: there is none under that key.
    """
    value = content.get(key)
    if type(value) is not int or not 0 <= value < NUMBER_LIMIT:  # exactly: True is not a number here
        raise Malformed(f"a control frame without the number {key!r}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")  # two readers could take different ones
    return found


def _integer(text: str) -> int:
    if len(text) > 20:  # enough for 64 bits; longer ones take long to print
        raise ValueError("an integer of more than 20 characters")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)  # also "Infinity" and "NaN", which are no JSON
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_finite
)


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(each, levels - 1) for each in inside)


class Decoder:
    """Frames to messages and control frames, with a bound on the size of a message.

    After each `feed`, take what came with `take_messages`, `take_relayed` and `take_controls`. After `Malformed` the
    messages that were whole before that can be taken, and it is of no more use.

    Args:
        max_message_size: bytes of the largest message that is accepted. With 0 nothing is relayed either.
    """

    def __init__(self, max_message_size: int) -> None:
        self._max = max_message_size
        self._messages: list[bytes] = []
        self._bytes = 0
        self._controls: list[tuple[int, dict[str, Any]]] = []
        self.controls_seen = 0
        """Control frames that came, also those that were forgotten."""
        self._relayed: list[tuple[int, bytes]] = []
        # A large message in the making: one buffer, kept from message to message while it is of a usual size.
        self._partial = bytearray()
        self._have = 0
        self._missing = 0
        self._ended = False

    def feed(self, plaintext: Chunk) -> None:
        """Take in the plaintext of one record: whole frames.

        Raises:
            Malformed: a frame is cut off, of an unknown kind, out of place, or its lengths lie.
        """
        view = plaintext if type(plaintext) is memoryview else memoryview(plaintext)
        at, end = 0, len(view)
        if not end:
            raise Malformed("an empty record")
        while at < end and not self._ended:
            if end - at < HEADER.size:
                raise Malformed("a frame header is cut off")
            (word,) = HEADER.unpack_from(view, at)
            kind, length = word & 0xFF, word >> 8
            at += HEADER.size
            if length > end - at:
                raise Malformed(f"a frame says {length} bytes but {end - at} are there")
            self._frame(kind, view[at : at + length])
            at += length

    def _frame(self, kind: int, body: memoryview) -> None:
        if PING <= kind <= LAST_CONTROL:
            self._control(kind, body)
        elif kind == NEXT:
            self._next(body)
        elif self._missing and kind not in (CARRIED, CREDIT):
            raise Malformed("a message was not finished before the next one")
        elif kind == MESSAGES:
            self._batch(body)
        elif kind == MESSAGE:
            self._whole(body)
        elif kind == FIRST:
            self._first(body)
        elif kind in (CARRIED, CREDIT) and self._max:
            self._relayed.append((kind, bytes(body)))
        else:
            raise Malformed(f"a frame of the unknown kind 0x{kind:02x}")

    def _control(self, kind: int, body: memoryview) -> None:
        self.controls_seen += 1
        content = parse_control(body)
        self._ended = kind == BYE
        if self._ended or len(self._controls) < MAX_CONTROLS:
            self._controls.append((kind, content))

    def _batch(self, body: memoryview) -> None:
        if len(body) < _COUNT.size:
            raise Malformed("a MESSAGES frame without a count")
        if len(body) > MAX_BATCH:
            raise Malformed(f"a MESSAGES frame of {len(body)} bytes; the limit is {MAX_BATCH}")
        (count,) = _COUNT.unpack_from(body)
        start = _COUNT.size + 2 * count
        if not count or start > len(body):
            raise Malformed(f"a MESSAGES frame of {len(body)} bytes says that it has {count} messages")
        lengths = struct.unpack_from(f"<{count}H", body, _COUNT.size)
        length = lengths[0]
        if start + sum(lengths) != len(body):
            raise Malformed("the lengths in a MESSAGES frame do not add up")
        fitting = lengths if max(lengths) <= self._max else tuple(takewhile(self._max.__ge__, lengths))
        if fitting.count(length) == len(fitting):
            self._messages += _split_equal(body, start, length, len(fitting))
        else:
            whole = bytes(body)
            self._messages += [whole[a:b] for a, b in pairwise(accumulate(fitting, initial=start))]
        self._bytes += sum(fitting)
        if fitting is not lengths:  # what came before is whole and genuine
            raise Malformed(f"a message of {lengths[len(fitting)]} bytes; the limit is {self._max}")

    def _whole(self, body: memoryview) -> None:
        limit = min(FRAGMENT_SIZE, self._max)
        if len(body) > limit:
            raise Malformed(f"a message of {len(body)} bytes in one frame; the limit is {limit}")
        self._messages.append(bytes(body))
        self._bytes += len(body)

    def _first(self, body: memoryview) -> None:
        if len(body) != _TOTAL.size + FRAGMENT_SIZE:
            raise Malformed(f"the first piece of a message has {len(body) - _TOTAL.size} bytes, not {FRAGMENT_SIZE}")
        (total,) = _TOTAL.unpack_from(body)
        if not FRAGMENT_SIZE < total <= self._max:
            raise Malformed(f"a message of {total} bytes in pieces; allowed are {FRAGMENT_SIZE + 1} to {self._max}")
        self._have = 0
        self._missing = total
        self._take_piece(body[_TOTAL.size :])

    def _next(self, body: memoryview) -> None:
        if not self._missing:
            raise Malformed("a piece of a message that was not begun")
        # Full-size pieces only: a thousand times as many tiny ones would cost a thousand times their size.
        if len(body) != min(self._missing, FRAGMENT_SIZE):
            raise Malformed(f"a piece of {len(body)} bytes where {min(self._missing, FRAGMENT_SIZE)} were due")
        self._take_piece(body)
        if not self._missing:
            with memoryview(self._partial) as whole, whole[: self._have] as message:
                self._messages.append(bytes(message))
            self._bytes += self._have
            if len(self._partial) > _KEPT_PARTIAL:
                self._partial = bytearray()

    def _take_piece(self, piece: memoryview) -> None:
        end = self._have + len(piece)
        if end > len(self._partial):
            # What the peer promises is not allocated: the buffer is never more than twice what has come.
            size = min(2 * end, self._have + self._missing)
            self._partial.extend(bytes(size - len(self._partial)))
        with memoryview(self._partial) as buffer:  # assigning to a slice of the bytearray would copy the piece twice
            buffer[self._have : end] = piece
        self._have = end
        self._missing -= len(piece)

    def take_messages(self) -> tuple[list[bytes], int]:
        """The whole messages that came since the last call, and their bytes together."""
        taken = self._messages, self._bytes
        self._messages, self._bytes = [], 0
        return taken

    def take_controls(self) -> list[tuple[int, dict[str, Any]]]:
        """The control frames that came since the last call: kind and content."""
        taken, self._controls = self._controls, []
        return taken

    def take_relayed(self) -> list[tuple[int, bytes]]:
        """The CARRIED and CREDIT frames that came since the last call: kind and body. Take them before the controls:
        what was said last about a channel is said there."""
        taken, self._relayed = self._relayed, []
        return taken

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the messages that `take_messages` would give."""
        return self._bytes

    @property
    def has_controls(self) -> bool:
        """Whether `take_controls` would give any."""
        return bool(self._controls)

    @property
    def has_relayed(self) -> bool:
        """Whether `take_relayed` would give any."""
        return bool(self._relayed)
