"""What ``status`` of ``crust peer`` shows: how the search for peers goes. Pure."""

from typing import Final, NamedTuple

from crust.cli.console import count_of, human_time
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus

MAX_ROWS: Final = 30
"""Contacts shown: about a screen. There may be 1,500 in the cache."""
HEADERS: Final = ("contact", "id", "known from", "tried", "result")


class StatusView(NamedTuple):
    """Lines, then a table with `HEADERS`, then a line about what is not in it."""

    lines: list[str]
    rows: list[tuple[str, ...]]
    more: str


def status_view(status: BootstrapStatus, wall_now: float) -> StatusView:
    """Everything that is worth knowing about the search for peers.

    Args:
        status: from ``bootstrap_status()``.
        wall_now: seconds since 1970.
    """
    target = f" (of {status.target} wanted)" if status.target else ""
    lines = [
        f"connections  {status.connected}{target}",
        f"search       {_search(status)}",
        f"beacon       {status.beacon}",
        f"cache        {status.cache}",
        f"gossip       {count_of(status.known_by_gossip, 'node')} known",
    ]
    hidden = len(status.contacts) - MAX_ROWS
    more = f"... and {count_of(hidden, 'contact')} more" if hidden > 0 else ""
    return StatusView(lines, [_row(contact, wall_now) for contact in status.contacts[:MAX_ROWS]], more)


def _search(status: BootstrapStatus) -> str:
    if status.next_round_in is not None:
        return f"round {status.round} reached nobody; the next begins in {human_time(status.next_round_in)}"
    if status.running:
        return f"round {status.round}: {status.made} of {count_of(status.wanted, 'connection')} made"
    if status.keep_going:
        return "rests until all connections are lost"
    return "ended, as it knew nobody to try" if status.gave_up else "none"


def _row(contact: ContactStatus, wall_now: float) -> tuple[str, ...]:
    tried = "never"
    if contact.tried_at is not None:
        times = "once" if contact.tries == 1 else f"{contact.tries:,} times"
        tried = f"{times}, {human_time(max(0.0, wall_now - contact.tried_at))} ago"
    return (
        " ".join(map(str, contact.endpoints)),
        str(contact.peer_id or "-"),
        contact.source,
        tried,
        contact.result,
    )
