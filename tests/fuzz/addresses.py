"""What strangers and peers write about addresses: STUN, connection infos, probes, and notes of meetings.

Lengths and checksums hide what is behind them from a fuzzer, so each is also tried with those put right.
"""

import base64
import json
from collections.abc import Callable

from crust.endpoint import Endpoint
from crust.errors import Malformed
from crust.identity import Identity
from crust.nat import connection_info, meeting, punch_packet, stun
from crust.nat.behaviour import Allocation, Behaviour, Filtering, Mapping
from crust.nat.connection_info import PREFIX, Candidate, CandidateKind, ConnectionInfo
from crust.nat.stun import Attribute, Kind, Message
from crust.nat.stun_client import StunClient
from crust.nat.stun_server import Corners, StunServer
from crust.transport import framing
from tests.fuzz.parsers import Parser

_TRANSACTION = b"transaction!"
_SERVER, _CLIENT = ("192.0.2.1", 3478), ("2001:db8::7", 40000)
_CORNERS = Corners(("192.0.2.1", "192.0.2.2"), (3478, 3479))


def _stun(data: bytes) -> None:
    """Also what is made of it, on both sides."""
    server = StunServer(corners=_CORNERS)
    answer = server.answer(data, _CLIENT, 0.0, _SERVER)
    assert answer is None or len(answer.data) <= len(data)
    client = StunClient(lambda size: _TRANSACTION)
    client.ask(_SERVER, 0.0)
    taken = client.receive(data, _SERVER, 0.1)
    assert len(client.replies()) == taken
    try:
        message = stun.parse(data)
    except Malformed:
        return
    assert stun.parse(message.encode()) == message


def _stun_with_lengths(data: bytes) -> None:
    """A message of our transaction with that after its type."""
    body = data[2:]
    body += bytes(-len(body) % 4)
    _stun(data[:2] + len(body).to_bytes(2) + stun.COOKIE.to_bytes(4) + _TRANSACTION + body)


_MESSAGES = [
    Message(Kind.REQUEST, _TRANSACTION, ((Attribute.SOFTWARE, b"crust"), (Attribute.CHANGE_REQUEST, bytes(4)))),
    Message(
        Kind.SUCCESS,
        _TRANSACTION,
        (
            (Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(_CLIENT, _TRANSACTION)),
            (Attribute.MAPPED_ADDRESS, stun.encode_address(_SERVER)),
            (Attribute.OTHER_ADDRESS, stun.encode_address(_SERVER)),
        ),
    ),
    Message(
        Kind.ERROR,
        _TRANSACTION,
        ((Attribute.ERROR_CODE, stun.encode_error(420, "Unknown")), (Attribute.UNKNOWN_ATTRIBUTES, b"\0\3")),
    ),
]


_INFO = ConnectionInfo(
    Identity(bytes(32)).peer_id,
    (
        Candidate(CandidateKind.REFLEXIVE, Endpoint.utp("203.0.113.9:40000")),
        Candidate(CandidateKind.HOST, Endpoint.tcp("[2001:db8::7]:1")),
    ),
    Behaviour(Mapping.ADDRESS_DEPENDENT, Filtering.UNKNOWN, Allocation.SEQUENTIAL, -2),
    bytes(16),
)


def _line(text: str) -> None:
    try:
        info = ConnectionInfo.parse(text)
    except Malformed:
        return
    assert ConnectionInfo.parse(info.encode()) == info


def _info(data: bytes) -> None:
    """The bytes of a line, with the right checksum."""
    whole = data + connection_info._checksum(data)
    _line(PREFIX + base64.urlsafe_b64encode(whole).decode().rstrip("="))


def _probe(data: bytes) -> None:
    try:
        probe = punch_packet.decode(data)
    except Malformed:
        return
    assert punch_packet.encode(probe) == data


def _note(data: bytes) -> None:
    try:
        note = meeting.parse_note(framing.parse_control(data))
    except Malformed:
        return
    assert meeting.parse_note(note.content()).step is note.step


def _text(check: Callable[[str], None]) -> Callable[[bytes], None]:
    return lambda data: check(data.decode("utf-8", "surrogateescape"))


_PROBE = punch_packet.encode(punch_packet.Probe(punch_packet.ProbeKind.USE, 3, 77, b"abcdefgh", b"12345678"))
_NOTES = [
    meeting.Note(meeting.Step.OFFER, 7, _INFO.encode()),
    meeting.Note(meeting.Step.ACCEPT, 7, _INFO.encode(), 0.5),
    meeting.Note(meeting.Step.GO, 7),
    meeting.Note(meeting.Step.REFUSE, 7, reason="busy"),
]

ADDRESSES = [
    Parser("stun", [message.encode(fingerprint=one) for message in _MESSAGES for one in (True, False)], _stun),
    Parser(
        "stun attributes",
        [data[:2] + data[20:] for data in (message.encode(fingerprint=False) for message in _MESSAGES)],
        _stun_with_lengths,
    ),
    Parser("connection info", [_INFO.encode().encode()], _text(_line)),
    Parser("connection info without text", [connection_info._decode(_INFO.encode())[:-4]], _info),
    Parser("punch probe", [_PROBE], _probe),
    Parser("note of a meeting", [json.dumps(note.content()).encode() for note in _NOTES], _note),
]
