"""``crust config``: make a configuration file, see what is in effect and where it comes from, find mistakes."""

import argparse
import dataclasses
import os
import stat
from pathlib import Path
from typing import Any, Final

from crust import cli
from crust.cli import config_init, console
from crust.cli.console import Exit, count_of
from crust.config import Config
from crust.defence.blacklist_file import BlacklistFile
from crust.identity import Identity
from crust.settings import search, yaml_files

EPILOG: Final = """\
examples:
  crust config init                 write a file with every setting and its explanation
  crust config init --new-key       the same for a closed network, with a key of its own
  crust config show                 print every setting in effect, and where it comes from
  crust config path                 print where a file is looked for, and which one counts
  crust config check node.yaml      find mistakes; exit code 2 if there are any

A file named by --config counts, or else one named by the environment variable CRUST_CONFIG, or else the first of
crust.crust.yaml beside the program, in the user's and in the system's configuration directory."""

KEYS: Final = tuple(field.name for field in dataclasses.fields(Config))
_OPTIONS: Final = {
    "tcp": "tcp_port",
    "utp": "utp_port",
    "identity": "identity_file",
    "network": "network",
    "network_key": "network_key",
}


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(subparsers, "config", "Make, show or check the configuration file.", EPILOG)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    init = actions.add_parser("init", help="write a file with every setting, explained")
    init.add_argument("file", nargs="?", metavar="FILE", help="which file; otherwise the one in the user's directory")
    init.add_argument("--force", action="store_true", help="replace a file that exists, keeping it under another name")
    init.add_argument("--network", metavar="NAME", help="name of the network")
    init.add_argument("--new-key", action="store_true", help="put the secret of a new closed network in")
    show = actions.add_parser("show", help="print every setting in effect, and where it comes from")
    cli.add_node_options(show)
    path = actions.add_parser("path", help="print where a file is looked for, and which one counts")
    path.add_argument("--config", metavar="FILE", help="a file that is named")
    check = actions.add_parser("check", help="find mistakes")
    check.add_argument("file", nargs="?", metavar="FILE", help="which file; otherwise the one that counts")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    actions = {"init": config_init.run, "show": show, "path": path, "check": check}
    return actions[args.action](args)


# --- show ---------------------------------------------------------------------------------------------


def show(args: argparse.Namespace) -> int:
    """Print every setting and its origin. A key is not printed."""
    config = cli.config_from(args)
    file = search.find(args.config, cli.APP)
    in_file = {} if file is None else _settings(file)
    origins = {key: f"{file}, line {setting.line}" for key, setting in in_file.items()}
    if os.environ.get(cli.KEY_VARIABLE):
        origins["network_key"] = f"environment, {cli.KEY_VARIABLE}"
    for option, key in _OPTIONS.items():
        if getattr(args, option) is not None:
            origins[key] = f"--{option.replace('_', '-')}"
    rows = [(key, shown(getattr(config, key)), origins.get(key, "default")) for key in KEYS]
    console.table(["setting", "value", "from"], rows)
    return Exit.OK


def _settings(file: Path) -> dict[str, yaml_files.Setting]:
    """What stands in a file that was loaded; nothing for a pipe, which can be read only once."""
    return yaml_files.parse(yaml_files.read_file(file), os.fspath(file)) if file.is_file() else {}


def shown(value: Any) -> str:
    """A setting for people; of secrets only how long they are."""
    match value:
        case bytes():
            return f"(secret, {count_of(len(value), 'byte')})"
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


# --- path ---------------------------------------------------------------------------------------------


def path(args: argparse.Namespace) -> int:
    """Print the places of the search, and which one counts."""
    places = search.places(args.config, cli.APP)
    chosen = next((place for place in places if place.counts), None)
    rows = []
    for place in places:
        what = "--config" if place.what == search.BY_ARGUMENT else place.what
        if place.path is None:
            rows.append((what, "-", "not given" if place.named else "none"))
            continue
        there = os.path.lexists(place.path)
        state = "there" if there else "missing"
        if place is chosen:
            state = "this one counts" if there else "counts, but is missing"
        rows.append((what, os.fspath(place.path), state))
    console.table(["place", "file", ""], rows)
    if chosen is None:
        console.say("There is no file: every setting has its default. To make one: crust config init", "note")
    return Exit.OK


# --- check --------------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    """Read the file as a node would; the first mistake is an error."""
    file = search.find(args.file, cli.APP)
    if file is None:
        console.say("There is no file to check: every setting has its default (see: crust config path).")
        return Exit.OK
    config = Config.load(file)
    settings = _settings(file)
    _warn_of_places(config, file)
    _read_places(config)
    if config.network_key and _others_can_read(file):
        console.warn(f"{file} has a secret in it, and other users can read it: chmod 600 {file}")
    count = f": {count_of(len(settings), 'setting')}" if file.is_file() else ""
    console.say(f"{file} is correct{count}.", "good")
    return Exit.OK


def _warn_of_places(config: Config, file: Path) -> None:
    for key in ("identity_file", "cache_file"):
        place = getattr(config, key)
        if place is not None and not os.path.isdir(os.path.dirname(place)):
            console.warn(f"{file}: {key}: the directory of {place} does not exist")


def _read_places(config: Config) -> None:
    """Read what a node would refuse to start without, and make nothing.

    Raises:
        ConfigError: the blacklist cannot be read.
        IdentityError: the identity file, which is there, is none.
    """
    if config.blacklist_file is not None:
        BlacklistFile(config.blacklist_file).read()
    if config.identity_file is not None and os.path.lexists(config.identity_file):
        Identity.load(config.identity_file, create=False)


def _others_can_read(file: Path) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(file.stat().st_mode) & 0o077)
