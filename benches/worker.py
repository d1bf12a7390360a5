"""One end of a pair, in its own process; see `benches.pairs`."""

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from benches.child import obey
from benches.systems import BY_NAME
from benches.systems.base import Node


def filler(size: int) -> bytes:
    """A message of ``size`` bytes that is not all zeros."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def do(node: Node, command: dict[str, Any]) -> dict[str, Any]:
    """Do one command; what to answer."""
    match command:
        case {"do": "listen"}:
            return {"address": node.listen()}
        case {"do": "connect", "address": address}:
            node.connect(address)
        case {"do": "accepted"}:
            node.accepted()
        case {"do": "send", "size": size, "count": count}:
            node.send(filler(size), count)
        case {"do": "receive", "size": size, "count": count}:
            return {"seconds": node.receive(size, count)}
        case {"do": "ping", "size": size, "count": count}:
            return {"ns": node.ping(filler(size), count)}
        case {"do": "echo", "size": size, "count": count}:
            node.echo(size, count)
        case {"do": "cpu"}:
            return {"cpu": time.process_time()}
        case _:
            raise ValueError(f"no such command: {command}")
    return {}


def main() -> None:
    """Obey until the input ends."""
    nodes: list[Node] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        nodes.append(BY_NAME[sys.argv[1]].make())
        return functools.partial(do, nodes[0])

    obey(start, lambda: nodes[0].close())


if __name__ == "__main__":
    main()
