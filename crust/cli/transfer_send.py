"""``crust send``: files to a peer."""

import argparse
import os
import secrets
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crust import cli
from crust.cli import console
from crust.cli import transfer_wire as wire
from crust.cli.console import Exit
from crust.cli.heard_channel import HeardChannel
from crust.cli.interrupts import Interrupts
from crust.cli.transfer_link import FIRST_PAUSE, LONGEST_PAUSE, Link
from crust.cli.transfer_names import suggest_name
from crust.cli.transfer_sender import CHUNK, Result, SenderSession, State
from crust.cli.transfer_source import DiskSource
from crust.cli.transfer_view import Bar, View
from crust.cli.transfer_wire import Code, TransferError
from crust.errors import ConnectionLost, DialFailed, EndpointError
from crust.threads.clock import Deadline, now

if TYPE_CHECKING:
    from crust.endpoint import Endpoint
    from crust.event import AnyEvent
    from crust.identity import PeerId

STALLED_AFTER: Final = 600.0
"""Seconds without a word from the receiver after which the connection is given up and made anew. A dead peer or network
is noticed much earlier, by the keep-alive; this is for a receiver that hangs, and longer than the slowest disk or link
takes for a piece or for writing a large file through."""
RETRY: Final = 60.0  # seconds; the default of --retry

DESCRIPTION = "Send files to a peer that runs: crust receive"
EPILOG = """\
A file counts as sent when the peer has checked its hash and written it to its disk. When the connection breaks, it is
made again and goes on where it was; the same works after Ctrl-C or a crash on either side: give the same command again.

examples:
  crust send holiday.mp4 192.0.2.7:5483
  crust send *.pdf 192.0.2.7:5483
  crust send disk.img '[2001:db8::7]:5483' --retry 3600
"""


