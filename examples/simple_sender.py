"""The sending half of the Fibonacci pair: asks a receiver for the Fibonacci numbers of 0 to 12.

    python examples/simple_sender.py HOST:PORT

The port is the one that ``simple_receiver.py`` prints.
"""

import queue
import sys

from crust import Config, ConnectionManager, CrustError, Endpoint, Event

NUMBERS = range(13)
PATIENCE = 30.0  # seconds to wait for anything to happen


def ask(manager: ConnectionManager, events: "queue.Queue[object]") -> int:
    """Send the numbers and print the replies; the exit code."""
    replies = 0
    while replies < len(NUMBERS):
        try:
            event = events.get(timeout=PATIENCE)
        except queue.Empty:
            print(f"Nothing heard for {PATIENCE:.0f} s: is simple_receiver.py running there?", file=sys.stderr)
            return 1
        match event:
            case Event.NewBootstrapConnection(Endpoint() as endpoint):
                try:
                    for number in NUMBERS:
                        manager.send(endpoint, str(number).encode())
                except CrustError as error:  # it has left already
                    print(f"Not sent to {endpoint}: {error}", file=sys.stderr)
                    return 1
            case Event.NewMessage(endpoint, data):
                print(f'Peer on {endpoint} replied with "{data.decode()}"', flush=True)
                replies += 1
            case Event.LostConnection(endpoint, reason=reason):
                print(f"Lost connection to {endpoint}: {reason}", file=sys.stderr)
                return 1
    return 0


def main() -> int:
    """Bootstrap to the receiver only."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        config = Config(hard_coded_contacts=(Endpoint.tcp(sys.argv[1]),), override_default_bootstrap=True)
    except CrustError as error:
        print(f"{error}\n\n{__doc__}", file=sys.stderr)
        return 2
    events: queue.Queue[object] = queue.Queue()
    with ConnectionManager(events, config) as manager:
        manager.bootstrap()
        return ask(manager, events)


if __name__ == "__main__":
    sys.exit(main())
