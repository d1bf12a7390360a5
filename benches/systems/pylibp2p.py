"""py-libp2p with the stack it chooses itself (TCP, Noise, yamux), one stream.

It runs on trio, so a thread has the event loop; that thread is entered once per measurement, not per message.
"""

import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import Any

import trio
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr  # type: ignore[import-untyped, unused-ignore]

from benches.systems.base import check, seconds_since

PROTOCOL = TProtocol("/crust-bench/1")
READ_SIZE = 256 * 1024  # bytes
START_TIMEOUT = 30.0  # seconds


class Libp2pNode:
    """Bytes are counted, not messages, as for raw sockets: that is the shortest loop on a stream."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._host: Any = None
        self._token: Any = None
        self._streams: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._started: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="trio", daemon=True)
        self._thread.start()
        self._started.get(timeout=START_TIMEOUT)

    async def _main(self) -> None:
        self._host = new_host()
        self._host.set_stream_handler(PROTOCOL, self._on_stream)
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with self._host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            self._started.put(None)
            await self._stop.wait()

    async def _on_stream(self, stream: Any) -> None:
        self._streams.put(stream)
        await self._stop.wait()  # the stream is reset when its handler returns

    def _run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def listen(self) -> str:
        return str(self._host.get_addrs()[0])

    def connect(self, address: str) -> None:
        async def dial() -> None:
            peer = info_from_p2p_addr(Multiaddr(address))
            await self._host.connect(peer)
            self._stream = await self._host.new_stream(peer.peer_id, [PROTOCOL])

        self._run(dial)

    def accepted(self) -> None:
        self._stream = self._streams.get(timeout=START_TIMEOUT)

    def send(self, message: bytes, count: int) -> None:
        async def loop() -> None:
            write = self._stream.write
            for _ in range(count):
                await write(message)

        self._run(loop)

    def receive(self, size: int, count: int) -> float:
        async def loop() -> float:
            read = self._stream.read
            left = size * count - len(await read(size))
            start = perf_counter_ns()
            while left:
                data = await read(min(left, READ_SIZE))
                check(bool(data), "the stream ended early")
                left -= len(data)
            return seconds_since(start)

        return float(self._run(loop))

    async def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self._stream.read(size - len(data))
            check(bool(more), "the stream ended early")
            data += more
        return data

    def ping(self, message: bytes, count: int) -> list[int]:
        async def loop() -> list[int]:
            times = []
            for _ in range(count):
                start = perf_counter_ns()
                await self._stream.write(message)
                reply = await self._read(len(message))
                times.append(perf_counter_ns() - start)
                check(reply == message, "the echo differs")
            return times

        result: list[int] = self._run(loop)
        return result

    def echo(self, size: int, count: int) -> None:
        async def loop() -> None:
            for _ in range(count):
                await self._stream.write(await self._read(size))

        self._run(loop)

    def close(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._stop.set)
        self._thread.join(timeout=5)
