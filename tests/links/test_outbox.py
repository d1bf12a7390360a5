"""`crust.links.outbox`: bounds, who is woken when, the express lane, and ends."""

import queue
import signal
from collections.abc import Callable

import pytest

from crust.errors import ConnectionLost, NotConnected, SendQueueFull
from crust.limits import MESSAGE_OVERHEAD
from crust.links.outbox import CARRIED_SLICE, MAX_EXPRESS, MAX_WAITING_CONTROLS, Outbox
from crust.transport.relay.carried import credit_frame
from tests.together import Running, until

SOON = 0.01  # seconds; a timeout that is meant to pass
ROOM = 10 * MESSAGE_OVERHEAD  # for ten empty messages


class Lane:
    """An express lane that notes what goes along it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.flushes = True
        self.meanwhile: Callable[[], object] | None = None

    def __call__(self, message: bytes) -> bool:
        self.sent.append(message)
        if self.meanwhile is not None:
            self.meanwhile()
        return self.flushes


def asleep(outbox: Outbox) -> Callable[[], bool]:
    return lambda: outbox._writer_sleeps


def writing(outbox: Outbox) -> Running[tuple[list[bytes], list[bytes]] | None]:
    """A writer that sleeps until there is something to take."""
    running = Running(outbox.take)
    until(asleep(outbox))
    return running


# --- messages ---------------------------------------------------------------------------------------


def test_the_writer_gets_everything_at_once_and_in_order() -> None:
    outbox = Outbox("peer", ROOM)
    for message in (b"one", b"two", b""):
        outbox.put(message)
    assert outbox.waiting_bytes == 6 + 3 * MESSAGE_OVERHEAD
    assert outbox.take() == ([], [b"one", b"two", b""])
    assert outbox.waiting_bytes == 6 + 3 * MESSAGE_OVERHEAD, "the network does not have it yet"
    outbox.sent(6 + 3 * MESSAGE_OVERHEAD)
    assert outbox.waiting_bytes == 0


def test_a_message_wakes_the_writer() -> None:
    outbox = Outbox("peer", ROOM)
    for number in range(3):
        taking = writing(outbox)
        outbox.put(b"%d" % number)
        assert taking.result() == ([], [b"%d" % number])


def test_many_senders_and_one_writer() -> None:
    """Small bound, so that everybody waits for everybody; each sender's messages stay in order."""
    outbox = Outbox("peer", 4 * MESSAGE_OVERHEAD + 8)
    senders, each = 4, 200

    def send(name: int) -> None:
        for number in range(each):
            outbox.put(bytes((name, number)), timeout=None)

    def write() -> list[bytes]:
        found: list[bytes] = []
        while (work := outbox.take()) is not None:
            found += work[1]
            assert len(work[1]) <= 4
            outbox.sent(sum(map(len, work[1])) + MESSAGE_OVERHEAD * len(work[1]))
        return found

    written = Running(write)
    for sending in [Running(send, name) for name in range(senders)]:
        sending.result()
    outbox.close()
    found = written.result()
    assert len(found) == senders * each
    for name in range(senders):
        assert [message[1] for message in found if message[0] == name] == list(range(each))
    assert outbox.waiting_bytes == 0


# --- the bound --------------------------------------------------------------------------------------


def test_the_bound_holds_and_the_error_says_what_to_do() -> None:
    outbox = Outbox("tcp://192.0.2.7:5483", ROOM)
    for _ in range(10):
        outbox.put(b"")
    with pytest.raises(
        SendQueueFull, match=r"640 bytes wait to be sent to tcp://192\.0\.2\.7:5483.*timeout="
    ) as caught:
        outbox.put(b"")
    assert isinstance(caught.value, queue.Full)
    assert outbox.waiting_bytes == ROOM
    assert outbox.take() == ([], [b""] * 10), "nothing of the refused one was queued"


@pytest.mark.parametrize("timeout", [0.0, -1.0, SOON])
def test_waiting_for_room_ends_in_time(timeout: float) -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(bytes(ROOM))
    with pytest.raises(SendQueueFull):
        outbox.put(b"x", timeout)
    assert outbox._waiting_for_room == 0


