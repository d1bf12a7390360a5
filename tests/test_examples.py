"""Each example, as real processes."""

import signal

import pytest

from tests.processes import ROOT, Process


def example(name: str, *arguments: str) -> Process:
    return Process(str(ROOT / "examples" / name), *arguments)


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


def test_the_sender_explains_itself() -> None:
    with example("simple_sender.py") as sender:
        code, lines = sender.end()
    assert code == 2
    assert "    python examples/simple_sender.py HOST:PORT" in lines


@pytest.mark.parametrize("question", [b"", b"x", b"1001", b"-1", b"9" * 100_000, b"\xff", "²".encode()])
def test_the_receiver_answers_nonsense_in_a_sentence(question: bytes) -> None:
    namespace: dict[str, object] = {"__name__": "examples"}
    exec((ROOT / "examples/simple_receiver.py").read_text(), namespace)  # noqa: S102
    answer = namespace["answer"]
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
