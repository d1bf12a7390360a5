"""`Toll`: what one connection brings, counted by the batch, and what follows from it. Belongs to its reader thread."""

from typing import Final

from crust.config import Config
from crust.defence.ledger import Ledger, connection_limits
from crust.defence.metering import BYTES, CONTROLS, FINE, MESSAGES, RECORDS, Judgement, Meter
from crust.threads.clock import now

_ALWAYS: Final = frozenset({BYTES, MESSAGES, RECORDS})  # come with every batch


class Toll:
    """See the module's text.

    Args:
        config: for the limits.
        host: the peer's address.
        ledger: where what comes from an address is counted; ``None`` for nowhere.
        claimed: whether the peer's identity is not proven.
    """

    def __init__(self, config: Config, host: str, ledger: Ledger | None, *, claimed: bool = False) -> None:
        self._meter = Meter(connection_limits(config))
        self._host = host
        self._ledger = ledger
        self._claimed = claimed
        self._always = bool(self._meter.kinds & _ALWAYS)
        self._counted = 0, 0, 0, 0

    def charge(self, read: int, messages: int, records: int, controls: int) -> Judgement:
        """What follows from what came since the last call.

        Args:
            read: bytes from the network since the beginning.
            messages: messages since then.
            records: records since then.
            controls: control frames since then.
        """
        before = self._counted
        if not self._always and controls == before[3]:
            return FINE  # without limits on what comes with every batch, this is all that a batch costs
        counted = self._counted = read, messages, records, controls
        amounts = {
            kind: here - then
            for kind, here, then in zip((BYTES, MESSAGES, RECORDS, CONTROLS), counted, before, strict=True)
        }
        judgement = self._meter.charge(amounts, now())
        if self._ledger is not None and self._meter.kinds:
            judgement |= self._ledger.traffic(self._host, amounts, claimed=self._claimed)
        return judgement
