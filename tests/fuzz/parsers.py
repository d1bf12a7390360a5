"""Every parser of what strangers write: valid inputs to begin with, and what has to hold for any other input."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from crust.cli import bench_protocol, transfer_wire
from crust.config import Config
from crust.discovery import contact_record, gossip_messages
from crust.endpoint import Endpoint, Port
from crust.errors import ConfigError, EndpointError, HandshakeFailed, Malformed
from crust.identity import Identity, PeerId
from crust.nat import ssdp, upnp_messages
from crust.nat.gateway_answer import Dialect, Outcome
from crust.nat.natpmp import NatPmp
from crust.nat.pcp import Pcp
from crust.transport import framing, records
from crust.transport.aead import AEGIS256, CHACHA20
from crust.transport.hello import Hello
from crust.transport.masking import Unmasker, envelope, network_keys
from crust.transport.tracer import TracerReader
from crust.transport.tracer_hello import MAGIC, TracerHello, TracerInitiator, TracerResponder
from crust.transport.utp import packet as utp
from tests.nat.gateway_fakes import natpmp_address, natpmp_mapping, pcp_answer
from tests.nat.test_ssdp import answer as ssdp_answer

KEY = bytes(range(32))
LIMIT = 200_000  # bytes of a message


@dataclass(frozen=True)
class Parser:
    """A parser to be tried."""

    name: str
    seeds: list[bytes]
    """Valid inputs."""
    check: Callable[[bytes], None]
    """Raises whatever an input must not lead to; the documented error is caught in it."""


def pieces(data: bytes) -> list[bytes]:
    """Byte by byte."""
    return [data[at : at + 1] for at in range(len(data))]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# --- text -------------------------------------------------------------------------------------------------------------


def _endpoint(data: bytes) -> None:
    try:
        found = Endpoint.parse(_text(data))
    except EndpointError:
        return
    assert Endpoint.parse(str(found)) == found


def _peer_id(data: bytes) -> None:
    try:
        found = PeerId.parse(_text(data))
    except EndpointError:
        return
    assert PeerId.parse(found.hex()) == found


def _config(data: bytes) -> None:
    try:
        found = Config.parse(_text(data))
    except ConfigError:
        return
    assert Config.parse(found.dump()) == found


_ENDPOINTS = ["tcp://192.0.2.7:5483", "utp://[2001:db8::7]:1", "tracer://host.example:65535", "tcp://[fe80::1%eth0]:9"]
_CONFIGS = [
    "tcp_port: 5483\nutp_port: null\nlisten_addresses: ['0.0.0.0', '::']\nnetwork: name\n",
    "hard_coded_contacts:\n  - tcp://192.0.2.7:5483\n  - 'utp://[2001:db8::7]:1'\nupnp: false\nlinger: 0.5\n",
    "network_key: 'hex:00112233445566778899aabbccddeeff'\nmax_message_size: 1_000\ndial_timeout: 1e1\n",
    '{tcp_port: 0, stun_servers: [stun.example:3478], cache_file: "a\\x41\\u00e9b", relay: yes}\n',
    "identity_file: |\n  a\n  b\nkeepalive_interval: 20\ndead_after: 60 # seconds\n",
]


# --- frames and records -----------------------------------------------------------------------------------------------


def _decoded(parts: list[bytes]) -> tuple[list[bytes], list[tuple[int, str]], bool]:
    """Messages, control frames (as text: NaN is not equal to itself), and whether all parts were right."""
    decoder = framing.Decoder(LIMIT)
    good = True
    try:
        for part in parts:
            decoder.feed(part)
    except Malformed:
        good = False
    messages, size = decoder.take_messages()
    assert size == sum(map(len, messages)) <= sum(map(len, parts))
    return messages, [(kind, repr(content)) for kind, content in decoder.take_controls()], good


def _frames(data: bytes) -> list[bytes]:
    """Cut before every frame; what is no whole frame is the last piece."""
    found, at = [], 0
    while at < len(data):
        size = framing.HEADER.size + int.from_bytes(data[at + 1 : at + 4], "little")
        found.append(data[at : at + size])
        at += size
    return found or [data]


def _decoder(data: bytes) -> None:
    assert _decoded([data]) == _decoded(_frames(data))


def _control(data: bytes) -> None:
    try:
        found = framing.parse_control(data)
    except Malformed:
        return
    assert isinstance(found, dict)


def _frame_seeds() -> list[bytes]:
    small = [b"", b"one", b"three" * 9, *[b"equal"] * 40]
    large = [b"x" * (framing.FRAGMENT_SIZE + 20), b"after"]
    controls = [framing.control_frame(kind, {"t": 1, "serial": 2}) for kind in (framing.PING, framing.CHOOSE, 0x55)]
    streams = [[b"".join(part) for part, _, _ in framing.encode_messages(which)] for which in (small, large)]
    streams += [controls, [streams[1][0], controls[0], *streams[1][1:]], [framing.message_frame(b"alone")]]
    return [b"".join(stream) for stream in streams]


_TEXTS = [b"first", b"", b"third" * 20, *[bytes([number]) for number in range(5)]]


def _opener(cipher: str) -> Callable[[bytes], None]:
    def opened(parts: list[bytes]) -> tuple[list[bytes], str]:
        opener, found = records.Opener(KEY, cipher, rekey_records=4), []
        try:
            for part in parts:
                room = opener.writable()
                room[: len(part)] = part
                opener.received(len(part))
                while (plaintext := opener.open_next()) is not None:
                    found.append(bytes(plaintext))
        except Malformed as error:
            return found, str(error)
        return found, ""

    def check(data: bytes) -> None:
        data = data[:4000]  # what surely fits into one read
        whole = opened([data])
        assert whole == opened(pieces(data))
        assert whole[0] == _TEXTS[: len(whole[0])], "something forged was opened"

    return check


def _record_seeds(cipher: str) -> list[bytes]:
    sealer = records.Sealer(KEY, cipher, rekey_records=4)
    return [b"".join(map(sealer.seal, _TEXTS))]


# --- before the records -----------------------------------------------------------------------------------------------

_MASK_KEY = network_keys("fuzz", None).mask_key


def _unmasked(parts: list[bytes], number: int, mask_key: bytes | None) -> tuple[bytes | None, bytes] | str:
    unmasker, message = Unmasker(mask_key, number), None
    try:
        for part in parts:
            message = unmasker.feed(part)
    except Malformed as error:
        return str(error)
    return message, unmasker.unused


def _unmasker(data: bytes) -> None:
    for number in (1, 2, 3):
        for mask_key in (_MASK_KEY, None):
            assert _unmasked([data], number, mask_key) == _unmasked(pieces(data) or [b""], number, mask_key)


def _hello(data: bytes) -> None:
    try:
        found = Hello.parse(data)
    except Malformed:
        return
    try:
        again = found.encode()
    except ValueError:  # JSON with escapes is longer than UTF-8
        return
    assert Hello.parse(again) == replace(found, agent=found.agent or None)


def _tracer_hello(data: bytes) -> None:
    try:
        found = TracerHello.parse(data)
    except Malformed:
        return
    if found.version == 1:
        again = replace(found, agent=found.agent or None)
        assert TracerHello.parse(again.encode()[framing.HEADER.size :]) == again


def _tracer_beginning(data: bytes) -> None:
    """In one piece or byte by byte: the same comes of it."""

    def outcome(parts: list[bytes]) -> tuple[bytes, str, bool]:
        side, said = TracerResponder(Identity(KEY), network_keys("crust", None), b"session!"), b""
        try:
            for part in parts:
                said += side.receive(part)
                if side.failure is not None:
                    return said, str(side.failure), False
        except HandshakeFailed:
            return said, "failed", False
        return said, "", side.done

    whole, cut = outcome([data]), outcome(pieces(data))
    assert whole[1:] == cut[1:]
    assert cut[0] in (whole[0], b"") or whole[1]


def _tracer_reader(data: bytes) -> None:
    """Whole frames come out; together they are what went in."""
    reader = TracerReader(_Nothing(), data)
    found = b""
    try:
        while (frame := reader.next()) is not None:
            found += frame
    except Malformed:
        pass
    assert data.startswith(found)


class _Nothing:
    """A stream that has ended."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: 0


