"""``crust config init``: what it writes where, and that nothing is lost."""

import errno
import os
import stat
from pathlib import Path

import pytest

from crust.cli.console import Exit
from crust.config import Config
from tests.cli.config_places import NAME, Run, runner, use


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    use(monkeypatch, tmp_path)
    return runner(capsys)


def names(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


def test_the_file_is_made_in_the_users_directory_and_counts_from_then_on(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "user" / NAME
    assert run("init") == (Exit.OK, f"Wrote {file}.\n", "")
    assert Config.load(app="crust") == Config.load(file) == Config()
    assert names(file.parent) == {NAME}


def test_the_file_that_the_environment_names_is_made(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUST_CONFIG", str(tmp_path / "mine.yaml"))
    assert run("init", "--network", "mine") == (Exit.OK, f"Wrote {tmp_path / 'mine.yaml'}.\n", "")
    assert Config.load() == Config(network="mine")


def test_a_file_that_does_not_count_is_told(run: Run, tmp_path: Path) -> None:
    run("init")
    code, _, err = run("init", tmp_path / "other.yaml")
    assert code == Exit.OK
    assert f"use --config {tmp_path / 'other.yaml'}" in err


def test_an_existing_file_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("tcp_port: 7")
    code, out, err = run("init", file)
    assert (code, out) == (Exit.USAGE, "")
    assert f"{file}: exists already and is left as it is; with --force" in err
    assert file.read_text() == "tcp_port: 7"
    assert names(tmp_path) == {"a.yaml"}


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_file_that_is_replaced_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(*args: object) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    file = tmp_path / "a.yaml"
    for number in (1, 2):
        file.write_text(f"tcp_port: {number}")
        code, out, _ = run("init", file, "--force")
        assert code == Exit.OK
        assert f"The file that was there is now {file}.old-{number}.\n" in out
    assert [Config.load(f"{file}{end}").tcp_port for end in ("", ".old-1", ".old-2")] == [0, 1, 2]
    assert names(tmp_path) == {"a.yaml", "a.yaml.old-1", "a.yaml.old-2"}


def test_a_file_that_is_not_understood_is_not_replaced_in_silence(run: Run, tmp_path: Path) -> None:
    """T-39: contacts of many years were lost with a comma."""
    file = tmp_path / "a.yaml"
    file.write_text("hard_coded_contacts: [tcp://192.0.2.7:5483,\n")
    assert run("init", file)[0] == Exit.USAGE
    code, _, err = run("init", file, "--force")
    assert code == Exit.OK
    assert f"what is replaced was not understood: {file}, line 2" in err
    assert (tmp_path / "a.yaml.old-1").read_text().startswith("hard_coded_contacts")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_a_secret_is_for_the_owners_eyes(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    code, out, _ = run("init", file, "--new-key")
    assert (code, stat.S_IMODE(file.stat().st_mode)) == (Exit.OK, 0o600)
    key = Config.load(file).network_key
    assert key
    assert len(key) == 32
    assert key.hex() not in out
    run("init", tmp_path / "b.yaml", "--new-key")
    assert Config.load(tmp_path / "b.yaml").network_key != key
    run("init", file, "--force")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "as narrow as it was"
    file.chmod(0o644)
    run("init", file, "--force", "--new-key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_full_disk_leaves_what_was_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: tuple[str, ...]
) -> None:
    file = tmp_path / "a.yaml"
    if force:
        file.write_text("tcp_port: 7")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run("init", file, *force)
    assert code == Exit.USAGE
    assert f"{file}: cannot be written: No space left on device" in err
    assert file.exists() == bool(force)
    if force:
        assert file.read_text() == "tcp_port: 7"


def test_a_directory_that_cannot_be_made_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "user").write_text("a file where a directory should be")
    code, out, err = run("init")
    assert (code, out) == (Exit.USAGE, "")
    assert "cannot be written" in err


def test_a_wrong_network_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path / "a.yaml", "--network", "\t")[0] == Exit.USAGE
    assert names(tmp_path) == set()


def test_the_null_device_is_not_replaced(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and services have it in the variable, and may run as root."""
    replaced: list[object] = []
    monkeypatch.setattr(os, "replace", lambda *names: replaced.append(names))
    monkeypatch.setattr(os, "link", lambda *names: replaced.append(names))
    monkeypatch.setenv("CRUST_CONFIG", os.devnull)
    assert run("init", "--force")[0] == Exit.USAGE
    assert replaced == []
