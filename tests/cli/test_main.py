import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from crust import cli
from crust._version import __version__
from crust.cli import console
from crust.cli.console import Exit
from crust.config import Config
from crust.errors import ConfigError, ConnectionLost, ListenFailed


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    logger = logging.getLogger("crust")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], level, logger.propagate = before
    logger.setLevel(level)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Puts a function in the place of ``crust peer``."""

    def install(run: Callable[[argparse.Namespace], int]) -> None:
        module = ModuleType("crust.cli.fake")
        module.add_parser = lambda subparsers: cli.add_node_options(cli.add_command(subparsers, "peer", "Fake."))  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "crust.cli.fake", module)
        monkeypatch.setitem(cli.COMMANDS, "peer", ("crust.cli.fake", "fake"))

    return install


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_help_lists_every_command_and_imports_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = set(sys.modules)
    assert cli.main(["--help"]) == Exit.OK
    out = capsys.readouterr().out
    for name, (module, line) in cli.COMMANDS.items():
        assert name in out
        assert line in out
        assert module in loaded or module not in sys.modules


def test_the_process_answers_version() -> None:
    done = subprocess.run([sys.executable, "-m", "crust", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"crust {__version__}\n")


def test_versions_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == Exit.OK
    out = capsys.readouterr().out
    assert out.startswith(f"crust {__version__}\nPython 3.")
    assert "pynacl" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no command given"),
        (["per"], "did you mean 'peer'?"),
        (["xyzzy"], "there is no command 'xyzzy' (see"),
        (["version", "--loud"], "unrecognized arguments: --loud (see: crust --help)"),
        (["peer", "--tcp", "70000"], "'70000' is not a port"),
        (["peer", "--tcp", "-1"], "--tcp"),
        (["peer", "192.0.2.7"], "HOST:PORT"),
        (["peer", "--wait", "soon"], "'soon' is not a time"),
        (["peer", "--tpc", "3"], "there is no option --tpc; did you mean '--tcp'? (see: crust peer --help)"),
        (["peer", "--tpc=3", "x"], "there is no option --tpc; did you mean '--tcp'?"),
        (["bench", "--size", "0"], "'0' is not a size"),
        (["peer", "--only", "10.0.0.0/99"], "'10.0.0.0/99' is no id (64 digits), no address and no network"),
        (["peer", "tracer://127.0.0.1:1"], "CLEAR TEXT: to allow them, give --tracer 0"),
        (["peer", "--alone", "--network-key", ""], "--network-key is empty"),
        (["capture"], "the following arguments are required: FILE"),
        (["help", "xyzzy"], "there is no command 'xyzzy'"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert cli.main(arguments) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ListenFailed("no port"), Exit.LISTEN, "error: no port"),
        (ConnectionLost("it went"), Exit.LOST, "error: it went"),
        (FileNotFoundError(2, "No such file", "x"), Exit.FAILED, "error: [Errno 2] No such file: 'x'"),
        (BrokenPipeError(32, "of a socket"), Exit.FAILED, "error: [Errno 32] of a socket"),
        (KeyError("oh"), Exit.INTERNAL, "error: internal error: KeyError: 'oh'; please report"),
        (ModuleNotFoundError("no rich", name="rich.table"), Exit.FAILED, "pip install 'crust-p2p[cli]'"),
        (ModuleNotFoundError("no os", name="os"), Exit.INTERNAL, "internal error"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, ""),
        (cli.Terminated(), Exit.TERMINATED, ""),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], error: BaseException, code: Exit, told: str
) -> None:
    command(raising(error))
    assert cli.main(["peer"]) == code
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == (1 if told else 0)


def test_sigterm_arrives_as_an_exception_and_the_handler_is_put_back(command: Callable[..., None]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def kill_myself(args: argparse.Namespace) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
        return 0

    command(kill_myself)
    assert cli.main(["peer"]) == Exit.TERMINATED
    assert signal.getsignal(signal.SIGTERM) is before


def test_output_that_nobody_reads_ends_quietly() -> None:
    script = f"{sys.executable} -m crust version | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize("when", ["crust.cli.console", "crust.connection_manager"])
def test_control_c_while_the_command_is_still_imported_is_no_traceback(when: str) -> None:
    script = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {when!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from crust.__main__ import main\n"
        "sys.argv = ['crust', 'peer', '--alone']\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.INTERRUPTED, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk to write to")
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "crust", "version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.stderr == "error: cannot write to standard output: No space left on device\n"
        assert done.returncode == Exit.FAILED
        assert subprocess.run(command, stdout=full, stderr=full, timeout=60, check=False).returncode == Exit.FAILED


@pytest.mark.parametrize(("closed", "told"), [(">&-", ""), ("2>&- <&-", "crust")])
def test_closed_streams_are_no_mistake(closed: str, told: str) -> None:
    script = f"exec {sys.executable} -X dev -W error -m crust version {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.startswith(told)
    assert bool(done.stdout) == bool(told)


def test_help_is_a_word_for_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help"]) == Exit.OK
    assert "usage: crust [-h]" in capsys.readouterr().out
    assert cli.main(["help", "nat"]) == Exit.OK
    assert "usage: crust nat" in capsys.readouterr().out


def test_a_word_of_megabytes_is_not_compared_with_anything() -> None:
    assert cli.nearest("peer" * 1_000_000, list(cli.COMMANDS)) == ""
    assert cli.nearest("--tpc", ["--utp", "--tcp"]) == "; did you mean '--tcp'?"


def test_verbose_logs_to_standard_error_without_driving_the_terminal(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def log(args: argparse.Namespace) -> int:
        logging.getLogger("crust.x").info("peer says \x1b[2J")
        logging.getLogger("crust.x").debug("detail")
        return 0

    command(log)
    for flags, lines in (([], 0), (["-v"], 1), (["-vv"], 2)):
        assert cli.main(["peer", *flags]) == Exit.OK
        err = capsys.readouterr().err
        assert len(err.splitlines()) == lines
        assert "\x1b" not in err


def options(*words: str) -> argparse.Namespace:
    parser = cli.Parser()
    cli.add_node_options(parser)
    return parser.parse_args(words)


def test_without_options_the_configuration_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)
    assert cli.config_from(options()) == Config()
    assert cli.config_from(options(), tcp_port=7).tcp_port == 7


def test_options_win_over_the_file_and_over_the_defaults_of_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)
    file = tmp_path / "a.yaml"
    file.write_text("tcp_port: 1000\nnetwork: filed\nmax_connections: 5\n")
    config = cli.config_from(options("--config", str(file), "--tcp", "0", "--identity", "me.key"), tcp_port=9)
    assert (config.tcp_port, config.network, config.max_connections) == (0, "filed", 5)
    assert config.identity_file == "me.key"
    assert cli.config_from(options("--network", "mine")).network == "mine"


def test_the_key_comes_from_the_environment_or_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.KEY_VARIABLE, "correct horse battery staple")
    assert cli.config_from(options()).network_key == b"correct horse battery staple"
    key = "hex:" + "0f" * 32
    assert cli.config_from(options("--network-key", key)).network_key == b"\x0f" * 32


def test_an_empty_key_does_not_open_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"^--network-key is empty"):
        cli.config_from(options("--network-key", ""))
    monkeypatch.setenv(cli.KEY_VARIABLE, "")
    with pytest.raises(ConfigError, match=r"^CRUST_NETWORK_KEY is empty"):
        cli.config_from(options())
    assert cli.config_from(options("--network-key", "correct horse battery staple")).network_key


def test_a_bad_configuration_is_a_usage_error(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("tcp_prot: 1000\n")
    command(lambda args: SimpleNamespace(config=cli.config_from(args)) and 0)
    assert cli.main(["peer", "--config", str(file)]) == Exit.USAGE
    assert "a.yaml, line 1" in capsys.readouterr().err
    assert cli.main(["peer", "--config", str(tmp_path / "none.yaml")]) == Exit.USAGE
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert cli.main([name, "--help"]) == Exit.OK
    out = capsys.readouterr().out
    assert f"usage: crust {name}" in out
    assert console.EXIT_TEXT[Exit.INTERNAL] in out
