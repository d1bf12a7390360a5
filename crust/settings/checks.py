"""What each setting of `crust.config.Config` may be: one check per key, and those that compare keys. Pure.

A check takes what was given and returns it in its one form, or raises `Invalid`.
"""

import ipaddress
import os
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any, Final

from crust import limits
from crust.endpoint import Endpoint
from crust.errors import EndpointError

MIN_NETWORK_KEY: Final = 16
"""Bytes: a shorter secret can be found by trying, as a recorded handshake tells whether a guess was right."""
MAX_NETWORK_KEY: Final = 1024
"""Bytes; a key is hashed to 32, so more than this is a mistake, such as the name of the wrong file."""
MAX_NETWORK_NAME: Final = 255
"""Bytes in UTF-8."""
MAX_LIST: Final = 1024
"""Entries in a list: more contacts than this are tried by nobody, and belong in a cache."""
_MOST_BYTES: Final = 2**40
_MOST_THREADS: Final = 65_536  # Linux's default limit on threads per process is near 32 thousand
_SHOWN: Final = 80  # characters of what was given that an error shows

Check = Callable[[object], Any]


class Invalid(Exception):
    """A setting is wrong. `Config` turns it into a ``ConfigError``, with the file and line where it has them."""

    def __init__(self, given: object, allowed: str, key: str = "") -> None:
        super().__init__(key, given, allowed)
        self.key = key
        self.given = given if isinstance(given, Given) else Given(show(given))
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.key}: was {self.given}; allowed: {self.allowed}"


class Given(str):
    """What was given, in words: printed as it is, and used where the value itself must not be shown."""


