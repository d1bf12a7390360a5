"""`crust.links.pings`: answers belong to questions, and old questions are forgotten."""

from crust.links.pings import MAX_OPEN_PINGS, Pings
from crust.transport.framing import PING, Decoder


def number_of(frame: bytes) -> int:
    decoder = Decoder(1)
    decoder.feed(frame)
    ((kind, content),) = decoder.take_controls()
    assert kind == PING
    number: int = content["t"]
    return number


def test_an_answer_tells_how_long_it_took() -> None:
    pings = Pings()
    first, second = number_of(pings.ask(10.0)), number_of(pings.ask(11.0))
    assert pings.answered(second, 11.5) == 0.5
    assert pings.answered(first, 12.0) == 2.0


def test_an_answer_to_nothing_tells_nothing() -> None:
    pings = Pings()
    number = number_of(pings.ask(1.0))
    assert pings.answered(number + 1, 2.0) is None
    assert pings.answered(number, 2.0) == 1.0
    assert pings.answered(number, 3.0) is None, "answered twice"


def test_old_questions_are_forgotten() -> None:
    pings = Pings()
    numbers = [number_of(pings.ask(float(at))) for at in range(MAX_OPEN_PINGS + 1)]
    assert pings.answered(numbers[0], 9.0) is None
    assert [pings.answered(number, 9.0) for number in numbers[1:]] == [9.0 - at for at in range(1, MAX_OPEN_PINGS + 1)]
