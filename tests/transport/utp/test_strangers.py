"""What strangers are answered: never more than they sent, never twice the same, and little is kept of them."""

from collections import Counter
from random import Random

import pytest

from crust.transport.utp import constants as c
from crust.transport.utp.burst import Address
from crust.transport.utp.packet import Packet, PacketType, decode, encode
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.strangers import Strangers

NOW = 10.0
PEER = ("192.0.2.1", 7)


class Numbers:
    """What `Random` gives, written down."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)

    def getrandbits(self, k: int, /) -> int:
        assert k == 16
        return self._numbers.pop(0)


def make(*numbers: int) -> tuple[Strangers, Counter[str]]:
    counters = Counter[str]()
    rng = Numbers(*numbers) if numbers else Random(1)
    return Strangers(UtpSettings(receive_window=7777), rng, counters), counters


def syn(connection_id: int = 1000, seq_nr: int = 1) -> Packet:
    return Packet(PacketType.SYN, connection_id, 4_000_000, 0, 0, seq_nr, 0)


def stray(kind: PacketType = PacketType.DATA, connection_id: int = 5, seq_nr: int = 6) -> Packet:
    return Packet(kind, connection_id, 1, 2, 3, seq_nr, 9)


def answers(strangers: Strangers) -> list[tuple[Address, Packet]]:
    found = [(address, decode(data)) for address, data in strangers.answers]
    strangers.answers.clear()
    return found


def test_a_syn_is_answered_with_a_number_of_ours() -> None:
    strangers, _ = make(4711)
    assert strangers.on_syn(syn(65535, 9), PEER, True, NOW)
    ((address, answer),) = answers(strangers)
    assert address == PEER
    assert answer == Packet(PacketType.STATE, 65535, 10_000_000, 6_000_000, 7777, 4711, 9)
    asked = strangers.half_open.get(PEER, 0)
    assert asked is not None
    assert (asked.our_seq, asked.their_seq) == (4711, 9)


def test_a_repeated_syn_gets_the_same_answer_even_where_nobody_new_is_welcome() -> None:
    strangers, _ = make(4711)
    strangers.on_syn(syn(), PEER, True, NOW)
    assert strangers.on_syn(syn(), PEER, False, NOW + 1)
    first, second = answers(strangers)
    assert first[1].seq_nr == second[1].seq_nr == 4711
    assert len(strangers.half_open) == 1


def test_who_is_not_welcome_gets_no_answer() -> None:
    strangers, _ = make(4711)
    assert not strangers.on_syn(syn(), PEER, False, NOW)
    assert not strangers.answers
    assert not len(strangers.half_open)


def test_another_syn_with_the_same_id_gets_no_answer() -> None:
    strangers, _ = make(4711)
    strangers.on_syn(syn(seq_nr=1), PEER, True, NOW)
    assert not strangers.on_syn(syn(seq_nr=2), PEER, True, NOW)
    assert len(strangers.answers) == 1


@pytest.mark.parametrize(
    ("kind", "ack_nr", "proved"),
    [
        (PacketType.STATE, 4710, True),
        (PacketType.DATA, 4710, True),
        (PacketType.FIN, 4710, True),
        (PacketType.RESET, 4710, False),
        (PacketType.DATA, 4711, False),
        (PacketType.DATA, 4709, False),
    ],
)
def test_only_who_got_our_answer_knows_our_number(kind: PacketType, ack_nr: int, proved: bool) -> None:
    strangers, _ = make(4711)
    strangers.on_syn(syn(), PEER, True, NOW)
    asked = strangers.half_open.get(PEER, 1001)
    assert asked is not None
    assert strangers.proves(stray(kind)._replace(ack_nr=ack_nr), asked) is proved
    assert strangers.proves(stray()._replace(ack_nr=65535), asked._replace(our_seq=0))


def test_a_stray_is_told_that_there_is_nothing() -> None:
    strangers, counters = make(77)
    strangers.on_stray(stray(connection_id=5, seq_nr=6), PEER, NOW)
    ((address, answer),) = answers(strangers)
    assert address == PEER
    assert (answer.type, answer.connection_id, answer.seq_nr, answer.ack_nr) == (PacketType.RESET, 5, 77, 6)
    assert counters == {"resets_sent": 1}


def test_the_same_stray_is_told_once_in_a_while() -> None:
    strangers, counters = make()
    for at in (0.0, 1.0, c.RESET_SECONDS - 0.01, c.RESET_SECONDS):
        strangers.on_stray(stray(), PEER, NOW + at)
    assert counters["resets_sent"] == 2
    strangers.on_stray(stray(seq_nr=7), PEER, NOW + 10)
    strangers.on_stray(stray(), ("192.0.2.2", 7), NOW + 10)
    assert counters["resets_sent"] == 4


@pytest.mark.parametrize("kind", [PacketType.RESET, PacketType.SYN])
def test_some_are_never_told(kind: PacketType) -> None:
    strangers, _ = make()
    strangers.on_stray(stray(kind), PEER, NOW)
    assert not strangers.answers


def test_what_was_under_way_when_a_connection_was_reset_is_not_answered() -> None:
    strangers, _ = make()
    strangers.told(PEER, 5, NOW)
    strangers.on_stray(stray(), PEER, NOW + c.TOLD_SECONDS - 0.01)
    assert not strangers.answers
    strangers.on_stray(stray(connection_id=6), PEER, NOW)
    assert len(strangers.answers) == 1
    strangers.on_stray(stray(), PEER, NOW + c.TOLD_SECONDS)
    assert len(strangers.answers) == 2, "the RESET was lost"


def test_what_is_kept_of_strangers_is_bounded() -> None:
    strangers, counters = make()
    for number in range(5000):
        strangers.on_stray(stray(seq_nr=number), PEER, NOW)
        strangers.on_syn(syn(number), (f"10.0.{number % 250}.{number // 250}", 1), True, NOW)
        strangers.told(("192.0.2.2", 7), number, NOW)
    assert len(strangers._resets) <= c.RESETS_REMEMBERED
    assert len(strangers.half_open) <= c.HALF_OPEN
    assert len(strangers.answers) <= 1024
    assert counters["answers_dropped"] == 10_000 - len(strangers.answers)


def test_no_answer_is_longer_than_the_question() -> None:
    strangers, _ = make()
    strangers.on_syn(syn(), PEER, True, NOW)
    strangers.on_stray(stray(), PEER, NOW)
    assert len(strangers.answers) == 2
    assert all(len(data) <= len(encode(syn())) for _, data in strangers.answers)
