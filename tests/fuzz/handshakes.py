"""Handshakes with those who change what is on the wire, and with members of the network who say strange things."""

from collections.abc import Callable
from functools import partial
from random import Random

from crust.errors import HandshakeFailed
from crust.identity import Identity
from crust.transport.aead import AEGIS256, CHACHA20
from crust.transport.crossing import Crossing
from crust.transport.handshake import Initiator, Responder
from crust.transport.hello import MAX_PADDING, Hello
from crust.transport.masking import envelope, network_keys
from tests.fuzz.parsers import HELLOS, Parser, pieces

_ALICE, _BOB = Identity(b"a" * 32), Identity(b"b" * 32)
_NETWORK = network_keys("fuzz", None)
_CIPHERS = (AEGIS256, CHACHA20)
_MAX_PAYLOAD = 900  # bytes that surely fit into an envelope

Outcome = tuple[bytes, bool, bool, bytes]
"""What was sent, whether it failed, whether it came to its end, and what was left over then."""


class _StrangeInitiator(Initiator):
    payload = (0, b"")

    def _write(self, number: int, hello: Hello, least: int = 0, most: int = MAX_PADDING) -> bytes:
        return _strange(self, number, hello, least)


class _StrangeResponder(Responder):
    payload = (0, b"")

    def _write(self, number: int, hello: Hello, least: int = 0, most: int = MAX_PADDING) -> bytes:
        return _strange(self, number, hello, least)


def _strange(side: _StrangeInitiator | _StrangeResponder, number: int, hello: Hello, padding: int) -> bytes:
    """The message with a payload of our own, properly encrypted."""
    which, payload = side.payload
    content = payload[:_MAX_PAYLOAD].ljust(padding) if which == number else hello.encode(padding)
    return envelope(side._mask_key, number, side._noise.write_message(content), side._random)


def _alice(kind: type[Initiator] = Initiator) -> Initiator:
    return kind(_ALICE, _NETWORK, b"alice's ", _CIPHERS, random=Random(1).randbytes)


def _bob(kind: type[Responder] = Responder) -> Responder:
    return kind(_BOB, _NETWORK, b"bob's   ", _CIPHERS, random=Random(2).randbytes)


def _conversation() -> tuple[bytes, bytes, bytes]:
    """The three messages; the same each time."""
    alice, bob = _alice(), _bob()
    one = alice.start()
    two = bob.receive(one)
    assert alice.receive(two)
    return one, two, alice.finish()


def _outcome(side: Initiator | Responder, over: bool, sent: bytes = b"") -> Outcome:
    failed = side.failure is not None
    return sent, failed, over and not failed, side.unused if over and not failed else b""


def _respond(parts: list[bytes]) -> Outcome:
    bob, sent = _bob(), b""
    try:
        for part in parts:
            sent += bob.receive(part)
    except HandshakeFailed as error:
        assert bob.failure is error
    return _outcome(bob, bob.done, sent)


def _initiate(parts: list[bytes]) -> Outcome:
    alice, proved = _alice(), False
    alice.start()
    try:
        for part in parts:
            proved = alice.receive(part)
    except HandshakeFailed as error:
        assert alice.failure is error
    return _outcome(alice, proved)


def _cross(seed: int, parts: list[bytes]) -> Outcome:
    """Both ends may have dialled; whoever we turn out to be goes on."""
    crossing, sent, proved = _crossing(seed), b"", False
    crossing.start()
    side: Initiator | Responder | None = None
    try:
        for part in parts:
            if isinstance(side, Initiator):
                side.receive(part)
            else:
                sent += (side or crossing).receive(part)
            side = crossing.initiator or crossing.responder
        if isinstance(side, Initiator):
            proved = side.receive(b"")
    except HandshakeFailed as error:
        assert error is (side or crossing).failure
        return sent, True, False, b""
    if side is None:
        return sent, False, False, b""
    return _outcome(side, side.done if isinstance(side, Responder) else proved, sent)


def _crossing(seed: int) -> Crossing:
    """Alice, whose key is greater than Bob's with the ``seed`` 1, and less with 2."""
    kept = Random(seed).randbytes
    return Crossing(
        Initiator(_ALICE, _NETWORK, b"alice's ", _CIPHERS, random=kept),
        Responder(_ALICE, _NETWORK, b"alice's ", _CIPHERS, random=kept),
    )


def _crossed(seed: int) -> list[bytes]:
    """What Alice may hear of a Bob who has dialled as well, and of one who has not."""
    ours = _crossing(seed)
    one = ours.start()
    bob = Crossing(_bob_dialling(), _bob())
    theirs = bob.start()
    answer = bob.receive(one)
    assert (seed == 2) is (bob.initiator is not None)
    if bob.initiator:
        assert bob.initiator.receive(ours.receive(theirs))
        return [theirs + bob.initiator.finish() + b"records", theirs, _bob().receive(one)]
    return [theirs + answer + b"records", theirs + answer, _bob().receive(one) + b"records"]


def _bob_dialling() -> Initiator:
    return Initiator(_BOB, _NETWORK, b"bob's   ", _CIPHERS, random=Random(3).randbytes)


def _same_in_pieces(run: Callable[[list[bytes]], Outcome]) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        assert run([data]) == run(pieces(data))

    return check


def _payload(data: bytes) -> None:
    """As the payload of each of the three messages."""
    for number in (1, 2, 3):
        alice, bob = _alice(_StrangeInitiator), _bob(_StrangeResponder)
        assert isinstance(alice, _StrangeInitiator)
        assert isinstance(bob, _StrangeResponder)
        alice.payload = bob.payload = (number, data)
        try:
            if alice.receive(bob.receive(alice.start())):
                bob.receive(alice.finish())
                assert bob.done
                assert bob.keys.send_key == alice.keys.receive_key
        except HandshakeFailed:
            assert alice.failure or bob.failure


ONE, TWO, THREE = _conversation()
HANDSHAKES = [
    Parser("responder", [ONE + THREE, ONE, ONE + THREE + b"records"], _same_in_pieces(_respond)),
    Parser("initiator", [TWO, TWO + b"records"], _same_in_pieces(_initiate)),
    Parser("crossing, greater", _crossed(1), _same_in_pieces(partial(_cross, 1))),
    Parser("crossing, lesser", _crossed(2), _same_in_pieces(partial(_cross, 2))),
    Parser("handshake payloads", HELLOS, _payload),
]
