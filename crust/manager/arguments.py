"""What is given to the public class, looked at: each mistake is named, and what to write instead. Pure."""

import inspect
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeVar

from crust.defence.blacklist import Entry
from crust.endpoint import Endpoint
from crust.errors import ConfigError
from crust.threads.clock import AGES

T = TypeVar("T")

LONGEST_LINGER: Final = AGES / 2
"""Seconds (nearly 6 days); the time that a whole stop() takes must still be less than "never"."""

_EVENTS: Final = "pass crust.channel() or queue.Queue()"


def check_events(events: object) -> None:
    """Raises `ConfigError` unless events can be put there by any thread."""
    put = getattr(events, "put", None)
    if not callable(put):
        raise ConfigError(f"events is {events!r}, which has no put(): {_EVENTS}")
    if isinstance(events, type):
        raise ConfigError(f"events is the class {events.__name__}, not a queue of that class: {_EVENTS}")
    if inspect.iscoroutinefunction(put):
        raise ConfigError(f"events is {events!r}, whose put() is for coroutines, and threads put events: {_EVENTS}")


def instance(given: Any, kind: type[T], what: str, instead: str) -> T:
    """What was given.

    Raises:
        ConfigError: it is of another kind; ``instead`` is what to write.
    """
    if not isinstance(given, kind):
        # Not what it says: there may be a secret in it.
        raise ConfigError(f"{what} is of type {type(given).__name__}, not {kind.__name__}: write {instead}")
    return given


def endpoints(given: Endpoint | Iterable[Endpoint], what: str) -> tuple[Endpoint, ...]:
    """One endpoint or several, each once.

    Raises:
        ConfigError: there is something else among them.
    """
    if isinstance(given, Endpoint):
        return (given,)
    for endpoint in (found := tuple(_several(given, what, "endpoints"))):
        if not isinstance(endpoint, Endpoint):
            raise _no_endpoint(endpoint, what)
    return tuple(dict.fromkeys(found))


def endpoint(given: Endpoint, what: str) -> Endpoint:
    """One endpoint.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(given, Endpoint):
        raise _no_endpoint(given, what)
    return given


def _no_endpoint(given: object, what: str) -> ConfigError:
    right = given if isinstance(given, str) and ":" in given else "HOST:PORT"
    return ConfigError(f"{what}: {given!r} is not an Endpoint: write Endpoint.parse({right!r})")


def entries(given: Iterable[Entry], what: str) -> tuple[Entry, ...]:
    """Entries of a blacklist, or of those who alone are welcome. What each of them is, is not looked at.

    Raises:
        ConfigError: it is one entry, not several.
    """
    return tuple(_several(given, what, "entries"))


def _several(given: Iterable[T], what: str, items: str) -> Iterable[T]:
    # Text, bytes and networks can be iterated over, which is never meant.
    if isinstance(given, str | bytes) and items == "endpoints":
        raise _no_endpoint(given, what)
    if isinstance(given, str | bytes | IPv4Network | IPv6Network) or not isinstance(given, Iterable):
        raise ConfigError(f"{what}: {given!r} is no list of {items}: write [...] around them, also around one")
    return given


def count(given: int, what: str) -> int:
    """A number of things, at least one.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"{what}={given!r}: at least 1 is needed, and a whole number")
    return given


def seconds(given: float, what: str) -> float:
    """A time to linger: less than 0 counts as 0, and more than `LONGEST_LINGER` as that.

    Raises:
        ConfigError: it is not a number.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given:
        raise ConfigError(f"{what}={given!r}: a number of seconds is needed")
    return min(max(given, 0.0), LONGEST_LINGER)
