"""The sending half: what may leave when, and what acknowledgements, silence and time do to it."""

import pytest

from crust.transport.utp import constants as c
from crust.transport.utp.outgoing import Outgoing
from crust.transport.utp.packet import HEADER_SIZE, PacketType
from crust.transport.utp.path_mtu import HEADERS_IPV4, PathMtu
from crust.transport.utp.sender import BLACK_HOLE_TIMEOUTS, TAIL_PROBE_SLACK, Sender

NOW = 100.0
FIRST = 65_000
FLOOR, CEILING = 548, 1472
SIZE = FLOOR - HEADER_SIZE
WIDE = 1 << 20


def make(pending: int = 0, window: int = WIDE, ceiling: int = FLOOR) -> Sender:
    """A sender for a path without probes, unless the ceiling says otherwise."""
    sender = Sender(FIRST, PathMtu(FLOOR, ceiling), 1 << 21)
    sender.peer_window = window
    if pending:
        sender.buffer.write(bytes(pending), 0, pending)
    return sender


def send(sender: Sender, now: float, finish: bool = False) -> list[Outgoing]:
    """Send all that may leave now."""
    found: list[Outgoing] = []
    while (outgoing := sender.next(now, finish)) is not None:
        sender.sent(outgoing, MANY, now)
        found.append(outgoing)
        assert len(found) < 5000
    return found


MANY = 10_000


def ack(sender: Sender, number: int, now: float, *early: int, window: int = WIDE) -> bool:
    """Acknowledge ``number`` packets from the first one on, and those at the positions ``early``."""
    sacked = [(FIRST + position) & 0xFFFF for position in early]
    return sender.acknowledged((FIRST + number - 1) & 0xFFFF, sacked, window, now)


def connected(pending: int = 0, rtt: float = 0.1, ceiling: int = FLOOR) -> Sender:
    """One that knows its round trip, because one packet went there and back."""
    sender = make(1, ceiling=ceiling)
    send(sender, NOW - 10)
    ack(sender, 1, NOW - 10 + rtt)
    if pending:
        sender.buffer.write(bytes(pending), 0, pending)
    return sender


def sizes(outgoing: list[Outgoing]) -> list[int]:
    found: list[int] = []
    for each in outgoing:
        found += [len(payload) for payload in each.run.payloads()] if each.run else [p.size for p in each.packets]
    return found


# --- windows ---
def test_nothing_to_send() -> None:
    assert make().next(NOW, False) is None


def test_at_first_a_few_packets_leave() -> None:
    sender = make(100_000)
    found = send(sender, NOW)
    assert sum(sizes(found)) <= c.INITIAL_WINDOW * FLOOR
    assert len(sizes(found)) == c.INITIAL_WINDOW
    assert sender.buffer.in_flight == sum(sizes(found)) == sender.bytes_sent


