"""``crust dissector``: the Wireshark dissector, printed, written to a file, or installed."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crust import cli, files
from crust.cli import console
from crust.cli.console import Exit
from crust.discovery.beacon_packet import beacon_key
from crust.dissector import FILE_NAME, FIRST_LINE, source
from crust.transport.masking import network_keys

EPILOG: Final = """\
examples:
  crust dissector --install                  Wireshark and tshark know Crust from now on
  crust dissector --output crust.lua         for: tshark -X lua_script:crust.lua -r FILE
  crust dissector --beacon-key --network lab the key that opens the beacons of a network in Wireshark

The dissector reads tracer connections (tracer_port, allow_tracer) and what crust capture writes down. Other connections
are encrypted, with keys that no capture of the network has."""
_FOLDERS_TIMEOUT: Final = 20.0  # seconds


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(
        subparsers,
        "dissector",
        "Give out the Wireshark dissector, a script in Lua; without options it is printed.",
        EPILOG,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--install", action="store_true", help="into the folder of personal Lua plugins of Wireshark")
    what.add_argument("--output", metavar="FILE", help="write it to FILE, which must not exist")
    what.add_argument("--beacon-key", action="store_true", help="print the key for the preference beacon_key instead")
    parser.add_argument("--folder", metavar="DIR", help="with --install: another folder")
    cli.add_node_options(parser)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    if args.folder and not args.install:
        return console.fail("--folder goes with --install", Exit.USAGE)
    if args.beacon_key:
        config = cli.config_from(args)
        console.warn("whoever has this key reads the beacons of the network, and can make some")
        console.say(beacon_key(network_keys(config.network, config.network_key)).hex())
    elif args.install:
        return install(Path(args.folder) if args.folder else plugin_folder())
    elif args.output:
        try:
            files.write_whole(args.output, source(), replace=False)
        except FileExistsError:
            return console.fail(f"{args.output} exists already and is left as it is; give another name or remove it")
        except OSError as error:
            return console.fail(f"{args.output} cannot be written: {error.strerror or error}")
        console.say(f"written to {args.output}; try: tshark -X lua_script:{args.output} -r FILE")
    else:
        console.say(source().rstrip("\n"))
    return Exit.OK


def install(folder: Path) -> int:
    """Write it into a folder, in place of an older one of ours."""
    file = folder / FILE_NAME
    try:
        if file.exists() and not file.read_text("utf-8", errors="replace").startswith(FIRST_LINE):
            return console.fail(f"{file} is not of this program and is left as it is; move it away, or give --folder")
        folder.mkdir(parents=True, exist_ok=True)
        files.write_whole(file, source(), replace=True)
    except (FileExistsError, NotADirectoryError):
        return console.fail(f"{folder} is not a folder, and cannot become one: there is a file of that name on the way")
    except OSError as error:
        return console.fail(f"{file} cannot be written: {error.strerror or error}")
    console.say(f"installed as {file}", "good")
    console.say("Wireshark finds it at its next start, or with Analyze, Reload Lua Plugins.")
    return Exit.OK


def plugin_folder() -> Path:
    """Where Wireshark looks for scripts of this user: what tshark says, or else the usual place."""
    program = shutil.which("tshark")
    if program is not None:
        try:
            told = subprocess.run(
                [program, "-G", "folders"], capture_output=True, text=True, timeout=_FOLDERS_TIMEOUT, check=False
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            console.warn(f"tshark does not say where its plugins belong ({error}); they go to the usual place")
            told = ""
        for line in told.splitlines():
            name, _, place = line.partition(":")
            if name == "Personal Lua Plugins" and place.strip():
                return Path(place.strip())
    return usual_folder(os.environ, sys.platform)


def usual_folder(environment: Mapping[str, str], platform: str) -> Path:
    """The same, as Wireshark's manual has it.

    Args:
        environment: of the process.
        platform: as ``sys.platform`` names it.
    """
    if platform == "win32":
        return Path(environment.get("APPDATA", Path.home() / "AppData" / "Roaming")) / "Wireshark" / "plugins"
    return Path(environment.get("HOME", Path.home())) / ".local" / "lib" / "wireshark" / "plugins"
