"""`ReplayFilter`: the first messages of handshakes that were seen before."""

import threading
from collections import OrderedDict
from typing import Final

MAX_REPLAY_TOKENS: Final = 65_536
"""First messages remembered to recognise a replay, a few megabytes; the oldest are forgotten."""


class ReplayFilter:
    """Remembers the first messages of handshakes, a bounded number of them. Any thread may call."""

    def __init__(self, limit: int = MAX_REPLAY_TOKENS) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def __call__(self, token: bytes) -> bool:
        """Whether ``token`` was seen before; it is from now on."""
        with self._lock:
            if token in self._seen:
                return True
            self._seen[token] = None
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)
            return False
