"""`UtpSettings`: what users of the transport may choose."""

from dataclasses import dataclass
from typing import Final

from crust.errors import ConfigError
from crust.transport.utp import constants as c

SMALLEST_PACKET: Final = 300
"""Bytes of UDP payload: the header and the longest SACK fit. IPv6 has no path of less than four times as much."""

_MOST: Final = 1 << 20
_BYTES: Final = (SMALLEST_PACKET, c.BYTES_PER_CALL)

_WHOLE: Final[dict[str, tuple[int, int]]] = {
    "receive_window": (2 * c.SMALLEST_WINDOW, 1 << 31),  # less lets nothing in; a packet has 32 bits for it
    "send_buffer": (1000, 1 << 40),  # a quarter of it is what a writer waits for
    "mtu_floor": _BYTES,
    "mtu_ceiling": _BYTES,
    "max_connections": (1, _MOST),
    "half_open": (1, _MOST),
    "half_open_per_host": (1, _MOST),
    "accept_backlog": (1, _MOST),
}
_SECONDS: Final = (0.1, 604_800.0)


@dataclass(frozen=True, slots=True)
class UtpSettings:
    """Bounds and times of one socket's connections; docs/utp.md gives the reason for each default.

    Args:
        receive_window: bytes of one connection that wait for the reader, and the window advertised: 3000 to 2**31.
        send_buffer: bytes of one connection that are written and not yet acknowledged: 1000 to 2**40.
        mtu_floor: bytes of UDP payload that surely pass, 300 to 65,000; ``None``: what the address family guarantees.
        mtu_ceiling: bytes of UDP payload beyond which is not probed, 300 to 65,000; ``None``: what Ethernet carries.
        keepalive: seconds of own silence until a packet keeps the NAT's mapping alive; all times: 0.1 to 604,800.
        idle_timeout: seconds of the peer's silence until an idle connection is dead.
        dead_timeout: seconds of the peer's silence until a connection with data on its way is dead.
        max_connections: at a time on one socket; this and all below: 1 to 2**20.
        half_open: unproved incoming connections in all.
        half_open_per_host: of one IPv4 address or IPv6 /64.
        accept_backlog: proved ones that nobody has accepted yet.

    Raises:
        ConfigError: one of them is wrong; the message names it, what was given and what is allowed.
    """

    receive_window: int = c.RECEIVE_WINDOW
    send_buffer: int = c.SEND_BUFFER
    mtu_floor: int | None = None
    mtu_ceiling: int | None = None
    keepalive: float = c.KEEPALIVE
    idle_timeout: float = c.IDLE_TIMEOUT
    dead_timeout: float = c.DEAD_TIMEOUT
    max_connections: int = c.MAX_CONNECTIONS
    half_open: int = c.HALF_OPEN
    half_open_per_host: int = c.HALF_OPEN_PER_HOST
    accept_backlog: int = c.ACCEPT_BACKLOG

    def __post_init__(self) -> None:
        for name, (low, high) in _WHOLE.items():
            value = getattr(self, name)
            if value is None and name.startswith("mtu_"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{name}: was {value!r}; allowed: a whole number from {low} to {high}")
        for name in ("keepalive", "idle_timeout", "dead_timeout"):
            value, (least, most) = getattr(self, name), _SECONDS
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ConfigError(f"{name}: was {value!r}; allowed: a number of seconds from {least:g} to {most:g}")

    def mtu_range(self, ipv6: bool) -> tuple[int, int]:
        """The smallest and the largest size of a packet, in bytes of UDP payload."""
        floor = self.mtu_floor or (c.MTU_FLOOR_IPV6 if ipv6 else c.MTU_FLOOR_IPV4)
        ceiling = self.mtu_ceiling or (c.MTU_CEILING_IPV6 if ipv6 else c.MTU_CEILING_IPV4)
        return min(floor, ceiling), ceiling
