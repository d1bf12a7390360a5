"""Settings: `Config`, a frozen and validated dataclass, and the YAML that it is read from."""

from dataclasses import dataclass

from crust import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """PLACEHOLDER: the scaffold helper completes this file (validation, docs, YAML)."""

    tcp_port: int | None = 0
    utp_port: int | None = 0
    tracer_port: int | None = None
    beacon_port: int | None = 5483
    listen_addresses: tuple[str, ...] = ("0.0.0.0", "::")
    network: str = "crust"
    network_key: bytes | None = None
    hard_coded_contacts: tuple[str, ...] = ()
    override_default_bootstrap: bool = False
    identity_file: str | None = None
    cache_file: str | None = None
    stun_servers: tuple[str, ...] = ()
    upnp: bool = True
    allow_tracer: bool = False
    relay: bool = False
    max_message_size: int = limits.MAX_MESSAGE_SIZE
    send_queue_bytes: int = limits.SEND_QUEUE_BYTES
    max_waiting_events: int = limits.MAX_WAITING_EVENTS
    max_waiting_bytes: int = limits.MAX_WAITING_BYTES
    max_connections: int = limits.MAX_CONNECTIONS
    max_connections_per_address: int = limits.MAX_CONNECTIONS_PER_ADDRESS
    max_half_open: int = limits.MAX_HALF_OPEN
    max_half_open_per_address: int = limits.MAX_HALF_OPEN_PER_ADDRESS
    max_dials: int = limits.MAX_DIALS
    dial_timeout: float = limits.DIAL_TIMEOUT
    handshake_timeout: float = limits.HANDSHAKE_TIMEOUT
    keepalive_interval: float = limits.KEEPALIVE_INTERVAL
    dead_after: float = limits.DEAD_AFTER
    linger: float = limits.LINGER
    bootstrap_backoff_min: float = limits.BOOTSTRAP_BACKOFF_MIN
    bootstrap_backoff_max: float = limits.BOOTSTRAP_BACKOFF_MAX
