"""What honest peers and the target see while others attack: ``python -m tests.attack`` (Linux, loopback).

For each attack there are independent processes: the target, a peer that talks to it over TCP and one over uTP, somebody
new who comes every 0.3 s, and the attacker. Ratios are figures during the attack against those before it, of one run.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.progress import progress
from crust.cli import console
from crust.cli.bench_stats import machine
from tests.attack.plan import ATTACKS, BY_NAME
from tests.attack.siege import TRANSPORTS, Outcome, State, besieged, missing

HEAD = [
    "attack",
    "round trip, median: TCP, uTP",
    "95 %",
    "throughput: TCP, uTP",
    "newcomers in",
    "memory, MiB",
    "threads",
    "descriptors",
    "told",
]
BEGIN, END = "<!-- attacks:begin -->\n", "<!-- attacks:end -->"


def _ratios(outcome: Outcome, figure: str) -> str:
    found = [outcome.ratio(transport, figure) for transport in TRANSPORTS]
    return ", ".join("-" if each is None else f"{each:.2f}" if each < 1 else f"{each:.1f}" for each in found)


def _course(states: Sequence[State], field: int, unit: int = 1) -> str:
    return " / ".join(f"{state[field] / unit:.0f}" for state in states)


def told(outcome: Outcome) -> str:
    """The alert that was due; or why none was."""
    attack = outcome.attack
    if attack.none_because:
        return attack.none_because
    name = f"`Flood`: {attack.flood}" if attack.flood else "`Misbehaviour`"
    count = outcome.told["floods"][attack.flood] if attack.flood else sum(outcome.told["crimes"].values())
    return f"{name}, {count} times" if count > 1 else name if count else f"MISSING: {name}"


def row(outcome: Outcome) -> list[str]:
    """One of the table."""
    states = (outcome.quiet, outcome.peak, outcome.after)
    new = outcome.during["new"]
    return [
        outcome.attack.title,
        *(_ratios(outcome, figure) for figure in ("p50", "p95", "throughput")),
        f"{new['in']} of {new['tried']}",
        _course(states, 0, 2**20),
        *(_course(states, field) for field in (1, 2)),
        told(outcome),
    ]


def about(outcomes: Sequence[Outcome], seconds: float) -> str:
    """What stands under the table."""
    lost = sum(len(outcome.end[transport]["lost"]) for outcome in outcomes for transport in TRANSPORTS)
    missed = sum(_missed(outcome) for outcome in outcomes)
    lines = [
        f"Messages of honest peers that were lost: {missed}; connections of theirs: {lost}.",
        *(_reflection(outcome) for outcome in outcomes if outcome.reflected()),
        f"{machine()}; {seconds:.0f} s for each attack.",
    ]
    return "\n".join(lines)


def _missed(outcome: Outcome) -> int:
    disorder: int = outcome.end["target"].get("disorder", 0)
    return disorder + sum(
        outcome.end[transport]["sent"] - outcome.end[transport]["answered"] for transport in TRANSPORTS
    )


def _reflection(outcome: Outcome) -> str:
    ratios = outcome.reflected()
    worst = max(ratios.values())
    sent, got = (
        sum(size for name, size in outcome.attacker.items() if name.startswith(start)) for start in ("sent: ", "got: ")
    )
    return (
        f"Reflection: {sent:,} bytes of {len(ratios)} kinds were sent in victims' names, which got {got:,}; "
        f"of the kind that reflects most, {worst:.2f} for each byte."
    )


def replace(page: str, rows: Sequence[Sequence[str]], below: str) -> str:
    """A page of the documentation with another table in its place.

    Raises:
        ValueError: it has no place for the table.
    """
    text = "\n".join([BEGIN, markdown(rows), "", below, "", END])
    replaced, count = re.subn(f"{BEGIN}.*?{END}", lambda _: text, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"there must be one place for the table, between {BEGIN.strip()} and {END}, not {count}")
    return replaced


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    head, *others = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([head, "|---" + "|---:" * (len(rows[0]) - 2) + "|---|", *others])


def _as_json(outcome: Outcome) -> dict[str, Any]:
    fields = {name: value for name, value in vars(outcome).items() if name != "attack"}
    return {**fields, "name": outcome.attack.name, "alerted": outcome.alerted}


def main(arguments: list[str] | None = None) -> int:
    """Attack and print; 1 when this machine cannot, or something is not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(BY_NAME), metavar="NAME", help=f"some of: {' '.join(BY_NAME)}"
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="for each attack (default: 10)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--json", action="store_true", help="print everything that was measured")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table in its place in FILE")
    args = parser.parse_args(arguments)
    if reason := missing():
        console.warn(reason)
        return 1
    outcomes = []
    for attack in [BY_NAME[name] for name in args.only] if args.only else ATTACKS:
        progress(f"{attack.title} ...")
        with besieged(attack, args.seconds) as outcome:
            outcomes.append(outcome)
    progress("")
    rows, below = [HEAD, *map(row, outcomes)], about(outcomes, args.seconds)
    if args.json:
        console.say(json.dumps({"machine": machine().as_json(), "attacks": list(map(_as_json, outcomes))}, indent=1))
    elif args.markdown:
        console.say(f"{markdown(rows)}\n\n{below}")
    else:
        console.table(rows[0], rows[1:], right=range(1, 8))
        console.say(below, style="note")
    if args.page:
        args.page.write_text(replace(args.page.read_text("utf-8"), rows, below), "utf-8")
    bad = [outcome.attack.name for outcome in outcomes if not outcome.alerted or outcome.recovered is None]
    for name in bad:
        console.warn(f"{name}: the alert did not come, or threads or descriptors were not given back")
    return int(bool(bad))
