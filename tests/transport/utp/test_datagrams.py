"""`crust.transport.utp.datagrams`: real sockets on loopback, with and without offload; failures by a fake."""

import errno
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from crust.errors import ListenFailed
from crust.transport.utp.datagrams import Datagrams
from crust.transport.utp.icmp import IcmpError
from tests.transport.test_tcp import LOOPBACKS
from tests.transport.utp.udp import burst, make_fail, packets, receive, split, wait

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has segmentation offload and error queues")
FULL = BlockingIOError(errno.EWOULDBLOCK, "full")
Open = Callable[[], Datagrams]


@pytest.fixture(params=[(host, offload) for host in LOOPBACKS for offload in (None, False)], ids=str)
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens sockets of one kind, and closes them."""
    host, offload = request.param
    with ExitStack() as stack:

        def make() -> Datagrams:
            return stack.enter_context(closing(Datagrams(host, 0, offload=offload)))

        yield make


@pytest.fixture
def pair(opened: Open) -> tuple[Datagrams, Datagrams]:
    return opened(), opened()


@pytest.fixture
def offloading() -> Iterator[tuple[Datagrams, Datagrams]]:
    with closing(Datagrams("127.0.0.1", 0)) as near, closing(Datagrams("127.0.0.1", 0)) as far:
        if not near.offload:
            pytest.skip("this system has no segmentation offload; Linux 5.0 and newer do")
        yield near, far


@pytest.fixture
def plain() -> Iterator[tuple[Datagrams, Datagrams]]:
    with closing(Datagrams("127.0.0.1", 0, offload=False)) as near:
        with closing(Datagrams("127.0.0.1", 0, offload=False)) as far:
            yield near, far


# --- what is sent arrives -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "size", "last"),
    [(1, 20, 20), (1, 1400, 1400), (2, 1400, 21), (46, 1400, 1400), (64, 1000, 20), (3, 20, 20)],
)
def test_a_burst_arrives_packet_by_packet(pair: tuple[Datagrams, Datagrams], count: int, size: int, last: int) -> None:
    near, far = pair
    sent = packets(count, size, last)
    assert near.send(burst(far.address, sent)) == count
    assert receive(far, count) == sent
    assert near.counters.sent == far.counters.received == count
    assert near.counters.send_calls == (1 if near.offload else count)
    assert far.receive() is None


def test_bursts_of_different_sizes_follow_each_other(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    every = []
    for size in (1400, 900, 1400, 40):
        sent = packets(5, size, size - 1)
        every += sent
        assert near.send(burst(far.address, sent)) == 5
    assert receive(far, 20) == every


def test_the_sender_can_be_answered(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    near.send(burst(far.address, packets(3, 500)))
    wait(far)
    received = far.receive()
    assert received is not None
    assert received.address == near.address
    far.send(burst(received.address, packets(1, 30)))
    assert receive(near, 1) == packets(1, 30)


def test_senders_are_not_mixed_up(opened: Open) -> None:
    far, senders = opened(), [opened() for _ in range(3)]
    for number, sender in enumerate(senders):
        sender.send(burst(far.address, [bytes([number]) * 700] * 4))
    found: dict[object, bytes] = {sender.address: b"" for sender in senders}
    while min(map(len, found.values())) < 2800:
        wait(far)
        while received := far.receive():
            found[received.address] += received.data
    assert [found[sender.address] for sender in senders] == [bytes([number]) * 2800 for number in range(3)]


def test_what_was_received_stays_as_it_is(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    near.send(burst(far.address, packets(1, 1400)))
    wait(far)
    first = far.receive()
    assert first is not None
    view = memoryview(first.data)
    near.send(burst(far.address, [b"\xff" * 1400]))
    assert receive(far, 1) == [b"\xff" * 1400]
    assert bytes(view) == packets(1, 1400)[0]


def test_a_large_datagram_may_be_fragmented(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    sent = packets(1, 60_000)
    assert near.send(burst(far.address, sent)) == 1
    assert receive(far, 1) == sent


def test_empty_datagrams_are_passed_over(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    for content in (b"", b"", b"something"):
        near._sock.sendto(content, far.address)
    assert receive(far, 1) == [b"something"]
    assert far.counters.received == 3


def test_batches_are_received_in_one_call(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    near.send(burst(far.address, packets(46, 1400, 100)))
    wait(far)
    received = far.receive()
    assert received is not None
    assert (received.segment, len(received.data)) == (1400, 45 * 1400 + 100)
    assert far.counters.receive_calls == 1
    assert far.counters.received == 46


# --- opening and closing --------------------------------------------------------------------------


def test_a_port_has_one_owner(opened: Open) -> None:
    first = opened()
    with pytest.raises(ListenFailed, match="another program uses that port"):
        Datagrams(first.address[0], first.address[1])


def test_closing_twice_is_fine_and_frees_the_port(opened: Open) -> None:
    first = opened()
    host, port = first.address[:2]
    assert first.fileno() >= 0
    first.close()
    first.close()
    assert first.closed
    assert first.fileno() == -1
    Datagrams(host, port).close()


def test_a_closed_socket_moves_nothing(opened: Open) -> None:
    sock = opened()
    sock.close()
    assert sock.receive() is None
    assert sock.send(burst(sock.address, packets(2, 30))) == 2
    assert sock.counters.lost == 2


# --- errors of the network ------------------------------------------------------------------------


@linux_only
def test_a_refused_datagram_is_reported_and_disturbs_nobody(opened: Open) -> None:
    near, far, gone = opened(), opened(), opened()
    gone.close()
    sent = packets(1, 200)
    near.send(burst(gone.address, sent))
    wait(near)
    assert near.send(burst(far.address, packets(3, 100))) == 3  # which meets the error of the one before
    assert receive(far, 3) == packets(3, 100)
    assert near.errors_waiting
    (error,) = near.errors()
    assert (error.address, error.error, error.mtu) == (gone.address, errno.ECONNREFUSED, None)
    assert len(error.quoted) >= 8
    assert sent[0].startswith(error.quoted)
    assert not near.errors_waiting
    assert near.errors() == []
    assert near.receive() is None


@linux_only
def test_receiving_goes_on_after_an_error(opened: Open) -> None:
    near, far, gone = opened(), opened(), opened()
    gone.close()
    near.send(burst(gone.address, packets(1, 200)))
    wait(near)
    far.send(burst(near.address, packets(1, 50)))
    assert receive(near, 1) == packets(1, 50)
    assert [error.error for error in near.errors()] == [errno.ECONNREFUSED]


@linux_only
def test_every_packet_of_a_burst_to_nobody_is_gone_with_few_words(opened: Open) -> None:
    near, gone = opened(), opened()
    gone.close()
    for _ in range(100):
        assert near.send(burst(gone.address, packets(8, 100))) == 8
    wait(near)
    assert near.receive() is None
    assert 0 < len(near.errors()) <= 256
    assert near.errors() == []


@linux_only
def test_a_probe_larger_than_the_interface_carries_is_too_big(opened: Open) -> None:
    near, far = opened(), opened()
    too_big = burst(far.address, packets(1, 65_600), dont_fragment=True)
    assert near.send(too_big) == 1
    assert near.errors_waiting
    (error,) = near.errors()
    assert (error.address, error.error) == (far.address, errno.EMSGSIZE)
    assert error.quoted == packets(1, 65_600)[0][:128]
    assert near.counters.lost == 1
    probe = packets(1, 1400)
    assert near.send(burst(far.address, probe, dont_fragment=True)) == 1
    assert receive(far, 1) == probe


def test_fragments_are_allowed_again_after_a_probe(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    asked: list[str] = []
    forbid, allow = near._fragmentation.forbid, near._fragmentation.allow
    near._fragmentation.forbid = lambda: (asked.append("forbid"), forbid())[1]  # type: ignore[method-assign]
    near._fragmentation.allow = lambda: (asked.append("allow"), allow())[1]  # type: ignore[method-assign]
    near.send(burst(far.address, packets(1, 100), dont_fragment=True))
    assert asked == ["forbid", "allow"]
    near.send(burst(far.address, packets(2, 100)))
    assert asked == ["forbid", "allow"]


def test_where_fragments_cannot_be_forbidden_no_probe_is_sent(plain: tuple[Datagrams, Datagrams]) -> None:
    near, far = plain
    near._fragmentation.forbid = lambda: False  # type: ignore[method-assign]
    assert near.send(burst(far.address, packets(1, 1400), dont_fragment=True)) == 1
    assert near.errors() == [IcmpError(far.address, errno.EMSGSIZE, None, packets(1, 1400)[0][:128])]
    assert near.send(burst(far.address, packets(1, 30))) == 1
    assert receive(far, 1) == packets(1, 30)


# --- a kernel that says no ------------------------------------------------------------------------


def test_what_the_full_buffer_does_not_take_is_not_counted(plain: tuple[Datagrams, Datagrams]) -> None:
    near, far = plain
    make_fail(near, sendto=[None, None, None, FULL])
    sent = packets(10, 300)
    assert near.send(burst(far.address, sent)) == 3
    assert near.send(burst(far.address, sent[3:])) == 7
    assert receive(far, 10) == sent
    assert near.counters.sent == 10
    assert near.errors() == []


def test_the_full_buffer_takes_all_segments_or_none(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    make_fail(near, sendmsg=[FULL])
    sent = packets(10, 300)
    assert near.send(burst(far.address, sent)) == 0
    assert near.offload
    assert near.send(burst(far.address, sent)) == 10
    assert receive(far, 10) == sent
    assert near.counters.sent == 10


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM])
def test_what_the_interface_drops_is_lost_and_not_tried_again(pair: tuple[Datagrams, Datagrams], code: int) -> None:
    near, far = pair
    failing = make_fail(near, sendmsg=[OSError(code, "dropped")], sendto=[OSError(code, "dropped")] * 2)
    assert near.send(burst(far.address, packets(2, 300))) == 2
    assert near.counters.lost == 2
    assert near.counters.sent == 0
    assert failing.calls in (["sendmsg"], ["sendto"] * 2)
    assert near.errors() == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
def test_what_can_never_leave_is_taken_and_reported(pair: tuple[Datagrams, Datagrams], code: int) -> None:
    near, far = pair
    sent, refusals = packets(3, 300), [OSError(code, "no")] * 2
    make_fail(near, sendmsg=list(refusals), sendto=[None, *refusals])
    assert near.send(burst(far.address, sent)) == 3
    assert receive(far, 2) == [sent[0], sent[2]]
    assert near.counters.lost == 1
    assert near.errors() == [IcmpError(far.address, code, None, sent[1][:128])]


def test_an_error_of_an_earlier_datagram_costs_only_another_try(pair: tuple[Datagrams, Datagrams]) -> None:
    near, far = pair
    late = OSError(errno.EHOSTUNREACH, "late")
    make_fail(near, sendmsg=[late], sendto=[late])
    sent = packets(3, 300)
    assert near.send(burst(far.address, sent)) == 3
    assert receive(far, 3) == sent
    assert near.counters.lost == 0
    assert near.counters.send_calls == near.counters.sent + 1 if not near.offload else 2


# --- offload that does not work -------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EIO, errno.EOPNOTSUPP])
def test_a_card_that_cannot_is_not_asked_again(
    offloading: tuple[Datagrams, Datagrams], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = offloading
    sent = packets(5, 300, 40)
    near.send(burst(far.address, sent))
    failing = make_fail(near, sendmsg=[OSError(code, "no")] * 2)
    with caplog.at_level(logging.INFO, logger="crust.utp"):
        assert near.send(burst(far.address, sent)) == 5
    assert not near.offload
    assert near.send(burst(far.address, sent)) == 5
    assert failing.calls.count("sendmsg") == 2
    assert receive(far, 15) == sent * 3
    assert near.counters.lost == 0
    assert near.errors() == []
    (record,) = caplog.records
    assert errno.errorcode[code] in record.message


def test_offload_that_never_worked_is_given_up(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    failing = make_fail(near, sendmsg=[OSError(errno.EINVAL, "no")] * 100)
    sent = packets(5, 300)
    for _ in range(20):
        assert near.send(burst(far.address, sent)) == 5
    assert not near.offload
    assert failing.calls.count("sendmsg") == 8
    assert receive(far, 100) == sent * 20


def test_a_network_that_is_down_does_not_end_offload(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    down = OSError(errno.ENETUNREACH, "down")
    make_fail(near, sendmsg=[down] * 40, sendto=[down] * 40)
    for _ in range(20):
        assert near.send(burst(far.address, packets(1, 300) * 2)) == 2
    assert near.offload
    assert near.counters.refused == 0


def test_one_burst_that_cannot_be_segmented_is_sent_in_pieces(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    sent = packets(5, 300)
    near.send(burst(far.address, sent))
    for _ in range(10):
        make_fail(near, sendmsg=[OSError(errno.EINVAL, "no")] * 2)
        assert near.send(burst(far.address, sent)) == 5
    assert near.offload
    assert near.counters.refused == 10
    assert near.send(burst(far.address, sent)) == 5
    assert receive(far, 60) == sent * 12
    assert near.counters.sent == 60


def test_a_full_buffer_in_the_middle_of_the_fallback_is_noticed(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    make_fail(near, sendmsg=[OSError(errno.EIO, "no")] * 2, sendto=[None, None, FULL])
    sent = packets(5, 300)
    assert near.send(burst(far.address, sent)) == 2
    assert near.send(burst(far.address, sent[2:])) == 3
    assert receive(far, 5) == sent


@linux_only
def test_what_is_more_than_one_call_may_have_is_sent_in_several(offloading: tuple[Datagrams, Datagrams]) -> None:
    near, far = offloading
    for sent, calls in [(packets(2, 65_500, 20_000), 2), (packets(100, 1400), 3), (packets(130, 10), 3)]:
        before = near.counters.send_calls
        assert near.send(burst(far.address, sent)) == len(sent)
        assert near.counters.send_calls - before == calls
        assert receive(far, len(sent)) == sent
    assert near.counters.refused == 0


# --- Windows --------------------------------------------------------------------------------------


def test_a_reset_while_receiving_is_no_news(plain: tuple[Datagrams, Datagrams]) -> None:
    """Windows tells the next ``recvfrom`` that some datagram was refused, but not which."""
    near, far = plain
    far.send(burst(near.address, packets(1, 50)))
    wait(near)
    make_fail(near, recvfrom=[ConnectionResetError(10054, "reset")] * 3)
    received = near.receive()
    assert received is not None
    assert split(received) == packets(1, 50)
    assert near.errors() == []


def test_endless_errors_do_not_keep_the_caller(plain: tuple[Datagrams, Datagrams]) -> None:
    near, _ = plain
    failing = make_fail(near, recvfrom=[ConnectionResetError(10054, "reset")] * 1000)
    assert near.receive() is None
    assert len(failing.calls) < 100


def test_without_error_queues_everything_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with closing(Datagrams("127.0.0.1", 0)) as near, closing(Datagrams("127.0.0.1", 0)) as far:
        assert not near.offload
        failing = make_fail(near)
        sent = packets(3, 1000)
        assert near.send(burst(far.address, sent)) == 3
        assert receive(far, 3) == sent
        assert near.errors() == []
        assert set(failing.calls) <= {"sendto"}  # Windows has neither sendmsg nor recvmsg


def test_errors_of_sending_are_explained() -> None:
    sock = Datagrams("127.0.0.1", 0)
    assert "no route to that network" in sock.explain(errno.ENETUNREACH)
    assert "a firewall on this host may forbid it" in sock.explain(errno.EPERM)
    assert sock.explain(errno.EINVAL).startswith("this socket is bound to 127.0.0.1")
    sock.close()
