"""``crust receive``: files from peers."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crust import cli
from crust.cli import console
from crust.cli.console import Exit, human_bytes, one_line
from crust.cli.heard_channel import HeardChannel
from crust.cli.interrupts import Interrupts
from crust.cli.transfer_folder import DiskFolder, IfExists
from crust.cli.transfer_inbox import Inbox
from crust.cli.transfer_send import peer_id
from crust.cli.transfer_view import View
from crust.limits import KIB

if TYPE_CHECKING:
    from crust.connection_manager import ConnectionManager
    from crust.event import AnyEvent

DESCRIPTION = "Receive files from peers that run: crust send"
EPILOG = """\
A file gets its name when it is complete, checked and written to the disk; until then its bytes are in a hidden file
(.NAME.SIZE.HASH.part) of the same folder. What was interrupted goes on when the same file is sent again, also
after this command was ended or the machine crashed. A file that is there already, the same, is not sent again.

It goes on until Ctrl-C (exit code 0), or with --once until a peer has sent all it wanted to (exit code 0 if all of that
was saved, else 1).

examples:
  crust receive                                receive into the current folder, on any free port
  crust receive --tcp 5483 --into ~/Downloads
  crust receive --once --max-size 2G           for a script: one send, then end
"""
_SIZE = re.compile(r"(\d{1,18})\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": KIB, "m": KIB**2, "g": KIB**3, "t": KIB**4}


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(subparsers, "receive", DESCRIPTION, EPILOG)
    parser.add_argument("--into", default=".", metavar="DIR", help="where files go (default: the current folder)")
    exists = parser.add_mutually_exclusive_group()
    exists.add_argument("--overwrite", action="store_true", help="replace files that exist (default: refuse them)")
    exists.add_argument("--rename", action="store_true", help="give them another name: FILE (2)")
    parser.add_argument("--once", action="store_true", help="end when a peer has sent all it wanted to")
    parser.add_argument("--max-size", type=size, metavar="SIZE", help="refuse larger files, as in 500M or 2G")
    parser.add_argument(
        "--from",
        dest="senders",
        type=peer_id,
        action="append",
        metavar="HEX",
        help="only from this identity (repeatable)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    cli.add_node_options(parser)


def size(text: str) -> int:
    """The ``type=`` of a number of bytes: ``1000``, ``64K``, ``2G``, ``1 GiB``; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give bytes, or as in 64K, 500M, 2G")
    return int(match[1]) * _UNITS[match[2].lower()]


def run(args: argparse.Namespace) -> int:
    """Receive files until told to end."""
    from crust.connection_manager import ConnectionManager

    config = cli.config_from(args, **cli.TOLD_WHOM)
    if config.tcp_port is None and config.utp_port is None:
        return console.fail("the configuration switches all ports off; give one with --tcp or --utp", Exit.USAGE)
    into = Path(args.into)
    if (reason := unusable(into)) is not None:
        return console.fail(f"--into {into}: {reason}")
    policy = IfExists.OVERWRITE if args.overwrite else IfExists.RENAME if args.rename else IfExists.REFUSE
    folder = DiskFolder(into, policy, args.max_size)
    interrupts = Interrupts()
    events: HeardChannel[AnyEvent] = HeardChannel(interrupts)
    with interrupts, ConnectionManager(events, config) as manager, View(args.quiet) as view:
        introduce(manager, folder, view, args)
        inbox = Inbox(manager, events, folder, view, senders=args.senders, once=args.once)
        try:
            return inbox.run()
        except KeyboardInterrupt:
            if args.once:
                raise
            return Exit.OK  # the way to end it
        finally:
            inbox.close()


def unusable(into: Path) -> str | None:
    """Why files cannot go to a folder, if so; it is made if it does not exist."""
    try:
        into.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        return "is not a folder"
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    return None if os.access(into, os.W_OK | os.X_OK) else "no permission to write there"


def introduce(manager: "ConnectionManager", folder: DiskFolder, view: View, args: argparse.Namespace) -> None:
    """Listen, and say how to send to us."""
    ports = manager.start_listening()
    for scheme, wanted in (("tcp", args.tcp), ("utp", args.utp)):
        if wanted and f"{scheme}:{wanted}" not in map(str, ports):
            console.warn(f"port {wanted} is busy; another one is taken")
    view.say(f"Listening on {', '.join(map(str, ports))}. Files go to {folder.path}", "good")
    for name, have, whole in folder.unfinished():
        share = f"{human_bytes(have)} of {human_bytes(whole)}"
        view.say(f"Unfinished: {one_line(name)} ({share}); it goes on when it is sent again.", "note")
    option = f" --network '{args.network}'" if args.network else ""
    # TCP where there is any: a sender finds uTP in the same place, and needs it only where TCP does not get through.
    own = [str(endpoint) for endpoint in manager.get_own_endpoints()]
    places = [place.removeprefix("tcp://") for place in own if place.startswith("tcp://")] or own
    view.say("To send to this machine, one of these:" if len(places) > 1 else "To send to this machine:")
    for place in places:
        view.say(f"  crust send FILE '{place}'{option}")
    view.say(f"and to be sure that it is this one: --peer-id {manager.identity.peer_id.hex()}", "note")
