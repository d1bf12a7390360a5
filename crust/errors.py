"""Every exception that Crust raises.

The tree, with the standard error that each also is::

    CrustError
    ├── LocalError                  you (or this machine) can mend it
    │   ├── ConfigError             ValueError            a setting or a configuration file is wrong
    │   ├── EndpointError           ValueError            an address, port or peer id cannot be understood
    │   ├── IdentityError           ValueError            an identity file is unreadable or damaged
    │   ├── ManagerStopped          RuntimeError          the manager was stopped
    │   ├── NotConnected            ConnectionError       no connection to that endpoint
    │   ├── MessageTooLarge         ValueError            longer than ``max_message_size``
    │   ├── SendQueueFull           queue.Full            the peer is slower than you send
    │   ├── TransportUnavailable    NotImplementedError   this build or configuration has no such transport
    │   └── ListenFailed            ConnectionError       a port could not be opened
    └── RemoteError                 ConnectionError       the network or the peer did it
        ├── DialFailed                                    nothing answered at that address
        ├── HandshakeFailed                               somebody answered, but not a peer we can talk to
        ├── PeerMisbehaved                                an authenticated peer broke the protocol
        │   └── Malformed           ValueError            bytes that no correct peer sends
        ├── ConnectionLost                                the connection ended
        └── TimedOut                TimeoutError          a deadline passed

``LocalError`` and ``RemoteError`` answer the first question of whoever reads a log: is it us, or is it them?
Each message says what happened and, where there is one, the way out.
"""

import queue


class CrustError(Exception):
    """Base class of every error that Crust raises."""


class LocalError(CrustError):
    """Something the caller or this machine can mend."""


class RemoteError(CrustError, ConnectionError):
    """Something the network or the peer did."""


class ConfigError(LocalError, ValueError):
    """A setting or a configuration file is wrong; the message names file, line, key, what was given and what is
    allowed."""


class EndpointError(LocalError, ValueError):
    """An address, a port or a peer id cannot be understood."""


class IdentityError(LocalError, ValueError):
    """An identity file cannot be read or is damaged."""


class ManagerStopped(LocalError, RuntimeError):
    """The manager was stopped; make a new one to go on."""


class NotConnected(LocalError, ConnectionError):
    """There is no connection to that endpoint (yet, or any more)."""


class MessageTooLarge(LocalError, ValueError):
    """The message is longer than ``Config.max_message_size``."""


class SendQueueFull(LocalError, queue.Full):
    """The send queue of that connection is full: the peer or the network is slower than the caller sends.

    Nothing was queued. Try again later, pass ``timeout=`` to wait for room, or raise ``Config.send_queue_bytes``.
    """


class TransportUnavailable(LocalError, NotImplementedError):
    """The transport of that endpoint is not available in this version or not allowed by the configuration."""


class ListenFailed(LocalError, ConnectionError):
    """No listener could be opened on a port."""


class DialFailed(RemoteError):
    """Nothing that could be connected to answered at that address."""


class HandshakeFailed(RemoteError):
    """Something answered, but it is not a peer that we can talk to (another network, version, or not Crust at all)."""


class PeerMisbehaved(RemoteError):
    """An authenticated peer broke the protocol; the connection is over."""


class Malformed(PeerMisbehaved, ValueError):
    """Bytes that no correct peer sends. The one error that parsers of untrusted bytes raise."""


class ConnectionLost(RemoteError):
    """The connection ended."""


class TimedOut(RemoteError, TimeoutError):
    """A deadline passed before the operation was done."""
