"""The matrix of NATs with figures: ``python -m tests.lab.matrix_figures [--rounds 20] [--page docs/nat.md]``."""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from crust.cli.bench_stats import machine
from tests.lab.matrix import DELAY, TRANSPORTS, Pair, Tries, run, shortfalls

_BEGIN, _END = "<!-- matrix:begin -->", "<!-- matrix:end -->"
Found = dict[str, dict[Pair, Tries]]


def kinds(pair: Pair) -> tuple[str, str]:
    """The two kinds, as one writes them."""
    one, other = (name.rsplit(" ", 1)[0].replace("_", " ").lower() for name in (pair.left, pair.right))
    return one, other


def quantile(values: Iterable[float], share: float) -> str:
    """The smallest value that so many are not above ("nearest rank")."""
    ordered = sorted(values)
    return f"{ordered[max(-(-len(ordered) * int(share * 100) // 100) - 1, 0)]:.2f} s" if ordered else ""


def cells(pair: Pair, tries: Tries) -> list[str]:
    """What came, and how long it took."""
    came = tries.direct if pair.expected == "direct" else tries.relayed
    return [f"{pair.expected} {came}/{tries.count}", quantile(tries.seconds, 0.5), quantile(tries.seconds, 0.95)]


def table(found: Found) -> list[str]:
    """All pairs in Markdown."""
    heads = [f"{transport}{name}" for transport in found for name in ("", " p50", " p95")]
    lines = [f"| one | the other | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    rows: dict[tuple[str, str], list[str]] = {}
    for results in found.values():
        for pair, tries in results.items():
            rows.setdefault(kinds(pair), []).extend(cells(pair, tries))
    return lines + [f"| {' | '.join([*names, *row])} |" for names, row in rows.items()]


def cones(found: Found) -> list[str]:
    """How long it took where both show one address to all."""
    said = []
    for transport, results in found.items():
        seconds = [each for pair, tries in results.items() if pair.cones for each in tries.seconds]
        said.append(f"{transport}: {len(seconds)} tries, p50 {quantile(seconds, 0.5)}, p95 {quantile(seconds, 0.95)}.")
    return [f"Where both show one address to all, {' '.join(said)}"]


def replace(page: str, lines: list[str]) -> str:
    """A page of the documentation with another table in its place."""
    text = "\n".join([_BEGIN, *lines, _END])
    replaced, count = re.subn(f"{_BEGIN}.*?{_END}", lambda _: text, page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"the page has no place for the table: {_BEGIN} ... {_END}")
    return replaced


def main() -> int:
    """Run it from a command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--transport", choices=TRANSPORTS)
    parser.add_argument("--only", nargs=2, metavar="KIND", help="as FULL_CONE CARRIER")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table in its place in FILE, docs/nat.md")
    arguments = parser.parse_args()

    def wanted(pair: Pair) -> bool:
        names = [name.rsplit(" ", 1)[0] for name in (pair.left, pair.right)]
        return not arguments.only or sorted(names) == sorted(arguments.only)

    def told(text: str) -> None:
        sys.stderr.write(text + "\n")

    transports = [arguments.transport] if arguments.transport else TRANSPORTS
    found = {transport: run(transport, arguments.rounds, wanted, told) for transport in transports}
    about = f"{machine()}; {arguments.rounds} tries of each pair, {DELAY * 2e3:.0f} ms from one to the other."
    lines = ["", *table(found), "", *cones(found), "", about, ""]
    sys.stdout.write("\n".join(lines))
    if arguments.page:
        arguments.page.write_text(replace(arguments.page.read_text("utf-8"), lines), "utf-8")
    bad = [each for results in found.values() for each in shortfalls(results)]
    sys.stdout.write("".join(f"{each}\n" for each in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
