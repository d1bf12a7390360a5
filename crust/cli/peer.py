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
from crust.cli.peer_commands import BadCommand, help_lines
from crust.cli.peer_prompt import Names, open_lines
from crust.cli.peer_session import Session
from crust.defence.blacklist import read as read_entry
from crust.endpoint import Protocol
from crust.errors import ConfigError

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
  crust peer --only 192.0.2.0/24               talk to nobody but who is there
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
    parser.add_argument(
        "--only",
        type=_entry,
        action="append",
        metavar="ENTRY",
        help="talk to nobody but this id, address or network, as the command only does; may be given several times",
    )
    parser.add_argument("--stay", action="store_true", help="go on after the end of the input")
    parser.add_argument(
        "--wait",
        type=cli.seconds,
        metavar="SECONDS",
        help="give up with exit code 3 if none of the PEERs (without any: nobody at all) is connected by then "
        f"(default: {SCRIPT_WAIT:.0f} for scripts with PEERs; else never, and the prompt comes at once)",
    )
    cli.add_node_options(parser)


def _entry(text: str) -> str:
    """The ``type=`` of an argument that stands for whom to talk to."""
    try:
        read_entry(text)
    except ConfigError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no id (64 digits), no address and no network such as 192.0.2.0/24"
        ) from None
    return text


def run(args: argparse.Namespace) -> int:
    """Be a peer until told to stop."""
    from crust.connection_manager import ConnectionManager

    if args.alone and args.peers:
        return console.fail("--alone and PEERs: one or the other", Exit.USAGE)
    config = _config(args)
    clear = [peer for peer in args.peers if peer.protocol is Protocol.TRACER and not config.allow_tracer]
    if clear:
        return console.fail(
            f"{clear[0]} is for tracer connections, which are CLEAR TEXT: to allow them, give --tracer 0 as well",
            Exit.USAGE,
        )
    scripted = sys.stdin is None or not sys.stdin.isatty()
    events: Channel[object] = Channel()
    manager = ConnectionManager(events, config, only=args.only)
    on_terminal = sys.stdout.isatty()
    with (
        Interrupts() as interrupts,
        Session(
            manager, events, scripted=scripted, on_terminal=on_terminal, interrupts=interrupts, only=args.only
        ) as session,
    ):
        _announce(manager, session)
        contacts = () if args.alone else config.hard_coded_contacts
        wait = SCRIPT_WAIT if scripted and args.wait is None and contacts else args.wait
        if not args.alone:
            _bootstrap(manager, session, bool(args.peers))
        if wait is not None and not session.wait_for_peer((), wait):
            return _unreachable(contacts, wait)
        return _follow(session, interrupts, stay=args.stay, scripted=scripted, most=config.max_message_size)


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


def _bootstrap(manager: "ConnectionManager", session: Session, only: bool) -> None:
    """Look for peers, ``only`` for those given."""
    contacts = manager.config.hard_coded_contacts
    if only:
        say(f"Looking for {' and '.join(map(str, contacts))} ...", "note")
        manager.bootstrap(len(contacts))
    else:
        say("Looking for peers ... (status shows how that goes)", "note")
        manager.bootstrap(max(PEERS_WANTED, len(contacts)), keep_going=True)
    session.expect_peers()


def _unreachable(contacts: "Sequence[Endpoint]", wait: float) -> int:
    tried = ", ".join(map(str, contacts)) or "anybody"
    hint = "check the address, and that the peer runs and has the same network name and key (-v shows each attempt)"
    return console.fail(f"no connection to {tried} after {wait:g} s; {hint}", Exit.UNREACHABLE)


def _follow(session: Session, interrupts: Interrupts, *, stay: bool, scripted: bool, most: int) -> int:
    """Carry out line after line, to the end; ``most`` is how many bytes a message can have."""
    try:
        if _carry_out(session, interrupts, scripted, most) and stay:
            session.stay()
    except KeyboardInterrupt:
        if scripted and not stay:
            raise  # there may be lines left that were not carried out
    return Exit.FAILED if scripted and session.failures else Exit.OK


def _carry_out(session: Session, interrupts: Interrupts, scripted: bool, most: int) -> bool:
    """Follow the lines; ``False`` when one of them was ``stop``."""
    names = Names(session.completions, session.elsewhere, session.blacklisted)
    with open_lines(names, interrupts, most) as read:
        if not scripted:
            say("Type help for the commands.", "note")
        while True:
            try:
                line = read()
            except BadCommand as error:
                session.fail(str(error))
                continue
            if line is None:
                return True
            if not session.execute(line):
                return False
