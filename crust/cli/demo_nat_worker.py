"""One peer of ``crust demo --nat``: as `demo_worker`, told ``listen``, ``survey``, ``knock`` (``at``: host and port),
``reach`` (``to``: an id), ``connect``, ``say`` and ``stop``. Reports beside those there: ``surveyed`` and ``knocked``.
"""

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from crust.cli.demo_worker import Peer, report
from crust.config import Config
from crust.event import Event
from crust.identity import PeerId

KNOCK_SECONDS: Final = 1.0
"""After which it is clear that nobody answers: where somebody does, it takes a thousandth of that."""


class Neighbour(Peer):
    """A peer that may live behind a router. For one thread."""

    def _do(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "listen":
                self._manager.start_listening()
                report("listening", place=str(self._manager.get_own_endpoints()[0]))
            case "survey":
                self._manager.prepare_connection_info()
            case "knock":
                report("knocked", answer=knock(*command["at"]))
            case "reach":
                self._manager.connect_peer(PeerId.parse(command["to"]))
            case _:
                super()._do(command)

    def _on_event(self, event: Any) -> None:
        match event:
            case Event.ConnectionInfoPrepared(_, info):
                status = self._manager.nat_status()
                report(
                    "surveyed",
                    lines=status.nat.lines(),
                    reach=status.nat.reach(),
                    places=[str(candidate.endpoint) for candidate in info.candidates],
                )
            case Event.ConnectionFailed(endpoints, reason, _, methods):
                whys = {str(each): reason[each] for each in endpoints if each in reason} | dict(methods)
                report("failed", to="", reason="; ".join(f"{name}: {why}" for name, why in whys.items()))
            case Event.ExternalEndpoints() | Event.OwnEndpointsChanged():
                pass  # all is told by the survey
            case _:
                super()._on_event(event)


def knock(host: str, port: int) -> str:
    """What comes of a plain TCP connection to that address."""
    try:
        with socket.create_connection((host, port), timeout=KNOCK_SECONDS):
            return "somebody answered"
    except TimeoutError:
        return f"no answer within {KNOCK_SECONDS:g} s"
    except OSError as error:
        return str(error)


def config_of(args: argparse.Namespace) -> Config:
    """The settings of a peer that looks for nobody."""
    return Config(
        listen_addresses=tuple(args.listen),
        tcp_port=None if args.transport == "utp" else args.port,
        utp_port=args.port,
        beacon_port=None,
        network=args.network,
        target_connections=0,
        stun_servers=tuple(args.observer),
        upnp=False,
        cache_file=str(args.into / "cache"),
    )


def main() -> None:
    """Run one peer; the arguments are a folder of its own, the transport, where to listen and whom to ask."""
    parser = argparse.ArgumentParser(prog="crust demo --nat (one peer)")
    parser.add_argument("into", type=Path)
    parser.add_argument("transport", choices=("tcp", "utp"))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--network", required=True)
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--observer", action="append", default=[])
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo, which then ends our input
    logging.basicConfig(level=logging.ERROR, format=f"%(levelname)s %(name)s [{os.getpid()}] %(message)s")
    try:
        Neighbour(args.into, config_of(args)).run()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the demo has gone; nor is there a last word


if __name__ == "__main__":
    main()
