"""Changes valid inputs at random and looks whether a parser does what it must not.

Run it as long as you like::

    python -m tests.fuzz.fuzz_parsers --seconds 600 --seed 7

The same seed gives the same inputs to each parser, in the same order. A finding is printed with its input, and again
with::

    python -m tests.fuzz.fuzz_parsers --parser NAME --input HEX
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from random import Random

from crust.threads.clock import Deadline
from tests.fuzz.addresses import ADDRESSES
from tests.fuzz.handshakes import HANDSHAKES
from tests.fuzz.mutate import mutate
from tests.fuzz.parsers import PARSERS, Parser

ALL = [*PARSERS, *HANDSHAKES, *ADDRESSES]
_TURN = 0.05  # seconds for one parser before the next one has its turn


def finding(parser: Parser, data: bytes) -> str | None:
    """What is wrong with how ``parser`` takes ``data``; ``None`` when nothing is."""
    try:
        parser.check(data)
    except Exception:
        return (
            f"{traceback.format_exc()}\n{parser.name}: see above; again with\n"
            f"    python -m tests.fuzz.fuzz_parsers --parser '{parser.name}' --input '{data.hex()}'\n"
        )
    return None


def fuzz(seconds: float, seed: int, parsers: Sequence[Parser] = ALL) -> tuple[dict[str, int], str | None]:
    """Try every parser in turns.

    Args:
        seconds: for all of them together; each has at least one turn.
        seed: the same gives the same inputs.
        parsers: which.

    Returns:
        How many inputs each took, and the first finding.
    """
    counts = {parser.name: 0 for parser in parsers}
    rngs = {parser.name: Random(f"{seed} {parser.name}") for parser in parsers}
    whole = Deadline(seconds)
    while True:
        for parser in parsers:
            turn = Deadline(_TURN)
            while not turn.expired:
                counts[parser.name] += 1
                found = finding(parser, mutate(rngs[parser.name], parser.seeds))
                if found:
                    return counts, found
        if whole.expired:
            return counts, None


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> int:
    """The command; 1 when something was found."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz_parsers", description="Fuzz Crust's parsers.")
    options.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)s)")
    options.add_argument("--seed", type=int, default=1, help="for other inputs (%(default)s)")
    options.add_argument("--parser", choices=[parser.name for parser in ALL], help="only this one")
    options.add_argument("--input", type=bytes.fromhex, help="only this input, in hexadecimal; needs --parser")
    given = options.parse_args(arguments)
    parsers = [parser for parser in ALL if given.parser in (None, parser.name)]
    if given.input is not None:
        if given.parser is None:
            options.error("--input needs --parser")
        counts, found = {given.parser: 1}, finding(parsers[0], given.input)
    else:
        counts, found = fuzz(given.seconds, given.seed, parsers)
    for name, count in counts.items():
        say(f"{name:20} {count:10,} inputs\n")
    say(found or "nothing found\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
