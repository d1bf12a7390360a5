"""``crust capture``: a program is run with the capture switched on, and nothing is overwritten."""

import os
import stat
import sys
from pathlib import Path

import pytest

from crust import cli
from crust.cli.console import Exit
from crust.transport.capture import VARIABLE

TELL = f"import os, sys; print(os.environ['{VARIABLE}'], sys.argv[1:]); sys.exit(7)"


def program(code: str, *arguments: str) -> list[str]:
    """A program that runs ``code``."""
    return ["--", sys.executable, "-c", code, *arguments]


def test_the_program_is_told_and_its_exit_code_given(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "talk.pcapng"
    assert cli.main(["capture", str(file), *program(TELL, "--append", "-x")]) == 7
    out, err = capfd.readouterr()
    assert out == f"{file} ['--append', '-x']\n"
    assert "DECRYPTED" in err
    assert "no node of Crust was started" in err
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_command_of_crust(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capture", str(tmp_path / "talk.pcapng"), "version"]) == Exit.OK
    assert capfd.readouterr().out.startswith("crust ")


def test_what_a_node_says_is_in_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import crust; c = crust.Config(listen_addresses=('127.0.0.1',), beacon_port=None, upnp=False)\n"
        "a, b = crust.channel(), crust.channel()\n"
        "with crust.ConnectionManager(a, c) as one, crust.ConnectionManager(b, c) as two:\n"
        "    port = one.start_listening()[0].port\n"
        "    two.connect(crust.Endpoint.tcp(('127.0.0.1', port)))\n"
        "    two.send(b.get(timeout=30).endpoint, b'in the capture')\n"
        "    a.get(timeout=30); a.get(timeout=30)\n"
    )
    file = tmp_path / "talk.pcapng"
    assert cli.main(["capture", str(file), *program(code)]) == Exit.OK
    assert b"in the capture" in file.read_bytes()
    err = capfd.readouterr().err
    assert "CAPTURE IS ON" in err
    assert f"look at it with: wireshark {file}" in err


def test_a_file_that_exists_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "talk.pcapng"
    file.write_bytes(b"mine")
    file.chmod(0o600)
    assert cli.main(["capture", str(file), *program("print('ran')")]) == Exit.FAILED
    out, err = capfd.readouterr()
    assert (out, "exists already" in err, file.read_bytes()) == ("", True, b"mine")
    assert cli.main(["capture", "--append", str(file), *program("print('ran')")]) == Exit.OK
    assert (capfd.readouterr().out, file.read_bytes()) == ("ran\n", b"mine")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [([], "no COMMAND to run"), (["--"], "no COMMAND to run"), (["--", "no-such-program-here"], "No such file")],
)
def test_what_cannot_be_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert cli.main(["capture", str(tmp_path / "talk.pcapng"), *words]) == Exit.USAGE
    assert complaint in capfd.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing is in the way of the next try"


def test_what_cannot_be_run_leaves_a_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "talk.pcapng"
    file.touch(0o600)
    assert cli.main(["capture", "--append", str(file), "--", "no-such-program-here"]) == Exit.USAGE
    assert file.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_what_others_may_read_is_not_added_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "talk.pcapng"
    file.touch()
    file.chmod(0o644)
    assert cli.main(["capture", "--append", str(file), *program("print('ran')")]) == Exit.USAGE
    out, err = capfd.readouterr()
    assert (out, "other users may read" in err, f"chmod 600 {file}" in err) == ("", True, True)


def test_where_nothing_can_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "missing" / "talk.pcapng"
    assert cli.main(["capture", str(file), *program("print('ran')")]) == Exit.FAILED
    assert f"error: {file} cannot be written: No such file" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_program_that_a_signal_ended(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert cli.main(["capture", str(tmp_path / "talk.pcapng"), *program(code)]) == 128 + 9
