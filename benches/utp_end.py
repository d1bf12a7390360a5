"""Become one end of `benches.utp_speed`: ``python -m benches.utp_end SYSTEM [FILE]``.

It is a process of its own kind, Python for ours and Node.js for the others, so this one is replaced by it, under
``strace`` if a file for its counts is given.
"""

import os
import sys
from pathlib import Path

from tests.interop.node import UDX_NATIVE, UTP_NATIVE, node, node_modules

PROGRAM = Path(__file__).with_name("utp_end.js")
CALLS = "%network,epoll_wait,epoll_pwait,poll,ppoll,select,pselect6"
"""What is counted: sending, receiving, and waiting for either."""


def command(system: str) -> list[str]:
    """What to run for ``system``; raises `tests.interop.node.Missing` when that needs what is not there."""
    if system.startswith("crust"):
        return [sys.executable, "-m", "benches.utp_crust", system]
    return [node(), str(PROGRAM), str(node_modules(UDX_NATIVE, UTP_NATIVE)), system]


def traced(file: str) -> list[str]:
    """What comes before a command that is to be counted."""
    return ["strace", "-f", "-c", "-U", "name,calls", "-e", f"trace={CALLS}", "-o", file]


def main() -> None:
    """Exec; does not return."""
    system, *file = sys.argv[1:]
    words = [*(traced(file[0]) if file else []), *command(system)]
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
