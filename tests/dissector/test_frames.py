"""The Wireshark dissector: every type of frame, field by field, and what is wrong with wrong ones; by real tshark."""

import json
from collections import defaultdict
from typing import Any

from crust.identity import PeerId
from crust.transport.framing import (
    ADDRESS,
    BYE,
    CARRIED,
    CHOOSE,
    CHOSEN,
    CONTACTS,
    CREDIT,
    FRAGMENT_SIZE,
    HEADER,
    MESSAGES,
    PING,
    PONG,
    PUNCH,
    RELAY,
    control_frame,
    encode_messages,
    message_frame,
)
from crust.transport.relay.carried import MAX_CARRIED, carried_frame, credit_frame
from crust.transport.relay.notes import Abort, Acceptance, Opening, Refusal
from crust.transport.tracer_hello import HELLO, READY, tracer_network_tag
from tests.dissector.captures import ALICE, BOB, KEYS, Capture, Conversation, Tshark, greeted


def packed(*messages: bytes) -> bytes:
    """Messages as the sender packs them."""
    return b"".join(b"".join(parts) for parts, _, _ in encode_messages(list(messages)))


def test_the_beginning(tshark: Tshark) -> None:
    talk = greeted()
    rows = tshark.fields(
        talk,
        [
            "_ws.col.Protocol",
            "crust.magic",
            "crust.type",
            "crust.length",
            "crust.version",
            "crust.network",
            "crust.peer",
            "crust.session",
            "crust.agent",
            "crust.serial",
            "crust.alone",
        ],
    )
    magic, tag = b"CRUST TRACER\r\n\x1a\0".hex(), tracer_network_tag(KEYS).hex()
    same = ["CRUST"], [magic], ["0x70"], ["179"], ["1"], [tag]
    assert rows == [
        [*same, [ALICE.peer_id.hex()], [b"session1".hex()], ["crust"], [], []],
        [*same, [BOB.peer_id.hex()], [b"session2".hex()], ["crust"], [], []],
        [["CRUST"], [], ["0x71"], ["37"], ["1"], [], [], [], [], ["1"], ["1"]],
    ]
    assert tshark.info(talk) == [
        f"tracer begins, HELLO, says it is {ALICE.peer_id} (crust)",
        f"tracer begins, HELLO, says it is {BOB.peer_id} (crust)",
        "READY serial=1, alone",
    ]
    assert tshark.remarks(talk) == [["Clear text; the identity is claimed, not proven"]] * 2 + [[]]


def test_capabilities_each_by_itself(tshark: Tshark) -> None:
    talk = Conversation()
    talk.greet()
    hello = {"version": 1, "network": "00" * 8, "peer": "ab" * 32, "session": "cd" * 8, "capabilities": ["one", "t-2"]}
    talk.out(control_frame(HELLO, hello))
    assert tshark.values(talk, "crust.capability") == ["one", "t-2"]


