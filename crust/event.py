"""What a manager tells its user: the variants of `Event`.

`Event` is a namespace; each variant is a small immutable tuple class, so that a million of them a second can be made
and that ``match`` takes the fields by position or by name::

    match events.get():
        case Event.NewMessage(endpoint, data): ...
        case Event.LostConnection(endpoint, reason=reason): ...

Events of different variants never compare equal, whatever they hold.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from crust.endpoint import Endpoint, Port
from crust.identity import PeerId

if TYPE_CHECKING:
    from crust.nat.connection_info import ConnectionInfo

_T = TypeVar("_T", bound=type)

# Longer messages are shortened in repr(): an event in a log must not print 16 MiB.
_REPR_BYTES = 64


def _same_variant_eq(self: tuple[Any, ...], other: object) -> bool:
    return type(self) is type(other) and tuple.__eq__(self, other)


def _not_same_variant_eq(self: tuple[Any, ...], other: object) -> bool:
    return not _same_variant_eq(self, other)


def _variant_hash(self: tuple[Any, ...]) -> int:
    # A variant may hold a mapping, which has no hash; what it holds then takes no part.
    return hash((type(self).__name__, *(item for item in self if not isinstance(item, Mapping))))


def _shorten(value: object) -> str:
    if isinstance(value, bytes) and len(value) > _REPR_BYTES:
        return f"{value[:_REPR_BYTES]!r}... ({len(value)} bytes)"
    return str(value) if isinstance(value, Endpoint | PeerId) else repr(value)


def _variant_repr(self: Any) -> str:
    fields = ", ".join(f"{name}={_shorten(value)}" for name, value in zip(self._fields, self, strict=True))
    return f"Event.{type(self).__name__}({fields})"


def _variant(cls: _T) -> _T:
    """Give a named tuple the equality, hash and representation of an event."""
    cls.__eq__ = _same_variant_eq  # type: ignore[assignment,method-assign]
    cls.__ne__ = _not_same_variant_eq  # type: ignore[assignment,method-assign]
    cls.__hash__ = _variant_hash  # type: ignore[assignment,method-assign]
    cls.__repr__ = _variant_repr  # type: ignore[assignment,method-assign]
    return cls


@_variant
class NewConnection(NamedTuple):
    """A peer connected to us or we to it. Always before the first `NewMessage` of the connection."""

    endpoint: Endpoint
    """Where the peer is; the name of this connection in every call and event."""
    peer_id: PeerId
    """The identity that the peer proved; on a tracer connection only claims, and `PeerId.proven` is false."""


@_variant
class NewBootstrapConnection(NamedTuple):
    """The same as `NewConnection`, for a connection that ``bootstrap()`` made."""

    endpoint: Endpoint
    peer_id: PeerId


@_variant
class NewMessage(NamedTuple):
    """One message, whole, in the order sent."""

    endpoint: Endpoint
    data: bytes


@_variant
class LostConnection(NamedTuple):
    """The connection is over. Exactly once for each connection announced, unless we dropped it ourselves."""

    endpoint: Endpoint
    peer_id: PeerId
    reason: str
    """Why, for people."""


@_variant
class ConnectionFailed(NamedTuple):
    """A ``connect()``, ``connect_peer()`` or ``rendezvous_connect()`` came to nothing."""

    endpoints: tuple[Endpoint, ...]
    """The endpoints that were given, in that order; for a peer, those that were dialled."""
    reason: Mapping[Endpoint, str]
    """For each endpoint, why it did not work and what to do about it."""
    peer_id: PeerId | None = None
    """Who was to be reached, if that is known."""
    methods: Mapping[str, str] = {}
    """What the other ways met: "meeting", "uTP hole punching", "TCP hole punching" and "relay"."""


@_variant
class ListenerFailed(NamedTuple):
    """A listener stopped working; other listeners and all connections go on."""

    port: Port
    reason: str


@_variant
class OwnEndpointsChanged(NamedTuple):
    """This node can be reached elsewhere now: an interface or address came or went since ``start_listening()``."""

    endpoints: tuple[Endpoint, ...]
    """What ``get_own_endpoints()`` gives now."""


@_variant
class ExternalEndpoints(NamedTuple):
    """Where peers anywhere can reach this node, beside its own addresses, is known now, or has changed."""

    endpoints: tuple[Endpoint, ...]
    """Ports that routers let in, and addresses that enough peers confirm. Empty: none is left."""


@_variant
class ConnectionInfoPrepared(NamedTuple):
    """What ``prepare_connection_info()`` was asked for."""

    token: object
    """What was given to the call."""
    info: "ConnectionInfo"
    """``info.encode()`` is one line of text, to be brought to the peer."""


@_variant
class Flood(NamedTuple):
    """Somebody passes a limit of the configuration, and is slowed down; once for an episode. If they go on all the same
    they are cut off (`LostConnection`), or not let in for a while."""

    endpoint: Endpoint
    """The connection, or where the latest of those came from that have no connection yet."""
    peer_id: PeerId | None
    """``None`` before they have said who they are."""
    kind: str
    """What there is too much of: "bytes", "messages", "records", "control frames", "handshakes" or "failed
    authentications"."""
    rate: float
    """How much of it came, for each second of the episode so far."""
    limit: float
    """How much may come for each second: of a connection, or of all connections of an address."""


@_variant
class Misbehaviour(NamedTuple):
    """A peer broke the protocol. Where it makes going on impossible, `LostConnection` follows."""

    endpoint: Endpoint
    peer_id: PeerId
    reason: str
    """What it did, for people."""


@_variant
class Stopped(NamedTuple):
    """The last event: the manager has ended and holds no thread, socket or file any more."""


AnyEvent: TypeAlias = (
    NewConnection
    | NewBootstrapConnection
    | NewMessage
    | LostConnection
    | ConnectionFailed
    | ListenerFailed
    | OwnEndpointsChanged
    | ExternalEndpoints
    | ConnectionInfoPrepared
    | Flood
    | Misbehaviour
    | Stopped
)


class Event:
    """The namespace of the variants; see the module's text."""

    NewConnection = NewConnection
    NewBootstrapConnection = NewBootstrapConnection
    NewMessage = NewMessage
    LostConnection = LostConnection
    ConnectionFailed = ConnectionFailed
    ListenerFailed = ListenerFailed
    OwnEndpointsChanged = OwnEndpointsChanged
    ExternalEndpoints = ExternalEndpoints
    ConnectionInfoPrepared = ConnectionInfoPrepared
    Flood = Flood
    Misbehaviour = Misbehaviour
    Stopped = Stopped


_new_tuple: Callable[..., Any] = tuple.__new__


def new_messages(endpoint: Endpoint, messages: Iterable[bytes]) -> list[AnyEvent]:
    """Make the events of one batch of messages at once: no Python frame per event."""
    return list(map(_new_tuple, repeat(NewMessage), zip(repeat(endpoint), messages)))
