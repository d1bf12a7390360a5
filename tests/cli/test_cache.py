"""``crust cache``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from crust import cli
from crust.cli import cache as command
from crust.cli.console import Exit
from crust.discovery import bootstrap_cache
from crust.discovery.bootstrap_cache import BootstrapCache
from crust.discovery.cache_record import network_tag
from crust.discovery.contact import Source
from crust.discovery.file_lock import FileLock
from crust.endpoint import Endpoint
from crust.identity import PeerId
from crust.threads.clock import wall_time
from crust.transport.masking import network_keys

PEER = PeerId(b"\xab" * 32)
Run = Callable[..., tuple[int, str, str]]


def tag(network: str = "crust") -> bytes:
    return network_tag(network_keys(network, None).psk)


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "user")
    monkeypatch.delenv(cli.KEY_VARIABLE, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.cache"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = cli.main(["cache", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run_it


@pytest.fixture
def filled(file: Path) -> Path:
    cache = BootstrapCache(file, network=tag())
    now = wall_time()
    cache.worked(Endpoint.tcp("192.0.2.1:5483"), PEER, Source.GOSSIP, now - 3 * 86400)
    cache.worked(Endpoint.utp("[2001:db8::2]:5483"), None, Source.BEACON, now - 9 * 86400)
    cache.worked(Endpoint.utp("192.0.2.3:5483"), None, Source.CONNECTED, now + 10**6)
    cache.failed(Endpoint.tcp("192.0.2.1:5483"), now)
    cache.close()
    other = BootstrapCache(file, network=tag("other"))
    other.worked(Endpoint.tcp("192.0.2.4:5483"), PEER, Source.GOSSIP, now)
    other.close()
    return file


def endpoints(path: Path, network: str = "crust") -> list[Endpoint]:
    cache = BootstrapCache(path, network=tag(network))
    try:
        return [endpoint for contact in cache.contacts() for endpoint in contact.endpoints]
    finally:
        cache.close()


def test_show_prints_what_is_known_of_each_contact(run: Run, filled: Path) -> None:
    code, out, err = run("show", "--file", filled)
    assert (code, err) == (Exit.OK, "")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert lines["tcp://192.0.2.1:5483"] == "abababab 3 days ago 3 days ago 1 gossip this"
    assert lines["utp://[2001:db8::2]:5483"] == "- 9 days ago 9 days ago 0 beacon this"
    assert lines["utp://192.0.2.3:5483"] == "- later than now later than now 0 connected this"
    assert lines["tcp://192.0.2.4:5483"].endswith(f"gossip {tag('other').hex()}")
    assert out.splitlines()[-1] == f"4 contacts in {filled}"


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [(0, "never"), (1_000_000, "1.0 s ago"), (910_000, "1:30 ago"), (1_000_001, "later than now")],
)
def test_how_long_ago(milliseconds: int, told: str) -> None:
    assert command._ago(milliseconds, 1000.0) == told


def test_show_of_nothing_makes_no_file(run: Run, file: Path) -> None:
    assert run("show", "--file", file) == (Exit.OK, f"no contacts: there is no file {file} yet\n", "")
    assert run("clear", "--file", file)[0] == Exit.OK
    assert not file.exists()


def test_show_tells_of_damage(run: Run, filled: Path) -> None:
    data = bytearray(filled.read_bytes())
    data[200] ^= 1
    filled.write_bytes(data)
    assert f"3 contacts in {filled}; 1 damaged record left out" in run("show", "--file", filled)[1]


def test_clear_forgets_them_all(run: Run, filled: Path) -> None:
    assert run("clear", "--file", filled) == (Exit.OK, f"forgot 4 contacts; {filled} is empty\n", "")
    assert endpoints(filled) == endpoints(filled, "other") == []
    assert b"\xab" * 32 not in filled.read_bytes()


def test_add_remembers_for_the_network_that_is_named(run: Run, file: Path) -> None:
    code, out, _ = run("add", "192.0.2.7:5483", "utp://[2001:db8::7]:1", "--file", file)
    assert (code, out) == (Exit.OK, f"added 2 contacts to {file}\n")
    assert set(endpoints(file)) == {Endpoint.tcp("192.0.2.7:5483"), Endpoint.utp("[2001:db8::7]:1")}
    assert run("add", "192.0.2.8:1", "--file", file, "--network", "other")[0] == Exit.OK
    assert endpoints(file, "other") == [Endpoint.tcp("192.0.2.8:1")]
    assert "never" in run("show", "--file", file)[1]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "192.0.2.1:0", "tracer://192.0.2.1:1", "example.org:5483"])
def test_add_refuses_what_no_other_host_could_be(run: Run, file: Path, address: str) -> None:
    code, out, err = run("add", "192.0.2.7:5483", address, "--file", file)
    assert (code, out) == (Exit.USAGE, "")
    assert "cannot be remembered" in err
    assert endpoints(file) == [], "either all or none"


def test_the_file_is_that_of_the_configuration_or_the_usual_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("cache_file: mine.cache\nnetwork: other\n")
    assert run("add", "192.0.2.7:1", "--config", tmp_path / "node.yaml")[0] == Exit.OK
    assert endpoints(tmp_path / "mine.cache", "other") == [Endpoint.tcp("192.0.2.7:1")]
    assert run("add", "192.0.2.8:1")[0] == Exit.OK
    assert endpoints(tmp_path / "user" / "crust.bootstrap.cache") == [Endpoint.tcp("192.0.2.8:1")]


def test_the_key_of_a_closed_network_tells_its_contacts_apart(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.KEY_VARIABLE, "a secret of some length")
    run("add", "192.0.2.7:1", "--file", file)
    assert endpoints(file) == []
    assert "this" in run("show", "--file", file)[1]


def test_what_cannot_be_saved_is_an_error(
    run: Run, tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run("add", "192.0.2.7:1", "--file", tmp_path / "missing" / "cache")
    assert (code, out) == (Exit.FAILED, "")
    assert "its directory does not exist" in err
    monkeypatch.setattr(command, "SAVING_TIME", 0.1)
    monkeypatch.setattr(bootstrap_cache, "OPEN_PATIENCE", 0.05)
    descriptor = os.open(filled, os.O_RDWR)
    try:
        assert FileLock(descriptor).acquire(5)
        code, out, err = run("clear", "--file", filled)
    finally:
        os.close(descriptor)
    assert (code, out) == (Exit.FAILED, "")
    assert "locked by another process" in err
    assert len(endpoints(filled)) == 3


def test_show_prints_what_can_be_read_where_nothing_can_be_written(
    run: Run, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *rest, **more)

    real_open: Any = os.open
    monkeypatch.setattr(os, "open", refuse)
    code, out, err = run("show", "--file", filled)
    assert (code, err) == (Exit.OK, "")
    assert f"4 contacts in {filled}" in out


@pytest.mark.parametrize("action", [["show"], ["clear"], ["add", "192.0.2.7:1"]])
def test_a_file_that_is_something_else_stays_as_it_is(run: Run, tmp_path: Path, action: list[str]) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("Monday. Nothing happened.\n")
    code, out, err = run(*action, "--file", diary)
    assert (code, out) == (Exit.FAILED, "")
    assert f"{diary} is not a bootstrap cache" in err
    assert [file.name for file in tmp_path.iterdir()] == ["diary.txt"]
    assert diary.read_text() == "Monday. Nothing happened.\n"


def test_show_changes_no_damaged_cache_and_who_sets_it_aside_says_so(run: Run, filled: Path) -> None:
    os.truncate(filled, 999)
    before = filled.read_bytes()
    code, _, err = run("show", "--file", filled)
    assert code == Exit.FAILED
    assert "its length is not what its header says" in err
    assert filled.read_bytes() == before
    code, _, err = run("add", "192.0.2.7:1", "--file", filled)
    assert code == Exit.OK
    assert f"{filled} was damaged: it is now {filled}.corrupt-1" in err


def test_show_does_not_wait_for_a_named_pipe(run: Run, tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    code, _, err = run("show", "--file", tmp_path / "pipe")
    assert code == Exit.FAILED
    assert "no ordinary file" in err


def test_add_counts_a_contact_that_is_given_twice_once(run: Run, file: Path) -> None:
    assert run("add", "192.0.2.7:1", "tcp://192.0.2.7:1", "--file", file)[1] == f"added 1 contact to {file}\n"


@pytest.mark.parametrize("arguments", [[], ["shows"], ["add"], ["show", "extra"]])
def test_a_wrong_command_line_is_told_in_one_line(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out, len(err.splitlines())) == (Exit.USAGE, "", 1)
