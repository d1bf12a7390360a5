"""Captures made up for tests, and what tshark says of them."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from crust.identity import Identity
from crust.transport.masking import network_keys
from crust.transport.pcapng import ACK, PUSH, Address, packet_block, section_header, tcp_packet, udp_packet
from crust.transport.tracer_hello import TracerInitiator, TracerResponder

CLIENT: Final = ("192.0.2.1", 40000)
SERVER: Final = ("192.0.2.2", 40001)
KEYS: Final = network_keys("crust", None)
ALICE, BOB = Identity(bytes(range(32))), Identity(bytes(32))
TICK: Final = 1000  # microseconds between two packets
_START: Final = 1_700_000_000_000_000
_BETWEEN: Final = "\x1f"


class Capture:
    """Packets in the order in which somebody saw them."""

    def __init__(self) -> None:
        self._blocks = [section_header("tests")]
        self._now = _START
        self.count = 0

    def __bytes__(self) -> bytes:
        return b"".join(self._blocks)

    def packet(self, packet: bytes, snap: int | None = None) -> None:
        """One more, of which only the first ``snap`` bytes are kept."""
        self._now += TICK
        self.count += 1
        self._blocks.append(packet_block(packet[:snap], self._now, length=len(packet)))

    def add(self, other: "Capture") -> None:
        """The packets of another capture after those that are here."""
        self._blocks += other._blocks[1:]
        self.count += other.count

    def datagram(self, source: Address, target: Address, payload: bytes) -> None:
        """A UDP datagram."""
        self.packet(udp_packet(source, target, payload))


class Conversation(Capture):
    """One TCP connection; `segment` makes a packet without capturing it, so that tests can mix them up."""

    def __init__(self, client: Address = CLIENT, server: Address = SERVER) -> None:
        super().__init__()
        self.client, self.server = client, server
        self._next = {client: 1000, server: 2**32 - 60}  # the second one soon wraps around

    def segment(self, source: Address, payload: bytes) -> bytes:
        """The next segment of a side."""
        target = self.server if source == self.client else self.client
        number = self._next[source]
        self._next[source] += len(payload)
        return tcp_packet(source, target, payload, number=number, ack=self._next[target], flags=ACK | PUSH)

    def out(self, payload: bytes, snap: int | None = None) -> None:
        """The client sends."""
        self.packet(self.segment(self.client, payload), snap)

    def back(self, payload: bytes, snap: int | None = None) -> None:
        """The server sends."""
        self.packet(self.segment(self.server, payload), snap)

    def greet(self) -> None:
        """The beginning of a tracer connection; three packets."""
        alice, bob = TracerInitiator(ALICE, KEYS, b"session1"), TracerResponder(BOB, KEYS, b"session2")
        hello = alice.start()
        answer = bob.receive(hello)
        assert alice.receive(answer)
        self.out(hello)
        self.back(answer)
        self.out(alice.finish(1, True))


def greeted() -> Conversation:
    """A conversation that has begun."""
    conversation = Conversation()
    conversation.greet()
    return conversation


class Tshark:
    """The real one, with our dissector and nothing of its user's.

    Args:
        folder: for files.
        script: the dissector.
    """

    def __init__(self, folder: Path, script: str) -> None:
        self._folder = folder
        self._script = folder / "dissector.lua"
        self._script.write_text(script, "utf-8")
        self._known: dict[tuple[bytes | Path, tuple[str, ...]], list[dict[str, list[str]]]] = {}

    def run(self, capture: Capture | Path, *options: str) -> str:
        """What it prints; whatever it complains of fails the test."""
        file = capture if isinstance(capture, Path) else self._folder / "capture.pcapng"
        if isinstance(capture, Capture):
            file.write_bytes(bytes(capture))
        home = os.fspath(self._folder)
        environment = {"PATH": os.environ["PATH"], "HOME": home, "XDG_CONFIG_HOME": home, "LC_ALL": "C.UTF-8"}
        command = ["tshark", "-n", "-2", "-X", f"lua_script:{self._script}", "-r", os.fspath(file), *options]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=60, env=environment, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
        assert (done.returncode, complaints) == (0, []), done.stderr
        assert not sorted({line.strip() for line in done.stdout.splitlines() if "Lua Error" in line})
        return done.stdout

    def rows(self, capture: Capture | Path, *options: str) -> list[dict[str, list[str]]]:
        """For each packet, all values that each field has there. The same question is put to tshark only once."""
        key = capture if isinstance(capture, Path) else bytes(capture), options
        if key not in self._known:
            names = [
                *re.findall(r'Proto(?:Field|Expert)\.\w+\(\s*"([\w.]+)"', self._script.read_text("utf-8")),
                *_OTHERS,
            ]
            layout = ["-T", "fields", "-E", f"aggregator={_BETWEEN}", "-E", "separator=/t", "-E", "occurrence=a"]
            lines = self.run(
                capture, *layout, *(word for name in names for word in ("-e", name)), *options
            ).splitlines()
            cells = [[cell.split(_BETWEEN) if cell else [] for cell in line.split("\t")] for line in lines]
            self._known[key] = [dict(zip(names, row, strict=True)) for row in cells]
        return self._known[key]

    def ours(self, capture: Capture | Path, *options: str) -> list[dict[str, list[str]]]:
        """The same for the packets that the dissector took."""
        return [row for row in self.rows(capture, *options) if ":crust" in row["frame.protocols"][0]]

    def fields(self, capture: Capture | Path, names: Sequence[str], *options: str) -> list[list[list[str]]]:
        """For each packet, for each of these fields, all values that it has there."""
        return [[row[name] for name in names] for row in self.rows(capture, *options)]

    def values(self, capture: Capture | Path, name: str, *options: str) -> list[str]:
        """All values of a field, in the order of the packets."""
        return [value for row in self.rows(capture, *options) for value in row[name]]

    def info(self, capture: Capture | Path, *options: str) -> list[str]:
        """The Info column of each packet of ours."""
        return [row["_ws.col.Info"][0] for row in self.ours(capture, *options)]

    def remarks(self, capture: Capture | Path, *options: str) -> list[list[str]]:
        """The expert infos of each packet of ours."""
        return [row["_ws.expert.message"] for row in self.ours(capture, *options)]

    def complaints(self, capture: Capture | Path, *options: str) -> list[str]:
        """The expert infos that are warnings or errors."""
        return [
            text
            for row in self.ours(capture, *options)
            for text, severity in zip(row["_ws.expert.message"], row["_ws.expert.severity"], strict=True)
            if int(severity) >= _WARN
        ]


_OTHERS: Final = (
    "frame.number",
    "frame.protocols",
    "tcp.stream",
    "_ws.col.Protocol",
    "_ws.col.Info",
    "_ws.expert.message",
    "_ws.expert.severity",
)
_WARN: Final = 0x00600000


def need_tshark() -> None:
    """Skip where there is none."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed: apt-get install tshark")
