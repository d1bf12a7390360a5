"""``crust receive`` and ``crust send`` as real processes: whole, resumed, refused, and against a hostile sender."""

import argparse
import hashlib
import os
import queue
import signal
from pathlib import Path
from typing import Any

import pytest

from crust.cli import transfer_wire as wire
from crust.cli.transfer_folder import part_name
from crust.cli.transfer_receive import size, unusable
from crust.cli.transfer_sender import WINDOW
from crust.config import Config
from crust.connection_manager import ConnectionManager
from crust.endpoint import Endpoint
from crust.event import Event
from crust.identity import Identity
from crust.limits import MIB
from tests.cli.cutting_proxy import CuttingProxy
from tests.processes import PATIENCE, Process

CONFIG = "listen_addresses: ['127.0.0.1']\n"


class Receiver(Process):
    """``crust receive``, on this machine only."""

    def __init__(self, into: Path, *options: str, die_at: int | None = None, port: int = 0) -> None:
        config = into.parent / "receive.yaml"
        config.write_text(CONFIG)
        program = ["crust"] if die_at is None else ["tests.cli.die_at", str(die_at)]
        node = ["receive", "--into", str(into), "--config", str(config), "--tcp", str(port)]
        super().__init__("-m", *program, *node, *options)
        self.port = int(self.expect(r"Listening on tcp:(\d+)")[1])


def send(port: int, *words: str | Path, die_at: int | None = None) -> Process:
    """``crust send``; options come after the files."""
    files = [str(word) for word in words if not str(word).startswith("-")]
    options = [str(word) for word in words if str(word).startswith("-")]
    program = ["crust"] if die_at is None else ["tests.cli.die_at", str(die_at)]
    return Process("-m", *program, "send", *files, f"127.0.0.1:{port}", *options)


def make_file(folder: Path, name: str, length: int) -> tuple[Path, bytes]:
    data = hashlib.shake_128(name.encode()).digest(length)
    (folder / name).write_bytes(data)
    return folder / name, data


@pytest.fixture
def into(tmp_path: Path) -> Path:
    into = tmp_path / "into"
    into.mkdir()
    return into


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def said(lines: object, text: str) -> bool:
    assert isinstance(lines, list)
    return any(text in line for line in lines)


def test_several_files_arrive_and_both_sides_end_with_0(tmp_path: Path, into: Path) -> None:
    one, one_data = make_file(tmp_path, "one.bin", 3 * MIB + 17)
    two, two_data = make_file(tmp_path, "Übersicht (2).txt", 5)
    empty, _ = make_file(tmp_path, "empty", 0)
    with Receiver(into, "--once") as receiving, send(receiving.port, one, two, empty) as sending:
        code, lines = sending.end()
        assert (code, said(lines, "one.bin: sent and checked")) == (0, True)
        assert receiving.end()[0] == 0
    assert contents(into) == {"one.bin": one_data, "Übersicht (2).txt": two_data, "empty": b""}


def test_a_receiver_that_is_killed_goes_on_where_it_was(tmp_path: Path, into: Path) -> None:
    path, data = make_file(tmp_path, "file", 10 * MIB)
    with Receiver(into, die_at=4 * MIB) as first, send(first.port, path, "--retry=60") as sending:
        assert first.end()[0] != 0
        assert contents(into) == {part_name("file", len(data)): data[: 4 * MIB]}
        sending.expect("The connection is lost")
        with Receiver(into, "--once", port=first.port) as second:
            assert said(second.seen, "Listening")
            assert second.port == first.port
            second.expect(r"Unfinished: file \(4.0 MiB of 10.0 MiB\)")
            second.expect("file: going on behind 4.0 MiB")
            code, lines = sending.end()
            assert (code, said(lines, "Connected again")) == (0, True)
            assert second.end()[0] == 0
    assert contents(into) == {"file": data}


def test_a_sender_that_is_killed_goes_on_where_it_was(tmp_path: Path, into: Path) -> None:
    # Longer than what had come when it was killed and what could be under way then.
    path, data = make_file(tmp_path, "file", 4 * MIB + WINDOW + 2 * MIB)
    with Receiver(into, "--once") as receiving:
        with send(receiving.port, path, die_at=4 * MIB) as first:
            assert first.end()[0] != 0
        with send(receiving.port, path) as second:
            receiving.expect(r"file: going on behind ([4-9]|1\d|2[01])\.\d MiB")
            assert second.end()[0] == 0
        assert receiving.end()[0] == 0
    assert contents(into) == {"file": data}