@pytest.mark.parametrize("window", [SIZE, 3 * SIZE, 3 * SIZE + 100])
def test_no_more_leaves_than_the_peer_has_room_for(window: int) -> None:
    sender = make(100_000, window)
    assert sizes(send(sender, NOW)) == [SIZE] * (window // SIZE)


def test_a_window_smaller_than_a_packet_gets_a_smaller_packet() -> None:
    assert sizes(send(make(100_000, 100), NOW)) == [100]


def test_what_is_named_early_needs_no_room_at_the_peer() -> None:
    sender = make(100_000, 3 * SIZE)
    send(sender, NOW)
    ack(sender, 0, NOW + 0.1, 1, 2, window=3 * SIZE)
    assert sizes(send(sender, NOW + 0.2) + send(sender, NOW + 0.3) + send(sender, NOW + 0.35)) == [SIZE] * 2


def test_no_more_packets_than_can_be_told_apart() -> None:
    sender = make(1 << 20)
    sender.congestion.window = 1e9
    sender.mtu = PathMtu(21, 21)
    found = send(sender, NOW)
    assert len(sizes(found)) == c.REORDER_WINDOW - 1
    assert max(map(len, (sizes([each]) for each in found))) <= c.MAX_SEGMENTS
    assert send(sender, NOW, finish=True) == []


def test_what_the_system_did_not_take_is_not_on_its_way() -> None:
    sender = make(100_000)
    outgoing = sender.next(NOW, False)
    assert outgoing is not None
    sender.sent(outgoing, 1, NOW)
    assert sender.buffer.in_flight == SIZE == sender.bytes_sent
    assert len(sizes(send(sender, NOW))) == c.INITIAL_WINDOW - 1


def test_a_short_rest_waits_for_the_acknowledgement_that_lets_more_leave_together() -> None:
    """Where the window is so wide that the processor is what counts."""
    size = 1452
    packets = 9 * c.BYTES_PER_CALL // size
    sender = make(2 << 20)
    sender.mtu = PathMtu(1472, 1472)
    sender.congestion.window = float(packets * size)
    while send(sender, NOW):
        pass
    assert 7 / 8 * packets * size <= sender.buffer.in_flight < packets * size, "the rest would be less than an eighth"
    ack(sender, packets // 8 + 1, NOW + 0.1)
    assert sender.next(NOW + 0.1, False) is not None


def test_a_narrow_window_is_used_to_its_last_packet() -> None:
    sender = make(100_000)
    sender.congestion.window = 64.0 * SIZE
    send(sender, NOW)
    assert sender.buffer.in_flight == 64 * SIZE
    ack(sender, 1, NOW + 0.1)
    assert sender.next(NOW + 0.1, False) is not None


# --- pace ---
def test_packets_leave_at_the_pace_of_the_window() -> None:
    sender = connected(1 << 20, rtt=0.1)
    sender.congestion.window = 100.0 * SIZE
    total, now = 0, NOW
    while now < NOW + 0.05:
        total += sum(sizes(send(sender, now)))
        until = sender.paced_until(now)
        if until is None:
            break
        assert until > now
        now = until + 0.0001
    rate = sender.congestion.pacing_rate(0.1)
    assert total <= rate * 0.05 + rate * (c.PACING_CREDIT + c.PACING_LATENESS) + 2 * SIZE
    assert total >= 0.3 * rate * 0.05 or sender.buffer.in_flight > 80 * SIZE


def test_without_a_round_trip_there_is_no_pace() -> None:
    sender = make(100_000)
    send(sender, NOW)
    assert sender.paced_until(NOW) is None


def test_only_little_lateness_is_caught_up_with() -> None:
    sender = connected(1 << 20)
    send(sender, NOW)
    late = sender._paced_until + 10
    sender.buffer.acknowledge((sender.buffer.next_seq - 1) & 0xFFFF)
    send(sender, late)
    assert sender._paced_until > late, "who waited for ten seconds does not send ten seconds' worth at once"


# --- acknowledgements ---
def test_a_round_trip_is_measured() -> None:
    assert connected(rtt=0.25).round_trip.smoothed == pytest.approx(0.25)


def test_what_was_sent_twice_gives_no_sample_and_ends_the_back_off() -> None:
    sender = make(1)
    send(sender, NOW)
    sender.tick(NOW + 1)
    assert sender.round_trip.backoffs == 1
    send(sender, NOW + 1)
    ack(sender, 1, NOW + 1.5)
    assert sender.round_trip.smoothed is None
    assert sender.round_trip.backoffs == 0
    assert sender.retransmissions == 1


@pytest.mark.parametrize(
    ("back", "sense", "stale", "ours"),
    [
        (-1, False, True, False),
        (0, True, False, True),
        (1, True, False, True),
        (3, True, False, True),
        (4, True, False, False),
        (5, True, True, False),
        (4 + c.STALE_ACKS, True, True, False),
        (5 + c.STALE_ACKS, False, True, False),
    ],
)
def test_which_numbers_make_sense(back: int, sense: bool, stale: bool, ours: bool) -> None:
    sender = make(100_000)
    send(sender, NOW)
    assert sender.buffer.outstanding == 4
    ack_nr = (sender.buffer.next_seq - 1 - back) & 0xFFFF
    assert sender.ack_makes_sense(ack_nr) is sense
    assert sender.is_stale(ack_nr) is stale
    assert sender.is_ours(ack_nr) is (ours or back == -1 or back == 4), "or the number that comes next"


def test_the_fin_goes_last_and_its_acknowledgement_is_news() -> None:
    sender = make(100)
    first, last = send(sender, NOW, finish=True)
    assert (first.type, last.type) == (PacketType.DATA, PacketType.FIN)
    assert not ack(sender, 1, NOW + 0.1)
    assert ack(sender, 2, NOW + 0.1)
    assert send(sender, NOW + 0.2, finish=True) == [], "once"


# --- losses ---
def test_a_packet_that_three_overtook_is_sent_again() -> None:
    sender = make(100_000)
    send(sender, NOW)
    ack(sender, 0, NOW + 0.1, 1, 2)
    assert sender.buffer.to_resend() is None
    before, sender.delay.queueing = sender.congestion.window, 0.2
    ack(sender, 0, NOW + 0.1, 1, 2, 3)
    resend = sender.buffer.to_resend()
    assert resend is not None
    assert resend.seq_nr == FIRST
    assert sender.congestion.window < before
    assert sender.losses == 1
    send(sender, NOW + 0.2)
    assert sender.retransmissions == 1


def test_in_silence_all_is_sent_again_with_a_window_of_little() -> None:
    sender = make(100_000)
    send(sender, NOW)
    assert sender.deadline == NOW + c.INITIAL_TIMEOUT
    assert not sender.tick(NOW + c.INITIAL_TIMEOUT - 0.01)
    assert sender.tick(NOW + c.INITIAL_TIMEOUT)
    assert sender.timeouts == 1
    assert sender.buffer.in_flight == 0
    assert sender.deadline == NOW + 3 * c.INITIAL_TIMEOUT, "doubled"
    again = sizes(send(sender, NOW + c.INITIAL_TIMEOUT))
    assert again
    assert sum(again) <= c.MIN_WINDOW * FLOOR
    ack(sender, 1, NOW + 1.1)
    assert sender.timeouts == 0


def test_the_timer_starts_again_with_each_acknowledgement_and_stops_at_the_last() -> None:
    sender = make(100_000)
    send(sender, NOW)
    ack(sender, 1, NOW + 0.3)
    assert sender._timer is not None
    assert sender._timer >= NOW + 0.3 + c.MIN_TIMEOUT
    ack(sender, 4, NOW + 0.4)
    assert sender.deadline is None
    assert sender.waiting_since is None


def test_the_last_packet_is_sent_again_once_before_all_count_as_lost() -> None:
    sender = connected(SIZE * 2, rtt=0.1)
    send(sender, NOW)
    assert sender.deadline is not None
    at = sender.deadline
    assert at == pytest.approx(NOW + 0.3 + TAIL_PROBE_SLACK)
    assert sender.tick(at)
    (again,) = send(sender, at)
    assert again.packets[0].seq_nr == (sender.buffer.next_seq - 1) & 0xFFFF
    assert sender.deadline == NOW + sender.round_trip.timeout, "next the timer, which did not start anew"
    assert sender.timeouts == 0


def test_since_when_nothing_arrives() -> None:
    sender = make(100_000)
    send(sender, NOW)
    assert sender.waiting_since == NOW
    sender.tick(NOW + 1)
    send(sender, NOW + 1)
    assert sender.waiting_since == NOW, "repeating is no news"
    ack(sender, 1, NOW + 2)
    assert sender.waiting_since == NOW + 2


# --- a closed window ---
def test_a_closed_window_is_tried_ever_more_rarely() -> None:
    sender = make(100_000, window=0)
    now, pauses = NOW, []
    for _ in range(8):
        assert send(sender, now) == []
        assert sender.deadline is not None
        pauses.append(sender.deadline - now)
        now = sender.deadline
        assert sender.tick(now)
        assert sizes(send(sender, now)) == [SIZE]
        sender.buffer.acknowledge((sender.buffer.next_seq - 1) & 0xFFFF)
        sender._timer = None
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]


def test_an_opened_window_is_used_at_once() -> None:
    sender = make(100_000, window=0)
    send(sender, NOW)
    ack(sender, 0, NOW + 0.1, window=WIDE)
    assert len(sizes(send(sender, NOW + 0.1))) == c.INITIAL_WINDOW


def test_a_probe_of_a_closed_window_that_is_lost_is_no_congestion() -> None:
    sender = make(100_000, window=0)
    send(sender, NOW)
    sender.tick(NOW + 1)
    send(sender, NOW + 1)
    window = sender.congestion.window
    sender.tick(NOW + 10)
    assert sender.timeouts == 0
    assert sender.congestion.window == window


# --- the path ---
def test_a_probe_of_the_path_is_padded_and_widens_it_when_it_arrives() -> None:
    sender = connected(100_000, ceiling=CEILING)
    probe = sender.next(NOW, False)
    assert probe is not None
    assert probe.pad_to == CEILING
    assert sizes([probe]) == [SIZE], "the payload stays one that passes everywhere"
    sender.sent(probe, 1, NOW)
    send(sender, NOW)
    ack(sender, 2, NOW + 0.1)
    assert sender.mtu.size == sender.congestion.packet_size == CEILING


def test_a_probe_that_is_lost_is_no_congestion() -> None:
    sender = make(100_000, ceiling=CEILING)
    send(sender, NOW)
    sender.delay.queueing = 0.2
    ack(sender, 0, NOW + 0.1, 1, 2, 3)
    assert sender.losses == 0, "it says how wide the path is, not how full"
    again = sender.next(NOW + 0.1, False)
    assert again is not None
    assert again.packets[0].seq_nr == FIRST
    assert again.pad_to == 0


def test_what_is_too_big_is_sent_again_smaller() -> None:
    sender = connected(100_000, ceiling=CEILING)
    probe = sender.next(NOW, False)
    assert probe is not None
    sender.sent(probe, 1, NOW)
    sender.too_big(1000 + HEADERS_IPV4, NOW)
    again = sender.next(NOW + 0.1, False)
    assert again is not None
    assert again.pad_to == 0
    assert again.packets[0].seq_nr == FIRST + 1
    sender.sent(again, 1, NOW + 0.1)
    following = sender.next(NOW + 0.2, False)
    assert following is not None
    assert following.pad_to == 1000


def test_time_after_time_the_path_may_have_become_narrower() -> None:
    sender = make(100_000, ceiling=CEILING)
    sender.mtu = PathMtu(FLOOR, CEILING, CEILING)
    send(sender, NOW)
    now = NOW
    for _ in range(BLACK_HOLE_TIMEOUTS):
        assert sender.mtu.size == CEILING
        now += 20
        sender.tick(now)
        send(sender, now)
    assert sender.mtu.size == FLOOR


def test_after_the_end_nothing_is_due() -> None:
    sender = connected(100_000)
    send(sender, NOW)
    sender.stop()
    assert sender.deadline is None
    assert sender.waiting_since is None
    assert sender.next(NOW + 100, False) is None
    assert sender.buffer.waiting == 0
