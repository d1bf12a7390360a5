"""``crust nat``: how this machine can be reached, found out by a node that is there for a moment."""

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

from crust import cli
from crust.channel import Channel
from crust.cli import console
from crust.cli.console import Exit, say
from crust.cli.interrupts import Interrupts
from crust.cli.nat_view import status_lines
from crust.discovery.bootstrap_status import BootstrapStatus
from crust.discovery.reach import isolated, on_this_machine_only
from crust.endpoint import Endpoint
from crust.nat.nat_status import NatStatus
from crust.threads.clock import Deadline

if TYPE_CHECKING:
    from crust.config import Config
    from crust.connection_manager import ConnectionManager

DEFAULT_SECONDS: Final = 8.0
"""A survey takes four seconds, a router that understands nothing another four."""
LOOK: Final = 0.1
"""Seconds between two looks: no event tells that a survey has begun, or that nobody can be asked."""
PEERS_ASKED: Final = 4
"""Peers to connect to: as many as it takes to believe them (`crust.nat.observations`)."""

DESCRIPTION = """\
Find out how this machine can be reached: start a node for a moment, ask the routers to let peers in, ask the servers of
stun_servers and some peers where they see it, and say who can connect, how the NAT behaves, and what to do about it.
What the routers gave is given back at the end.
"""
EPILOG = """\
examples:
  crust nat
  crust nat --stun stun.example.org:3478      ask this server as well
  crust nat 192.0.2.7:5483                    ask this peer, and nobody who happens to be nearer
  crust nat --json | python -m json.tool
"""


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(subparsers, "nat", DESCRIPTION, EPILOG)
    parser.add_argument("peers", nargs="*", type=cli.endpoint, metavar="PEER", help="address of a peer to ask")
    parser.add_argument(
        "--seconds",
        type=cli.seconds,
        default=DEFAULT_SECONDS,
        metavar="S",
        help=f"how long to wait at the most; {DEFAULT_SECONDS:g} if not given",
    )
    parser.add_argument(
        "--stun",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a STUN server to ask beside those of the configuration; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print one document instead of sentences")
    cli.add_node_options(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, wait, and print what is known."""
    from crust.connection_manager import ConnectionManager

    config = _config(args)
    events: Channel[Any] = Channel()
    with Interrupts() as interrupts, ConnectionManager(events, config) as manager:
        if not manager.start_listening():
            return console.fail("the configuration switches every port off (tcp_port, utp_port)", Exit.LISTEN)
        if not args.json:
            say(f"Asking routers, servers and peers, for up to {args.seconds:g} s ...", "note")
        manager.bootstrap(len(args.peers) or PEERS_ASKED)
        status = _settle(manager, Deadline(args.seconds), interrupts)
        met = bool(manager.connections())
    _print(status, as_json=args.json)
    if args.peers and not met:
        asked = ", ".join(map(str, args.peers))
        return console.fail(
            f"no connection to {asked}: the rest was found out without (-v tells why)", Exit.UNREACHABLE
        )
    named = {str(Endpoint.parse(f"utp://{server}")).removeprefix("utp://") for server in args.stun}
    if failed := [f"{server}: {why}" for server, why in status.nat.failed if server in named]:
        return console.fail(f"nothing was learned from {'; '.join(failed)}", Exit.UNREACHABLE)
    return Exit.OK


def _config(args: argparse.Namespace) -> "Config":
    # No beacon: neighbours are on our side of the router, and cannot tell how it looks from the other one.
    config = cli.config_from(args, beacon_port=None)
    if args.stun:
        config = config.replace(stun_servers=(*config.stun_servers, *args.stun))
    if args.peers:
        config = config.replace(hard_coded_contacts=tuple(args.peers), override_default_bootstrap=True)
    return config


def _settle(manager: "ConnectionManager", deadline: Deadline, interrupts: Interrupts) -> NatStatus:
    """Wait until there is nothing more to wait for, or time is up."""
    config = manager.config
    maps = config.upnp and not isolated() and not on_this_machine_only(config.listen_addresses)
    while True:
        status = manager.nat_status()
        search = manager.bootstrap_status()
        servers = len(config.stun_servers) > len(status.nat.failed)
        done = is_known(status, search, maps=maps, servers=servers)
        if done or deadline.expired:
            return status
        if not status.nat.asked:
            manager.prepare_connection_info()  # looks for somebody to ask: what peers tell of themselves comes later
        interrupts.until_rung(deadline.earlier(LOOK).remaining())


def is_known(status: NatStatus, search: BootstrapStatus, *, maps: bool, servers: bool) -> bool:
    """Whether waiting brings no more. Pure.

    Args:
        status: what is known.
        search: how the search for peers goes.
        maps: whether routers are asked.
        servers: whether there are servers to ask.
    """
    if maps and not status.mappings.settled:
        return False
    searching = search.running and search.next_round_in is None and search.made < search.wanted
    if servers or search.connected:
        if not status.nat.asked:
            return False  # a survey is on, or about to begin
    elif searching:
        return False
    tried = [verdict for verdict in status.verified.values() if verdict is not None]
    return not search.connected or len(tried) == len(status.verified)


def _print(status: NatStatus, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(status.as_dict(), indent=2))
        return
    for text, style in status_lines(status):
        say(text, style)