def add_parser(subparsers: cli.Subparsers) -> None:
    """Register the command."""
    parser = cli.add_command(subparsers, "send", DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to send; pack folders into one file first")
    parser.add_argument(
        "peer", type=peer_endpoints, metavar="PEER", help="address of the peer, HOST:PORT; several with commas between"
    )
    parser.add_argument("--peer-id", type=peer_id, metavar="HEX", help="send only to the peer with this identity")
    parser.add_argument(
        "--retry",
        type=cli.seconds,
        default=RETRY,
        metavar="SECONDS",
        help=f"how long to try to reach the peer again after the connection broke (default: {RETRY:.0f})",
    )
    parser.add_argument(
        "--wait",
        type=cli.seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to try to reach it in the beginning (default: one attempt)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    cli.add_node_options(parser)


def peer_endpoints(text: str) -> "list[Endpoint]":
    """The ``type=`` of PEER."""
    return [cli.endpoint(part) for part in text.split(",")]


def peer_id(text: str) -> "PeerId":
    """The ``type=`` of an identity of a peer."""
    from crust.identity import PeerId

    try:
        return PeerId.parse(text)
    except EndpointError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Send the files."""
    from crust.connection_manager import ConnectionManager

    config = cli.config_from(args, **cli.TOLD_WHOM)
    for path in args.files:
        if (reason := unsendable(path)) is not None:
            return console.fail(f"{path}: {reason}")
    interrupts = Interrupts()
    events: HeardChannel[AnyEvent] = HeardChannel(interrupts)
    with interrupts, ConnectionManager(events, config) as manager, View(args.quiet) as view:
        link = Link(manager, events, args.peer, args.peer_id)
        view.say(f"Connecting to {', '.join(map(str, args.peer))} ...", "note")
        link.open(args.wait)
        view.say(f"Connected to {link.peer_id}.", "good")
        chunk = min(CHUNK, config.max_message_size - wire.CHUNK_OVERHEAD)
        return Delivery(link, view, args.retry, chunk).send_all(args.files)


def unsendable(path: str) -> str | None:
    """Why a file cannot be sent, if so: better said before the first of many is sent."""
    try:
        DiskSource(path).close()
    except TransferError as error:
        return error.local
    return None


class Delivery:
    """Sends files over a link, again and again until they are there.

    Args:
        link: an open link.
        view: shows how far it is.
        retry: seconds to try to reach the peer again after the connection broke.
        chunk: bytes in a piece.
        stalled_after: seconds without a word from the receiver before the connection is made anew.
    """

    def __init__(
        self, link: Link, view: View, retry: float, chunk: int = CHUNK, stalled_after: float = STALLED_AFTER
    ) -> None:
        self._link = link
        self._view = view
        self._retry = retry
        self._chunk = chunk
        self._stalled_after = stalled_after

    def send_all(self, paths: Sequence[str]) -> int:
        """Send files one after the other, whatever becomes of each; returns the exit code.

        Raises:
            RemoteError: the peer is gone for good, or is not one that can receive.
        """
        codes = set()
        for number, path in enumerate(paths, 1):
            result = self._send(path, len(paths) - number)
            if not result.ok:
                codes.add(Exit.CHECK if result.code is Code.CORRUPT else Exit.FAILED)
                console.fail(f"{path}: {result.text}" if result.here else f"{path}: not taken: {result.text}")
        if self._link.connected:
            self._link.send(wire.encode(wire.End()), timeout=self._stalled_after)
        return max(codes, default=Exit.OK)

    def _send(self, path: str, following: int) -> Result:
        name = suggest_name(os.path.basename(os.path.abspath(path)))
        try:
            with DiskSource(path) as source:
                return self._send_source(name, source, following)
        except TransferError as error:
            return Result(False, error.local, code=error.code, here=True)

    def _send_source(self, name: str, source: DiskSource, following: int) -> Result:
        """Send one file, over as many connections as it takes."""
        transfer = secrets.token_bytes(wire.TRANSFER_SIZE)
        patience = Deadline(self._retry)
        pause = FIRST_PAUSE
        while True:
            session = SenderSession(transfer, name, source, following, chunk=self._chunk)
            try:
                result = self._run(session, name)
            except ConnectionLost as error:
                if session.written > session.started_at:
                    patience = Deadline(self._retry)
                    pause = FIRST_PAUSE
                self._reconnect(str(error), patience, pause)
            else:
                if result.code is not Code.BUSY or patience.expired:
                    return result
                self._link.pause(pause)  # somebody sends a file of that name, or the receiver has not missed us yet
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reconnect(self, reason: str, patience: Deadline, pause: float) -> None:
        self._view.say(f"The connection is lost ({reason}). Trying to reach the peer again ...", "warn")
        self._link.pause(min(pause, patience.remaining() or 0.0))
        try:
            if not self._link.connected:
                self._link.open(patience.remaining() or 0.0)
        except DialFailed as error:
            hint = "give the same command again to go on where it was, or a longer --retry"
            raise ConnectionLost(f"the peer did not come back: {error}; {hint}") from None
        self._view.say("Connected again.", "good")

    def _run(self, session: SenderSession, name: str) -> Result:
        """Run one session to its end, or to that of the connection."""
        pending = deque([session.offer])
        heard = now()
        bar: Bar | None = None
        try:
            while session.result is None:
                if not pending and (message := session.next_message()) is not None:
                    pending.append(message)
                ours = bool(pending)
                if ours and self._link.send(pending[0], timeout=1.0):
                    pending.popleft()
                data = self._link.receive(0.0 if ours else max(0.0, heard + self._stalled_after - now()))
                if data is not None:
                    heard = now()
                    pending.extend(session.receive(data))
                elif now() - heard >= self._stalled_after:
                    self._link.drop()
                    raise ConnectionLost(f"not a word from the receiver for {self._stalled_after:.0f} s")
                if bar is None and session.state is not State.OFFERED:
                    bar = self._view.bar(name, session.size, session.started_at)
                if bar is not None:
                    bar.move(session.written)
            for message in pending:
                self._link.send(message, timeout=self._stalled_after)
        finally:
            if bar is not None:
                bar.close()
        self._tell(name, session.result, bar)
        return session.result

    def _tell(self, name: str, result: Result, bar: Bar | None) -> None:
        if result.already:
            self._view.say(f"{name}: is there already, the same", "good")
        elif result.ok:
            as_name = "" if result.text == name else f" as {console.one_line(result.text)}"
            moved = f", {bar.summary()}" if bar is not None else ""
            self._view.say(f"{name}: sent and checked{as_name}{moved}", "good")
