"""``crust capture``: run a program that uses Crust, and write down for Wireshark what it sends and receives."""

import argparse
import os
import subprocess
import sys
from typing import Final

from crust import cli
from crust.cli import console
from crust.cli.console import Exit, human_bytes
from crust.transport.capture import VARIABLE, open_to_append

EPILOG: Final = f"""\
examples:
  crust capture talk.pcapng peer 192.0.2.7:5483       a command of crust
  crust capture talk.pcapng -- python my_node.py      any program that uses Crust
  tshark -X lua_script:crust.lua -r talk.pcapng       look at it (see: crust dissector)

Everything that the program's nodes send and receive stands in the file, DECRYPTED. It has no keys: other connections of
the same nodes stay closed. The program is told by the environment variable {VARIABLE}."""


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(
        subparsers,
        "capture",
        "Run a program, and write what its nodes say, decrypted, to a file for Wireshark.",
        EPILOG,
    )
    parser.add_argument("--append", action="store_true", help="add to a file that exists already")
    parser.add_argument("file", metavar="FILE", help="where to write, as pcapng; only you can read it")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run, with its arguments")


def run(args: argparse.Namespace) -> int:
    """Run the program and give its exit code."""
    command = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not command:
        return console.fail("there is no COMMAND to run, such as: peer 192.0.2.7:5483", Exit.USAGE)
    if command is args.program and command[0] in cli.COMMANDS:
        command = [sys.executable, "-m", "crust", *command]
    try:
        os.close(open_to_append(args.file, exclusively=not args.append))
    except FileExistsError:
        return console.fail(f"{args.file} exists already and is left as it is; give another name, or --append")
    except OSError as error:
        return console.fail(f"{args.file} cannot be written: {error.strerror or error}")
    before = os.path.getsize(args.file)
    console.warn(f"what the nodes of this program send and receive is written, DECRYPTED, to {args.file}")
    try:
        child = subprocess.Popen(command, env=os.environ | {VARIABLE: os.path.abspath(args.file)})
    except OSError as error:
        if not args.append:
            os.unlink(args.file)  # it is ours and empty, and would be in the way of the next try
        return console.fail(f"{command[0]}: {error.strerror or error}", Exit.USAGE)
    code = _end_of(child)
    size = os.path.getsize(args.file) - before
    if size:
        console.warn(
            f"{human_bytes(size)} in {args.file}; look at it with: wireshark {args.file} (see: crust dissector)"
        )
    else:
        console.warn(f"nothing was written to {args.file}: no node of Crust was started by that program")
    return code


def _end_of(child: "subprocess.Popen[bytes]") -> int:
    with child:
        while True:
            try:
                code = child.wait()
                return code if code >= 0 else 128 - code
            except cli.Terminated:
                child.terminate()
            except KeyboardInterrupt:
                continue  # the terminal told the program as well: it ends as it sees fit
