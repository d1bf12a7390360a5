"""`crust.transport.relay.forwarding`: two ends with one in the middle, who passes on everything and holds little."""

import random
from collections.abc import Callable, Iterator

import pytest

from crust.errors import ConnectionLost, PeerMisbehaved
from crust.transport.relay.carried import LEAST_CREDIT, RELAY_WINDOW
from crust.transport.relay.forwarding import Asked, End, Forward
from crust.transport.relay.stream import RelayStream
from tests.together import Running, until
from tests.transport.relay.bench import Link, Side
from tests.transport.relay.test_stream import read_all


class Middle:
    """A - R - B: of each of the two connections R is the right end."""

    def __init__(self, per_second: float = 0.0) -> None:
        self.to_a, self.to_b = Link(), Link()
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.over: list[Forward] = []
        self.forward = Forward(
            End(self.to_a.right.outbox, self.to_a.right.channels, 1),
            End(self.to_b.right.outbox, self.to_b.right.channels, 1),
            (RELAY_WINDOW, RELAY_WINDOW),
            per_second,
            lambda seconds, call: self.later.append((seconds, call)),
            self.over.append,
        )
        assert self.forward.begin()
        self.a, self.b = self.to_a.left.stream(), self.to_b.left.stream()

    def end(self) -> None:
        """Free everything."""
        for stream in (self.a, self.b):
            stream.abort()
        for link in (self.to_a, self.to_b):
            link.__exit__()


@pytest.fixture
def middle() -> Iterator[Middle]:
    made = Middle()
    yield made
    made.end()


def test_much_goes_through_both_ways(middle: Middle) -> None:
    dice = random.Random(2)
    there, back = dice.randbytes(2_000_000), dice.randbytes(1_000_000)

    def send(stream: RelayStream, data: bytes) -> None:
        stream.send_all(data)
        stream.finish_sending()

    sending = [Running(send, middle.a, there), Running(send, middle.b, back)]
    reading = Running(read_all, middle.a)
    assert read_all(middle.b) == there
    assert reading.result() == back
    for each in sending:
        each.result()
    until(lambda: middle.over == [middle.forward])
    assert middle.forward.bytes == len(there) + len(back)
    for link in (middle.to_a, middle.to_b):
        assert not len(link.right.channels)
        assert link.leftwards.misbehaved is link.rightwards.misbehaved is None


def test_while_one_does_not_read_the_other_cannot_send(middle: Middle) -> None:
    sent = 0
    while count := middle.a.send_waiting(bytes(10_000)):
        sent += count
    assert sent < RELAY_WINDOW
    reading = Running(read_all, middle.b)
    middle.a.send_all(bytes(RELAY_WINDOW))
    middle.a.finish_sending()
    assert len(reading.result()) == sent + RELAY_WINDOW


@pytest.mark.parametrize("breaks", ["a", "b"])
def test_when_one_breaks_it_off_the_other_learns_it_after_what_was_sent(middle: Middle, breaks: str) -> None:
    first, second = (middle.a, middle.b) if breaks == "a" else (middle.b, middle.a)
    first.send_all(b"last words")
    first.close()
    buffer = memoryview(bytearray(100))
    assert second.receive_into(buffer) == 10
    with pytest.raises(ConnectionLost, match="broke it off"):
        second.receive_into(buffer)
    until(lambda: middle.over == [middle.forward])


def test_when_a_connection_ends_the_other_side_learns_it(middle: Middle) -> None:
    middle.to_a.right.channels.end("A has gone")
    with pytest.raises(ConnectionLost, match="A has gone"):
        read_all(middle.b)
    assert middle.over == [middle.forward]
    middle.forward.abort("twice")
    assert middle.over == [middle.forward]


def test_the_one_in_the_middle_may_end_it(middle: Middle) -> None:
    middle.forward.abort("enough")
    for stream in (middle.a, middle.b):
        with pytest.raises(ConnectionLost, match="enough"):
            read_all(stream)


def test_who_sends_more_than_the_other_gave_credit_for_is_found_out() -> None:
    left, right, over = Side(False), Side(False), list[Forward]()
    forward = Forward(
        End(left.outbox, left.channels, 1),
        End(right.outbox, right.channels, 1),
        (LEAST_CREDIT, LEAST_CREDIT),
        0.0,
        lambda seconds, call: None,
        over.append,
    )
    assert forward.begin()
    with pytest.raises(PeerMisbehaved, match="more on a relayed channel"):
        forward.carried(0, bytes(LEAST_CREDIT))
    with pytest.raises(PeerMisbehaved, match="credit for more"):
        forward.credited(0, RELAY_WINDOW)
    assert right.outbox.put_carried(b"end")
    work = right.outbox.take()
    assert work == ([b"end"], []), "nothing of it was passed on"


def test_a_limit_holds_back_credit_and_loses_nothing() -> None:
    middle = Middle(per_second=1000.0)
    reading = Running(read_all, middle.b)
    data = random.Random(3).randbytes(3 * RELAY_WINDOW)

    def send() -> None:
        middle.a.send_all(data)
        middle.a.finish_sending()

    sending = Running(send)
    steps = 0
    while not sending.ended or not reading.ended:
        # One step is free, each further one is due when the one before it is paid for.
        until(lambda: middle.later or sending.ended, "it has to wait")
        if middle.later:
            (seconds, call) = middle.later.pop()
            assert 50 < seconds <= RELAY_WINDOW / 1000
            middle.forward._throttles[0]._debt = middle.forward._throttles[1]._debt = 0.0  # as if so long had passed
            call()
            steps += 1
        elif sending.ended:
            break
    assert reading.result() == data
    assert steps >= 1
    middle.end()


def test_before_it_is_accepted_nothing_may_come() -> None:
    called: list[None] = []
    asked = Asked(5, lambda: called.append(None))
    for breach in (lambda: asked.carried(b"x"), lambda: asked.credited(1)):
        with pytest.raises(PeerMisbehaved, match="before that was open"):
            breach()
    asked.ended("gone")
    assert called == [None]
    assert asked.outstanding == 5


def test_it_does_not_begin_where_a_connection_has_ended() -> None:
    left, right, over = Side(False), Side(False), list[Forward]()
    right.channels.end("gone")
    forward = Forward(
        End(left.outbox, left.channels, 1),
        End(right.outbox, right.channels, 1),
        (RELAY_WINDOW, RELAY_WINDOW),
        0.0,
        lambda seconds, call: None,
        over.append,
    )
    assert not forward.begin()
    assert over == [forward]
    assert not len(left.channels)
