"""What it costs to move datagrams: ``python -m benches.datagrams``. Two processes over loopback, no protocol.

Every way of sending meets the same receiver, and the other way round, with bursts of 46 packets of 1400 bytes (20 of
header, 1380 of payload). "crust" is `crust.transport.utp.datagrams.Datagrams`; the others are the bare calls that it
could be made of. Nobody acknowledges anything: a sender that is faster than the receiver loses packets, so the CPU time
per packet says more than the rates. Linux only.
"""

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benches.child import Child, obey
from crust.cli import console
from crust.cli.bench_stats import machine
from crust.transport.utp.burst import Burst
from crust.transport.utp.datagrams import Datagrams
from crust.transport.utp.udp_options import GRO_ANCILLARY_BYTES, gro_segment, segment_ancillary

COUNT = 46
HEADER = 20
SEGMENT = 1400
BATCH = 65_536  # bytes; the most that one call receives
ARENA = 1 << 20  # bytes
BURSTS_PER_LOOK = 20  # between two looks at the clock
FIRST_WORDS = struct.Struct(">II")

Send = Callable[[], int]
Receive = Callable[[], tuple[memoryview, int] | None]


def burst_to(address: Any) -> Burst:
    """The burst that everybody sends."""
    payload = memoryview(bytes(range(256)) * 6)[: SEGMENT - HEADER]
    buffers: list[bytes | memoryview] = [bytes(HEADER), payload] * COUNT
    return Burst(address, buffers, SEGMENT)


def sender(way: str, sock: Datagrams, address: Any) -> Send:
    """A function that sends a burst and returns how many packets that were."""
    burst, ancillary = burst_to(address), segment_ancillary(SEGMENT)
    buffers = burst.buffers
    bare = socket.socket(fileno=os.dup(sock.fileno()))
    bare.setblocking(False)

    def joined() -> int:
        bare.sendmsg([b"".join(buffers)], ancillary, 0, address)
        return COUNT

    def pairs() -> int:
        bare.sendmsg(buffers, ancillary, 0, address)
        return COUNT

    def each_joined() -> int:
        for place in range(0, len(buffers), 2):
            bare.sendto(b"".join(buffers[place : place + 2]), address)
        return COUNT

    def each_pair() -> int:
        for place in range(0, len(buffers), 2):
            bare.sendmsg(buffers[place : place + 2], (), 0, address)
        return COUNT

    own: dict[str, Send] = {"crust": lambda: sock.send(burst), "crust, plain": lambda: sock.send(burst)}
    ways: dict[str, Send] = {
        "46 pairs": pairs,
        "46 joined first": joined,
        "a pair at a time": each_pair,
        "joined, at a time": each_joined,
    }
    return (own | ways)[way]


SENDERS = ("crust", "46 pairs", "46 joined first", "crust, plain", "a pair at a time", "joined, at a time")


def receiver(way: str, sock: Datagrams) -> Receive:
    """A function that receives what is there: all of it, and the size of each packet; ``None`` for nothing."""
    bare = socket.socket(fileno=os.dup(sock.fileno()))
    bare.setblocking(False)
    arena, used = memoryview(bytearray(ARENA)), 0

    def own() -> tuple[memoryview, int] | None:
        found = sock.receive()
        return (memoryview(found.data), found.segment) if found else None

    def as_bytes() -> tuple[memoryview, int] | None:
        try:
            data, ancillary, _, _ = bare.recvmsg(BATCH, GRO_ANCILLARY_BYTES)
        except BlockingIOError:
            return None
        return memoryview(data), gro_segment(ancillary) or len(data)

    def fresh() -> tuple[memoryview, int] | None:
        buffer = memoryview(bytearray(BATCH))
        try:
            size, ancillary, _, _ = bare.recvmsg_into([buffer], GRO_ANCILLARY_BYTES)
        except BlockingIOError:
            return None
        return buffer[:size], gro_segment(ancillary) or size

    def from_arena() -> tuple[memoryview, int] | None:
        nonlocal arena, used
        if used > ARENA - BATCH:
            arena, used = memoryview(bytearray(ARENA)), 0  # what still has views of the old one keeps it
        try:
            size, ancillary, _, _ = bare.recvmsg_into([arena[used : used + BATCH]], GRO_ANCILLARY_BYTES)
        except BlockingIOError:
            return None
        view = arena[used : used + size]
        used += size
        return view, gro_segment(ancillary) or size

    def one_bytes() -> tuple[memoryview, int] | None:
        try:
            data, _ = bare.recvfrom(BATCH)
        except BlockingIOError:
            return None
        return memoryview(data), len(data)

    ways: dict[str, Receive] = {
        "crust": own,
        "bytes": as_bytes,
        "new bytearray": fresh,
        "arena of 1 MiB": from_arena,
        "crust, plain": own,
        "recvfrom": one_bytes,
    }
    return ways[way]


