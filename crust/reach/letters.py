"""Letters: notes of meetings that a peer carries between two others, in PUNCH frames (docs/nat.md). Pure.

::

    PUNCH  {"to": peer id, note}                        from who writes to who carries
    PUNCH  {"from": peer id, "seen": [hosts], note}     from who carries to whom it is for
"""

import ipaddress
from typing import Any, Final, NamedTuple

from crust.errors import CrustError, Malformed
from crust.identity import PeerId
from crust.nat.meeting import Note, parse_note

MAX_SEEN: Final = 4
"""Hosts at which who carries a letter says that it sees the writer: one for each family, and a second look."""
LETTERS_BURST: Final = 48
LETTERS_INTERVAL: Final = 1.0
"""Letters that one peer may have carried at once, and seconds for each further one: a meeting has three, two of them
from the one who asks."""
KNOWN_WRITERS: Final = 4096
"""Peers whose allowance is remembered."""
_ID_DIGITS: Final = 64


class Letter(NamedTuple):
    """A note on its way."""

    peer: PeerId
    """Whom it is for, or, if it was passed on, who wrote it."""
    note: Note
    passed_on: bool = False
    """Whether it has been carried, and is for us."""
    seen: tuple[str, ...] = ()
    """Where who carried it sees the writer."""

    def content(self) -> dict[str, Any]:
        """For a PUNCH frame."""
        way: dict[str, Any] = {"to": self.peer.hex()}
        if self.passed_on:
            way = {"from": self.peer.hex(), "seen": list(self.seen[:MAX_SEEN])}
        return way | self.note.content()


def parse_letter(content: object) -> Letter:
    """Read what `Letter.content` gives.

    Raises:
        Malformed: it is none.
    """
    if not isinstance(content, dict) or ("to" in content) == ("from" in content):
        raise Malformed("a letter is either to or from somebody")
    note = parse_note(content)
    if "to" in content:
        return Letter(_parse_peer(content["to"]), note)
    return Letter(_parse_peer(content["from"]), note, True, _parse_seen(content.get("seen", [])))


def _parse_peer(text: object) -> PeerId:
    if not isinstance(text, str) or len(text) != _ID_DIGITS:
        raise Malformed("a letter names no peer")
    try:
        return PeerId.parse(text)
    except (CrustError, ValueError) as error:
        raise Malformed("a letter names no peer") from error


def _parse_seen(hosts: object) -> tuple[str, ...]:
    if not isinstance(hosts, list) or len(hosts) > MAX_SEEN:
        raise Malformed("a letter has a wrong list of hosts")
    try:
        # (An integer would be an address as well, to the module.)
        return tuple(str(ipaddress.ip_address(host)) for host in hosts if isinstance(host, str))
    except ValueError as error:
        raise Malformed("a letter names a host that is none") from error
