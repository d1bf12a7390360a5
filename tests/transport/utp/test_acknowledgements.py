"""When an acknowledgement is due: at once, soon, and again when a window opens."""

import pytest

from crust.transport.utp.acknowledgements import Acknowledgements
from crust.transport.utp.constants import ACK_DELAY, RECEIVE_WINDOW, WINDOW_REPEATS

NOW = 100.0
FULL = RECEIVE_WINDOW


def test_nothing_is_owed_at_first() -> None:
    acks = Acknowledgements()
    assert not acks.due(NOW)
    assert acks.deadline is None


def test_a_single_packet_waits_a_little_for_data_to_travel_with() -> None:
    acks = Acknowledgements()
    acks.came(1, NOW)
    assert acks.deadline == NOW + ACK_DELAY
    assert not acks.due(NOW + ACK_DELAY - 0.001)
    assert acks.due(NOW + ACK_DELAY)


def test_the_second_packet_ends_the_wait() -> None:
    acks = Acknowledgements()
    acks.came(1, NOW)
    acks.came(1, NOW + 0.001)
    assert acks.due(NOW + 0.001)


def test_the_delay_counts_from_the_first_packet() -> None:
    acks = Acknowledgements()
    acks.came(0, NOW)
    acks.came(1, NOW + ACK_DELAY / 2)
    assert acks.deadline == NOW + ACK_DELAY


def test_several_packets_at_once_are_acknowledged_at_once() -> None:
    acks = Acknowledgements()
    acks.came(2, NOW)
    assert acks.due(NOW)


def test_something_odd_is_acknowledged_at_once() -> None:
    acks = Acknowledgements()
    acks.now()
    assert acks.due(NOW)


def test_any_packet_that_leaves_settles_it() -> None:
    acks = Acknowledgements()
    acks.came(5, NOW)
    acks.now()
    acks.sent(FULL, NOW)
    assert not acks.due(NOW + 60)
    assert acks.deadline is None
    acks.came(1, NOW + 61)
    assert not acks.due(NOW + 61), "and counting begins anew"


@pytest.mark.parametrize(
    ("said", "window", "worth"),
    [
        (0, 0, False),
        (0, 1500, True),
        (FULL, FULL, False),
        (FULL // 2, FULL // 2 + FULL // 4 - 1, False),
        (FULL // 2, FULL // 2 + FULL // 4, True),
        (FULL // 2, 0, False),
    ],
)
def test_a_window_that_opens_is_worth_a_packet(said: int, window: int, worth: bool) -> None:
    acks = Acknowledgements()
    acks.sent(said, NOW)
    acks.window_opened(window)
    assert acks.due(NOW) is worth


def repeats_of(acks: Acknowledgements, now: float) -> list[float]:
    """When the news of an open window leaves by itself."""
    times = []
    while (at := acks.deadline) is not None:
        assert not acks.due(at - 0.001)
        assert acks.due(at)
        acks.sent(FULL, at)
        times.append(at - now)
        assert len(times) < 100
    return times


def test_the_news_of_an_open_window_is_repeated_ever_more_rarely() -> None:
    acks = Acknowledgements()
    acks.sent(0, NOW)
    acks.sent(FULL, NOW)
    times = repeats_of(acks, NOW)
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5][:WINDOW_REPEATS]
    assert len(times) == WINDOW_REPEATS


def test_data_ends_the_repetitions() -> None:
    acks = Acknowledgements()
    acks.sent(0, NOW)
    acks.sent(FULL, NOW)
    acks.came(2, NOW + 0.1)
    assert acks.deadline is None
    assert acks.due(NOW + 0.1)


def test_the_earlier_of_two_reasons_counts() -> None:
    acks = Acknowledgements()
    acks.sent(0, NOW)
    acks.sent(FULL, NOW)
    acks._at = NOW + 0.3
    assert acks.deadline == NOW + 0.3
    acks._at = NOW + 0.7
    assert acks.deadline == NOW + 0.5
