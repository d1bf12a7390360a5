"""Crust's congestion control on a narrow link, beside itself and the kernel's TCP.

20 Mbit/s with 200 ms of queue. These are experiments in real time, so each asserts what it must show and no
more, and is repeated, twice at most, where a busy machine keeps it from that (`tests.lab.attempts`). None runs beside
another test, whose namespaces and real-time processes would cost it packets. ``python -m benches.congestion`` prints
all figures, of libutp too.
"""

import pytest

from tests.lab import congestion
from tests.lab.attempts import attempts
from tests.lab.flows import Transport, unavailable

pytestmark = [pytest.mark.lab, pytest.mark.measured, pytest.mark.timeout(600)]

CRUST, CUBIC = Transport.CRUST, Transport.CUBIC


@pytest.fixture(autouse=True)
def cubic() -> None:
    if reason := unavailable(CUBIC):
        pytest.skip(reason)


def test_alone_it_fills_the_link_with_little_queue() -> None:
    for attempt in attempts():
        found = congestion.alone(CRUST, seconds=15.0)
        with attempt:
            assert found.filled >= 0.95, found
            assert found.queueing <= 0.11, found


def test_beside_tcp_it_yields() -> None:
    for attempt in attempts():
        found = congestion.beside_tcp(CRUST, before=10.0, seconds=20.0)
        with attempt:
            assert found.tcp_alone > 0.95, found
            assert found.kept >= 0.9, found


def test_two_flows_share() -> None:
    for attempt in attempts():
        found = congestion.shared(CRUST, seconds=30.0)
        with attempt:
            assert 0.4 <= found.second_of_both <= 0.6, found
            assert found.first + found.second >= 0.95, found


def test_a_late_comer_gets_no_more() -> None:
    for attempt in attempts():
        found = congestion.shared(CRUST, later=5.0, seconds=25.0, settle=10.0)
        with attempt:
            assert 0.4 <= found.second_of_both <= 0.6, found


def test_random_loss_costs_it_no_more_than_tcp() -> None:
    for attempt in attempts():
        tcp, crust = congestion.at_once(
            lambda: congestion.lossy(CUBIC, seconds=15.0), lambda: congestion.lossy(CRUST, seconds=15.0)
        )
        with attempt:
            assert crust.filled >= tcp.filled, (crust, tcp)
