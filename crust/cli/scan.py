"""``crust scan``: the nodes that answer on the local network."""

import argparse
from typing import Final

from crust import cli
from crust.cli import console
from crust.cli.console import Exit
from crust.config import DEFAULT_BEACON_PORT
from crust.discovery.scan import scan

DEFAULT_SECONDS: Final = 3.0


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(
        subparsers,
        "scan",
        "List the nodes of a network that answer on the local network. They learn nothing of who asks.",
        epilog="Among very many nodes only some answer each time: --seconds 30 finds more of them.",
    )
    parser.add_argument(
        "--seconds",
        type=_some_seconds,
        default=DEFAULT_SECONDS,
        metavar="S",
        help=f"how long to wait for answers; {DEFAULT_SECONDS:g} if not given",
    )
    parser.add_argument(
        "--beacon", type=_beacon_port, metavar="PORT", help="UDP port of the beacon; all nodes need the same"
    )
    cli.add_node_options(parser)


def _some_seconds(text: str) -> float:
    seconds = cli.seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError("nobody answers in no time: give seconds, as in 30 or 0.5")
    return seconds


def _beacon_port(text: str) -> int:
    port = cli.port(text)
    if not port:
        raise argparse.ArgumentTypeError("nobody can be asked at port 0: give the port of the others' beacon_port")
    return port


def run(args: argparse.Namespace) -> int:
    """Ask, wait, and print who answered."""
    changes = {} if args.beacon is None else {"beacon_port": args.beacon}
    config = cli.config_from(args).replace(**changes)
    found = scan(config, args.seconds)
    if not found:
        port = config.beacon_port or DEFAULT_BEACON_PORT
        return console.fail(
            f"nobody answered within {console.human_time(args.seconds)}: does a node of the network "
            f"{config.network!r} run on this local network, and do firewalls let UDP port {port} in?"
        )
    console.table(
        ["peer", "endpoints"],
        [(contact.peer_id, "  ".join(map(str, contact.endpoints))) for contact in found],
    )
    console.say(console.count_of(len(found), "node"), "note")
    return Exit.OK
