"""``crust config init``: write a configuration file, and lose none that was there."""

import argparse
import contextlib
import itertools
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import Final

from crust import cli, files
from crust.cli import console
from crust.cli.config_template import template
from crust.cli.console import Exit
from crust.config import Config
from crust.errors import ConfigError
from crust.settings import search

KEY_SIZE: Final = 32  # bytes


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what follows."""
    config = Config()
    if args.network is not None:
        config = config.replace(network=args.network)
    if args.new_key:
        config = config.replace(network_key=secrets.token_bytes(KEY_SIZE))
    path = target() if args.file is None else Path(args.file)
    if args.file is None:
        with contextlib.suppress(OSError):  # then writing fails, and says why
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(path, config, replace=args.force)
    console.say(f"Wrote {path}.", "good")
    if args.new_key:
        console.say("It has the key of a new closed network in it. Every node needs the same; show it to nobody else.")
    if path.resolve() != (search.find(app=cli.APP) or path).resolve():
        console.warn(f"it is not the file that counts now: use --config {path} (see: crust config path)")
    return Exit.OK


def target() -> Path:
    """Where the file is made if nothing else is said: what the environment names, or in the user's directory."""
    places = {place.what: place.path for place in search.places(app=cli.APP)}
    chosen = places[search.BY_VARIABLE] or places[search.OF_USER]
    assert chosen is not None
    return chosen


def write(path: Path, config: Config, *, replace: bool) -> None:
    """Write the template of ``config`` in one step; with a secret in it, only its owner can read it (POSIX).

    Args:
        path: the file.
        config: what it is about.
        replace: whether to replace a file that exists. It is kept beside the new one, under another name.

    Raises:
        ConfigError: it exists and is not to be replaced, or cannot be written.
    """
    mode = 0o600 if config.network_key else 0o666
    try:
        if replace and path.is_file():
            _keep(path)
            mode &= stat.S_IMODE(os.stat(path).st_mode)
        files.write_whole(path, template(config), mode=mode, replace=replace)
    except FileExistsError:
        raise ConfigError(
            f"{path}: exists already and is left as it is; with --force it is replaced, and kept under another name"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _keep(path: Path) -> None:
    """Give the file a second name, and say if nobody could have read its settings."""
    real = Path(os.path.realpath(path))
    kept = next(name for number in itertools.count(1) if not (name := Path(f"{real}.old-{number}")).exists())
    try:
        os.link(real, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(real, kept)
    try:
        Config.load(path)
    except ConfigError as error:
        console.warn(f"what is replaced was not understood: {error}")
    console.say(f"The file that was there is now {kept}.")
