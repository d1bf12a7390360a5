"""Each example, as real processes."""

import queue
import signal
import sys

import pytest

from crust import Endpoint, Event, NotConnected
from tests.processes import ROOT, Process


def example(name: str, *arguments: str) -> Process:
    return Process(str(ROOT / "examples" / name), *arguments)


def names_of(name: str) -> dict[str, object]:
    """What an example defines, without running it."""
    namespace: dict[str, object] = {"__name__": "examples"}
    exec((ROOT / "examples" / name).read_text(), namespace)  # noqa: S102
    return namespace


def listening_port(process: Process) -> str:
    return process.expect(r"[Ll]istening on .*tcp:(\d+)")[1]


def test_the_fibonacci_pair() -> None:
    with example("simple_receiver.py") as receiver:
        port = listening_port(receiver)
        with example("simple_sender.py", f"127.0.0.1:{port}") as sender:
            code, lines = sender.end()
        assert code == 0, lines
        numbers = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
        assert lines == [
            f'Peer on tcp://127.0.0.1:{port} replied with "The Fibonacci number for {index} is {number}"'
            for index, number in enumerate(numbers)
        ]
        receiver.expect("Connected to tcp://127.0.0.1:")
        receiver.expect("Lost connection to tcp://127.0.0.1:")
        receiver.signal(signal.SIGINT)
        assert receiver.end()[0] == 0


def test_an_answer_that_cannot_be_sent_is_told_and_the_next_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    gone, here = Endpoint.tcp("192.0.2.7:1"), Endpoint.tcp("192.0.2.8:1")
    sent = []

    class Manager:
        """Has lost one of its peers already; ends when the other has its answer."""

        def send(self, endpoint: Endpoint, data: bytes, *, timeout: float | None = 0.0) -> None:
            assert timeout == 0.0, "one that takes nothing must not keep the others waiting"
            if endpoint == gone:
                raise NotConnected("no connection")
            sent.append((endpoint, data))
            raise KeyboardInterrupt

    events: queue.Queue[object] = queue.Queue()
    for endpoint in (gone, here):
        events.put(Event.NewMessage(endpoint, b"7"))
    serve = names_of("simple_receiver.py")["serve"]
    assert callable(serve)
    with pytest.raises(KeyboardInterrupt):
        serve(Manager(), events)
    assert sent == [(here, b"The Fibonacci number for 7 is 13")]
    assert capsys.readouterr().out == f"No answer to {gone}: no connection\n"


@pytest.mark.parametrize(
    ("name", "argument", "told"),
    [
        ("simple_receiver.py", "foo", "foo"),
        ("simple_receiver.py", "99999", "65535"),
        ("simple_sender.py", "foo", "HOST:PORT"),
        ("chat.py", "foo", "HOST:PORT"),
    ],
)
def test_a_wrong_argument_is_answered_with_the_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, argument: str, told: str
) -> None:
    monkeypatch.setattr(sys, "argv", [name, argument])
    main = names_of(name)["main"]
    assert callable(main)
    with pytest.raises(SystemExit) as end:
        sys.exit(main())
    text = capsys.readouterr().err or str(end.value.code)  # a text is printed by the interpreter, as it ends with 1
    assert end.value.code not in (0, None)
    assert told in text.splitlines()[0]
    assert f"python examples/{name}" in text


def test_the_sender_explains_itself() -> None:
    with example("simple_sender.py") as sender:
        code, lines = sender.end()
    assert code == 2
    assert "    python examples/simple_sender.py HOST:PORT" in lines


@pytest.mark.parametrize("question", [b"", b"x", b"1001", b"-1", b"9" * 100_000, b"\xff", "²".encode()])
def test_the_receiver_answers_nonsense_in_a_sentence(question: bytes) -> None:
    answer = names_of("simple_receiver.py")["answer"]
    assert callable(answer)
    assert answer(question).endswith("is not a number from 0 to 1000")


def test_two_people_chat() -> None:
    with example("chat.py") as alice:
        port = listening_port(alice)
        with example("chat.py", f"127.0.0.1:{port}") as bob:
            alice.expect(r"\* \w{8} joined from")
            bob.expect(r"\* \w{8} joined from")
            bob.type("hello, Alice")
            alice.expect("^<tcp://.*> hello, Alice$")
            alice.type("hello, \x1b[2JBob")
            bob.expect(r"^<tcp://.*> hello, \?\[2JBob$")
            bob.close_input()
            assert bob.end()[0] == 0
        alice.expect(r"\* \w{8} left: ")
        alice.signal(signal.SIGINT)
        assert alice.end()[0] == 0


@pytest.mark.slow
def test_chat_says_why_it_could_not_connect() -> None:
    with example("chat.py") as first:
        port = listening_port(first)
        first.close_input()
        assert first.end()[0] == 0
    with example("chat.py", f"127.0.0.1:{port}") as second:
        second.expect(r"\* could not connect: ")
        second.close_input()
        assert second.end()[0] == 0


def test_two_people_meet() -> None:
    """With a slip in copying first."""
    with example("meet.py") as alice, example("meet.py") as bob:
        here, there = (person.expect("^crust-info:.*")[0] for person in (alice, bob))
        alice.type(there[:-5])
        alice.expect("copy all of the line again")
        alice.type(there)
        bob.type(here)
        alice.expect(r"\* met \w{8} at (tcp|utp)://")
        bob.expect(r"\* met \w{8} at (tcp|utp)://")
        bob.type("hello, \x1b[2JAlice")
        alice.expect(r"^< hello, \?\[2JAlice$")
        bob.close_input()
        assert bob.end()[0] == 0
        alice.expect(r"\* they left: ")
        alice.close_input()
        assert alice.end()[0] == 0


def test_routing_delivers_along_the_line() -> None:
    with example("routing.py") as routing:
        code, lines = routing.end()
    assert code == 0, lines
    assert lines == [
        "A -> E, 4 hops: Hello, is E there?",
        "E -> A, 4 hops: Yes, through the others.",
        "D -> A, 3 hops: Hi A!",
        "11 transmissions in all",
    ]


@pytest.mark.parametrize(("name", "most"), [("chat.py", 59), ("meet.py", 64), ("routing.py", 149)])
def test_examples_stay_small(name: str, most: int) -> None:
    assert len((ROOT / "examples" / name).read_text().splitlines()) <= most
