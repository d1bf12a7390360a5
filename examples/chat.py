"""A chat between any number of nodes: what you type goes to everyone connected, what they type appears here.

python examples/chat.py                    the first: listens, and prints where
python examples/chat.py HOST:PORT ...      the others: connect to some of those before
"""

import queue
import sys
import threading

from crust import ConnectionManager, Endpoint, Event
from crust.errors import CrustError


def show(events: "queue.Queue[object]") -> None:
    """Print what happens, until the manager has stopped."""
    while True:
        match events.get():
            case Event.NewConnection(endpoint, peer_id):
                print(f"* {peer_id} joined from {endpoint}", flush=True)
            case Event.NewMessage(endpoint, data):
                text = data.decode("utf-8", "replace")
                # Escape sequences of a stranger must not reach our terminal.
                print(f"<{endpoint}>", "".join(c if c.isprintable() else "?" for c in text), flush=True)
            case Event.LostConnection(_, peer_id, reason):
                print(f"* {peer_id} left: {reason}", flush=True)
            case Event.ConnectionFailed(_, reason):
                print("* could not connect:", *reason.values(), flush=True)
            case Event.Stopped():
                return


def main() -> None:
    """Read lines here, show events in a thread of their own."""
    try:
        others = [Endpoint.parse(address) for address in sys.argv[1:]]
    except CrustError as error:
        sys.exit(f"{error}\n\n{__doc__}")
    events: queue.Queue[object] = queue.Queue()
    with ConnectionManager(events) as manager:
        printer = threading.Thread(target=show, args=(events,))
        printer.start()
        print("* listening on", *manager.start_listening(), flush=True)
        for endpoint in others:
            manager.connect(endpoint)
        try:
            for line in sys.stdin:
                for connection in manager.connections():
                    try:
                        manager.send(connection.endpoint, line.rstrip("\n").encode())
                    except CrustError as error:  # it left just now, or is too slow
                        print(f"* not sent to {connection.endpoint}: {error}", flush=True)
        except KeyboardInterrupt:
            pass
    printer.join()  # leaving the block above put the last event, Stopped


if __name__ == "__main__":
    main()