def test_a_connection_that_breaks_is_made_again_and_goes_on(tmp_path: Path, into: Path) -> None:
    path, data = make_file(tmp_path, "file", 12 * MIB)
    with Receiver(into, "--once") as receiving, CuttingProxy(receiving.port, 6 * MIB) as proxy:
        with send(proxy.port, path) as sending:
            receiving.expect(r"Lost [0-9a-f]{8} .*what came is kept")
            receiving.expect(r"file: going on behind [1-5]\.\d MiB")
            code, lines = sending.end()
            assert (code, said(lines, "The connection is lost")) == (0, True)
        assert receiving.end()[0] == 0
        assert proxy.connections == 2
    assert contents(into) == {"file": data}


@pytest.mark.slow
def test_a_part_that_is_something_else_is_not_gone_on_with(tmp_path: Path, into: Path) -> None:
    path, data = make_file(tmp_path, "file", 2 * MIB)
    (into / part_name("file", len(data))).write_bytes(b"?" * MIB)
    with Receiver(into, "--once") as receiving, send(receiving.port, path) as sending:
        assert sending.end()[0] == 0
        assert not said(receiving.end()[1], "going on")
    assert contents(into) == {"file": data}


def test_an_existing_file_is_refused_to_both_and_the_others_arrive(tmp_path: Path, into: Path) -> None:
    path, _ = make_file(tmp_path, "file", 100)
    other, other_data = make_file(tmp_path, "other", 100)
    (into / "file").write_bytes(b"mine")
    with Receiver(into, "--once") as receiving, send(receiving.port, path, other) as sending:
        code, lines = sending.end()
        assert (code, said(lines, "file: not taken: another file of that name exists")) == (1, True)
        code, lines = receiving.end()
        assert (code, said(lines, "--rename or --overwrite")) == (1, True)
    assert contents(into) == {"file": b"mine", "other": other_data}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "expected"), [("--overwrite", {"file": "new"}), ("--rename", {"file": "old", "file (2)": "new"})]
)
def test_an_existing_file_makes_way_as_told(tmp_path: Path, into: Path, option: str, expected: dict[str, str]) -> None:
    path, data = make_file(tmp_path, "file", 100)
    (into / "file").write_bytes(b"mine")
    with Receiver(into, "--once", option) as receiving, send(receiving.port, path) as sending:
        assert sending.end()[0] == 0
        assert receiving.end()[0] == 0
    assert contents(into) == {name: data if text == "new" else b"mine" for name, text in expected.items()}


def test_what_is_there_already_is_not_sent_again(tmp_path: Path, into: Path) -> None:
    path, data = make_file(tmp_path, "file", 100)
    (into / "file").write_bytes(data)
    with Receiver(into, "--once") as receiving, send(receiving.port, path) as sending:
        code, lines = sending.end()
        assert (code, said(lines, "file: is there already, the same")) == (0, True)
        assert receiving.end()[0] == 0


def test_the_receiver_can_say_whom_and_how_much_it_takes(tmp_path: Path, into: Path) -> None:
    path, data = make_file(tmp_path, "file", 1000)
    friend = Identity.load(tmp_path / "friend")
    with Receiver(into, "--max-size=1K", f"--from={friend.peer_id.hex()}") as receiving:
        with send(receiving.port, path) as stranger:
            code, lines = stranger.end()
            assert (code, said(lines, "takes no files from this identity")) == (1, True)
        with send(receiving.port, path, f"--identity={tmp_path / 'friend'}") as sending:
            assert sending.end()[0] == 0
        large, _ = make_file(tmp_path, "large", 1025)
        with send(receiving.port, large, f"--identity={tmp_path / 'friend'}") as sending:
            code, lines = sending.end()
            assert (code, said(lines, "takes up to 1.0 KiB")) == (1, True)
        receiving.signal(signal.SIGINT)
        assert receiving.end()[0] == 0
    assert contents(into) == {"file": data}


def test_sigterm_ends_a_receiver_that_waits_for_one_send(into: Path) -> None:
    with Receiver(into, "--once") as receiving:
        receiving.signal(signal.SIGTERM)
        assert receiving.end()[0] == 143


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such limits there")
def test_a_file_system_that_takes_no_more_is_named_on_both_sides(tmp_path: Path, into: Path) -> None:
    path, _ = make_file(tmp_path, "file", 3 * MIB)
    config = tmp_path / "receive.yaml"
    config.write_text(CONFIG)
    limited = (
        "import resource, sys; from crust.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * MIB}, {2 * MIB}));"
        f"sys.exit(main(['receive', '--once', '--into', {str(into)!r}, '--config', {str(config)!r}]))"
    )
    with Process("-c", limited) as receiving:
        port = int(receiving.expect(r"Listening on tcp:(\d+)")[1])
        with send(port, path) as sending:
            code, lines = sending.end()
            assert (code, said(lines, "cannot hold a file of that size")) == (1, True)
        assert receiving.end()[0] == 1