_TRACER = TracerInitiator(Identity(KEY), network_keys("crust", None), b"sessions")
_TRACER_HELLO = _TRACER.start()[len(MAGIC) :]

HELLOS = [
    Hello().encode(9),
    Hello(session=b"sessions", ciphers=(AEGIS256, CHACHA20), agent="crust", seen=("2001:db8::7", 5483)).encode(),
    Hello(session=b"sessions", cipher=CHACHA20, serial=2**40, alone=True).encode(200),
    b'{"version":1,"session":null,"ciphers":[],"agent":"\xc3\xa9","new":{"x":[1.5]}}',
]
_ENVELOPES = [envelope(mask, number, bytes(120)) + b"rest" for number in (1, 2, 3) for mask in (_MASK_KEY, None)]


# --- uTP --------------------------------------------------------------------------------------------------------------


def _utp_packet(data: bytes) -> None:
    try:
        found = utp.decode(data)
    except Malformed:
        return
    assert utp.could_be_utp(data)
    assert utp.decode(memoryview(data)) == found
    assert utp.decode(utp.encode(found)) == found
    assert len(str(found)) < 1000
    assert data.endswith(found.payload)
    named = list(utp.sack_bits(found.sack, found.ack_nr))
    mask = utp.sack_mask(found.ack_nr, reversed(named))
    assert len(mask) <= len(found.sack)
    assert mask == found.sack[: len(mask)]
    assert not any(found.sack[len(mask) :])


