"""One end of a pair, in its own process: JSON lines in, commands; JSON lines out, answers."""

import json
import os
import sys
import time
import traceback
from typing import Any

from benches.systems import BY_NAME
from benches.systems.base import Node


def filler(size: int) -> bytes:
    """A message of ``size`` bytes that is not all zeros."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def obey(node: Node, command: dict[str, Any]) -> dict[str, Any]:
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
    # What a library may print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        node = BY_NAME[sys.argv[1]].make()
    except ImportError as error:
        answer(error=f"cannot be imported: {error}")
        return
    answer()
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "stop":
            break
        try:
            fields = obey(node, command)
        except Exception as error:
            traceback.print_exc()
            answer(error=f"{type(error).__name__}: {error}")
            continue
        answer(**fields)
    node.close()
    answer()


if __name__ == "__main__":
    main()
