"""What is done with each record that a peer gives: looked at, cheapest things first, and kept or refused. Pure."""

import enum
from typing import Final, NamedTuple

from crust.defence.allowance import Allowance
from crust.discovery.conduct import Offence
from crust.discovery.contact_record import Claim, ContactRecord, parse
from crust.discovery.gossip_messages import decode_record
from crust.discovery.record_store import Put, RecordStore, short_id
from crust.errors import Malformed
from crust.identity import PeerId

MAX_LIFETIME: Final = 24 * 3600
"""Seconds; a record that expires later than this is not taken: it could stay for ever."""
CLOCK_TOLERANCE: Final = 600
"""Seconds by which a peer's clock may be wrong."""
CHECK_BURST: Final = 1024
CHECKS_PER_SECOND: Final = 128.0
"""Signatures that are looked at, of all peers together: one or two hundredths of a processor. Records beyond it are
ignored; they come again."""


class Verdict(enum.Enum):
    """What else than kept a record can be."""

    OURS = enum.auto()
    """It is about this node, later than what this node remembers: from an earlier run, or before a clock went back."""
    IGNORED = enum.auto()
    """Not needed, or no time to look at it."""


class Taken(NamedTuple):
    """What became of a record."""

    result: Put | Offence | Verdict
    record: ContactRecord | None = None
    """If it was genuine."""


class Intake:
    """See the module's text. Belongs to one thread.

    Args:
        store: where records are kept.
        own: this node.
        network_tag: of our network.
    """

    def __init__(self, store: RecordStore, own: PeerId, network_tag: bytes) -> None:
        self._store = store
        self._own = own
        self._tag = network_tag
        self._checks = Allowance(CHECK_BURST, CHECKS_PER_SECOND)

    def take(self, text: str, introducer: PeerId, now: float, wall: float) -> Taken:
        """Take a record.

        Args:
            text: the record in base64, as the peer sent it.
            introducer: the peer.
            now: seconds on a clock that never jumps.
            wall: seconds since 1970.
        """
        try:
            raw = decode_record(text)
            claim = parse(raw)
        except Malformed:
            return Taken(Offence.MALFORMED)
        known = self._store.get(claim.peer_id)
        if known is not None and claim.sequence <= known.sequence:
            return Taken(Offence.OLD if claim.sequence < known.sequence else Verdict.IGNORED)
        if not wall < claim.expiry <= wall + MAX_LIFETIME + CLOCK_TOLERANCE:
            just_expired = wall - CLOCK_TOLERANCE < claim.expiry <= wall
            return Taken(Verdict.IGNORED if just_expired else Offence.STALE)
        return self._check(claim, introducer, now)

    def _check(self, claim: Claim, introducer: PeerId, now: float) -> Taken:
        ours = claim.peer_id == self._own
        if not ours and not self._store.wants(short_id(claim.peer_id), claim.sequence, introducer, now):
            return Taken(Verdict.IGNORED)
        if not self._checks.take(now):
            return Taken(Verdict.IGNORED)
        try:
            record = claim.verify(self._tag)
        except Malformed:
            return Taken(Offence.FORGED)
        return Taken(Verdict.OURS if ours else self._store.put(record, introducer, now), record)
