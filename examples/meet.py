"""Two people behind routers meet with nobody in between: each sends a line of text to the other (chat, e-mail, phone),
and both paste what they got, within a minute of each other. Then what one types appears at the other.

python examples/meet.py
"""

import queue
import sys
import threading

from crust import ConnectionManager, Event
from crust.errors import CrustError


def show(events: "queue.Queue[object]") -> None:
    """Print what happens, until the manager has stopped."""
    while True:
        match events.get():
            case Event.ConnectionInfoPrepared(_, info):
                print("* send this line to the other side, and paste theirs:", info.encode(), sep="\n", flush=True)
            case Event.NewConnection(endpoint, peer_id):
                print(f"* met {peer_id} at {endpoint}", flush=True)
            case Event.NewMessage(_, data):
                text = data.decode("utf-8", "replace")
                # Escape sequences of a stranger must not reach our terminal.
                print("<", "".join(c if c.isprintable() else "?" for c in text), flush=True)
            case Event.LostConnection(_, _, reason):
                print("* they left:", reason, flush=True)
            case Event.ConnectionFailed(methods=methods):
                print("* no way was found; paste the line again to try again", flush=True)
                for method, why in methods.items():
                    print(f"  {method}: {why}", flush=True)
            case Event.Stopped():
                return


def main() -> None:
    """Read lines here, show events in a thread of their own."""
    events: queue.Queue[object] = queue.Queue()
    with ConnectionManager(events) as manager:
        printer = threading.Thread(target=show, args=(events,))
        printer.start()
        manager.start_listening()
        manager.prepare_connection_info()
        try:
            for line in sys.stdin:
                try:
                    connections = manager.connections()
                    for connection in connections:
                        manager.send(connection.endpoint, line.rstrip("\n").encode())
                    if not connections:
                        manager.rendezvous_connect(line)
                except CrustError as error:
                    print(f"* {error}", flush=True)
        except KeyboardInterrupt:
            pass
    printer.join()  # leaving the block above put the last event, Stopped


if __name__ == "__main__":
    main()
