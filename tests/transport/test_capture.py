"""`crust.transport.capture`: what is written down, by one process or several, and that nothing is without being asked
for."""

import logging
import os
import re
import stat
import struct
from pathlib import Path

import pytest

from crust import ConfigError, Endpoint, Identity
from crust.connecting.negotiate import negotiate_incoming, negotiate_outgoing
from crust.transport.capture import MAX_PAYLOAD, VARIABLE, Capture, from_environment
from crust.transport.framing import HEADER, message_frame
from crust.transport.link import Link
from crust.transport.tracer_hello import HELLO, MAGIC
from tests.connecting.negotiations import connected_pair, frames, start
from tests.streams import Pair, node
from tests.transport.test_pcapng import packets, tcp_parts

pair = pytest.fixture(connected_pair)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where to write."""
    return tmp_path / "talk.pcapng"


class Silence:
    """Stands for a stream, a reader and a writer that do nothing."""

    local, remote = Endpoint.utp("10.0.0.1:7"), Endpoint.utp("10.0.0.2:8")
    bytes_read = bytes_written = 0

    def __init__(self, *read: bytes) -> None:
        self._read = list(read)

    def next(self) -> bytes | None:
        return self._read.pop(0) if self._read else None

    def add(self, plaintext: bytes) -> bool:
        return False

    def wrap(self, plaintext: bytes) -> bytes:
        return b"sealed"

    def __getattr__(self, name: str) -> object:
        return lambda *_: False


def tapped(file: Path, *read: bytes, outgoing: bool = True) -> Link:
    """A link that does nothing, written down."""
    silence = Silence(*read)
    link = Link(silence, silence, silence)  # type: ignore[arg-type]
    return Capture(os.fspath(file)).tap(link, Identity(bytes(32)).peer_id, Identity(b"p" * 32).peer_id, outgoing)


def streams(file: Path) -> dict[tuple[str, int], bytes]:
    """What each side sent, by its address."""
    found: dict[tuple[str, int], bytes] = {}
    for packet in packets(file.read_bytes()):
        part = tcp_parts(packet)
        assert part.flags & 2 or part.number == 1 + len(found.get(part.source, b"")), "the numbers have a gap"
        found[part.source] = found.get(part.source, b"") + part.payload
    return found


def test_without_the_variable_there_is_none() -> None:
    assert from_environment({}) is None
    assert from_environment({VARIABLE: ""}) is None
    assert node().capture is None


def test_it_says_so_loudly_and_keeps_the_file_private(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert from_environment({VARIABLE: os.fspath(file)})
    (record,) = caplog.records
    assert (record.levelname, VARIABLE in record.message, os.fspath(file) in record.message) == ("ERROR", True, True)
    assert "decrypted" in record.message
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_what_others_may_read_is_refused_and_left_alone(file: Path) -> None:
    file.write_bytes(b"before")
    for mode in (0o644, 0o620, 0o604):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=rf"{VARIABLE}: .*talk\.pcapng: other users may read or write it"):
            Capture(os.fspath(file))
    assert file.read_bytes() == b"before"


@pytest.mark.skipif(os.name != "posix", reason="symbolic links, pipes")
def test_what_is_no_file_is_refused_at_once(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.touch(0o600)
    file.symlink_to(target)
    with pytest.raises(ConfigError, match="not written through a symbolic link"):
        Capture(os.fspath(file))
    assert target.read_bytes() == b""
    with pytest.raises(ConfigError, match="regular file"):
        Capture(os.devnull)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ConfigError, match="cannot be written"):
        Capture(os.fspath(pipe))


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_file_that_is_opened_to_others_meanwhile_gets_no_more(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = tapped(file)
    file.chmod(0o644)
    size = file.stat().st_size
    link.writer.add(message_frame(b"secret"))
    assert file.stat().st_size == size
    assert "ends here" in caplog.text


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{VARIABLE}: .*nowhere.* cannot be written: .*No such file"):
        Capture(os.fspath(tmp_path / "nowhere" / "x"))


@pytest.mark.parametrize("outgoing", [True, False])
def test_both_directions_begin_like_a_tracer_connection(file: Path, outgoing: bool) -> None:
    link = tapped(file, message_frame(b"theirs"), outgoing=outgoing)
    assert link.writer.add(message_frame(b"ours")) is False
    assert link.writer.wrap(message_frame(b"at once")) == b"sealed"
    assert link.reader.next() == message_frame(b"theirs")
    assert link.reader.next() is None
    all_packets = [tcp_parts(packet) for packet in packets(file.read_bytes())]
    ours, theirs = ("10.0.0.1", 7), ("10.0.0.2", 8)
    dialler, other = (ours, theirs) if outgoing else (theirs, ours)
    assert [part.source for part in all_packets[:5]] == [dialler, other, dialler, dialler, other]
    assert [part.flags for part in all_packets[:3]] == [2, 18, 16]
    sent = streams(file)
    for side, who, rest in (
        (ours, Identity(bytes(32)), message_frame(b"ours") + message_frame(b"at once")),
        (theirs, Identity(b"p" * 32), message_frame(b"theirs")),
    ):
        assert sent[side].startswith(MAGIC + bytes([HELLO]))
        assert who.peer_id.hex().encode() in sent[side]
        assert b"decrypted; utp" in sent[side]
        assert sent[side].endswith(rest)
    comment = rb"a secure connection over utp with " + str(Identity(b"p" * 32).peer_id).encode()
    assert re.search(comment, file.read_bytes())


def test_large_frames_take_several_packets(file: Path) -> None:
    link = tapped(file)
    link.writer.add(message_frame(b"m" * 65_536))
    sizes = [len(tcp_parts(packet).payload) for packet in packets(file.read_bytes())][-3:]
    assert sizes == [MAX_PAYLOAD, MAX_PAYLOAD, HEADER.size]


def test_several_may_write_to_one_file(file: Path) -> None:
    links = [tapped(file) for _ in range(3)]
    for _ in range(4):
        for link in links:
            link.writer.add(message_frame(b"m"))
    assert len(list(packets(file.read_bytes()))) == 3 * (5 + 4)


def test_a_full_disk_ends_the_capture_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    link = tapped(file)
    size = file.stat().st_size

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        link.writer.add(message_frame(b"m"))
    link.writer.add(message_frame(b"m"))
    assert file.stat().st_size == size
    (told,) = [record.message for record in caplog.records if "ends here" in record.message]
    assert "No space left" in told


def test_a_real_connection(pair: Pair, file: Path) -> None:
    """The choice is in it, and nothing of the keys."""
    own = node()
    own = type(own)(own.identity, own.keys, own.session, own.ciphers, own.is_replay, Capture(os.fspath(file)))
    responding = start(negotiate_incoming, pair.stream(pair.theirs), node())
    outgoing = start(negotiate_outgoing, pair.stream(pair.ours), own).result()
    incoming = responding.result()
    outgoing.link.writer.add(message_frame(b"written down"))
    outgoing.link.writer.flush()
    assert frames(incoming)
    text = file.read_bytes()
    assert message_frame(b"written down") in text
    assert b'{"serial":1}' in text
    for secret in (own.identity.seed, own.identity.private_key, own.keys.psk, own.keys.mask_key):
        assert secret not in text


def test_a_packet_block_is_one_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or those of two processes would mix."""
    written: list[bytes] = []
    link = tapped(file)
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        written.append(data)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    link.writer.add(message_frame(b"m"))
    (block,) = written
    kind, size = struct.unpack_from("<II", block)
    assert (kind, size) == (6, len(block))
