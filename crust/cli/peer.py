"""``crust peer``: a node that people (or scripts) drive line by line."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crust import cli
from crust.channel import Channel
from crust.cli import console
from crust.cli.console import Exit, say
from crust.cli.interrupts import Interrupts
from crust.cli.peer_commands import help_lines
from crust.cli.peer_prompt import Names, open_lines
from crust.cli.peer_session import Session

if TYPE_CHECKING:
    from crust.config import Config
    from crust.connection_manager import ConnectionManager
    from crust.endpoint import Endpoint

SCRIPT_WAIT: Final = 30.0
"""Seconds that a script waits for one of the peers given: two rounds of dialling."""

PEERS_WANTED: Final = 8
"""Connections that are made when no PEER is given: enough to hear of everybody, few enough to read."""

DESCRIPTION = """\
Listen for peers, connect to the PEERs given, and read commands: at a prompt, or line by line from a pipe or file.
Without PEERs, look for some: on the local network, among those of earlier runs, and those whom peers know of.
At the prompt, Tab completes, the arrow keys bring earlier lines back, and what happens is printed above the line.
"""

EPILOG = """\
commands:
{commands}

scripts:
  When standard input is no terminal, each command is finished before the next line is read, and the first waits until
  one of the PEERs is connected. At the end of the input everything queued is delivered, then the node stops; the exit
  code is 1 if any command failed. With --stay it goes on, printing what it receives, until Ctrl-C or SIGTERM.

Ctrl-C, Ctrl-D, SIGTERM and the command stop all end in order: what is queued is delivered, and the exit code is 0.
(A signal that comes before a script is done: 130 or 143.)

examples:
  crust peer                                   listen on any free port, and find peers nearby
  crust peer --alone                           listen, and leave it to others to connect
  crust peer 192.0.2.7:5483                    connect to a peer
  echo 'send-all good night' | crust peer 192.0.2.7:5483
  crust peer --tcp 5483 --stay </dev/null      a node without a terminal
"""


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    commands = "\n".join(f"  {line}" for line in help_lines(None))
    parser = cli.add_command(subparsers, "peer", DESCRIPTION, EPILOG.format(commands=commands))
    parser.add_argument("peers", nargs="*", type=cli.endpoint, metavar="PEER", help="address of a peer, HOST:PORT")
    parser.add_argument(
        "--alone", action="store_true", help="look for nobody, and let nobody on the local network find this node"
    )
    parser.add_argument("--stay", action="store_true", help="go on after the end of the input")
    parser.add_argument(
        "--wait",
        type=cli.seconds,
        metavar="SECONDS",
        help=f"give up with exit code 3 if none of the PEERs is connected by then (default: {SCRIPT_WAIT:.0f} for "
        "scripts; at the prompt: never, and the prompt comes at once)",
    )
    cli.add_node_options(parser)


def run(args: argparse.Namespace) -> int:
    """Be a peer until told to stop."""
    from crust.connection_manager import ConnectionManager

    if args.alone and args.peers:
        return console.fail("--alone and PEERs: one or the other", Exit.USAGE)
    config = _config(args)
    scripted = sys.stdin is None or not sys.stdin.isatty()
    events: Channel[object] = Channel()
    manager = ConnectionManager(events, config)
    on_terminal = sys.stdout.isatty()
    with (
        Interrupts() as interrupts,
        Session(manager, events, scripted=scripted, on_terminal=on_terminal, interrupts=interrupts) as session,
    ):
        _announce(manager, session)
        wait = SCRIPT_WAIT if scripted and args.wait is None and config.hard_coded_contacts else args.wait
        if not args.alone and not _bootstrap(manager, session, bool(args.peers), wait):
            return _unreachable(config.hard_coded_contacts, wait)
        return _follow(session, interrupts, stay=args.stay, scripted=scripted)


def _config(args: argparse.Namespace) -> "Config":
    if args.alone:
        return cli.config_from(args, **cli.TOLD_WHOM)
    config = cli.config_from(args)
    if args.peers:  # these are meant, and nobody who happens to be nearer
        contacts = (*args.peers, *config.hard_coded_contacts)
        config = config.replace(hard_coded_contacts=contacts, override_default_bootstrap=True)
    return config


def _announce(manager: "ConnectionManager", session: Session) -> None:
    ports = manager.start_listening()
    if ports:
        say(f"Listening for new connections on {', '.join(map(str, ports))}.", "good")
    else:
        say("Not listening: the configuration switches every port off.", "warn")
    session.introduce()


def _bootstrap(manager: "ConnectionManager", session: Session, only: bool, wait: float | None) -> bool:
    """Look for peers, ``only`` for those given; whether to go on."""
    contacts = manager.config.hard_coded_contacts
    if only:
        say(f"Looking for {' and '.join(map(str, contacts))} ...", "note")
        manager.bootstrap(len(contacts))
    else:
        say("Looking for peers ... (status shows how that goes)", "note")
        manager.bootstrap(max(PEERS_WANTED, len(contacts)), keep_going=True)
    session.expect_peers()
    return wait is None or session.wait_for_peer((), wait)


def _unreachable(contacts: "Sequence[Endpoint]", wait: float | None) -> int:
    tried = ", ".join(map(str, contacts)) or "anybody"
    hint = "check the address, and that the peer runs and has the same network name and key (-v shows each attempt)"
    return console.fail(f"no connection to {tried} after {wait:g} s; {hint}", Exit.UNREACHABLE)


def _follow(session: Session, interrupts: Interrupts, *, stay: bool, scripted: bool) -> int:
    """Carry out line after line, to the end."""
    try:
        if _carry_out(session, interrupts, scripted) and stay:
            session.stay()
    except KeyboardInterrupt:
        if scripted and not stay:
            raise  # there may be lines left that were not carried out
    return Exit.FAILED if scripted and session.failures else Exit.OK


def _carry_out(session: Session, interrupts: Interrupts, scripted: bool) -> bool:
    """Follow the lines; ``False`` when one of them was ``stop``."""
    with open_lines(Names(session.completions, session.elsewhere), interrupts) as read:
        if not scripted:
            say("Type help for the commands.", "note")
        while (line := read()) is not None:
            if not session.execute(line):
                return False
    return True