_UTP = [
    utp.Packet(kind, 1000, 2**31, 2**20, 2**20, 65535, 17, sack, reason, payload)
    for kind in utp.PacketType
    for sack, reason in ((b"", None), (b"\x01\x00\x00\x80", None), (b"", 15), (b"\xff" * 100, 65535))
    for payload in (b"", b"payload" * 5)
]


# --- programs ---------------------------------------------------------------------------------------------------------


def _transfer(data: bytes) -> None:
    try:
        found = transfer_wire.parse_untrusted(data)
    except Malformed:
        return
    assert transfer_wire.parse_untrusted(transfer_wire.encode(found)) == found


def _bench(data: bytes) -> None:
    """A server answers or drops, whatever comes; it raises nothing."""
    server: bench_protocol.Server[str] = bench_protocol.Server(LIMIT)
    server.joined("peer")
    for _ in range(2):  # the second flood is refused
        server.message("peer", data, 1.0)
    try:
        fields = bench_protocol.parse_control(data)
    except Malformed:
        return
    for name in fields:
        try:
            assert 0 <= bench_protocol.number(fields, name, 0, 10) <= 10
        except Malformed:
            pass


_ID, _HASH = bytes(range(16)), bytes(range(32))
_TRANSFER = [
    transfer_wire.encode(message)
    for message in (
        transfer_wire.Offer(_ID, 2**33, 7, "nämé.txt"),
        transfer_wire.Have(_ID, 5),
        transfer_wire.Proof(_ID, 5, _HASH),
        transfer_wire.Chunk(_ID, 5, memoryview(b"content")),
        transfer_wire.Finish(_ID, 5, _HASH),
        transfer_wire.Saved(_ID, True, _HASH, "name"),
        transfer_wire.Refused(_ID, transfer_wire.Code.BUSY, "busy"),
        transfer_wire.Cancel(_ID, "why"),
        transfer_wire.End(),
    )
]
_BENCH = [
    bench_protocol.control(do="hello", version=1),
    bench_protocol.control(do="flood", size=100, seconds=1.5),
    bench_protocol.control(do="total"),
    bench_protocol.PING + b"time",
    bench_protocol.bulk(20),
]


# --- gossip -----------------------------------------------------------------------------------------------------------

_TAG = contact_record.network_tag(network_keys("crust", None))
_CONTACT = contact_record.make_record(
    Identity(KEY), _TAG, (Endpoint.tcp("192.0.2.7:5483"), Endpoint.utp("[2001:db8::7]:1")), 5, 9
)


def _contact_record(data: bytes) -> None:
    """Nothing but what was signed verifies, and what is one has no other form."""
    try:
        claim = contact_record.parse(data)
        assert claim.raw == data
        claim.verify(_TAG)
    except Malformed:
        return
    assert data == _CONTACT.raw


