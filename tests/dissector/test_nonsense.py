"""The Wireshark dissector: whatever stands in a capture, no error of the script itself; by real tshark."""

import random

from crust.transport.framing import (
    ADDRESS,
    BYE,
    CHOOSE,
    CHOSEN,
    CONTACTS,
    PING,
    PONG,
    PUNCH,
    RELAY,
    control_frame,
    encode_messages,
)
from crust.transport.relay.carried import carried_frame, credit_frame
from crust.transport.tracer_hello import HELLO, MAGIC, READY
from tests.dissector.captures import CLIENT, SERVER, Capture, Conversation, Tshark
from tests.fuzz.mutate import mutate

SEED = 20_240_517
CONVERSATIONS = 400

FRAMES: list[bytes] = [
    MAGIC,
    control_frame(PING, {"t": 1}),
    control_frame(PONG, {"t": 1}),
    control_frame(CHOOSE, {"serial": 1}),
    control_frame(CHOSEN, {"serial": 2}),
    control_frame(BYE, {"reason": "bye", "text": 'a "text" \u00e9\ud83d\ude00\\ /'}),
    control_frame(CONTACTS, {"x": 7, "sums": "AAECAwQF"}),
    control_frame(CONTACTS, {"x": 7, "in": "AAAAAAAAAAE=", "have": "QUJD", "full": True}),
    control_frame(CONTACTS, {"x": 7, "records": ["QUJD", "REVG"], "want": "AAAA"}),
    control_frame(HELLO, {"version": 1, "network": "0" * 16, "peer": "0" * 64, "session": "0" * 16, "agent": "a"}),
    control_frame(ADDRESS, {"seen": "tcp://192.0.2.1:1"}),
    control_frame(ADDRESS, {"told": 7, "results": ["reachable"]}),
    control_frame(PUNCH, {"from": "0" * 64, "seen": ["192.0.2.1"], "step": "accept", "meeting": 7, "took": 0.5}),
    control_frame(RELAY, {"open": 1, "to": "0" * 64, "credit": 65_536}),
    control_frame(RELAY, {"abort": 1, "text": "x"}),
    carried_frame(1, b"data"),
    credit_frame(1, 65_536),
    control_frame(READY, {"version": 1, "serial": 1, "alone": True}),
    control_frame(0x55, {"deep": [[[[1.5e3, None, False]]]], "list": []}),
    *(b"".join(parts) for parts, _, _ in encode_messages([b"a", b"", b"bc", b"x" * 65_540, b"after"])),
]


def test_mutated_conversations(tshark: Tshark) -> None:
    dice, everything = random.Random(SEED), Capture()
    for number in range(CONVERSATIONS):
        talk = Conversation((CLIENT[0], 10_000 + number), (SERVER[0], dice.choice([5484, 40_001])))
        for _ in range(dice.randrange(1, 6)):
            data = mutate(dice, FRAMES)
            send = talk.out if dice.random() < 0.7 else talk.back
            send(data[:60_000], dice.choice([None, None, None, dice.randrange(30, 120)]))
        everything.add(talk)
    for _ in range(100):
        data = dice.randbytes(dice.choice([1, 8, 20, 120, 120, 120, 121]))
        everything.datagram(("192.0.2.1", 5483), ("192.0.2.2", 7), data)
    out = tshark.run(everything, "-V", "-o", f"crust.beacon_key:{bytes(32).hex()}")
    assert out.count("Crust") > CONVERSATIONS
