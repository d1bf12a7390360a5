"""Numbers that were chosen must fit together, whatever they are changed to."""

from crust.transport.utp import constants as c
from crust.transport.utp.packet import HEADER_SIZE, MAX_SACK


def test_what_is_in_flight_can_be_named_and_told_apart() -> None:
    assert c.REORDER_WINDOW <= 8 * MAX_SACK, "a SACK must be able to name whatever came early"
    # What is too old must never look like what is early: both are told by their distance on a circle of 65,536.
    assert c.REORDER_WINDOW + c.STALE_ACKS < 32768


def test_a_burst_fits_into_the_system_calls_that_it_is_meant_for() -> None:
    assert c.BYTES_PER_CALL <= 65_507, "it is one IP packet to the kernel"
    assert c.MAX_SEGMENTS <= 4 * c.SEGMENTS_PER_CALL
    assert c.MAX_SEGMENTS < c.REORDER_WINDOW


def test_packets_fit_into_the_paths() -> None:
    for floor, ceiling in (
        (c.MTU_FLOOR_IPV4, c.MTU_CEILING_IPV4),
        (c.MTU_FLOOR_IPV6, c.MTU_CEILING_IPV6),
    ):
        assert HEADER_SIZE < floor < ceiling <= 1472
    assert c.MTU_CEILING_IPV4 - c.MTU_CEILING_IPV6 == 20, "the header of IPv6 is longer by so much"


def test_buffers_hold_packets() -> None:
    assert c.SMALLEST_WINDOW >= c.MTU_CEILING_IPV4, "libutp waits for ever for room for a packet"
    assert c.SEND_BUFFER >= 2 * c.RECEIVE_WINDOW
    assert c.RECEIVE_WINDOW >= 64 * c.SMALLEST_WINDOW


def test_a_delayed_acknowledgement_never_looks_like_a_loss() -> None:
    assert 2 * c.ACK_DELAY < c.MIN_MARGIN <= c.MIN_TIMEOUT <= c.INITIAL_TIMEOUT <= c.MAX_TIMEOUT


def test_a_dead_path_is_tried_several_times_before_the_peer_counts_as_dead() -> None:
    assert c.DEAD_TIMEOUT >= 3 * c.MAX_TIMEOUT
    assert c.IDLE_TIMEOUT >= 3 * c.KEEPALIVE


def test_who_repeats_is_still_answered() -> None:
    assert sum(c.SYN_INTERVAL * 2**number for number in range(3)) < c.HALF_OPEN_SECONDS
    assert sum(c.INITIAL_TIMEOUT * 2**number for number in range(3)) < c.LINGER
    assert c.DIAL_TIMEOUT > c.HALF_OPEN_SECONDS
    assert c.UNREACHABLE < c.DEAD_TIMEOUT


def test_a_rendezvous_slows_down_and_ends() -> None:
    assert c.RENDEZVOUS_INTERVAL < c.SYN_INTERVAL <= c.RENDEZVOUS_LATER
    assert c.RENDEZVOUS_QUICK * c.RENDEZVOUS_INTERVAL < c.DIAL_TIMEOUT


def test_probes_of_a_closed_window_become_rarer() -> None:
    assert 0 < c.ZERO_WINDOW_PROBE < c.ZERO_WINDOW_PROBE_MAX < c.DEAD_TIMEOUT


def test_the_congestion_window_is_sane() -> None:
    assert 2 <= c.MIN_WINDOW <= c.INITIAL_WINDOW
    assert 0 < c.SLOW_START_DELAY < c.TARGET_DELAY <= 0.1, "RFC 6817, 2.4.2"
    assert c.BASE_HISTORY >= 10, "RFC 6817, 2.4.2"
    assert c.PACING_CREDIT < c.PACING_LATENESS < c.ACK_DELAY


def test_one_network_can_take_only_a_part_of_what_strangers_share() -> None:
    assert c.HALF_OPEN_PER_HOST * 4 <= c.HALF_OPEN
    assert c.ACCEPT_BACKLOG < c.MAX_CONNECTIONS < 65536, "connection ids have 16 bits"
    assert c.TOLD_SECONDS < c.RESET_SECONDS