def _gossip(data: bytes) -> None:
    try:
        message = gossip_messages.parse_message(framing.parse_control(data))
    except Malformed:
        return
    assert gossip_messages.parse_message(message.content()) == message


_GOSSIP = [
    json.dumps(message.content()).encode()
    for message in (
        gossip_messages.Sums(7, [1, 2**48 - 1]),
        gossip_messages.Have(7, [0, 63], {bytes(8): 5, bytes(range(8)): 2**48 - 1}, full=True),
        *gossip_messages.gives(7, [_CONTACT.raw], [bytes(8)]),
    )
]

# --- routers ----------------------------------------------------------------------------------------------------------


def _dialect(dialect: Dialect) -> Callable[[bytes], None]:
    """What is believed is in range."""

    def check(data: bytes) -> None:
        try:
            answer = dialect.parse(data)
        except Malformed:
            return
        assert 0 <= answer.external < 65536
        assert 0 <= answer.lifetime < 2**32
        if answer.outcome is Outcome.OK and answer.lifetime:
            assert answer.external

    return check


def _ssdp(data: bytes) -> None:
    try:
        assert ssdp.parse(data, "192.168.1.1").startswith("http://192.168.1.1")
    except Malformed:
        pass


_CALL = upnp_messages.Call("", "", (upnp_messages.Wish(Port.tcp(5483), 5483),), (), 3600)


def _upnp(data: bytes) -> None:
    try:
        answer = upnp_messages.parse(data, _CALL)
    except (Malformed, upnp_messages.NoAnswer):
        return
    assert set(answer.given) <= {Port.tcp(5483)}


_NATPMP = [natpmp_address(), natpmp_mapping(), natpmp_mapping(transport=17, result=2)]
_PCP = [
    pcp_answer(),
    pcp_answer(result=8),
    pcp_answer(opcode=0),
    pcp_answer(address="2a00::5"),
    natpmp_mapping(result=1),
]
_SSDP = [ssdp_answer("http://192.168.1.1:5000/rootDesc.xml"), ssdp_answer("http://192.168.1.1/")]
_UPNP = [
    b'{"external": "11.1.1.2", "mapped": [["TCP", 5483, 5484, 3600]], "failed": []}',
    b'{"external": null, "mapped": [], "failed": [["", 0, "x"], ["TCP", 5483, "no"]]}',
    b'{"error": "no"}',
]
_ROUTERS = [
    Parser("nat-pmp", _NATPMP, _dialect(NatPmp())),
    Parser("pcp", _PCP, _dialect(Pcp("192.168.1.2"))),
    Parser("ssdp", _SSDP, _ssdp),
    Parser("upnp", _UPNP, _upnp),
]

PARSERS = [
    Parser("endpoint", [text.encode() for text in _ENDPOINTS], _endpoint),
    Parser("peer id", [KEY.hex().encode(), KEY.hex().upper().encode()], _peer_id),
    Parser("config", [text.encode() for text in _CONFIGS], _config),
    Parser("frames", _frame_seeds(), _decoder),
    Parser("control frames", [json.dumps({"t": 1, "reason": "bye", "text": "é"}).encode(), b'{"t":1.5}'], _control),
    *(Parser(f"records {cipher}", _record_seeds(cipher), _opener(cipher)) for cipher in (AEGIS256, CHACHA20)),
    Parser("unmasker", _ENVELOPES, _unmasker),
    Parser("hello", HELLOS, _hello),
    Parser("tracer hello", [_TRACER_HELLO[framing.HEADER.size :]], _tracer_hello),
    Parser("tracer beginning", [MAGIC + _TRACER_HELLO + _TRACER.finish(1, True) + b"rest"], _tracer_beginning),
    Parser("tracer frames", _frame_seeds(), _tracer_reader),
    Parser("utp packet", [utp.encode(packet) for packet in _UTP], _utp_packet),
    Parser("transfer", _TRANSFER, _transfer),
    Parser("bench", _BENCH, _bench),
    Parser("contact record", [_CONTACT.raw], _contact_record),
    Parser("gossip", _GOSSIP, _gossip),
    *_ROUTERS,
]
