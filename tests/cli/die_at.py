"""``python -m tests.cli.die_at BYTES COMMAND ...`` is ``crust COMMAND ...`` that is killed, with no chance to clean up,
at the moment when BYTES of the file have been written (receiver) or reported as written (sender).
"""

import os
import signal
import sys

from crust.cli import main
from crust.cli.transfer_view import Bar


def die(limit: int) -> None:
    move = Bar.move

    def move_and_die(self: Bar, position: int) -> None:
        move(self, position)
        if position >= limit:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    Bar.move = move_and_die  # type: ignore[method-assign]


if __name__ == "__main__":
    die(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
