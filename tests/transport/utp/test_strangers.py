"""What strangers are answered: never more than they sent, never twice the same, and little is kept of them."""

from collections import Counter
from random import Random

import pytest

from crust.transport.utp import constants as c
from crust.transport.utp.burst import Address
from crust.transport.utp.packet import Packet, PacketType, decode, encode
from crust.transport.utp.settings import UtpSettings
from crust.transport.utp.strangers import (
    AGAIN_AT_ONCE,
    AGAIN_PER_SECOND,
    ASKS_KEPT,
    FIRST_PACKETS,
    NEW_AT_ONCE,
    NEW_PER_SECOND,
    NUMBER_SECONDS,
    STRAYS_AT_ONCE,
    STRAYS_PER_SECOND,
    Asks,
    Strangers,
)

NOW = 10.0
PEER = ("192.0.2.1", 7)


def make() -> tuple[Strangers, Counter[str]]:
    counters = Counter[str]()
    return Strangers(UtpSettings(receive_window=7777), Random(1), counters), counters


def syn(connection_id: int = 1000, seq_nr: int = 1) -> Packet:
    return Packet(PacketType.SYN, connection_id, 4_000_000, 0, 0, seq_nr, 0)


def stray(kind: PacketType = PacketType.DATA, connection_id: int = 5, seq_nr: int = 6) -> Packet:
    return Packet(kind, connection_id, 1, 2, 3, seq_nr, 9)


def answers(strangers: Strangers) -> list[tuple[Address, Packet]]:
    found = [(address, decode(data)) for address, data in strangers.answers]
    strangers.answers.clear()
    return found


def test_a_syn_is_answered_with_a_number_of_ours() -> None:
    strangers, _ = make()
    assert strangers.on_syn(syn(65535, 9), PEER, True, NOW)
    ((address, answer),) = answers(strangers)
    assert address == PEER
    assert answer == Packet(PacketType.STATE, 65535, 10_000_000, 6_000_000, 7777, answer.seq_nr, 9)
    asked = strangers.half_open.get(PEER, 0)
    assert asked is not None
    assert (asked.our_seq, asked.their_seq) == (answer.seq_nr, 9)


def test_a_repeated_syn_gets_the_same_answer_even_where_nobody_new_is_welcome() -> None:
    strangers, _ = make()
    strangers.on_syn(syn(), PEER, True, NOW)
    assert strangers.on_syn(syn(), PEER, False, NOW + 1)
    first, second = answers(strangers)
    assert first[1].seq_nr == second[1].seq_nr
    assert len(strangers.half_open) == 1


def test_who_is_not_welcome_gets_no_answer() -> None:
    strangers, _ = make()
    assert not strangers.on_syn(syn(), PEER, False, NOW)
    assert not strangers.answers
    assert not len(strangers.half_open)


def test_another_syn_with_the_same_id_gets_no_answer() -> None:
    strangers, _ = make()
    strangers.on_syn(syn(seq_nr=1), PEER, True, NOW)
    assert not strangers.on_syn(syn(seq_nr=2), PEER, True, NOW)
    assert len(strangers.answers) == 1


@pytest.mark.parametrize(
    ("kind", "off", "proved"),
    [
        (PacketType.STATE, 0, True),
        (PacketType.DATA, 0, True),
        (PacketType.FIN, 0, True),
        (PacketType.RESET, 0, False),
        (PacketType.DATA, 1, False),
        (PacketType.DATA, -1, False),
    ],
)
def test_only_who_got_our_answer_knows_our_number(kind: PacketType, off: int, proved: bool) -> None:
    strangers, _ = make()
    strangers.on_syn(syn(), PEER, True, NOW)
    asked = strangers.half_open.get(PEER, 1001)
    assert asked is not None
    ack_nr = (asked.our_seq - 1 + off) & 0xFFFF
    assert strangers.proves(stray(kind)._replace(ack_nr=ack_nr), asked) is proved
    assert strangers.proves(stray()._replace(ack_nr=65535), asked._replace(our_seq=0))


def forgotten(strangers: Strangers) -> tuple[int, int]:
    """Somebody asked, was answered, and had to make room; our number, and theirs."""
    strangers.on_syn(syn(seq_nr=65534), PEER, True, NOW)
    ((_, answer),) = answers(strangers)
    strangers.half_open.remove(PEER, 1001)
    return answer.seq_nr, 65534


@pytest.mark.parametrize(("ahead", "known"), [(0, False), (1, True), (FIRST_PACKETS, True), (FIRST_PACKETS + 1, False)])
def test_somebody_whose_record_made_room_for_others_is_recognised(ahead: int, known: bool) -> None:
    strangers, _ = make()
    our_seq, their_seq = forgotten(strangers)
    proof = stray(connection_id=1001, seq_nr=(their_seq + ahead) & 0xFFFF)._replace(ack_nr=(our_seq - 1) & 0xFFFF)
    asked = strangers.recognise(proof, PEER, NOW)
    assert (asked is not None) is known
    if asked:
        assert (asked.our_seq, asked.their_seq) == (our_seq, their_seq)
        assert strangers.proves(proof, asked)
        assert strangers.recognise(proof._replace(ack_nr=proof.ack_nr ^ 1), PEER, NOW) is None
        assert strangers.recognise(proof._replace(connection_id=1002), PEER, NOW) is None
        assert strangers.recognise(proof, ("192.0.2.1", 8), NOW) is None
        assert make_other().recognise(proof, PEER, NOW) is None, "each socket has a secret of its own"


