"""Draw every picture of this folder again: ``make docs``, or ``python img/make_pictures.py [DIRECTORY]``."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # crust, also where it is not installed

import back_pressure
import connection_life
import dissected
import overview
import threads
import utp_packet
import utp_run
import utp_states

PICTURES: Final[dict[str, Callable[[], str]]] = {
    "overview.svg": overview.draw,
    "threads.svg": threads.draw,
    "back_pressure.svg": back_pressure.draw,
    "connection_life.svg": connection_life.draw,
    "dissected.svg": dissected.draw,
    "utp_states.svg": utp_states.draw,
    "utp_packet.svg": utp_packet.draw,
    "utp_run.svg": utp_run.draw,
}


def main() -> None:
    """Write the files."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    for name, draw in PICTURES.items():
        (directory / name).write_text(draw(), "utf-8", newline="\n")
        print(directory / name)


if __name__ == "__main__":
    main()
