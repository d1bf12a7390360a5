"""``crust demo``: the main job of Crust in one command, with real processes, and every promise checked."""

import argparse
import hashlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from crust import cli
from crust.cli import console
from crust.cli.console import Exit, count_of, human_bytes
from crust.cli.demo_checks import Expected, problems
from crust.cli.demo_crew import Crew, DemoFailed, Member, Report
from crust.cli.demo_story import Story
from crust.cli.transfer_view import Bar, rate_of
from crust.limits import MIB
from crust.threads.clock import now

NAMES: Final = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ida", "Jon", "Kim", "Lou")
CHAT: Final = ("Good morning!", "Is everybody here?", "I can hear all of you.")
AFTERWARDS: Final = ("That was {}, I think.", "We go on without {}.")
PEERS: Final = 5
SIZE: Final = 64  # MiB
TIMEOUT: Final = 60.0  # seconds; it takes three, but a loaded machine is not an error
BEACON_PATIENCE: Final = 10.0
"""Seconds for the peers to find each other; it takes one. Not every system lets a beacon speak to itself."""

DESCRIPTION = """\
Start real peers, each a process of its own, on this machine; let them find each other without any address, chat, move a
file, survive the crash of one of them, and stop. Everything is checked: the exit code is 0 only if every event came,
once and in order, and the file is the same.

With --nat: two peers behind home routers, which are made for this demo out of network namespaces, meet with the help of
a third and connect directly, though neither router lets anybody in.
"""
EPILOG = """\
examples:
  crust demo
  crust demo --peers 12 --size 512
  crust demo --json | python -m json.tool
  sudo crust demo --nat
"""


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(subparsers, "demo", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--nat", action="store_true", help="show instead how two peers behind routers become connected (Linux, root)"
    )
    parser.add_argument("--peers", type=_peers, metavar="N", help=f"3 to {len(NAMES)} peers (default: {PEERS})")
    parser.add_argument("--size", type=_size, metavar="MIB", help=f"size of the file in MiB (default: {SIZE})")
    parser.add_argument(
        "--timeout", type=cli.seconds, default=TIMEOUT, metavar="SECONDS", help=f"give up after ({TIMEOUT:.0f})"
    )
    parser.add_argument("--transport", choices=("tcp", "utp"), default="tcp", help="what they talk over (default: tcp)")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    output.add_argument("--json", action="store_true", help="print the outcome and the times as JSON")


