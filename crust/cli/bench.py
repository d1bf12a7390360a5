"""``crust bench``: messages per second, bytes per second, round trips and connects per second."""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crust import cli
from crust.cli import console
from crust.cli.bench_stats import machine, parse_size, size_name
from crust.errors import ConfigError

if TYPE_CHECKING:
    from crust.cli.bench_client import BenchClient
    from crust.cli.bench_report import Report
    from crust.config import Config
    from crust.endpoint import Endpoint

DEFAULT_SIZES: Final = "64,1KiB,64KiB,1MiB"
LOOPBACK: Final = "127.0.0.1"
MAX_SECONDS: Final = 30.0
START_LINES: Final = 20
"""Lines of our own peer's output that may come before it says where it listens."""

DESCRIPTION = """\
Measure how fast this machine talks with another, or with itself.

Without PEER a second process is started and measured with, over loopback. For two machines: run
`crust bench --serve` on one and `crust bench HOST:PORT` on the other."""
EPILOG = """\
Over uTP (--transport utp, or utp://HOST:PORT) there are packets and bytes per second each way, too.
The time of throughput runs at the receiver, from the first message to the last; sending warms up first.
A serving peer answers everybody who knows the name (or key) of the network: choose one with --network."""


def _sizes(text: str) -> list[int]:
    try:
        return [parse_size(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.01 to {MAX_SECONDS:g}")
    return seconds


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(subparsers, "bench", DESCRIPTION, EPILOG)
    parser.add_argument("peer", nargs="?", type=cli.endpoint, metavar="PEER", help="where crust bench --serve runs")
    parser.add_argument("--serve", action="store_true", help="be the other end, until Ctrl-C")
    parser.add_argument(
        "--size",
        type=_sizes,
        default=DEFAULT_SIZES,
        metavar="SIZES",
        help=f"bytes of the messages, each from 1 to max_message_size (default: {DEFAULT_SIZES})",
    )
    parser.add_argument("--seconds", type=_seconds, default=1.0, metavar="S", help="for each measurement (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw a picture to FILE (.png, .svg); needs matplotlib"
    )
    parser.add_argument("--transport", choices=("tcp", "utp"), help="what to measure over, without PEER (default: tcp)")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="over uTP: write window, delay and losses over time to FILE (CSV)"
    )
    parser.add_argument("--own-peer", action="store_true", help=argparse.SUPPRESS)
    cli.add_node_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve, or measure and report."""
    if args.serve:
        return _serve(args)
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        return console.fail(
            "--plot needs matplotlib, which is not installed: pip install matplotlib", console.Exit.USAGE
        )
    transport = args.peer.protocol.scheme if args.peer is not None else args.transport or "tcp"
    if args.peer is not None and args.transport not in (None, transport):
        return console.fail(f"--transport {args.transport}: {args.peer} says otherwise", console.Exit.USAGE)
    if args.trace and transport != "utp":
        return console.fail(
            "--trace is about uTP: measure over it with --transport utp, or utp://HOST:PORT", console.Exit.USAGE
        )
    config = cli.config_from(args, **cli.TOLD_WHOM)
    too_large = [size for size in args.size if size > config.max_message_size]
    if too_large:
        most = size_name(config.max_message_size)
        return console.fail(
            f"--size {size_name(too_large[0])}: the largest message has {most} (max_message_size)", console.Exit.USAGE
        )
    if args.peer is not None:
        report = _measure(args, config, args.peer, str(args.peer))
    else:
        config = dataclasses.replace(config, network_key=secrets.token_hex(16).encode())
        with _own_peer(config, transport) as endpoint:
            over = "uTP over loopback" if transport == "utp" else "loopback"
            report = _measure(args, config, endpoint, f"a second process over {over}")
    _deliver(args, report)
    return console.Exit.OK


def _deliver(args: argparse.Namespace, report: "Report") -> None:
    from crust.cli.bench_report import draw

    if args.json:
        console.say(json.dumps(report.as_json(), indent=2))
    else:
        report.show()
    if args.plot:
        draw(report, args.plot)
        if not args.json:
            console.say(f"drawn to {args.plot}", style="note")


def _serve(args: argparse.Namespace) -> int:
    from crust.cli.bench_serve import serve

    config = cli.config_from(args, **cli.TOLD_WHOM)
    if args.own_peer:
        config = dataclasses.replace(config, listen_addresses=(LOOPBACK,))
    return serve(config, until_eof=args.own_peer)


@contextlib.contextmanager
def _own_peer(config: "Config", transport: str) -> Iterator["Endpoint"]:
    """Start a serving process of our own; where it listens on ``transport``. It ends with the context, or with us."""
    from crust.cli.bench_serve import LISTENING
    from crust.endpoint import Endpoint
    from crust.errors import ListenFailed
    from crust.settings import search

    # Settings of the user's, such as the identity, are not for both.
    environment = {
        **os.environ,
        cli.KEY_VARIABLE: (config.network_key or b"").decode(),
        search.VARIABLE: os.devnull,
    }
    command = [sys.executable, "-m", "crust", "bench", "--serve", "--own-peer", "--tcp", "0", "--utp", "0"]
    command += ["--network", config.network]
    pipe = subprocess.PIPE
    # Ctrl-C is for us: it ends by the end of its input.
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, env=environment, text=True, start_new_session=True
    ) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("pipes were asked for")
        try:
            for line, _ in zip(process.stdout, range(START_LINES), strict=False):
                if line.startswith(f"{LISTENING}{transport}://"):
                    yield Endpoint.parse(line.removeprefix(LISTENING).strip())
                    break
            else:
                raise ListenFailed("the second process did not start to listen; its message is above")
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _progress(text: str) -> None:
    """Say what is going on in a line that is written over; only on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _trace(path: Path | None, client: "BenchClient") -> contextlib.AbstractContextManager[object]:
    from crust.cli.bench_utp import Trace

    if path is None:
        return contextlib.nullcontext()
    try:
        return Trace(path, client.figures)
    except OSError as error:
        raise ConfigError(f"--trace {path}: {error.strerror}") from error


def _measure(args: argparse.Namespace, config: "Config", peer: "Endpoint", name: str) -> "Report":
    from crust.cli.bench_client import BenchClient, connects
    from crust.cli.bench_report import Report

    seconds = args.seconds
    one_way = []
    try:
        _progress(f"connecting to {peer} ...")
        with BenchClient(config, peer) as client, _trace(args.trace, client):
            for size in args.size:
                _progress(f"{size_name(size)} messages to the peer ...")
                one_way.append(client.to_peer(size, seconds))
                _progress(f"{size_name(size)} messages from the peer ...")
                one_way.append(client.from_peer(size, seconds))
            _progress("round trips ...")
            round_trip = client.round_trips(seconds)
        _progress("connects ...")
        connect, per_second = connects(config, peer, seconds)
    finally:
        _progress("")
    return Report(name, machine(), seconds, one_way, round_trip, connect, per_second)
