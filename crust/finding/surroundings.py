"""`Surroundings`: what `Bootstrapper` asks the rest of a manager."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from crust.discovery.contact_book import Entry


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a `Bootstrapper` needs to know of the rest of a manager."""

    is_connected: Callable[[Entry], bool]
    """Whether a contact is connected already."""
    alone: Callable[[], bool]
    """Whether there is no connection at all."""
    hopeful: Callable[[], bool]
    """Whether contacts may still turn up: somebody has been asked."""
    round_begins: Callable[[], None]
    """Called before each round: the time to gather contacts."""
    refuses: Callable[[Entry], bool] = lambda entry: False
    """Whether a contact is unwelcome."""
    counts: Callable[[Entry], bool] = lambda entry: True
    """Whether a contact that is connected already counts as reached."""
    who: Callable[[Entry], Hashable] = lambda entry: entry
    """Who is connected as that contact: several may turn out to be one peer, which counts once."""
    falls_short: Callable[[], bool] = lambda: False
    """Whether there are fewer connections than wanted while somebody who was given is not among them."""
