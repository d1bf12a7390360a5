"""``crust dissector``: printed, written, installed; nothing of others is overwritten."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from crust import cli
from crust.cli import dissector as command
from crust.cli.console import Exit
from crust.discovery.beacon_packet import beacon_key
from crust.dissector import source
from crust.transport.masking import network_keys


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dissector"]) == Exit.OK
    assert capsys.readouterr().out == source()


def test_it_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "crust.lua"
    assert cli.main(["dissector", "--output", str(file)]) == Exit.OK
    assert file.read_text("utf-8") == source()
    assert f"tshark -X lua_script:{file}" in capsys.readouterr().out
    assert cli.main(["dissector", "--output", str(file)]) == Exit.FAILED
    assert "exists already" in capsys.readouterr().err


def test_it_is_installed_over_an_older_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "plugins"
    assert cli.main(["dissector", "--install", "--folder", str(folder)]) == Exit.OK
    file = folder / "crust.lua"
    assert f"installed as {file}" in capsys.readouterr().out
    file.write_text(source()[:200], "utf-8")
    assert cli.main(["dissector", "--install", "--folder", str(folder)]) == Exit.OK
    assert file.read_text("utf-8") == source()


def test_what_somebody_else_put_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "crust.lua").write_text("-- my own", "utf-8")
    assert cli.main(["dissector", "--install", "--folder", str(tmp_path)]) == Exit.FAILED
    assert "left as it is" in capsys.readouterr().err
    assert (tmp_path / "crust.lua").read_text("utf-8") == "-- my own"


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_place_of_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str) -> None:
    (tmp_path / "taken").write_bytes(b"")
    folder = tmp_path / "taken" / below
    assert cli.main(["dissector", "--install", "--folder", str(folder)]) == Exit.FAILED
    assert f"{folder} is not a folder, and cannot become one" in capsys.readouterr().err


def test_where_nothing_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "missing" / "crust.lua"
    assert cli.main(["dissector", "--output", str(file)]) == Exit.FAILED
    assert f"{file} cannot be written: No such file" in capsys.readouterr().err
    (tmp_path / "crust.lua").mkdir()
    assert cli.main(["dissector", "--install", "--folder", str(tmp_path)]) == Exit.FAILED
    assert "crust.lua cannot be written: " in capsys.readouterr().err


def test_a_folder_without_install_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dissector", "--folder", "somewhere"]) == Exit.USAGE
    assert "--install" in capsys.readouterr().err


def test_tshark_is_asked_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def told(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:] == ["-G", "folders"]
        return subprocess.CompletedProcess(command, 0, f"Temp: \t/x\nPersonal Lua Plugins:\t{tmp_path}\n", "")

    monkeypatch.setattr(command.shutil, "which", lambda _: "tshark")
    monkeypatch.setattr(command.subprocess, "run", told)
    assert command.plugin_folder() == tmp_path


def test_without_tshark_it_is_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command.shutil, "which", lambda _: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(command.sys, "platform", "linux")
    assert command.plugin_folder() == tmp_path / ".local/lib/wireshark/plugins"


def test_the_usual_places() -> None:
    assert command.usual_folder({"HOME": "/h"}, "darwin") == Path("/h/.local/lib/wireshark/plugins")
    assert command.usual_folder({"APPDATA": "data"}, "win32") == Path("data/Wireshark/plugins")


def test_the_key_of_beacons(capsys: pytest.CaptureFixture[str]) -> None:
    secret = b"sixteen letters!"
    assert cli.main(["dissector", "--beacon-key", "--network", "lab", "--network-key", secret.decode()]) == Exit.OK
    out, err = capsys.readouterr()
    assert out == beacon_key(network_keys("lab", secret)).hex() + "\n"
    assert "reads the beacons" in err
