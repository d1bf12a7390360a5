"""`Voices`: who could reach which of our endpoints, and what follows from it. Pure.

Whoever says so may lie, to us, about us: it is our own picture that is wrong then, until others say otherwise. Peers of
one network (see `crust.defence.networks.neighbourhood`) have one voice together, that of the last word.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from crust.endpoint import Endpoint

VOICES_WANTED: Final = 3
"""Voices that an endpoint should have: one liar, or one peer with a broken network, is outvoted then."""
REFRESH_INTERVAL: Final = 1800.0
"""Seconds after which a voice is asked for again, and a network that said nothing of use may be asked again."""
VOICE_LIFETIME: Final = 5400.0
"""Seconds for which a voice counts: somebody else may have to be found, and ask twice."""
MAX_CLAIMS: Final = 16
"""Endpoints that are looked after: two protocols at some addresses."""
_MAX_VOICES: Final = 16  # of one endpoint; beyond it the oldest is forgotten


class Voices:
    """See the module's text. Belongs to one thread; all times are seconds on one clock."""

    def __init__(self) -> None:
        self._heard: dict[Endpoint, dict[str, tuple[float, bool]]] = {}

    @property
    def claims(self) -> list[Endpoint]:
        """The endpoints that are to be verified."""
        return list(self._heard)

    def claim(self, endpoints: Iterable[Endpoint]) -> None:
        """These endpoints are to be verified, and no others; what is known of them stays."""
        wanted = list(dict.fromkeys(endpoints))[:MAX_CLAIMS]
        self._heard = {endpoint: self._heard.get(endpoint, {}) for endpoint in wanted}

    def heard(self, endpoint: Endpoint, network: str, reachable: bool, now: float) -> None:
        """Somebody in that network has tried it."""
        voices = self._heard.get(endpoint)
        if voices is None:  # it is not ours any more
            return
        voices.pop(network, None)
        voices[network] = now, reachable
        if len(voices) > _MAX_VOICES:
            del voices[next(iter(voices))]

    def verdict(self, endpoint: Endpoint, now: float, asked: int = 0) -> bool | None:
        """Whether others can reach it, as more than half of the voices have it; ``None`` where nobody knows.

        Args:
            endpoint: ours.
            now: seconds.
            asked: voices that are still to come. Who lies that it can be reached is quicker than who tries in earnest.
        """
        words = [word for at, word in self._heard.get(endpoint, {}).values() if now - at < VOICE_LIFETIME]
        if 2 * words.count(True) > len(words) + asked:
            return True
        return False if 2 * words.count(False) > len(words) else None

    def verdicts(self, now: float, asked: Mapping[Endpoint, int] = MappingProxyType({})) -> dict[Endpoint, bool | None]:
        """`verdict` of every claim."""
        return {endpoint: self.verdict(endpoint, now, asked.get(endpoint, 0)) for endpoint in self._heard}

    def networks(self, endpoint: Endpoint, now: float) -> set[str]:
        """Who said something about it that is fresh."""
        return {who for who, (at, _) in self._heard.get(endpoint, {}).items() if now - at < REFRESH_INTERVAL}

    def lacking(self, endpoint: Endpoint, now: float) -> int:
        """How many more fresh voices it should have."""
        return max(VOICES_WANTED - len(self.networks(endpoint, now)), 0)

    def next_change(self, now: float) -> float | None:
        """When a voice stops to be fresh, or to count; ``None``: there is none."""
        moments = (at + age for voices in self._heard.values() for at, _ in voices.values() for age in _AGES)
        return min((moment for moment in moments if moment > now), default=None)


_AGES: Final = (REFRESH_INTERVAL, VOICE_LIFETIME)
