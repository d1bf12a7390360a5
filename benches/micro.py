"""What each step costs by itself, in one thread: ``python -m benches.micro``. Nanoseconds per message, best of several.

Where a step works on batches, the batch is as large as in a busy connection: as much as fits one record.
"""

import argparse
import json
import queue
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import crust
from crust.channel import Channel
from crust.cli import console
from crust.cli.bench_stats import machine, size_name
from crust.endpoint import Endpoint
from crust.event import NewMessage, new_messages
from crust.links.outbox import Outbox
from crust.transport.aead import supported_ciphers
from crust.transport.framing import Decoder, encode_messages
from crust.transport.records import MAX_RECORD, Opener, Sealer

SIZES = (64, 1024, 64 * 1024)
RECORD = 64 * 1024
REPEATS = 7
RUN_SECONDS = 0.02  # of one repeat; short, so that the best one was not disturbed
KEY = bytes(range(32))


class Step(NamedTuple):
    """Something to time: ``run`` does it for ``messages`` messages."""

    name: str
    size: int
    """Bytes of a message; 0 where it makes no difference."""
    run: Callable[[], object]
    messages: int


def best(step: Step, repeats: int = REPEATS) -> float:
    """Nanoseconds per message in the fastest repeat."""
    step.run()
    loops = 1
    while (taken := _timed(step.run, loops)) < RUN_SECONDS * 1e9:
        loops = max(loops + 1, int(loops * min(10.0, RUN_SECONDS * 1.2e9 / max(taken, 1))))
    return min(_timed(step.run, loops) for _ in range(repeats)) / loops / step.messages


def _timed(run: Callable[[], object], loops: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(loops):
        run()
    return time.perf_counter_ns() - start


def _batch(size: int) -> list[bytes]:
    return [bytes([number & 255]) * size for number in range(max(1, (RECORD - 8) // (size + 2)))]


def crypto(cipher: str) -> Iterator[Step]:
    """Sealing and opening one record, and what that is for each message in it."""
    for size in SIZES:
        messages = len(_batch(size))
        plaintext = bytes(size * messages)
        out = bytearray(MAX_RECORD)
        sealer = Sealer(KEY, cipher)
        yield Step(f"seal, {cipher}", size, partial(sealer.seal_into, out, 0, plaintext, len(plaintext)), messages)
        yield Step(f"seal and open, {cipher}", size, _seal_and_open(cipher, plaintext), messages)
    yield Step(f"seal one alone, {cipher}", 64, lambda: sealer.seal_into(out, 0, KEY + KEY, 64), 1)


def _seal_and_open(cipher: str, plaintext: bytes) -> Callable[[], object]:
    sealer, opener, out = Sealer(KEY, cipher), Opener(KEY, cipher), bytearray(MAX_RECORD)
    view = memoryview(out)

    def run() -> None:
        end = sealer.seal_into(out, 0, plaintext, len(plaintext))
        at, opened = 0, False
        while at < end:  # as from a socket: into whatever room there is
            room = opener.writable()
            count = min(len(room), end - at)
            room[:count] = view[at : at + count]
            opener.received(count)
            opened = opener.open_next() is not None
            at += count
        if not opened:
            raise AssertionError("a record did not open")

    return run


def framing() -> Iterator[Step]:
    """Messages to frames and back."""
    for size in SIZES:
        batch = _batch(size)
        yield Step("frames: encode", size, partial(_encode, batch), len(batch))
        yield Step("frames: decode", size, partial(_decode, _encode(batch)), len(batch))
    mixed = [bytes(17 + number % 90) for number in range(600)]
    yield Step("frames: decode, mixed sizes", 62, partial(_decode, _encode(mixed)), len(mixed))


def _encode(messages: list[bytes]) -> list[bytes]:
    return [b"".join(pieces) for pieces, _, _ in encode_messages(messages)]


def _decode(frames: list[bytes]) -> None:
    decoder = Decoder(1 << 24)
    for frame in frames:
        decoder.feed(frame)
    decoder.take_messages()


def events() -> Iterator[Step]:
    """Making events, and the channels that they go through."""
    endpoint = Endpoint.tcp("192.0.2.7:5483")
    batch = _batch(64)
    made = new_messages(endpoint, batch)
    yield Step("event: one NewMessage", 0, lambda: NewMessage(endpoint, b"x"), 1)
    yield Step("events: a batch of them", 0, lambda: new_messages(endpoint, batch), len(batch))
    yield Step("event: match", 0, lambda: _match(made), len(made))
    channel = crust.channel()
    yield Step("channel: put_many, iterate", 0, lambda: _through(channel, made), len(made))
    for name, one in (("crust.channel", channel), ("queue.Queue", queue.Queue()), ("SimpleQueue", queue.SimpleQueue())):
        yield Step(f"{name}: put, get", 0, partial(_put_get, one), 1)


def _put_get(channel: Any) -> None:
    channel.put(1)
    channel.get()


def _match(items: Sequence[object]) -> int:
    found = 0
    for item in items:
        match item:
            case crust.Event.LostConnection():
                pass
            case crust.Event.NewMessage(_, data):
                found += len(data)
    return found


def _through(channel: Channel[object], items: Sequence[object]) -> None:
    channel.put_many(items)
    left = len(items)
    for _ in channel:
        left -= 1
        if not left:
            return


def sending() -> Iterator[Step]:
    """The outbound channel of a connection, without a writer."""
    outbox, batch = Outbox("bench", 1 << 30), _batch(64)

    def run() -> None:
        for message in batch:
            outbox.put(message)
        outbox.take()
        outbox.sent(sum(len(message) + 64 for message in batch))

    yield Step("outbox: put, take", 0, run, len(batch))


def steps() -> Iterator[Step]:
    """Everything that is timed."""
    for cipher in supported_ciphers():
        yield from crypto(cipher)
    yield from framing()
    yield from events()
    yield from sending()


def main(arguments: list[str] | None = None) -> int:
    """Time and print."""
    parser = argparse.ArgumentParser(prog="python -m benches.micro", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="steps whose name contains TEXT")
    parser.add_argument("--quick", action="store_true", help="a single repeat; the numbers are rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    chosen = [step for step in steps() if args.only in step.name]
    timed = [(step, best(step, 1 if args.quick else REPEATS)) for step in chosen]
    if args.json:
        rows = [{"step": step.name, "size": step.size, "ns": ns} for step, ns in timed]
        console.say(json.dumps({"machine": machine().as_json(), "steps": rows}, indent=1))
        return 0
    console.say(str(machine()), style="note")
    table = [[step.name, size_name(step.size) if step.size else "", f"{ns:,.0f}"] for step, ns in timed]
    console.table(["step", "message", "ns per message"], table, right=(1, 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
