"""The Wireshark dissector: frames however TCP cuts, loses, repeats and mixes them up; by real tshark."""

import itertools

from crust.transport.framing import PING, control_frame, encode_messages, message_frame
from crust.transport.tracer_hello import MAGIC
from tests.dissector.captures import CLIENT, SERVER, Capture, Conversation, Tshark, greeted

IN_ORDER = ["-o", "tcp.reassemble_out_of_order:TRUE"]
LOST = "no frame begins here: segments are missing or out of order (see the preferences of TCP), or a peer sent garbage"
HELLOS = 3  # packets


def test_many_frames_in_one_segment(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(b"".join(message_frame(b"m%d" % number) for number in range(200)))
    assert tshark.values(talk, "crust.message.text") == [f"m{number}" for number in range(200)]
    assert tshark.values(talk, "crust.message.number") == [str(number) for number in range(1, 201)]
    (info,) = tshark.info(talk)[HELLOS:]
    assert info.startswith("MESSAGE (2 bytes), MESSAGE (2 bytes)")


def test_a_connection_byte_by_byte(tshark: Tshark) -> None:
    """With the magic cut as well: on a port of the preferences, as one byte is not enough to recognise it by."""
    whole, talk = Conversation(), Conversation((CLIENT[0], CLIENT[1]), (SERVER[0], 5484))
    sent: list[bytes] = []
    whole.out = lambda payload, snap=None: sent.append(payload)  # type: ignore[method-assign]
    whole.greet()
    data = b"".join(sent) + message_frame(b"cut") + control_frame(PING, {"t": 5})
    for at in range(len(data)):
        talk.out(data[at : at + 1])
    assert tshark.info(talk) == [
        "tracer begins",
        "HELLO, says it is 4701d084 (crust)",
        "READY serial=1, alone",
        "MESSAGE (3 bytes)",
        "PING t=5",
    ]
    assert tshark.values(talk, "crust.message.text") == ["cut"]
    assert tshark.complaints(talk) == []


def test_a_magic_in_two_segments_is_recognised_on_any_port(tshark: Tshark) -> None:
    talk = Conversation()
    talk.out(MAGIC[:7])
    talk.out(MAGIC[7:] + message_frame(b"m"))
    assert tshark.info(talk) == ["tracer begins, MESSAGE (1 bytes)"]


def test_segments_out_of_order(tshark: Tshark) -> None:
    frames = b"".join(b"".join(parts) for parts, _, _ in encode_messages([b"x" * 70_000, b"a", b"b"]))
    cuts = [0, 30_000, 60_000, 66_000, len(frames)]
    talks = Capture()
    orders = [1, 0, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3]
    for number, order in enumerate(orders):
        talk = Conversation((CLIENT[0], 30_000 + number))
        talk.greet()
        segments = [talk.segment(talk.client, frames[a:b]) for a, b in itertools.pairwise(cuts)]
        for which in order:
            talk.packet(segments[which])
        talks.add(talk)
    whole = [(b"x" * 70_000).hex(), b"a".hex(), b"b".hex()]
    assert tshark.values(talks, "crust.message", *IN_ORDER) == whole * len(orders)
    assert tshark.values(talks, "crust.message.number", *IN_ORDER) == ["1", "2", "3"] * len(orders)


def test_out_of_order_without_that_preference_is_said(tshark: Tshark) -> None:
    talk = greeted()
    frame = message_frame(b"\xff" * 1000)
    first, second = talk.segment(CLIENT, frame[:500]), talk.segment(CLIENT, frame[500:])
    talk.packet(second)
    talk.packet(first)
    assert tshark.complaints(talk, "-o", "tcp.reassemble_out_of_order:FALSE").count(LOST) == 1


def test_segments_that_are_sent_again(tshark: Tshark) -> None:
    talk = greeted()
    data = message_frame(b"one" * 500) + control_frame(PING, {"t": 1}) + message_frame(b"two" * 500)
    segments = [talk.segment(CLIENT, data[at : at + 1200]) for at in range(0, len(data), 1200)]
    for number in (0, 0, 1, 0, 2, 1, 2):
        talk.packet(segments[number])
    assert tshark.values(talk, "crust.message.text") == ["one" * 500, "two" * 500]
    assert tshark.values(talk, "crust.message.number") == ["1", "2"]
    assert tshark.values(talk, "crust.t") == ["1"]


def test_a_segment_that_was_not_captured(tshark: Tshark) -> None:
    """What comes at the next frame's beginning is dissected again."""
    talk = greeted()
    talk.segment(CLIENT, message_frame(b"lost" * 300))
    talk.out(message_frame(b"after"))
    assert tshark.values(talk, "crust.message.text") == ["after"]


def test_packets_that_were_cut_off(tshark: Tshark) -> None:
    talks, snaps = Capture(), (41, 43, 44, 50)
    for snap in snaps:
        talk = Conversation((CLIENT[0], 30_000 + snap))
        talk.greet()
        talk.out(message_frame(b"m" * 100) + message_frame(b"next"), snap)
        talk.out(message_frame(b"whole"))
        talks.add(talk)
    rows = tshark.fields(talks, ["crust.message.text", "_ws.expert.message"])
    for number in range(len(snaps)):
        cut, whole = rows[5 * number + HELLOS : 5 * number + HELLOS + 2]
        assert any("cut off in the capture" in text for text in cut[1])
        assert whole[0] == ["whole"]


def test_cut_off_everywhere(tshark: Tshark) -> None:
    """Whatever is kept of the packets, nothing fails."""
    for snap in (20, 40, 42, 48, 56, 60, 100):
        talk = Conversation()
        for payload in (MAGIC, message_frame(b""), control_frame(PING, {"t": 1}), message_frame(b"m" * 2000)):
            talk.out(payload, snap)
        frames = [b"".join(parts) for parts, _, _ in encode_messages([b"x" * 65_537, b"a", b"b"])]
        talk.out(frames[0][:60_000], snap)
        talk.out(frames[0][60_000:] + frames[1] + frames[2], snap)
        tshark.run(talk, "-V")


def test_garbage_after_the_magic(tshark: Tshark) -> None:
    talks = Capture()
    pieces = [b"\xff" * 40, b"\0" * 40, b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff"]
    for number, garbage in enumerate(pieces):
        talk = Conversation((CLIENT[0], 30_000 + number))
        talk.out(MAGIC + garbage)
        talk.back(MAGIC + message_frame(b"good"))
        talks.add(talk)
    rows = tshark.fields(talks, ["_ws.col.Protocol", "crust.garbage", "crust.message.text"])
    assert rows[::2] == [[["CRUST"], [garbage.hex()], []] for garbage in pieces]
    assert rows[1::2] == [[["CRUST"], [], ["good"]]] * len(pieces)
    assert tshark.complaints(talks) == [LOST] * len(pieces)


def test_a_part_of_a_header_after_the_magic(tshark: Tshark) -> None:
    talk = Conversation()
    talk.out(MAGIC + b"\x01")
    assert tshark.values(talk, "crust.magic") == [MAGIC.hex()]


def test_a_magic_that_is_not_quite_one(tshark: Tshark) -> None:
    talk = greeted()
    talk.out(b"CRUST TRACKER\r\n\0" + message_frame(b"m"))
    assert "it begins like the magic of a tracer connection, and is not" in tshark.complaints(talk)


def test_what_is_not_crust_is_left_alone(tshark: Tshark) -> None:
    """On other ports, and on one of the preferences as well."""
    both = Capture()
    for port in (5484, 80, 7):
        talk = Conversation(CLIENT, (SERVER[0], port))
        talk.out(b"CRUS" if port == 7 else b"GET /crust HTTP/1.1\r\nHost: a\r\n\r\n")
        talk.back(b"\xfe" * 200)
        both.add(talk)
    assert tshark.info(both) == []


def test_a_capture_that_begins_later(tshark: Tshark) -> None:
    """On a port of the preferences, or with Decode As."""
    on_port = Conversation(CLIENT, (SERVER[0], 5484))
    on_port.out(control_frame(PING, {"t": 1}))
    assert tshark.info(on_port) == ["PING t=1"]
    elsewhere = Conversation()
    elsewhere.out(control_frame(PING, {"t": 1}))
    assert tshark.info(elsewhere) == []
    assert tshark.info(elsewhere, "-d", f"tcp.port=={SERVER[1]},crust") == ["PING t=1"]
    assert tshark.info(elsewhere, "-o", f"crust.tracer_ports:{SERVER[1]}") == ["PING t=1"]


def test_connections_are_kept_apart(tshark: Tshark) -> None:
    mixed = Capture()
    for number in range(3):
        talk = Conversation((CLIENT[0], 30_000 + number), SERVER)
        talk.greet()
        talk.out(message_frame(b"m%d" % number) + control_frame(PING, {"t": 1}))
        mixed.add(talk)
    assert tshark.values(mixed, "crust.message.number") == ["1", "1", "1"]
    assert tshark.values(mixed, "crust.pong_in") == []


def test_over_ipv6(tshark: Tshark) -> None:
    talk = Conversation(("2001:db8::1", 1), ("2001:db8::2", 2))
    talk.greet()
    assert len(tshark.info(talk)) == HELLOS
