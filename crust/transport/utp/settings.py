"""`UtpSettings`: what users of the transport may choose."""

from dataclasses import dataclass

from crust.errors import ConfigError
from crust.transport.utp import constants as c


@dataclass(frozen=True, slots=True)
class UtpSettings:
    """Bounds and times of one socket's connections; docs/utp.md gives the reason for each default.

    Args:
        receive_window: bytes of one connection that wait for the reader, and the window advertised.
        send_buffer: bytes of one connection that are written and not yet acknowledged.
        mtu_floor: bytes of UDP payload that surely pass; ``None``: what the address family guarantees.
        mtu_ceiling: bytes of UDP payload beyond which is not probed; ``None``: what Ethernet carries.
        keepalive: seconds of own silence until a packet keeps the NAT's mapping alive.
        idle_timeout: seconds of the peer's silence until an idle connection is dead.
        dead_timeout: seconds of the peer's silence until a connection with data on its way is dead.
        max_connections: at a time on one socket.
        half_open: unproved incoming connections in all.
        half_open_per_host: of one IPv4 address or IPv6 /64.
        accept_backlog: proved ones that nobody has accepted yet.
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
        if self.receive_window < 2 * c.SMALLEST_WINDOW:
            raise ConfigError(
                f"receive_window={self.receive_window}: less than {2 * c.SMALLEST_WINDOW} bytes lets nothing in"
            )

    def mtu_range(self, ipv6: bool) -> tuple[int, int]:
        """The smallest and the largest size of a packet, in bytes of UDP payload."""
        floor = self.mtu_floor or (c.MTU_FLOOR_IPV6 if ipv6 else c.MTU_FLOOR_IPV4)
        ceiling = self.mtu_ceiling or (c.MTU_CEILING_IPV6 if ipv6 else c.MTU_CEILING_IPV4)
        return min(floor, ceiling), ceiling