class Hostile:
    """A sender made of a manager and bad intentions. Use ``with``."""

    def __init__(self, port: int) -> None:
        self._events: queue.Queue[Any] = queue.Queue()
        self._manager = ConnectionManager(self._events, Config(beacon_port=None, upnp=False))
        self._manager.connect(Endpoint.tcp(("127.0.0.1", port)))
        self.endpoint: Endpoint = self._events.get(timeout=PATIENCE).endpoint

    def __enter__(self) -> "Hostile":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.stop()

    def say(self, message: wire.Message | bytes) -> None:
        self._manager.send(self.endpoint, message if isinstance(message, bytes) else wire.encode(message))

    def hear(self) -> wire.Message | None:
        """The next message; ``None`` for the end of the connection."""
        event = self._events.get(timeout=PATIENCE)
        return wire.parse_untrusted(event.data) if isinstance(event, Event.NewMessage) else None


def test_hostile_names_touch_nothing(tmp_path: Path, into: Path) -> None:
    (tmp_path / "secret").write_bytes(b"mine")
    names = [
        "../secret",
        "../new",
        "/tmp/x",
        "..",
        ".bashrc",
        "a/b",
        "a\\..\\b",
        "C:x",
        "nul",
        "x\0y",
        "\x1b[2Jx",
        "-rf",
    ]
    with Receiver(into) as receiving, Hostile(receiving.port) as hostile:
        for number, name in enumerate(names):
            transfer = number.to_bytes(16, "big")
            hostile.say(wire.Offer(transfer, 4, 0, name))
            answer = hostile.hear()
            assert isinstance(answer, wire.Refused)
            assert answer.code is wire.Code.BAD_NAME
            hostile.say(wire.Chunk(transfer, 0, memoryview(b"evil")))
            hostile.say(wire.Finish(transfer, 4, bytes(32)))
        hostile.say(wire.End())
        receiving.signal(signal.SIGINT)
        code, lines = receiving.end()
    assert code == 0
    assert not any("\x1b" in line for line in lines)
    assert contents(into) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "receive.yaml", "secret"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "message",
    [
        b"hello",
        b"CF\x01\x05",
        wire.Start(bytes(16), 0),
        wire.Chunk(b"0123456789abcdef", 7, memoryview(b"x")),
        wire.Chunk(b"0123456789abcdef", 0, memoryview(b"12345")),
        b"CF\x02\x01" + bytes(40),
    ],
)
def test_who_breaks_the_protocol_is_told_and_cut_off_and_others_are_served(
    tmp_path: Path, into: Path, message: wire.Message | bytes
) -> None:
    path, data = make_file(tmp_path, "file", 100)
    with Receiver(into, "--once") as receiving:
        with Hostile(receiving.port) as hostile:
            hostile.say(wire.Offer(b"0123456789abcdef", 4, 0, "x"))
            assert isinstance(hostile.hear(), wire.Start)
            hostile.say(message)
            refused = hostile.hear()
            assert isinstance(refused, wire.Refused)
            assert refused.code is wire.Code.PROTOCOL
            assert hostile.hear() is None
        with send(receiving.port, path) as sending:
            assert sending.end()[0] == 0
        assert receiving.end()[0] == 0
    assert contents(into) == {"file": data}


def test_a_folder_that_cannot_be_used_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert unusable(tmp_path / "file") == "is not a folder"
    assert unusable(tmp_path / "file" / "below") == "cannot be made: Not a directory"
    assert unusable(tmp_path / "new" / "folder") is None
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root everything may be written
    assert unusable(tmp_path / "new") == "no permission to write there"


def test_a_busy_port_is_said(tmp_path: Path, into: Path) -> None:
    with Receiver(into) as first, Receiver(into, port=first.port) as second:
        assert second.port != first.port
        assert said(second.seen, f"port {first.port} is busy")


@pytest.mark.parametrize(
    ("text", "count"), [("1000", 1000), ("64K", 65536), ("2g", 2 << 30), ("1 GiB", 1 << 30), ("3MB", 3 << 20)]
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "1P", "ten", "9" * 30])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="as in 64K"):
        size(text)
