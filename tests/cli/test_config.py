"""``crust config show``, ``path`` and ``check``."""

import os
import re
from pathlib import Path

import pytest

from crust.cli.config import KEYS, shown
from crust.cli.console import Exit
from crust.config import Config
from tests.cli.config_places import NAME, Run, runner, use


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    use(monkeypatch, tmp_path)
    return runner(capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "user").mkdir()
    file = tmp_path / "user" / NAME
    file.write_text("# mine\ntcp_port: 7\nnetwork: mine\nlisten_addresses: ['::1']\ncache_file: c\n")
    file.chmod(0o644)
    return file


def table(out: str) -> dict[str, list[str]]:
    return {cells[0]: cells[1:] for line in out.splitlines() if (cells := re.split(r"  +", line))}


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_says_where_each_setting_comes_from(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUST_NETWORK_KEY", "a secret of some length")
    code, out, err = run("show", "--network", "other")
    assert (code, err) == (Exit.OK, "")
    rows = table(out)
    assert list(rows) == ["setting", *KEYS]
    assert rows["tcp_port"] == ["7", f"{file}, line 2"]
    assert rows["network"] == ["other", "--network"]
    assert rows["network_key"] == ["(secret, 23 bytes)", "environment, CRUST_NETWORK_KEY"]
    assert rows["listen_addresses"] == ["::1", f"{file}, line 4"]
    assert rows["cache_file"] == [str(file.parent / "c"), f"{file}, line 5"]
    assert rows["utp_port"] == ["0", "default"]
    assert "a secret" not in out


def test_show_of_defaults(run: Run) -> None:
    rows = table(run("show")[1])
    assert {key: rows[key][0] for key in KEYS} == {key: shown(getattr(Config(), key)) for key in KEYS}
    assert {rows[key][1] for key in KEYS} == {"default"}


def test_show_of_a_named_file(run: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("tcp_port: 8\nnetwork_key: 'hidden from all who look'\n")
    rows = table(run("show", "--config", tmp_path / "b.yaml", "--network-key", "another secret that is long")[1])
    assert rows["tcp_port"] == ["8", f"{tmp_path / 'b.yaml'}, line 1"]
    assert rows["network_key"] == ["(secret, 27 bytes)", "--network-key"]
    assert rows["network"] == ["crust", "default"]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (False, "false"), ((), "none"), (2.0, "2"), (0.25, "0.25")]
)
def test_values_are_shown_as_they_are_written(value: object, text: str) -> None:
    assert shown(value) == text


# --- path -------------------------------------------------------------------------------------------------------------


def test_path_shows_the_order_and_which_one_counts(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["place", "--config", "environment, CRUST_CONFIG", "beside the program", "of the user", "of the system"]
    rows = table(run("path")[1])
    assert list(rows) == places
    assert rows["--config"] == ["-", "not given"]
    assert rows["beside the program"] == [str(tmp_path / "bin" / NAME), "missing"]
    assert rows["of the user"] == [str(file), "this one counts"]
    assert rows["of the system"] == [str(tmp_path / "system" / NAME), "missing"]
    monkeypatch.setenv("CRUST_CONFIG", "/nowhere")
    rows = table(run("path")[1])
    assert rows["environment, CRUST_CONFIG"] == [os.path.abspath("/nowhere"), "counts, but is missing"]
    assert rows["of the user"] == [str(file), "there"]
    assert table(run("path", "--config", file)[1])["--config"] == [str(file), "this one counts"]


def test_path_without_any_file_says_how_to_make_one(run: Run) -> None:
    code, out, _ = run("path")
    assert code == Exit.OK
    assert "crust config init" in out
    assert "counts" not in out


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_of_a_correct_file(run: Run, file: Path) -> None:
    assert run("check") == (Exit.OK, f"{file} is correct: 4 settings.\n", "")
    assert run("check", file) == (Exit.OK, f"{file} is correct: 4 settings.\n", "")


@pytest.mark.parametrize("content", ["tcp_prot: 7", "tcp_port: x", "a: [", "\0"])
def test_check_finds_mistakes(run: Run, file: Path, content: str) -> None:
    file.write_text(content)
    for arguments in ((), (file,)):
        code, out, err = run("check", *arguments)
        assert (code, out, len(err.splitlines())) == (Exit.USAGE, "", 1)
        assert str(file) in err


def test_check_of_a_missing_file_is_an_error_and_of_none_is_not(run: Run, tmp_path: Path) -> None:
    code, _, err = run("check", tmp_path / "missing.yaml")
    assert code == Exit.USAGE
    assert "missing.yaml: there is no such configuration file" in err
    assert run("check")[0] == Exit.OK


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_check_warns_of_a_secret_that_others_can_read(run: Run, file: Path) -> None:
    file.write_text("network_key: 'hidden from all who look'")
    assert f"chmod 600 {file}" in run("check")[2]
    file.chmod(0o600)
    assert run("check")[2] == ""


def test_check_warns_of_a_directory_that_is_missing(run: Run, file: Path) -> None:
    file.write_text("identity_file: gone/key")
    code, _, err = run("check")
    assert code == Exit.OK
    assert f"identity_file: the directory of {file.parent / 'gone' / 'key'} does not exist" in err


@pytest.mark.parametrize("key", ["blacklist_file", "identity_file"])
def test_check_reads_what_a_node_would_not_start_without(run: Run, file: Path, key: str) -> None:
    file.write_text(f"{key}: other")
    other = file.parent / "other"
    other.write_text("nonsense")
    other.chmod(0o600)
    code, out, err = run("check")
    assert (code, out) == (Exit.USAGE, "")
    assert str(other) in err


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="this system has no named pipes")
def test_check_of_what_another_program_writes(run: Run) -> None:
    """As in: crust config check <(decrypt node.yaml.secret)."""
    reader, writer = os.pipe()
    os.write(writer, b"tcp_port: 7")
    os.close(writer)
    try:
        assert run("check", f"/dev/fd/{reader}") == (Exit.OK, f"/dev/fd/{reader} is correct.\n", "")
    finally:
        os.close(reader)


def test_check_of_a_missing_blacklist_and_a_missing_identity(run: Run, file: Path) -> None:
    """A node makes an identity where there is none, and no blacklist."""
    file.write_text("blacklist_file: other")
    assert run("check")[0] == Exit.USAGE
    file.write_text("identity_file: other")
    assert run("check")[0] == Exit.OK
    assert not (file.parent / "other").exists()


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["shows"], ["path", "extra"], ["init", "a", "b"]])
def test_a_wrong_command_line_is_told_in_one_line(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out, len(err.splitlines())) == (Exit.USAGE, "", 1)


def test_other_commands_use_the_file_that_is_found(run: Run, file: Path) -> None:
    from crust import cli

    file.write_text("tcp_prot: 7")
    for command in (["scan"], ["cache", "show"], ["peer"], ["receive"], ["send", "x", "192.0.2.7:1"], ["bench"]):
        assert cli.main(command) == Exit.USAGE, command
