"""``crust version``: the versions of crust and of what it stands on, for bug reports."""

import argparse
import platform
from importlib import metadata

from crust import cli
from crust._version import __version__
from crust.cli import console

PACKAGES = ("pynacl", "pyyaml", "miniupnpc", "ifaddr", "platformdirs", "rich", "prompt_toolkit")


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    cli.add_command(subparsers, "version", "Print the versions of crust and of what it stands on, for bug reports.")


def run(args: argparse.Namespace) -> int:
    """Print the versions."""
    console.say(f"crust {__version__}")
    console.say(f"Python {platform.python_version()} ({platform.python_implementation()}) on {platform.platform()}")
    for name in PACKAGES:
        try:
            console.say(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            console.say(f"{name} not installed")
    return console.Exit.OK