def test_nobody_is_recognised_for_long() -> None:
    strangers, _ = make()
    our_seq, their_seq = forgotten(strangers)
    proof = stray(connection_id=1001, seq_nr=(their_seq + 1) & 0xFFFF)._replace(ack_nr=(our_seq - 1) & 0xFFFF)
    assert strangers.recognise(proof, PEER, NOW + NUMBER_SECONDS) is not None
    assert strangers.recognise(proof, PEER, NOW + 2 * NUMBER_SECONDS) is None


def make_other() -> Strangers:
    return Strangers(UtpSettings(), Random(2), Counter())


def test_what_was_a_connection_is_not_recognised_as_a_new_one() -> None:
    strangers, _ = make()
    our_seq, their_seq = forgotten(strangers)
    strangers.told(PEER, 1001, NOW)
    proof = stray(connection_id=1001, seq_nr=(their_seq + 1) & 0xFFFF)._replace(ack_nr=(our_seq - 1) & 0xFFFF)
    assert strangers.recognise(proof, PEER, NOW + 1) is None


def test_a_stray_is_told_that_there_is_nothing() -> None:
    strangers, counters = make()
    strangers.on_stray(stray(connection_id=5, seq_nr=6), PEER, NOW)
    ((address, answer),) = answers(strangers)
    assert address == PEER
    assert (answer.type, answer.connection_id, answer.ack_nr) == (PacketType.RESET, 5, 6)
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
    assert counters["strays_ignored"] == 5000 - STRAYS_AT_ONCE
    passed_over = sum(counters[name] for name in ("answers_dropped", "strays_ignored", "syn_put_off"))
    assert passed_over == 10_000 - len(strangers.answers)


def test_no_answer_is_longer_than_the_question() -> None:
    strangers, _ = make()
    strangers.on_syn(syn(), PEER, True, NOW)
    strangers.on_stray(stray(), PEER, NOW)
    assert len(strangers.answers) == 2
    assert all(len(data) <= len(encode(syn())) for _, data in strangers.answers)


# --- too many of them -----------------------------------------------------------------------------------


def somebody(number: int) -> Address:
    """Each in a network of its own."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 7


def answered(strangers: Strangers, count: int, now: float, first: int = 0) -> int:
    """How many of so many SYNs, each from somewhere else, are answered."""
    found = sum(strangers.on_syn(syn(seq_nr=7), somebody(first + number), True, now) for number in range(count))
    strangers.answers.clear()
    return found


def test_under_a_flood_of_syns_only_so_many_are_answered() -> None:
    strangers, counters = make()
    assert answered(strangers, NEW_AT_ONCE, NOW) == NEW_AT_ONCE
    assert answered(strangers, 1000, NOW, first=100_000) < 5  # none; by chance one is taken for another
    assert counters["syn_put_off"] > 995
    after_a_second = answered(strangers, 10_000, NOW + 1, first=200_000)
    assert NEW_PER_SECOND <= after_a_second < 1.01 * NEW_PER_SECOND


def test_who_was_put_off_and_asks_again_is_answered() -> None:
    """As a dialler does after a second, and a forger of addresses does not."""
    strangers, _ = make()
    answered(strangers, NEW_AT_ONCE, NOW)
    assert not strangers.on_syn(syn(seq_nr=9), PEER, True, NOW)
    answered(strangers, int(NEW_PER_SECOND) + 20, NOW + 1, first=100_000)  # all that may be answered then
    assert strangers.on_syn(syn(seq_nr=9), PEER, True, NOW + 1)


def test_who_is_spoken_for_by_a_forger_has_to_ask_twice() -> None:
    """SYNs in the name of a host take all the places of its network; it gets in all the same."""
    strangers, _ = make()
    for number in range(1000):
        strangers.on_syn(syn(number), (PEER[0], 1 + number), True, NOW)
    assert len(strangers.half_open) == c.HALF_OPEN_PER_HOST
    answers(strangers)
    assert not strangers.on_syn(syn(2000, 9), PEER, True, NOW)
    assert strangers.on_syn(syn(2000, 9), PEER, True, NOW + 1)
    ((address, answer),) = answers(strangers)
    assert address == PEER
    assert len(strangers.half_open) == c.HALF_OPEN_PER_HOST, "of that one there is no record"
    proof = stray(connection_id=2001, seq_nr=10)._replace(ack_nr=(answer.seq_nr - 1) & 0xFFFF)
    assert strangers.recognise(proof, PEER, NOW + 2) is not None


def test_whoever_asks_again_and_again_is_answered_only_so_often() -> None:
    strangers, _ = make()
    assert sum(strangers.on_syn(syn(), PEER, True, NOW) for _ in range(10_000)) == 1 + AGAIN_AT_ONCE
    assert sum(strangers.on_syn(syn(), PEER, True, NOW + 1) for _ in range(10_000)) == AGAIN_PER_SECOND


def test_only_so_many_strays_are_answered() -> None:
    strangers, counters = make()
    for now, count in ((NOW, STRAYS_AT_ONCE), (NOW + 1, STRAYS_AT_ONCE + STRAYS_PER_SECOND)):
        for number in range(10_000):
            strangers.on_stray(stray(connection_id=number, seq_nr=int(now)), PEER, now)
        assert counters["resets_sent"] == count


def test_those_who_asked_are_remembered_in_little_room() -> None:
    asks = Asks()
    assert not asks.again("one")
    assert sum(map(asks.again, range(1, 10_000))) == 0
    assert sum(map(asks.again, range(1, 10_000))) > 9000
    for number in range(10 * ASKS_KEPT):
        asks.again(number)
    assert not asks.again("one"), "others have taken its place"
    assert len(asks._marks) == ASKS_KEPT
