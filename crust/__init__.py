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

from crust._version import __version__ as __version__
from crust.channel import channel
from crust.config import Config
from crust.connection_manager import ConnectionManager
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