def show(value: object) -> str:
    """A value as YAML users write it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return "a number too long to print"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Invalid(value, "true or false")
    return value


def _whole(low: int, high: int, unit: str = "") -> Check:
    allowed = f"a whole number {unit} from {low} to {high}".replace("  ", " ")

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Invalid(value, allowed)
        return value

    return check


def _seconds(low: float, high: float) -> Check:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Invalid(value, f"a number of seconds from {low:g} to {high:g}")
        return float(value)

    return check


def _port(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise Invalid(value, "a port number from 1 to 65535, 0 for any free one, or null to switch it off")
    return value


def _file(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise Invalid(value, "the name of a file, or null for none")
    return value


def _network(value: object) -> str:
    allowed = (
        f"a name of 1 to {MAX_NETWORK_NAME} bytes of printable text (in quotes, if YAML takes it for something else)"
    )
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value.encode()) <= MAX_NETWORK_NAME:
        raise Invalid(value, allowed)
    return value


def _network_key(value: object) -> bytes | None:
    """A passphrase, ``hex:`` and digits, or bytes. What was given is a secret: errors tell its kind and length only."""
    allowed = (
        f"a secret of {MIN_NETWORK_KEY} to {MAX_NETWORK_KEY} bytes, as a passphrase in quotes or as hex:<digits>, or "
        "null for none (a good one: python3 -c 'import secrets; print(\"hex:\" + secrets.token_hex(32))')"
    )
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value[4:]) if value.startswith("hex:") else value.encode()
        except ValueError:  # UnicodeEncodeError is one
            raise Invalid(Given("text that cannot be read as one"), allowed) from None
    if not isinstance(value, bytes | bytearray):
        raise Invalid(Given(f"of the type {type(value).__name__}"), allowed)
    if not MIN_NETWORK_KEY <= len(value) <= MAX_NETWORK_KEY:
        raise Invalid(Given(f"{len(value)} bytes long"), allowed)
    return bytes(value)


def _tuple_of(item: Callable[[Any], Any], allowed: str, *, empty: bool = True) -> Check:
    """A list without repetitions, each entry checked by ``item`` (which raises ``ValueError``)."""

    def check(value: object) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping | Endpoint) or not isinstance(value, Iterable):
            raise Invalid(value, f"a list of {allowed}")
        found: dict[Any, None] = {}
        for number, entry in enumerate(value):
            if number == MAX_LIST:
                raise Invalid(Given(f"a list of more than {MAX_LIST} entries"), f"at most {MAX_LIST} entries")
            try:
                found[item(entry)] = None
            except ValueError as error:
                because = f" ({error})" if isinstance(error, EndpointError) else ""
                raise Invalid(Given(f"{show(entry)} in the list{because}"), allowed) from None
        if not found and not empty:
            raise Invalid(Given("an empty list"), f"one or more of: {allowed}")
        return tuple(found)

    return check


def _address(entry: object) -> str:
    if not isinstance(entry, str):
        raise ValueError
    return str(ipaddress.ip_address(entry))


def _contact(entry: Any) -> Endpoint:
    endpoint = entry if isinstance(entry, Endpoint) else Endpoint.parse(entry)
    if endpoint.port == 0:
        raise EndpointError("nobody can be reached at port 0")
    if endpoint.is_relayed:
        raise EndpointError("relayed:// names a connection that another peer carries, and cannot be dialled")
    return endpoint


def _server(entry: object) -> str:
    if not isinstance(entry, str):
        raise ValueError
    return str(_contact(Endpoint.utp(entry))).partition("://")[2]


_bytes = _whole(1, _MOST_BYTES, "of bytes")
_threads = _whole(1, _MOST_THREADS)
_rate = _whole(0, _MOST_BYTES)
_pause = _seconds(0.001, 86_400)

CHECKS: Final[Mapping[str, Check]] = {
    "tcp_port": _port,
    "utp_port": _port,
    "tracer_port": _port,
    "beacon_port": _port,
    "listen_addresses": _tuple_of(_address, "IPv4 or IPv6 addresses of this machine, 0.0.0.0 or '::'", empty=False),
    "network": _network,
    "network_key": _network_key,
    "hard_coded_contacts": _tuple_of(_contact, "endpoints, as in tcp://192.0.2.7:5483 or tcp://[2001:db8::7]:5483"),
    "override_default_bootstrap": _flag,
    "identity_file": _file,
    "target_connections": _whole(0, _MOST_THREADS),
    "cache_file": _file,
    "blacklist_file": _file,
    "bootstrap_cache": _flag,
    "stun_servers": _tuple_of(_server, "host:port, as in stun.example.org:3478"),
    "upnp": _flag,
    "allow_tracer": _flag,
    "relay": _flag,
    "relay_connections": _threads,
    "relay_connections_per_peer": _threads,
    "relay_bytes_per_second": _rate,
    "max_message_size": _whole(1, limits.MESSAGE_SIZE_CEILING, "of bytes"),
    "send_queue_bytes": _bytes,
    "max_waiting_events": _whole(1, 2**31),
    "max_waiting_bytes": _bytes,
    "max_connections": _threads,
    "max_connections_per_address": _threads,
    "max_half_open": _threads,
    "max_half_open_per_address": _threads,
    "max_dials": _threads,
    "max_bytes_per_second": _rate,
    "max_messages_per_second": _rate,
    "max_records_per_second": _rate,
    "max_controls_per_second": _rate,
    "max_handshakes_per_second": _rate,
    "max_failures_per_second": _rate,
    "dial_timeout": _pause,
    "handshake_timeout": _pause,
    "keepalive_interval": _pause,
    "dead_after": _pause,
    "linger": _seconds(0, 86_400),
    "bootstrap_backoff_min": _pause,
    "bootstrap_backoff_max": _pause,
}
"""The check of every setting, by its name."""


def check(key: str, value: object) -> Any:
    """The setting ``key`` in its one form.

    Raises:
        Invalid: it cannot be that.
    """
    try:
        return CHECKS[key](value)
    except Invalid as invalid:
        invalid.key = key
        raise


def check_together(values: Mapping[str, Any]) -> None:
    """What no setting shows alone. ``values`` holds every setting, each of them checked.

    Raises:
        Invalid: two settings contradict each other; its key is one that has to change.
    """
    interval, dead_after = values["keepalive_interval"], values["dead_after"]
    if dead_after <= interval:
        # Otherwise peers that are alive and silent would be lost between two keep-alives.
        allowed = f"more than keepalive_interval, which is {interval:g}; three times as much is good"
        raise Invalid(dead_after, allowed, "dead_after")
    shortest, longest = values["bootstrap_backoff_min"], values["bootstrap_backoff_max"]
    if longest < shortest:
        allowed = f"no less than bootstrap_backoff_min, which is {shortest:g}"
        raise Invalid(longest, allowed, "bootstrap_backoff_max")
    target, most = values["target_connections"], values["max_connections"]
    if target > most:
        raise Invalid(target, f"no more than max_connections, which is {most}", "target_connections")
    places = [(key, values[key]) for key in ("cache_file", "identity_file", "blacklist_file") if values[key]]
    for (key, place), (other, elsewhere) in combinations(places, 2):
        if os.path.normpath(place) == os.path.normpath(elsewhere):
            raise Invalid(place, f"another file than {other}", key)
    utp_port = values["utp_port"]
    if utp_port and utp_port == values["beacon_port"]:
        raise Invalid(utp_port, "another port than beacon_port: both are UDP", "utp_port")
    tracer_port = values["tracer_port"]
    if tracer_port is not None and not values["allow_tracer"]:
        raise Invalid(
            tracer_port, "null, unless allow_tracer is true (tracer connections are clear text)", "tracer_port"
        )
    if tracer_port and tracer_port == values["tcp_port"]:
        raise Invalid(tracer_port, "another port than tcp_port: both are TCP", "tracer_port")
