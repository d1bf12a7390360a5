"""The ``crust`` command: `main`, and what its subcommands share.

Each subcommand is a module with two functions, imported only when it is the one that runs (so that ``crust --help`` is
quick, and a package that one command needs does not hinder the others)::

    def add_parser(subparsers: cli.Subparsers) -> None:
        parser = cli.add_command(subparsers, "send", "...description...", epilog="...")
        cli.add_node_options(parser)
        parser.add_argument(...)


    def run(args: argparse.Namespace) -> int:
        config = cli.config_from(args)
        return console.Exit.OK

`run` may raise any `CrustError` or `OSError`: `main` prints it as one line and chooses the exit code. Ctrl-C arrives as
``KeyboardInterrupt``, SIGTERM as `Terminated`, which is one; so ``with ConnectionManager(...)`` ends in order.
"""

import argparse
import contextlib
import difflib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO, TypeAlias

from crust._version import __version__
from crust.cli import console
from crust.cli.console import EXIT_TEXT, Exit
from crust.errors import ConfigError, CrustError, EndpointError

if TYPE_CHECKING:
    from crust.config import Config
    from crust.endpoint import Endpoint

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "peer": ("crust.cli.peer", "talk to other peers at a prompt, or from a script"),
    "demo": ("crust.cli.demo", "see peers find each other, chat, move a file and survive a crash"),
    "send": ("crust.cli.transfer_send", "send files to a peer"),
    "receive": ("crust.cli.transfer_receive", "receive files from peers"),
    "bench": ("crust.cli.bench", "measure messages per second, bytes per second and round trips"),
    "scan": ("crust.cli.scan", "list the nodes that answer on the local network"),
    "nat": ("crust.cli.nat", "find out how this machine can be reached"),
    "cache": ("crust.cli.cache", "show, clear or add to the contacts remembered from earlier"),
    "config": ("crust.cli.config", "make, show or check the configuration file"),
    "capture": ("crust.cli.capture", "write down what a program's nodes say, decrypted, for Wireshark"),
    "dissector": ("crust.cli.dissector", "give out or install the Wireshark dissector"),
    "version": ("crust.cli.version", "print the versions of crust and of what it stands on"),
}
"""Every subcommand: its module, and its line in ``crust --help``."""

OPTIONAL_PACKAGES: Final = frozenset({"rich", "prompt_toolkit", "matplotlib"})
INSTALL_HINT: Final = "pip install 'crust-p2p[cli]'"
KEY_VARIABLE: Final = "CRUST_NETWORK_KEY"
APP: Final = "crust"
"""The name in those of the command's own files, whatever the program is called."""

TOLD_WHOM: Final[dict[str, Any]] = {"beacon_port": None, "target_connections": 0}
"""Settings of nodes that are there for those who name each other: they look for nobody, and no LAN hears of them."""

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"

_log = logging.getLogger("crust.cli")


class Terminated(KeyboardInterrupt):
    """SIGTERM (or SIGHUP) came: the same as Ctrl-C, but for the exit code."""


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are one line: the cause and the way out."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        super().__init__(**settings)
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Note what is given, for `error`."""
        self._given = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print ``message`` and end with the exit code for a wrong command line.

        What goes wrong is often the word behind an option that does not exist: then it is the option that is named.
        """
        if not any(action.nargs in (argparse.REMAINDER, argparse.PARSER) for action in self._actions):
            options = [word.partition("=")[0] for word in self._given if word.startswith("--") and word != "--"]
            unknown = [option for option in options if option not in self._option_string_actions]
            if unknown:
                message = f"there is no option {unknown[0]}{nearest(unknown[0], list(self._option_string_actions))}"
        self.exit(console.fail(f"{message} (see: {self.prog} --help)", Exit.USAGE))


def nearest(word: str, known: Sequence[str]) -> str:
    """``"; did you mean 'x'?"`` for the known word that is most like ``word``, or nothing."""
    if len(word) > 2 * max(map(len, known)):  # it is like none, and comparing megabytes takes gigabytes
        return ""
    swapped = [each for each in known if sorted(each) == sorted(word.lower())]
    close = swapped or difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def add_command(subparsers: Subparsers, name: str, description: str, epilog: str = "") -> Parser:
    """Register a subcommand; its exit codes are added to ``epilog``."""
    codes = "\n".join(f"  {code.value:>3}  {EXIT_TEXT[code]}" for code in Exit)
    return subparsers.add_parser(
        name,
        help=COMMANDS[name][1],
        description=description,
        epilog=f"{epilog}\n\nexit codes:\n{codes}".lstrip("\n"),
    )


def endpoint(text: str) -> "Endpoint":
    """The ``type=`` of an argument that is a peer's address."""
    from crust.endpoint import Endpoint

    try:
        return Endpoint.parse(text)
    except EndpointError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def port(text: str) -> int:
    """The ``type=`` of an argument that is a port to listen on; 0 means any free one."""
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 0 (any free port) to 65535")
    return int(text)


