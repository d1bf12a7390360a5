"""A peer for tests that kill it: ``scripted_peer.py SEED ENDPOINT``. Says what happens, never ends by itself."""

import sys

import crust
from crust import Config, ConnectionManager, Endpoint, Event, Identity


def say(line: str) -> None:
    """One line for the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Connect, and print what comes."""
    events = crust.channel()
    identity = Identity(bytes.fromhex(sys.argv[1]))
    config = Config(listen_addresses=("127.0.0.1",), beacon_port=None, utp_port=None, upnp=False)
    with ConnectionManager(events, config, identity=identity) as manager:
        manager.connect(Endpoint.parse(sys.argv[2]))
        for event in events:
            match event:
                case Event.NewConnection():
                    say("connected")
                case Event.NewMessage(_, data):
                    say("heard " + data.decode())
                case _:
                    say(repr(event))


if __name__ == "__main__":
    main()