def _number(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
    return int(text)


def _peers(text: str) -> int:
    return _number(text, 3, len(NAMES))


def _size(text: str) -> int:
    return _number(text, 1, 100_000)


def run(args: argparse.Namespace) -> int:
    """Give the demo; the exit code says whether all was right."""
    if args.nat:
        if args.peers is not None or args.size is not None:
            return console.fail("--nat shows two homes and moves no file: leave out --peers and --size", Exit.USAGE)
        from crust.cli import demo_nat

        return demo_nat.run(args)
    names = NAMES[: args.peers or PEERS]
    story = Story(names, quiet=args.quiet, as_json=args.json)
    with tempfile.TemporaryDirectory(prefix="crust-demo-") as folder:
        show = Show(story, args.timeout, args.transport)
        try:
            with show.crew:
                show.play(names, Path(folder), (args.size or SIZE) * MIB)
                wrong = show.verdict()
        except DemoFailed as error:
            wrong = [str(error)]
    story.end(wrong)
    return Exit.CHECK if wrong else Exit.OK


def listed(names: Iterable[str]) -> str:
    """``Ada, Ben and Cleo``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


class Show:
    """The demo itself, one method for each step.

    Args:
        story: tells it.
        timeout: seconds that it may take.
        transport: what the peers talk over.
    """

    def __init__(self, story: Story, timeout: float, transport: str = "tcp") -> None:
        self._transport = transport
        self.crew = Crew(timeout, self._on_report)
        self._story = story
        self._expected: dict[Member, Expected] = {}
        self._wrong: list[str] = []
        self._heard: Callable[[Member, Report], None] = lambda member, report: None
        self._bar = Bar(0, 0)

    def play(self, names: tuple[str, ...], folder: Path, size: int) -> None:
        """All steps, in order."""
        self._start(names, folder)
        self._connect()
        self._chat()
        self._move_file(folder, size)
        self._crash()
        self._stop()

    def verdict(self) -> list[str]:
        """Everything that is wrong, once all peers have ended."""
        wrong = list(self._wrong)
        for member, expected in self._expected.items():
            if expected.stopped:
                wrong += [f"{member.name}: {text}" for text in problems(member.log, expected, self._names())]
        return wrong

    # --- the steps --------------------------------------------------------------------------------

    def _start(self, names: tuple[str, ...], folder: Path) -> None:
        self._story.step("start", f"{len(names)} peers, each a process of its own")
        others = len(names) - 1
        options = ["--network", f"crust demo {secrets.token_hex(8)}", "--wanted", str(others), *_beacon()]
        self.crew.start(names, folder, self._transport, *options)
        for member in self.crew.members:
            self._expected[member] = Expected()
            self._story.say(f"{member.name:<5} has the id {member.id[:8]} and the process {member.process.pid}")
        self._story.done("None of them knows of any other.", peers=len(names))

    def _connect(self) -> None:
        members = self.crew.members
        others = len(members) - 1
        pairs = len(members) * others // 2
        self._story.step("connect", "They look for each other; nobody is given an address")
        for member in members:
            self._expected[member].connected = {other.id for other in self._others(member)}
            member.tell("listen")
        self._until("started to listen", "listening", lambda member: 1)
        for member in members:
            self._story.say(f"{member.name:<5} listens on {member.place}")
        found = self._until("connected", "new", lambda member: others, patience=BEACON_PATIENCE)
        if not found:
            self._introduce()
        for member in members:
            member.tell("count")
        self._until("counted its connections", "connections", lambda member: 1)
        for member in members:
            ids = member.reports("connections")[-1]["ids"]
            if sorted(ids) != sorted(self._expected[member].connected):
                self._wrong.append(f"{member.name} has {len(ids)} connections, but there are {others} other peers")
        self._story.done(f"{pairs} connections: exactly one between any two.", found=found, connections=pairs)

    def _introduce(self) -> None:
        """Tell everybody where all others are, in both directions at once."""
        self._story.say("They do not hear each other's beacons on this machine, so they are told where the others are.")
        for member in self.crew.members:
            member.tell("connect", to=[other.place for other in self._others(member)])
        self._until("connected", "new", lambda member: len(self.crew.members) - 1)

    def _chat(self) -> None:
        self._story.step("chat", "Everybody talks to everybody")
        count = self._talk(self.crew.members, CHAT)
        self._story.done(f"{count_of(count, 'message')} sent, all arrived, in order.", messages=count)

    def _move_file(self, folder: Path, size: int) -> None:
        sender, receiver = self.crew.members[:2]
        path = folder / "random.bin"
        digest = _write_random(path, size)
        self._story.step("file", f"{sender.name} sends {human_bytes(size)} of random bytes to {receiver.name}")
        with self._story.view() as view:
            self._bar = view.bar(path.name, size)
            began = now()
            sender.tell("send", to=receiver.id, path=str(path))
            self._until("received the file", "received", lambda member: member is receiver)
            self._until("sent the file", "sent", lambda member: member is sender)
            seconds = now() - began
            self._bar.close()
        outcome, arrived = sender.reports("sent")[-1], receiver.reports("received")[-1]["path"]
        if not outcome["ok"]:
            self._wrong.append(f"the file was not taken: {outcome['text']}")
        elif _hash(Path(arrived)) != digest:
            self._wrong.append("the file that arrived is not the one that was sent")
        rate = rate_of(size, seconds)
        self._story.done(f"It arrived at {rate}, and its hash is right: {digest[:16]}...", seconds, bytes=size)

    def _crash(self) -> None:
        *survivors, victim = self.crew.members
        self._story.step("crash", f"{victim.name} is killed: no goodbye, no clean-up")
        self._expected[victim].stopped = False
        for member in survivors:
            self._expected[member].lost.add(victim.id)
        began = now()
        victim.process.kill()
        self.crew.until("noticed", lambda: self._lacking(survivors, "lost", lambda member: 1), [victim])
        noticed = now() - began
        code = self.crew.wait_for_end(victim)
        if sys.platform != "win32" and code != -signal.SIGKILL:
            self._wrong.append(f"{victim.name} ended with exit code {code} instead of being killed")
        self._story.say(f"{listed(member.name for member in survivors)} noticed within {1000 * noticed:.0f} ms.")
        count = self._talk(survivors, [line.format(victim.name) for line in AFTERWARDS])
        self._story.done(
            f"The others go on: {count_of(count, 'message')} more.", noticed=round(noticed, 4), messages=count
        )

    def _stop(self) -> None:
        *running, _ = self.crew.members
        self._story.step("stop", f"{listed(member.name for member in running)} stop, one after the other")
        while running:
            member = running.pop(0)
            for other in running:
                self._expected[other].lost.add(member.id)
            member.tell("stop")
            if code := self.crew.wait_for_end(member):
                self._wrong.append(f"{member.name} ended with exit code {code}")
            self._until("missed it", "lost", lambda other: len(self._expected[other].lost), running)
        self._story.done("Each said goodbye, and the others heard it; no process is left.")

    # --- what the steps need ----------------------------------------------------------------------

    def _on_report(self, member: Member, report: Report) -> None:
        if report["is"] == "moved":
            self._bar.move(report["position"])
        self._heard(member, report)

    def _others(self, member: Member) -> list[Member]:
        return [other for other in self.crew.members if other is not member]

    def _names(self) -> dict[str, str]:
        return {member.id: member.name for member in self.crew.members}

    def _lacking(self, members: Iterable[Member], kind: str, count: Callable[[Member], int]) -> list[str]:
        """Who has not reported ``count`` times yet; a failure ends the waiting at once."""
        found = []
        for member in members:
            for failure in member.reports("failed"):
                raise DemoFailed(f"{member.name}: {failure['to']} {failure['reason']}")
            seen, wanted = len(member.reports(kind)), int(count(member))
            if seen < wanted:
                found.append(f"{member.name} ({seen} of {wanted})")
        return found

    def _until(
        self,
        what: str,
        kind: str,
        count: Callable[[Member], int],
        members: list[Member] | None = None,
        patience: float | None = None,
    ) -> bool:
        chosen = self.crew.members if members is None else members
        gone = [member for member, expected in self._expected.items() if member not in chosen or not expected.stopped]
        return self.crew.until(what, lambda: self._lacking(chosen, kind, count), gone, patience)

    def _talk(self, members: list[Member], lines: Iterable[str]) -> int:
        """Everybody says all lines to everybody; returns how many messages that were, when all have arrived."""
        before = {member: len(member.reports("message")) for member in members}
        shown: set[str] = set()

        def heard(member: Member, report: Report) -> None:
            if report["is"] == "message" and report["id"] not in shown:
                shown.add(report["id"])
                self._story.speak(member.name, self._names()[report["id"]], report["text"])

        self._heard = heard
        sent = 0
        for line in lines:
            for member in members:
                others = [other for other in members if other is not member]
                for other in others:
                    self._expected[other].messages[member.id].append(line)
                member.tell("say", to=[other.id for other in others], text=line)
                sent += len(others)
        each = sent // len(members)
        self._until("heard everybody", "message", lambda member: before[member] + each, members)
        self._heard = lambda member, report: None
        return sent


def _beacon() -> list[str]:
    """A port for the beacons that is nobody's, so that they trouble nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return ["--beacon", str(sock.getsockname()[1])]


def _write_random(path: Path, size: int) -> str:
    """Make a file of random bytes; returns its hash."""
    hasher = hashlib.blake2b(digest_size=32)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            data = os.urandom(MIB)
            hasher.update(data)
            file.write(data)
    return hasher.hexdigest()


def _hash(path: Path) -> str:
    hasher = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while data := file.read(MIB):
            hasher.update(data)
    return hasher.hexdigest()