def seconds(text: str) -> float:
    """The ``type=`` of an argument that is a time span."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:  # excludes what is not a number
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: give seconds, as in 30 or 0.5")
    return value


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that is a node: see `config_from`."""
    group = parser.add_argument_group("node")
    group.add_argument("--tcp", type=port, metavar="PORT", help="TCP port to listen on; 0 for any free port")
    group.add_argument("--utp", type=port, metavar="PORT", help="the same for uTP, on UDP")
    group.add_argument(
        "--tracer", type=port, metavar="PORT", help="the same for tracer connections: CLEAR TEXT, to watch"
    )
    group.add_argument("--config", metavar="FILE", help="configuration file (YAML); options given here win over it")
    group.add_argument("--identity", metavar="FILE", help="keep this node's identity in FILE, made when missing")
    group.add_argument("--network", metavar="NAME", help="name of the network; only nodes of one network can talk")
    group.add_argument(
        "--network-key",
        metavar="KEY",
        help=f"secret of a closed network; better set {KEY_VARIABLE}, which other users of this machine cannot see",
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="log to standard error; -vv logs more")


def config_from(args: argparse.Namespace, **changes: Any) -> "Config":
    """The configuration that the options of `add_node_options` ask for.

    Args:
        args: what was parsed.
        changes: further settings of `Config`; options that the user gave win over them.

    Raises:
        ConfigError: a file or a value is wrong.

    Without ``--config`` a file is looked for, as `Config.load` does.
    """
    from crust.config import Config

    config = Config.load(args.config, app=APP)
    key = args.network_key if args.network_key is not None else os.environ.get(KEY_VARIABLE)
    if key == "":  # as "$KEY" is when KEY is not set: an open network, or another closed one, is not what was meant
        name = KEY_VARIABLE if args.network_key is None else "--network-key"
        raise ConfigError(f"{name} is empty: give the key, or leave it out altogether")
    given = {
        "tcp_port": args.tcp,
        "utp_port": args.utp,
        "tracer_port": args.tracer,
        "allow_tracer": None if args.tracer is None else True,
        "identity_file": args.identity,
        "network": args.network,
        "network_key": key,
    }
    changes.update((name, value) for name, value in given.items() if value is not None)
    return config.replace(**changes)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; those of the process if not given.

    Returns:
        the exit code, one of `Exit`. Only the main thread can call this.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _fill_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a message must not fail for want of a letter
    try:
        with _sigterm_raises():
            return _run(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.OK
    except Terminated:
        return Exit.TERMINATED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except console.OutputGone:
        # Whoever read our output has gone. Python would complain again at exit: give it somewhere to write.
        _discard(sys.stdout)
        return Exit.FAILED
    except console.OutputFailed as error:
        _discard(sys.stdout)
        try:
            return console.fail(error)
        except OSError:  # so does standard error
            _discard(sys.stderr)
            return Exit.FAILED


def _fill_streams() -> None:
    """Standard streams that were closed (``>&-``) are open and empty from now on; so no file of ours gets their number
    either, for what is printed to end up in."""
    for name, mode, how in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_WRONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:  # it stays open for good: nobody is to be warned that it was not closed
            setattr(sys, name, open(os.open(os.devnull, how), mode, closefd=False))  # noqa: SIM115


def _discard(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        hint = nearest(chosen, list(COMMANDS))
        return console.fail(f"there is no command {chosen!r}{hint} (see: crust --help)", Exit.USAGE)
    try:
        module = importlib.import_module(COMMANDS[chosen][0]) if chosen else None
        args = _parser(chosen, module).parse_args(arguments)
        if module is None:
            return console.fail("no command given; for a start: crust demo (see: crust --help)", Exit.USAGE)
        _start_logging(getattr(args, "verbose", 0))
        return int(module.run(args))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL_PACKAGES:
            return _internal(error)
        return console.fail(f"this needs the package {error.name!r}, which is not installed: {INSTALL_HINT}")
    except (console.OutputGone, console.OutputFailed):
        raise
    except (CrustError, OSError) as error:
        _log.debug("the command failed", exc_info=True)
        return console.fail(error)
    except Exception as error:
        return _internal(error)


def _internal(error: Exception) -> int:
    _log.info("internal error", exc_info=True)
    text = f"internal error: {type(error).__name__}: {error}; please report it, with what -v prints"
    return console.fail(text, Exit.INTERNAL)


def _parser(chosen: str | None, module: ModuleType | None) -> Parser:
    """The parser for one run: the chosen command in full, the others as a line of help."""
    parser = Parser(
        prog="crust",
        description="Talk to other nodes over encrypted peer-to-peer connections.",
        epilog="crust COMMAND --help explains a command. For a start: crust demo",
    )
    parser.add_argument("--version", action="version", version=f"crust {__version__}")
    subparsers: Subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (_, line) in COMMANDS.items():
        if name == chosen and module is not None:
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line)
    return parser


class _HarmlessFormatter(logging.Formatter):
    """Reasons that came from a peer end up in the log: it must not drive the terminal either."""

    def format(self, record: logging.LogRecord) -> str:
        return console.harmless(super().format(record))


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment: the prompt replaces it to keep the typed line whole."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _start_logging(verbose: int) -> None:
    logger = logging.getLogger("crust")
    for old in [handler for handler in logger.handlers if isinstance(handler, _StderrHandler)]:
        logger.removeHandler(old)
    handler = _StderrHandler()
    handler.setFormatter(_HarmlessFormatter("%(asctime)s %(levelname)s %(name)s [%(threadName)s] %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel({0: logging.ERROR, 1: logging.INFO}.get(verbose, logging.DEBUG))


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with handling_termination(on_signal):
        yield


@contextlib.contextmanager
def handling_termination(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within it, ``handler`` gets SIGTERM, and SIGHUP unless that is ignored (``nohup``). For the main thread only."""
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, handler)}
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        before[hangup] = signal.signal(hangup, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