RECEIVERS = ("crust", "bytes", "new bytearray", "arena of 1 MiB", "crust, plain", "recvfrom")
PLAIN = ("crust, plain", "recvfrom", "a pair at a time", "joined, at a time")


def run_sender(send: Send, fileno: int, seconds: float) -> int:
    """Send for so long; how many packets."""
    sent, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(BURSTS_PER_LOOK):
            try:
                taken = send()
            except BlockingIOError:
                taken = 0
            sent += taken
            if taken < COUNT:
                select.select([], [fileno], [], 0.1)
    return sent


def run_receiver(receive: Receive, fileno: int, quiet: float) -> tuple[int, float]:
    """Receive until nothing comes for ``quiet`` seconds: how many packets, and seconds from the first to the last."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    received, first, last = 0, 0.0, 0.0
    while poll.poll((quiet if first else 30 * quiet) * 1000):
        first = first or time.perf_counter()
        while found := receive():
            view, segment = found
            for start in range(0, len(view), segment):
                FIRST_WORDS.unpack_from(view, start)  # as anybody who uses a packet does, and slices it
                view[start + HEADER : start + segment]
                received += 1
        last = time.perf_counter()
    return received, last - first


def obey_commands() -> None:
    """One end, as a process; see `main`."""
    sockets: list[Datagrams] = []

    def do(command: dict[str, Any]) -> dict[str, Any]:
        cpu = time.process_time()
        match command:
            case {"do": "open", "way": way}:
                sockets.append(Datagrams("127.0.0.1", 0, offload=way not in PLAIN))
                if way not in PLAIN:
                    assert sockets[-1].offload, "this kernel has no segmentation offload"
                return {"address": sockets[-1].address}
            case {"do": "send", "way": way, "to": to, "seconds": seconds}:
                sock = sockets[-1]
                count, elapsed = run_sender(sender(way, sock, tuple(to)), sock.fileno(), seconds), seconds
            case {"do": "receive", "way": way}:
                count, elapsed = run_receiver(receiver(way, sockets[-1]), sockets[-1].fileno(), 0.2)
            case _:
                raise ValueError(f"no such command: {command}")
        sockets.pop().close()
        return {"count": count, "seconds": elapsed, "cpu": (time.process_time() - cpu) / max(count, 1)}

    obey(lambda: do, lambda: None)


def measure(send: str, receive: str, seconds: float) -> dict[str, Any]:
    """One way of sending into one way of receiving."""
    with Child("benches.datagrams", "--obey") as near, Child("benches.datagrams", "--obey") as far:
        near.answer(), far.answer()
        near.ask("open", way=send)
        address = far.ask("open", way=receive)["address"]
        far.tell("receive", way=receive)
        sent = near.ask("send", way=send, to=address, seconds=seconds)
        received = far.answer()
    return {
        "sender": send,
        "receiver": receive,
        "sent": sent["count"] / sent["seconds"],
        "received": received["count"] / max(received["seconds"], 1e-9),
        "cpu_send": sent["cpu"] * 1e6,
        "cpu_receive": received["cpu"] * 1e6,
    }


def pairings() -> list[tuple[str, str]]:
    """What is measured: each sender with our receiver, then each receiver with our sender."""
    found = [(way, "crust, plain" if way in PLAIN else "crust") for way in SENDERS]
    found += [("crust, plain" if way in PLAIN else "crust", way) for way in RECEIVERS]
    return list(dict.fromkeys(found))


def middle(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over all rounds."""
    numbers = ("sent", "received", "cpu_send", "cpu_receive")
    return samples[0] | {name: median(sample[name] for sample in samples) for name in numbers}


def table(rows: Sequence[dict[str, Any]]) -> None:
    """Print the figures."""
    console.say(f"{'sender':20}{'receiver':20}{'sent':>13}{'received':>13}{'CPU us/packet':>21}")
    for row in rows:
        rates = f"{row['sent'] / 1e3:>9.0f} k/s{row['received'] / 1e3:>9.0f} k/s"
        cpu = f"{row['cpu_send']:>10.2f} +{row['cpu_receive']:>9.2f}"
        console.say(f"{row['sender']:20}{row['receiver']:20}{rates}{cpu}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benches.datagrams", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON")
    parser.add_argument("--obey", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.obey:
        obey_commands()
        return 0
    rounds = [[measure(*pair, options.seconds) for pair in pairings()] for _ in range(options.rounds)]
    if options.json:
        print(json.dumps({"machine": machine(), "samples": rounds}))
        return 0
    table([middle(samples) for samples in zip(*rounds, strict=True)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