def test_one_message_of_any_size_is_taken_when_nothing_else_waits() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(bytes(100 * ROOM))
    with pytest.raises(SendQueueFull):
        outbox.put(b"")
    outbox.take()
    with pytest.raises(SendQueueFull):
        outbox.put(b"")
    outbox.sent(100 * ROOM + MESSAGE_OVERHEAD)
    outbox.put(bytes(100 * ROOM))


def test_a_large_message_waits_until_nothing_else_does() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(b"")
    outbox.put(b"")
    sending = Running(outbox.put, bytes(ROOM), None)
    until(lambda: outbox._waiting_for_room == 1)
    outbox.take()
    outbox.sent(MESSAGE_OVERHEAD)
    until(lambda: outbox._waiting_for_room == 1)
    assert not sending.ended
    outbox.sent(MESSAGE_OVERHEAD)
    sending.result()
    assert outbox.take() == ([], [bytes(ROOM)])


def test_waiting_senders_are_woken_when_half_is_free() -> None:
    outbox = Outbox("peer", ROOM)
    for _ in range(10):
        outbox.put(b"")
    sending = [Running(outbox.put, b"more", None) for _ in range(3)]
    until(lambda: outbox._waiting_for_room == 3)
    woken = 0
    notify_all = outbox._room.notify_all

    def count() -> None:
        nonlocal woken
        woken += 1
        notify_all()

    outbox._room.notify_all = count  # type: ignore[method-assign]
    for _ in range(4):
        outbox.sent(MESSAGE_OVERHEAD)
        assert woken == 0, "large steps, not one message each"
    outbox.sent(MESSAGE_OVERHEAD)
    assert woken == 1
    for each in sending:
        each.result()
    outbox.sent(MESSAGE_OVERHEAD)
    assert woken == 1, "nobody waits"


# --- control frames ---------------------------------------------------------------------------------


def test_control_frames_go_first_and_do_not_count() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(bytes(ROOM))
    assert outbox.put_control(b"ping")
    assert outbox.put_control(b"pong")
    assert outbox.waiting_bytes == ROOM + MESSAGE_OVERHEAD
    assert outbox.take() == ([b"ping", b"pong"], [bytes(ROOM)])


def test_control_frames_wake_the_writer_and_pass_between_pieces() -> None:
    outbox = Outbox("peer", ROOM)
    taking = writing(outbox)
    outbox.put_control(b"ping")
    assert taking.result() == ([b"ping"], [])
    assert outbox.take_controls() == []
    outbox.put(b"message")
    outbox.put_control(b"one")
    outbox.put_control(b"two")
    assert outbox.take_controls() == [b"one", b"two"]
    assert outbox.take() == ([], [b"message"])


def test_control_frames_are_bounded() -> None:
    outbox = Outbox("peer", ROOM)
    frames = [b"%d" % number for number in range(MAX_WAITING_CONTROLS)]
    assert all(map(outbox.put_control, frames))
    assert not outbox.put_control(b"one too many")
    assert outbox.take_controls() == frames
    assert outbox.put_control(b"room again")


# --- the end ----------------------------------------------------------------------------------------


def test_what_is_queued_still_goes_out() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(b"last")
    outbox.put_control(b"ping")
    outbox.close()
    outbox.close()
    assert outbox.closed
    assert not outbox.discarded
    assert outbox.take() == ([b"ping"], [b"last"])
    assert outbox.take() is None
    assert outbox.take() is None


def test_discarding_forgets_what_is_queued() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(b"last")
    outbox.put_control(b"ping")
    outbox.close()
    outbox.close(discard=True)
    assert outbox.discarded
    assert outbox.take() is None
    assert outbox.take_controls() == []


@pytest.mark.parametrize("discard", [False, True])
def test_nothing_is_taken_after_the_end(discard: bool) -> None:
    outbox = Outbox("tcp://192.0.2.7:5483", ROOM)
    outbox.close(discard=discard)
    for timeout in (0.0, 5.0, None):
        with pytest.raises(NotConnected, match=r"tcp://192\.0\.2\.7:5483 has ended"):
            outbox.put(b"", timeout)
    assert not outbox.put_control(b"ping")
    assert outbox.take() is None


@pytest.mark.parametrize("discard", [False, True])
def test_the_end_wakes_the_writer(discard: bool) -> None:
    outbox = Outbox("peer", ROOM)
    taking = writing(outbox)
    outbox.close(discard=discard)
    assert taking.result() is None


