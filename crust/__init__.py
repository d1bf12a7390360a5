"""Crust: reliable, encrypted peer-to-peer connections.

Make a `ConnectionManager` with a queue of your own, call ``start_listening()``, ``connect()`` and ``send()`` on it, and
read what happens as `Event` variants from the queue::

    events = crust.channel()
    with crust.ConnectionManager(events) as manager:
        manager.connect(crust.Endpoint.tcp("192.0.2.7:5483"))
        match events.get():
            case crust.Event.NewConnection(endpoint):
                manager.send(endpoint, b"hello")
"""

import typing

from crust._version import __version__ as __version__
from crust.channel import channel
from crust.config import Config
from crust.endpoint import Endpoint, Port, Protocol
from crust.errors import (
    ConfigError,
    ConnectionLost,
    CrustError,
    DialFailed,
    EndpointError,
    HandshakeFailed,
    IdentityError,
    ListenFailed,
    LocalError,
    Malformed,
    ManagerStopped,
    MessageTooLarge,
    NotConnected,
    PeerMisbehaved,
    RemoteError,
    SendQueueFull,
    TimedOut,
    TransportUnavailable,
)
from crust.event import Event
from crust.identity import Identity, PeerId

if typing.TYPE_CHECKING:
    from crust.connection_manager import ConnectionManager

__all__ = [
    "Config",
    "ConfigError",
    "ConnectionLost",
    "ConnectionManager",
    "CrustError",
    "DialFailed",
    "Endpoint",
    "EndpointError",
    "Event",
    "HandshakeFailed",
    "Identity",
    "IdentityError",
    "ListenFailed",
    "LocalError",
    "Malformed",
    "ManagerStopped",
    "MessageTooLarge",
    "NotConnected",
    "PeerId",
    "PeerMisbehaved",
    "Port",
    "Protocol",
    "RemoteError",
    "SendQueueFull",
    "TimedOut",
    "TransportUnavailable",
    "channel",
]

if not typing.TYPE_CHECKING:  # for a type checker there would be no name that it does not have

    def __getattr__(name: str) -> object:
        """Import what takes most of the time once it is asked for: ``crust --help`` never does, and a Ctrl-C meanwhile
        finds a command that can end in order."""
        if name != "ConnectionManager":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from crust.connection_manager import ConnectionManager

        globals()[name] = ConnectionManager
        return ConnectionManager

    def __dir__() -> list[str]:
        """Whether it has been imported or not."""
        return sorted({*globals(), *__all__})
