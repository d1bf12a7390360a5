"""``crust cache``: look at the contacts remembered from earlier runs, forget them, or add some by hand."""

import argparse
import os
from collections.abc import Sequence
from typing import Final

from crust import cli
from crust.cli import console
from crust.cli.console import Exit, count_of
from crust.config import Config
from crust.discovery.bootstrap_cache import BootstrapCache, usual_path
from crust.discovery.cache_file import CacheUnusable, look
from crust.discovery.cache_record import NO_TAG, Record, network_tag
from crust.discovery.cache_table import by_usefulness
from crust.endpoint import Endpoint
from crust.threads.clock import wall_time
from crust.transport.masking import network_keys

EPILOG: Final = """\
examples:
  crust cache show                          who is remembered, the most useful first
  crust cache add tcp://192.0.2.7:5483      try this one at the next start, too
  crust cache clear                         forget them all

A contact is remembered when a connection to it was made. Several programs may use the file at the same time."""
SAVING_TIME: Final = 10.0  # seconds; another process that is saving needs milliseconds
_DAY: Final = 86400.0  # seconds


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(
        subparsers, "cache", "Show, clear or add to the contacts that are remembered from earlier.", EPILOG
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _add_options(actions.add_parser("show", help="list the contacts, the most useful first"))
    _add_options(actions.add_parser("clear", help="forget all contacts, those of other networks as well"))
    add = actions.add_parser("add", help="remember contacts that you know of")
    _add_options(add)
    add.add_argument(
        "endpoints", nargs="+", type=cli.endpoint, metavar="ENDPOINT", help="as in 192.0.2.7:5483 or utp://[::7]:5483"
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", metavar="FILE", help="the cache file; otherwise that of the configuration")
    parser.add_argument("--config", metavar="FILE", help="configuration file (YAML): its cache_file and its network")
    parser.add_argument("--network", metavar="NAME", help="name of the network that the contacts belong to")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log to standard error; -vv logs more")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    config = Config.load(args.config, app=cli.APP)
    config = config.replace(
        network=args.network or config.network, network_key=os.environ.get(cli.KEY_VARIABLE) or config.network_key
    )
    path = args.file or config.cache_file or os.fspath(usual_path())
    if args.action != "add" and not os.path.lexists(path):
        console.say(f"no contacts: there is no file {path} yet")
        return Exit.OK
    tag = network_tag(network_keys(config.network, config.network_key).psk)
    if args.action == "show":
        return show(path, tag)
    cache = BootstrapCache(path, network=tag)
    try:
        if cache.set_aside:
            console.warn(f"{path} was damaged: it is now {cache.set_aside}, and a new one is begun")
        return add(cache, path, args.endpoints) if args.action == "add" else clear(cache, path)
    finally:
        cache.close()


def show(path: str, tag: bytes) -> int:
    """Print the contacts as a table. The file is only read: whatever it is, it stays as it is.

    Args:
        path: the file.
        tag: of the network whose contacts are ours.
    """
    try:
        found, damage = look(path)
    except CacheUnusable as error:
        return console.fail(str(error))
    records, now = by_usefulness(found), wall_time()
    if records:
        headers = ["endpoint", "peer", "last worked", "first worked", "failed since", "learned from", "network"]
        console.table(headers, [_row(record, now, tag) for record in records], right=[4])
    damaged = f"; {count_of(damage, 'damaged record')} left out" if damage else ""
    console.say(f"{count_of(len(records), 'contact')} in {path}{damaged}")
    return Exit.OK


def clear(cache: BootstrapCache, path: str) -> int:
    """Forget all contacts."""
    count = len(cache.records())
    cache.clear()
    return _saved(cache, path, f"forgot {count_of(count, 'contact')}; {path} is empty")


def add(cache: BootstrapCache, path: str, endpoints: Sequence[Endpoint]) -> int:
    """Remember endpoints that the user gave; either all of them or none."""
    for endpoint in endpoints:
        if not cache.storable(endpoint):
            return console.fail(
                f"{endpoint} cannot be remembered: a contact is the address of another host, tcp or utp, with a port; "
                "names belong in hard_coded_contacts of the configuration",
                Exit.USAGE,
            )
    wanted = dict.fromkeys(endpoints)
    for endpoint in wanted:
        cache.add(endpoint)
    return _saved(cache, path, f"added {count_of(len(wanted), 'contact')} to {path}")


def _saved(cache: BootstrapCache, path: str, done: str) -> int:
    if cache.flush(SAVING_TIME):
        console.say(done)
        return Exit.OK
    return console.fail(
        cache.why_memory or f"{path} is locked by another process that does not go on; nothing was saved"
    )


def _row(record: Record, now: float, tag: bytes) -> list[str]:
    network = "this" if record.network == tag else "-" if record.network == NO_TAG else record.network.hex()
    return [
        str(record.endpoint),
        str(record.peer_id or "-"),
        _ago(record.last_success, now),
        _ago(record.first_success, now),
        str(record.failures),
        record.source.name.lower(),
        network,
    ]


def _ago(milliseconds: int, now: float) -> str:
    if not milliseconds:
        return "never"
    age = now - milliseconds / 1000
    if age < 0:  # the clock was turned back since
        return "later than now"
    return f"{age / _DAY:.0f} days ago" if age >= 2 * _DAY else f"{console.human_time(max(1, round(age)))} ago"