@pytest.mark.parametrize("discard", [False, True])
def test_the_end_wakes_those_who_wait_for_room(discard: bool) -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(bytes(ROOM))
    sending = [Running(outbox.put, b"x", timeout) for timeout in (None, 60.0)]
    until(lambda: outbox._waiting_for_room == 2)
    outbox.close(discard=discard)
    for each in sending:
        with pytest.raises(NotConnected):
            each.result()


# --- the express lane -------------------------------------------------------------------------------


def test_an_answer_goes_out_without_waking_the_writer() -> None:
    lane = Lane()
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)
    outbox.express = True
    outbox.put(b"answer")
    assert lane.sent == [b"answer"]
    assert outbox.waiting_bytes == 0
    assert outbox._writer_sleeps
    outbox.put(b"and more")
    assert taking.result() == ([], [b"and more"]), "one message for each time that something was received"
    assert lane.sent == [b"answer"]


@pytest.mark.parametrize("reason", ["nothing received", "large", "the writer is at work"])
def test_what_does_not_go_along_the_express_lane(reason: str) -> None:
    lane = Lane()
    outbox = Outbox("peer", 100 * MAX_EXPRESS, lane)
    taking = None if reason == "the writer is at work" else writing(outbox)
    outbox.express = reason != "nothing received"
    message = bytes(MAX_EXPRESS) if reason == "large" else b"answer"
    outbox.put(message)
    assert (outbox.take() if taking is None else taking.result()) == ([], [message])
    assert lane.sent == []


def test_the_writer_flushes_what_the_network_did_not_take() -> None:
    lane = Lane()
    lane.flushes = False
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)
    outbox.express = True
    outbox.put(b"answer")
    assert taking.result() == ([], []), "it has nothing to take, but to flush"
    taking = writing(outbox)
    outbox.close()
    assert taking.result() is None


def test_what_comes_meanwhile_is_left_to_the_writer() -> None:
    lane = Lane()
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)

    def meanwhile() -> None:
        outbox.express = True
        outbox.put(b"second")
        outbox.put_control(b"ping")

    lane.meanwhile = meanwhile
    outbox.express = True
    outbox.put(b"first")
    assert lane.sent == [b"first"]
    assert taking.result() == ([b"ping"], [b"second"])
    assert outbox.waiting_bytes == MESSAGE_OVERHEAD + 6


@pytest.mark.parametrize("discard", [False, True])
def test_an_end_meanwhile_wakes_the_writer_afterwards(discard: bool) -> None:
    lane = Lane()
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)
    lane.meanwhile = lambda: outbox.close(discard=discard)
    outbox.express = True
    outbox.put(b"first")
    assert taking.result() is None


@pytest.mark.parametrize("error", [ConnectionLost("gone"), KeyboardInterrupt(), ValueError("a bug")])
def test_whatever_happens_the_writer_gets_its_work_back(error: BaseException) -> None:
    lane = Lane()
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)

    def fail() -> None:
        raise error

    lane.meanwhile = fail
    outbox.express = True
    if isinstance(error, ConnectionLost):
        outbox.put(b"answer")  # the writer will find the same, and report it
    else:
        with pytest.raises(type(error)):
            outbox.put(b"answer")
    assert taking.result() == ([], [])
    assert outbox.waiting_bytes == 0
    taking = writing(outbox)
    outbox.put(b"next")
    assert taking.result() == ([], [b"next"])


def test_the_writer_is_never_at_work_beside_one_who_stands_in() -> None:
    at_work: list[str] = []
    flushed = [True, False, True]

    def lane(message: bytes) -> bool:
        at_work.append("stand-in")
        assert at_work == ["stand-in"]
        at_work.pop()
        return flushed[message[0] % 3]

    outbox = Outbox("peer", 2**20, lane)

    def write() -> int:
        count = 0
        while (work := outbox.take()) is not None:
            at_work.append("writer")
            assert at_work == ["writer"]
            count += len(work[1])
            outbox.sent(sum(map(len, work[1])) + MESSAGE_OVERHEAD * len(work[1]))
            at_work.pop()
        return count

    def send() -> None:
        for number in range(500):
            outbox.express = True
            outbox.put(bytes((number % 256,)), timeout=None)

    written = Running(write)
    for sending in [Running(send) for _ in range(3)]:
        sending.result()
    outbox.close()
    assert 0 < written.result() <= 1500
    assert outbox.waiting_bytes == 0


