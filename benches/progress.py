"""One line that says what is going on, on a terminal only."""

import sys


def progress(text: str) -> None:
    """Write ``text`` over the line before; nothing clears it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
