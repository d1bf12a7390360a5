"""What idle uTP connections cost the process that holds them: ``python -m benches.utp_idle``.

The measured process has one `UtpSocket` that accepts; all its peers are connections of one `UtpSocket` in this process.
Idle is not silent: each connection sends a packet each way every 29 seconds, to keep its NAT mapping.
"""

import sys
import time
from typing import Any

from benches import holding
from benches.child import Child
from benches.process_state import state
from benches.progress import progress
from crust.cli import console
from crust.errors import CrustError
from crust.transport.utp import UtpSettings, UtpSocket, UtpStream

HOST = "127.0.0.1"
TIMEOUT = 30.0  # seconds for one step of one connection
MESSAGE = bytes(64 * 1024)


class Holder:
    """The measured process."""

    def __init__(self, count: int) -> None:
        self.socket = UtpSocket((HOST, 0), settings=UtpSettings(max_connections=count))
        self._streams: list[UtpStream] = []

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; what to answer."""
        match command["do"]:
            case "port":
                return {"port": self.socket.local_address[1]}
            case "accept":
                self._streams.append(self.socket.accept(TIMEOUT))
                return {}
            case "read":
                return {"bytes": self._read(command["number"], command["count"])}
            case "state":
                return {**state(), **self.socket.datagram_counters, "connections": self._alive()}
        raise ValueError(f"no such command: {command}")

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)

    def _alive(self) -> int:
        alive = 0
        for stream in self._streams:
            try:
                stream.receive_waiting(memoryview(bytearray(1)))
                alive += 1
            except CrustError:
                continue
        return alive

    def _read(self, number: int, count: int) -> int:
        got = 0
        while got < count and (data := self._streams[number].recv(count - got, timeout=TIMEOUT)):
            got += len(data)
        return got


def measure(count: int, idle_seconds: float) -> dict[str, Any]:
    """Hold ``count`` connections; everything about it."""
    with Child("benches.utp_idle", "--hold", str(count), log=2) as holder:
        holder.answer()
        port = holder.ask("port")["port"]
        empty = holder.ask("state")
        peers = UtpSocket((HOST, 0), accepting=False, settings=UtpSettings(max_connections=count))
        try:
            progress(f"connecting {count} times ...")
            start = time.monotonic()
            streams = [_connected(peers, port, holder) for _ in range(count)]
            seconds = time.monotonic() - start
            full = holder.ask("state")
            progress(f"idle for {idle_seconds:g} s ...")
            time.sleep(idle_seconds)
            idle = holder.ask("state")
            for number, stream in enumerate(streams):
                progress(f"64 KiB over each, {number} of {count} ...")
                stream.sendall(MESSAGE, timeout=TIMEOUT)
                holder.ask("read", number=number, count=len(MESSAGE))
            after = holder.ask("state")
        finally:
            peers.close(linger=0)
            progress("")
    elapsed = idle["clock"] - full["clock"]
    return {
        "connections": count,
        "connects_per_second": count / seconds,
        "memory_per_connection": (full["resident"] - empty["resident"]) / count,
        "memory_after_64_kib": (after["resident"] - empty["resident"]) / count,
        "threads": full["threads"],
        "idle_seconds": elapsed,
        "idle_cpu": (idle["cpu"] - full["cpu"]) / elapsed,
        "packets_per_second": (idle["sent"] - full["sent"] + idle["received"] - full["received"]) / elapsed,
        "lost": count - after["connections"],
    }


def _connected(peers: UtpSocket, port: int, holder: Child) -> UtpStream:
    stream = peers.connect((HOST, port), TIMEOUT)
    holder.ask("accept")
    return stream


def _show(result: dict[str, Any]) -> None:
    rows = [
        ["connections", f"{result['connections']:,}"],
        ["connects", f"{result['connects_per_second']:,.0f}/s"],
        ["memory of one", console.human_bytes(result["memory_per_connection"])],
        ["after 64 KiB over each", console.human_bytes(result["memory_after_64_kib"])],
        ["threads of the process", str(result["threads"])],
        [f"CPU, idle for {result['idle_seconds']:.0f} s", f"{result['idle_cpu']:.2%}"],
        ["packets, both ways", f"{result['packets_per_second']:.1f}/s"],
        ["lost", str(result["lost"])],
    ]
    console.table(["one socket", ""], rows, right=[1])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when a connection was lost."""
    return holding.main("benches.utp_idle", __doc__, 60.0, Holder, measure, _show, arguments)


if __name__ == "__main__":
    sys.exit(main())