def test_messages_of_one_frame(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(packed(b"hi", b"", b"you") + packed(b"\x00\xff"))
    talk.back(message_frame(b"") + message_frame(b"back"))
    names = ["crust.type", "crust.messages.count", "crust.messages.length", "crust.message"]
    names += ["crust.message.number", "crust.message.length", "crust.message.text"]
    assert tshark.fields(talk, names)[3:] == [
        [
            ["0x01", "0x02"],
            ["3"],
            ["2", "0", "3"],
            ["6869", "796f75", "00ff"],
            ["1", "2", "3", "4"],
            ["2", "0", "3", "2"],
            ["hi", "you"],
        ],
        [["0x02", "0x02"], [], [], [b"back".hex()], ["1", "2"], ["0", "4"], ["back"]],
    ]
    assert tshark.info(talk)[3:] == ["MESSAGES 3 (5 bytes), MESSAGE (2 bytes)", "MESSAGE (0 bytes), MESSAGE (4 bytes)"]
    assert tshark.complaints(talk) == []


TEXTS = {
    "caf\u00e9 \u4f60\u597d \U0001f600".encode(): "caf\u00e9 \u4f60\u597d \U0001f600",
    b"two\r\nlines,\ta tab": r"two\r\nlines,\ta tab",
    b"x" * 59 + "\u00e9n".encode(): "x" * 59 + "...",  # cut between characters
    b"100 %s": "100 %s",
}
NO_TEXTS = [
    b"nul\0",
    b"\x1b[31m",
    b"del\x7f",
    b"\xff\xfe",
    b"cut off \xc3",
    b"cut off \xe4\xbd",
    b"\xc3(",
    b"\x80",
    b"two encodings: \xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"half a pair: \xed\xa0\x80",
    b"too far: \xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"a control character: \xc2\x9b",
]


def test_messages_are_shown_as_text_where_they_are_some(tshark: Tshark) -> None:
    """Of any language and of several lines; the label has one line."""
    talk = greeted()
    talk.out(packed(*TEXTS, *NO_TEXTS))
    tree = tshark.run(talk, "-O", "crust")
    for label in TEXTS.values():
        assert f' "{label}"\n' in tree
    assert len(tshark.values(talk, "crust.message")) == len(TEXTS) + len(NO_TEXTS)
    assert len(tshark.values(talk, "crust.message.text")) == len(TEXTS)
    assert tshark.values(talk, "crust.message.text")[0] == next(iter(TEXTS.values()))
    assert tshark.complaints(talk) == []


def test_of_very_many_messages_some_are_counted_only(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(packed(*[b"m"] * 1200))
    talk.out(message_frame(b"last"))
    assert len(tshark.values(talk, "crust.message")) == 1001
    assert len(tshark.values(talk, "crust.message", "-o", "crust.most_messages:7")) == 8
    assert tshark.values(talk, "crust.message.number")[-1] == "1201"
    assert "193 further messages" not in tshark.run(talk, "-O", "crust")
    assert "1193 further messages" in tshark.run(talk, "-O", "crust", "-o", "crust.most_messages:7")


def test_questions_and_answers_find_each_other(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(control_frame(PING, {"t": 2**63 - 1}) + control_frame(PING, {"t": 2}))  # 4
    talk.back(control_frame(PING, {"t": 2}))  # 5: the same number, the other direction
    talk.back(control_frame(PONG, {"t": 2}))  # 6
    talk.out(control_frame(PONG, {"t": 2}))  # 7
    talk.back(control_frame(PONG, {"t": 2**63 - 1}))  # 8
    names = ["crust.t", "crust.pong_in", "crust.ping_in", "crust.round_trip"]
    assert tshark.fields(talk, names)[3:] == [
        [[str(2**63 - 1), "2"], ["8", "6"], [], []],
        [["2"], ["7"], [], []],
        [["2"], [], ["4"], ["0.002000000"]],
        [["2"], [], ["5"], ["0.002000000"]],
        [[str(2**63 - 1)], [], ["4"], ["0.004000000"]],
    ]
    assert tshark.info(talk)[3] == f"PING t={2**63 - 1}, PING t=2"
    assert tshark.complaints(talk) == []


def test_an_answer_that_nobody_asked_for(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(control_frame(PING, {"t": 1}))
    talk.back(control_frame(PONG, {"t": 1}) + control_frame(PONG, {"t": 1}) + control_frame(CHOSEN, {"serial": 3}))
    assert tshark.remarks(talk)[-1] == [
        "no PING with this number was captured before",
        "no CHOOSE with this number was captured before",
    ]


def test_the_choice(tshark: Tshark) -> None:
    talk = greeted()
    talk.back(control_frame(CHOOSE, {"serial": 5}))
    talk.out(control_frame(CHOSEN, {"serial": 9}))
    names = ["crust.serial", "crust.chosen_in", "crust.choose_in", "crust.round_trip"]
    assert tshark.fields(talk, names)[3:] == [[["5"], ["5"], [], []], [["9"], [], ["4"], ["0.001000000"]]]
    assert tshark.info(talk)[3:] == ["CHOOSE serial=5", "CHOSEN serial=9"]


def test_the_end(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(control_frame(BYE, {"reason": "full", "text": 'no "place" \u00e9'}))
    names = ["crust.bye.reason", "crust.bye.text", "crust.json", "_ws.expert.message"]
    assert tshark.fields(talk, names)[3] == [
        ["full"],
        ['no "place" \u00e9'],
        ['{"reason":"full","text":"no \\"place\\" \\u00e9"}'],
        ["The last frame of this direction"],
    ]
    assert tshark.info(talk)[3].startswith('BYE full: no "place" ')


def test_gossip(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(control_frame(CONTACTS, {"x": 7, "sums": "AAECAwQF"}))
    talk.back(control_frame(CONTACTS, {"x": 7, "in": "AAAAAAAAAAE=", "have": "QUJD", "full": True}))
    talk.out(control_frame(CONTACTS, {"x": 7, "records": ["QUJD", "REVG"], "want": "AAAA"}))
    talk.out(control_frame(CONTACTS, {"x": 7, "other": 1}))
    names = ["crust.contacts.step", "crust.contacts.exchange", "crust.contacts.sums", "crust.contacts.in"]
    names += ["crust.contacts.have", "crust.contacts.full", "crust.contacts.record", "crust.contacts.want"]
    assert tshark.fields(talk, names)[3:] == [
        [["Sums"], ["7"], ["AAECAwQF"], [], [], [], [], []],
        [["Have"], ["7"], [], ["AAAAAAAAAAE="], ["QUJD"], ["1"], [], []],
        [["Give"], ["7"], [], [], [], [], ["QUJD", "REVG"], ["AAAA"]],
        [[], ["7"], [], [], [], [], [], []],
    ]
    assert tshark.info(talk)[3:] == [
        "CONTACTS Sums x=7",
        "CONTACTS Have x=7, wants no more nodes",
        "CONTACTS Give x=7, 2 records",
        "CONTACTS of an unknown kind",
    ]


def test_where_somebody_is(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(control_frame(ADDRESS, {"seen": "tcp://203.0.113.9:40000"}))
    talk.back(control_frame(ADDRESS, {"ask": 5, "at": ["tcp://192.0.2.1:1", "utp://192.0.2.1:2"]}))
    talk.out(control_frame(ADDRESS, {"due": 5, "bytes": 40_000}) + control_frame(ADDRESS, {"paid": 5, "pad": "x"}))
    talk.out(control_frame(ADDRESS, {"told": 5, "results": ["reachable", "refused"]}))
    names = ["seen", "number", "at", "bytes", "result"]
    assert tshark.fields(talk, [f"crust.address.{name}" for name in names])[3:] == [
        [["tcp://203.0.113.9:40000"], [], [], [], []],
        [[], ["5"], ["tcp://192.0.2.1:1", "utp://192.0.2.1:2"], [], []],
        [[], ["5", "5"], [], ["40000"], []],
        [[], ["5"], [], [], ["reachable", "refused"]],
    ]
    assert tshark.info(talk)[3:] == [
        "ADDRESS, sees the other at tcp://203.0.113.9:40000",
        "ADDRESS, to be tried at 2 endpoints",
        "ADDRESS, asks for bytes=40000, ADDRESS, padding",
        "ADDRESS, 2 results",
    ]
    assert tshark.complaints(talk) == []


def test_meetings(tshark: Tshark) -> None:
    talk, peer = greeted(), "ab" * 32
    talk.out(control_frame(PUNCH, {"to": peer, "step": "offer", "meeting": 7, "info": "crust-info:x"}))
    seen = {"seen": ["192.0.2.1", "2001:db8::1"]}
    talk.back(control_frame(PUNCH, {"from": peer, **seen, "step": "accept", "meeting": 7, "took": 0.25}))
    talk.back(control_frame(PUNCH, {"from": peer, "seen": [], "step": "refuse", "meeting": 7, "reason": "busy"}))
    names = [
        "crust.to",
        "crust.from",
        *(f"crust.punch.{key}" for key in ["seen", "step", "meeting", "info", "took", "reason"]),
    ]
    assert tshark.fields(talk, names)[3:] == [
        [[peer], [], [], ["offer"], ["7"], ["crust-info:x"], [], []],
        [[], [peer], ["192.0.2.1", "2001:db8::1"], ["accept"], ["7"], [], ["0.25"], []],
        [[], [peer], [], ["refuse"], ["7"], [], [], ["busy"]],
    ]
    assert tshark.info(talk)[3:] == [
        "PUNCH offer to abababab, meeting=7",
        "PUNCH accept from abababab, meeting=7",
        "PUNCH refuse from abababab, meeting=7: busy",
    ]
    assert tshark.complaints(talk) == []


def test_relayed_connections(tshark: Tshark) -> None:
    talk, peer = greeted(), PeerId.parse("ab" * 32)
    talk.out(control_frame(RELAY, Opening(3, peer, 65_536).content()))
    talk.back(control_frame(RELAY, Acceptance(3, 32_768).content()))
    talk.out(carried_frame(3, b"\x00\xff") + carried_frame(3, b""))
    talk.back(credit_frame(3, 16_384))
    talk.out(control_frame(RELAY, Opening(5, peer, 65_536, passed_on=True).content()))
    talk.back(control_frame(RELAY, Refusal(5, "off").content()))
    talk.back(control_frame(RELAY, Abort(3, "why").content()))
    names = [f"crust.relay.{key}" for key in ["channel", "credit", "data", "reason", "text"]]
    assert tshark.fields(talk, ["crust.to", "crust.from", *names])[3:] == [
        [[peer.hex()], [], ["3"], ["65536"], [], [], []],
        [[], [], ["3"], ["32768"], [], [], []],
        [[], [], ["3", "3"], [], ["00ff"], [], []],
        [[], [], ["3"], ["16384"], [], [], []],
        [[], [peer.hex()], ["5"], ["65536"], [], [], []],
        [[], [], ["5"], [], [], ["off"], []],
        [[], [], ["3"], [], [], [], ["why"]],
    ]
    assert tshark.info(talk)[3:] == [
        "RELAY open channel=3 to abababab",
        "RELAY accepted channel=3",
        "CARRIED channel=3 (2 bytes), CARRIED channel=3 ends",
        "CREDIT channel=3, 16384 bytes more",
        "RELAY open channel=5 from abababab",
        "RELAY refused channel=5: off",
        "RELAY abort channel=3: why",
    ]
    assert tshark.complaints(talk) == []


def test_control_frames_of_later_versions(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(control_frame(0x33, {"new": [1, {"a": None}]}) + control_frame(PING, {"t": 1}))
    assert tshark.info(talk)[3] == "control 0x33, PING t=1"
    assert tshark.remarks(talk)[3] == ["Control frame of a type that is not known"]
    assert tshark.values(talk, "crust.json")[-2] == '{"new":[1,{"a":null}]}'


# --- large messages ---------------------------------------------------------------------------------------------------


def test_a_large_message_is_put_together(tshark: Tshark) -> None:
    talk, whole = greeted(), bytes(range(256)) * 600
    first, second, third, after = (b"".join(parts) for parts, _, _ in encode_messages([whole, b"after"]))
    for frame in (first, control_frame(PING, {"t": 1}), second, third + after):
        for at in range(0, len(frame), 60_000):
            talk.out(frame[at : at + 60_000])
    names = ["frame.number", "crust.fragment.number", "crust.fragment.offset", "crust.reassembled.in", "crust.fragment"]
    rows = [row for row in tshark.fields(talk, names) if row[1]]
    assert rows == [
        [["5"], ["1"], ["0"], ["9"], []],
        [["8"], ["2"], ["65536"], ["9"], []],
        [["9"], ["3"], ["131072"], [], ["5", "8", "9"]],
    ]
    names = ["crust.fragment.count", "crust.reassembled.length", "crust.message", "crust.message.number"]
    (last,) = [row for row in tshark.fields(talk, names) if row[0]]
    assert last == [["3"], [str(len(whole))], [whole.hex(), b"after".hex()], ["1", "2"]]
    assert tshark.info(talk)[3:] == [
        "FIRST 65536 of 153600 bytes",
        "PING t=1",
        "NEXT 131072 of 153600 bytes",
        "NEXT 153600 of 153600 bytes, MESSAGE (5 bytes)",
    ]
    assert tshark.complaints(talk) == []


def test_both_directions_have_their_own_large_message(tshark: Tshark) -> None:
    talk = greeted()
    out = [b"".join(parts) for parts, _, _ in encode_messages([b"o" * 65_537])]
    back = [b"".join(parts) for parts, _, _ in encode_messages([b"b" * 65_538])]
    for one, other in zip(out, back, strict=True):
        for at in range(0, len(one), 60_000):
            talk.out(one[at : at + 60_000])
        for at in range(0, len(other), 60_000):
            talk.back(other[at : at + 60_000])
    assert tshark.values(talk, "crust.message") == [(b"o" * 65_537).hex(), (b"b" * 65_538).hex()]


# --- what is wrong ----------------------------------------------------------------------------------------------------


def raw(kind: int, body: bytes) -> bytes:
    """A frame of any kind."""
    return HEADER.pack(kind | len(body) << 8) + body


WRONG = [
    (raw(MESSAGES, b"\x02\x00\x01\x00\x01\x00a"), "the count and the lengths do not fit the body"),
    (raw(MESSAGES, b"\x00\x00"), "the count and the lengths do not fit the body"),
    (raw(MESSAGES, b"\x09\x00\x01\x00"), "the count and the lengths do not fit the body"),
    (raw(MESSAGES, b"\x01"), "the count and the lengths do not fit the body"),
    (raw(PING, b"{}"), '"t" is missing, or not what it has to be'),
    (raw(ADDRESS, b"{}"), '"seen, ask, due, paid or told" is missing, or not what it has to be'),
    (raw(PUNCH, b'{"to":"ab","step":"go","meeting":1}'), '"to" is missing, or not what it has to be'),
    (raw(RELAY, b'{"accepted":1}'), '"credit" is missing, or not what it has to be'),
    (raw(CARRIED, b"abc"), "a channel is missing"),
    (raw(CARRIED, bytes(5 + MAX_CARRIED)), "more than 16384 bytes"),
    (raw(CREDIT, bytes(9)), "a credit has 8 bytes"),
    (raw(PING, b'{"t":-1}'), '"t" is missing, or not what it has to be'),
    (raw(PING, b'{"t":9223372036854775808}'), '"t" is missing, or not what it has to be'),
    (raw(PING, b'{"t":true}'), '"t" is missing, or not what it has to be'),
    (raw(PING, b'{"t":1,"t":2}'), "not the JSON of a control frame: a key comes twice, at byte 7"),
    (raw(PING, b"[1]"), "not the JSON of a control frame: not a JSON object, at byte 0"),
    (raw(PING, b""), "not the JSON of a control frame: an empty body, at byte 0"),
    (raw(PING, b'{"t":1}x'), "not the JSON of a control frame: something after the object, at byte 7"),
    (raw(PING, b'{"t":01}'), "not the JSON of a control frame: a value that is none, at byte 5"),
    (raw(PING, b'{"t":1e999}'), "not the JSON of a control frame: a number that is not finite, at byte 5"),
    (
        raw(PING, b'{"t":' + b"1" * 21 + b"}"),
        "not the JSON of a control frame: an integer of more than 20 characters, at byte 5",
    ),
    (
        raw(0x33, b'{"a":' + b"[" * 8 + b"]" * 8 + b"}"),
        "not the JSON of a control frame: more than 8 levels, at byte 12",
    ),
    (raw(BYE, b'{"reason":"a\nb"}'), "not the JSON of a control frame: a control character in a text, at byte 12"),
    (raw(HELLO, json.dumps({"version": 1}).encode()), '"network" is missing, or not what it has to be'),
    (raw(READY, b'{"version":1,"alone":1}'), '"alone" is missing, or not what it has to be'),
]


def test_a_malformed_frame_says_what_is_wrong(tshark: Tshark) -> None:
    """And what follows it is dissected all the same."""
    talk = greeted()
    for frame, _ in WRONG:
        talk.out(frame + message_frame(b"and on"))
    names = ["_ws.expert.message", "crust.message.text"]
    for (frame, complaint), (remarks, texts) in zip(WRONG, tshark.fields(talk, names)[3:], strict=True):
        assert (remarks[0], texts[-1]) == (complaint, "and on"), frame


def piece(size: int, total: int | None = None) -> bytes:
    """A FIRST or NEXT."""
    return raw(4, bytes(size)) if total is None else raw(3, total.to_bytes(4, "little") + bytes(size))


MISFITS = [
    ([piece(10)], "a piece of a message whose beginning is not there"),
    ([piece(10, 100_000)], "the first piece has to have 65536 bytes"),
    ([piece(10, 10)], "a message that would fit into one frame comes in pieces"),
    ([piece(FRAGMENT_SIZE, 65_540), piece(3)], "a piece of 3 bytes, where 4 are due"),
    ([piece(FRAGMENT_SIZE, 65_540), piece(9)], "the pieces have more bytes than the message"),
    ([piece(FRAGMENT_SIZE, 65_540), piece(FRAGMENT_SIZE, 65_540)], "the message before this one was not finished"),
]


def test_pieces_that_do_not_fit(tshark: Tshark) -> None:
    talks = Capture()
    for number, (frames, _) in enumerate(MISFITS):
        talk, data = Conversation(("192.0.2.9", 1000 + number)), b"".join(frames)
        talk.greet()
        for at in range(0, len(data), 60_000):
            talk.out(data[at : at + 60_000])
        talks.add(talk)
    names = ["tcp.stream", "_ws.expert.message"]
    found: dict[int, list[str]] = defaultdict(list)
    for (stream,), remarks in tshark.fields(talks, names):
        found[int(stream)] += remarks
    for number, (_, complaint) in enumerate(MISFITS):
        assert complaint in found[number]


def test_the_statistics(tshark: Tshark) -> None:
    talk: Any = greeted()
    talk.out(control_frame(PING, {"t": 1}))
    talk.back(control_frame(PONG, {"t": 1}))
    for options in (["-o", "crust.statistics:TRUE"], ["-X", "lua_script1:statistics"]):
        lines = [line.split() for line in tshark.run(talk, "-q", *options).splitlines() if line]
        assert lines[0] == ["Crust", "frames", "bytes", "of", "all"]
        assert lines[1] == ["all", "5", "429", "100.0%"]
        assert ["HELLO", "2", "366", "85.3%"] in lines
        assert ["PING", "1", "11", "2.6%"] in lines
        assert ["192.0.2.1", "40000", "1", "11", "2.6%"] in lines
    assert tshark.run(talk, "-q") == ""
