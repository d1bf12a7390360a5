"""The receiving half of the Fibonacci pair: answers each number with its Fibonacci number, until Ctrl-C.

python examples/simple_receiver.py [PORT]
python examples/simple_sender.py 127.0.0.1:PORT        (in another terminal)
"""

import queue
import sys

from crust import Config, ConnectionManager, CrustError, Endpoint, Event

LARGEST = 1000  # a stranger must not make us compute for ever


def fibonacci(number: int) -> int:
    """The sequence 0, 1, 1, 2, 3, 5, ..."""
    current, following = 0, 1
    for _ in range(number):
        current, following = following, current + following
    return current


def answer(question: bytes) -> str:
    """What a peer gets for its message."""
    text = question[:8].decode("utf-8", "replace")
    if len(question) > 4 or not question.isdigit() or int(question) > LARGEST:
        return f"{text!r} is not a number from 0 to {LARGEST}"
    return f"The Fibonacci number for {int(question)} is {fibonacci(int(question))}"


def serve(manager: ConnectionManager, events: "queue.Queue[object]") -> None:
    """Answer whoever asks."""
    while True:
        match events.get():
            case Event.NewConnection(endpoint):
                print(f"Connected to {endpoint}", flush=True)
            case Event.NewMessage(Endpoint() as endpoint, data):
                try:
                    # At once or not at all: one peer that takes nothing must not keep the others waiting.
                    manager.send(endpoint, answer(data).encode())
                except CrustError as error:  # it has left, or takes its answers too slowly
                    print(f"No answer to {endpoint}: {error}", flush=True)
            case Event.LostConnection(endpoint):
                print(f"Lost connection to {endpoint}", flush=True)


def main() -> int:
    """Listen on the port given, or on any free one."""
    events: queue.Queue[object] = queue.Queue()
    try:
        config = Config(tcp_port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    except (ValueError, CrustError) as error:
        print(f"{error}\n\n{__doc__}", file=sys.stderr)
        return 2
    with ConnectionManager(events, config) as manager:
        print("Listening on", *manager.start_listening(), flush=True)
        try:
            serve(manager, events)
        except KeyboardInterrupt:
            print("Stopping")
    return 0


if __name__ == "__main__":
    sys.exit(main())