def test_a_goodbye_is_due_although_what_is_queued_is_forgotten() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.put(b"queued")
    outbox.put_control(b"this too")
    outbox.close(discard=True, goodbye=True)
    assert outbox.take() is None
    assert not outbox.discarded
    outbox.close(discard=True)
    assert outbox.discarded


def test_a_writer_that_is_woken_for_nothing_lets_the_stand_in_work() -> None:
    lane = Lane()
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)

    def meanwhile() -> None:
        outbox._wake.put(None)  # as an interrupted sender may leave it
        until(outbox._wake.empty)
        for _ in range(100):
            with outbox._lock:
                assert not outbox._writer_sleeps, "the next sender would stand in as well"

    lane.meanwhile = meanwhile
    outbox.express = True
    outbox.put(b"answer")
    outbox.put(b"next")
    assert taking.result() == ([], [b"next"])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
@pytest.mark.parametrize("express", [False, True])
def test_an_interrupt_of_a_sender_hangs_nobody(express: bool) -> None:
    """Ctrl-C strikes between any two steps of the main thread; the lock and the writer must survive that."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(100):
            outbox = Outbox("peer", 2**40, lambda _: True)
            taking = writing(outbox) if express else None
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0003 + number % 29 * 1e-6)
                while True:
                    outbox.express = express
                    outbox.put(b"")
            except Interrupt:
                pass
            assert not outbox._lock.locked()
            outbox.close(discard=True)
            if taking is not None:
                taking.result()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- relayed connections ------------------------------------------------------------------------------


def test_what_is_relayed_goes_out_a_slice_at_a_time_and_messages_between() -> None:
    outbox = Outbox("peer", ROOM)
    frames = [bytes([number]) * 16_000 for number in range(9)]
    for frame in frames:
        assert outbox.put_carried(frame)
    outbox.put(b"message")
    assert outbox.take() == ([b"".join(frames[:4])], [b"message"])
    assert outbox.take_controls() == [b"".join(frames[4:8])]
    assert outbox.take() == ([frames[8]], [])
    assert CARRIED_SLICE // len(frames[0]) == 4


def test_credit_for_a_channel_is_put_together() -> None:
    outbox = Outbox("peer", ROOM)
    for channel, amount in ((1, 20_000), (2, 30_000), (1, 40_000)):
        outbox.put_credit(channel, amount)
    assert outbox.take_controls() == [credit_frame(1, 60_000), credit_frame(2, 30_000)]
    assert outbox.take_controls() == []


@pytest.mark.parametrize("put", [lambda o: o.put_carried(b"frame"), lambda o: o.put_credit(1, 20_000)])
def test_what_is_relayed_wakes_the_writer(put: Callable[[Outbox], object]) -> None:
    outbox = Outbox("peer", ROOM)
    taking = writing(outbox)
    put(outbox)
    assert taking.result() in (([b"frame"], []), ([credit_frame(1, 20_000)], []))


def test_relayed_while_somebody_stands_in_for_the_writer() -> None:
    lane = Lane()
    outbox = Outbox("peer", ROOM, lane)
    taking = writing(outbox)
    outbox.express = True
    lane.meanwhile = lambda: outbox.put_carried(b"frame")
    outbox.put(b"message")
    assert taking.result() == ([b"frame"], [])


def test_who_holds_it_can_still_relay_and_its_writer_waits() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.hold()
    outbox.hold()
    outbox.close()
    with pytest.raises(NotConnected):
        outbox.put(b"message")
    assert outbox.put_carried(b"frame")
    assert outbox.take() == ([b"frame"], [])
    taking = writing(outbox)
    outbox.release()
    assert outbox.put_carried(b"last")
    assert taking.result() == ([b"last"], [])
    taking = writing(outbox)
    outbox.release()
    assert taking.result() is None
    assert not outbox.put_carried(b"too late")
    outbox.put_credit(1, 20_000)
    assert outbox.take() is None


def test_what_is_discarded_is_not_held() -> None:
    outbox = Outbox("peer", ROOM)
    outbox.hold()
    outbox.put_carried(b"frame")
    outbox.put_credit(1, 20_000)
    outbox.close(discard=True)
    assert outbox.take() is None
    assert not outbox.put_carried(b"frame")
