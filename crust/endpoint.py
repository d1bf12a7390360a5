"""Where a peer is: `Protocol`, `Endpoint` and `Port`."""

import enum
import ipaddress
import re
from functools import total_ordering
from typing import Any, Final, Self, SupportsIndex

from crust.errors import EndpointError

MAX_HOST_LENGTH: Final = 253  # characters; RFC 1035 section 2.3.4, as text
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?\Z")
_SCOPE = re.compile(r"[A-Za-z0-9_.:-]{1,32}\Z")


class Protocol(enum.IntEnum):
    """The transport of an endpoint or port. In the order of preference: TCP first, uTP the fallback."""

    TCP = 0
    UTP = 1
    TRACER = 2
    RELAYED = 3
    """Through a peer that is connected to both ends; the host is that of the peer in the middle, and the port a number
    that this node gave to the connection. It names connections, and cannot be dialled."""

    @property
    def scheme(self) -> str:
        """The name as it stands before ``://``."""
        return self.name.lower()


_SCHEMES: Final = {protocol.scheme: protocol for protocol in Protocol}
Address = tuple[str, int]


def _check_protocol(protocol: Any) -> Protocol:
    try:
        return Protocol(protocol)
    except ValueError:
        names = ", ".join(f"Protocol.{each.name}" for each in Protocol)
        raise EndpointError(f"protocol {protocol!r} is none: use one of {names}") from None


def _check_port(port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise EndpointError(f"port {port!r} is not a number from 0 to 65535")
    return port


def _split_address(text: str) -> Address:
    """``host:port`` or ``[v6]:port`` to its parts."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5:
        raise EndpointError(f"{text!r} has no port: write HOST:PORT, as in 192.0.2.7:5483 or [2001:db8::7]:5483")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise EndpointError(f"{text!r}: brackets are for IPv6 addresses, as in [2001:db8::7]:5483")
    elif ":" in host:
        raise EndpointError(f"{text!r}: write an IPv6 address in brackets, as in [2001:db8::7]:5483")
    return host, int(port)


def _canonical(host: str) -> tuple[str, tuple[int, bytes, str]]:
    """The one spelling of a host, and a key that orders hosts: IPv4, IPv6, then names."""
    if not isinstance(host, str):
        raise EndpointError(f"host {host!r} is not text")
    bare, percent, scope = host.partition("%")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        if len(host) > MAX_HOST_LENGTH or not _HOST_NAME.match(host):
            raise EndpointError(f"{host!r} is neither an IP address nor a host name") from None
        if host.replace(".", "").isdigit():
            raise EndpointError(f"{host!r} looks like an IPv4 address but is not one") from None
        name = host.rstrip(".").lower()
        return name, (255, b"", name)
    if percent and (address.version != 6 or not _SCOPE.match(scope)):
        raise EndpointError(f"{host!r}: a scope (%...) belongs to an IPv6 address, as in fe80::1%eth0")
    return f"{address}{percent}{scope}", (address.version, address.packed, scope)


@total_ordering
class Endpoint:
    """A protocol and a socket address: immutable, hashable, totally ordered.

    Build one with `tcp`, `utp`, `tracer` or `parse`; ``str()`` gives the form that `parse` reads. Endpoints are ordered
    by protocol, then address (IPv4 before IPv6 before names, addresses by number), then port. Host names are resolved
    when they are dialled, never here.

    Args:
        protocol: the transport.
        host: an IPv4 or IPv6 address (a link-local one may have a scope, ``fe80::1%eth0``) or a host name.
        port: 0 to 65535.

    Raises:
        EndpointError: the address cannot be understood, or the protocol is none.
    """

    __slots__ = ("_hash", "_key", "host", "port", "protocol")
    protocol: Protocol
    host: str
    port: int
    _key: tuple[int, tuple[int, bytes, str], int]
    _hash: int

    def __init__(self, protocol: Protocol, host: str, port: int) -> None:
        canonical, order = _canonical(host)
        protocol = _check_protocol(protocol)
        key = (int(protocol), order, _check_port(port))
        for name, value in (
            ("protocol", protocol),
            ("host", canonical),
            ("port", port),
            ("_key", key),
            ("_hash", hash(key)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def tcp(cls, address: str | tuple[Any, ...]) -> Self:
        """An encrypted TCP endpoint, from ``"host:port"`` or ``(host, port)``."""
        return cls._of(Protocol.TCP, address)

    @classmethod
    def utp(cls, address: str | tuple[Any, ...]) -> Self:
        """A uTP (reliable UDP) endpoint, from ``"host:port"`` or ``(host, port)``."""
        return cls._of(Protocol.UTP, address)

    @classmethod
    def tracer(cls, address: str | tuple[Any, ...]) -> Self:
        """A tracer TCP endpoint (clear text, for watching), from ``"host:port"`` or ``(host, port)``."""
        return cls._of(Protocol.TRACER, address)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``tcp://host:port`` (also ``utp://``, ``tracer://`` and ``relayed://``); ``host:port`` alone means TCP.

        Raises:
            EndpointError: the text is not an endpoint; the message says what is wrong and shows a right one.
        """
        if not isinstance(text, str):
            raise EndpointError(f"{text!r} is not text; write an endpoint as tcp://HOST:PORT")
        scheme, separator, rest = text.strip().rpartition("://")
        if not separator:
            return cls._of(Protocol.TCP, rest)
        protocol = _SCHEMES.get(scheme.lower())
        if protocol is None:
            raise EndpointError(f"{text!r}: {scheme!r} is not a protocol; use one of {', '.join(_SCHEMES)}")
        return cls._of(protocol, rest)

    @classmethod
    def _of(cls, protocol: Protocol, address: str | tuple[Any, ...]) -> Self:
        if isinstance(address, str):
            host, port = _split_address(address)
        elif isinstance(address, tuple) and len(address) >= 2:
            host, port = address[0], address[1]
            if (
                len(address) == 4 and address[3] and isinstance(host, str) and "%" not in host
            ):  # (host, port, flowinfo, scope id)
                host = f"{host}%{address[3]}"
        else:
            raise EndpointError(f"{address!r} is not an address: give 'host:port' or (host, port)")
        return cls(protocol, host, port)

    @property
    def address(self) -> Address:
        """``(host, port)``, as the functions of the ``socket`` module take it."""
        return (self.host, self.port)

    @property
    def is_name(self) -> bool:
        """Whether the host is a name that has to be resolved first."""
        return self._key[1][0] == 255

    @property
    def is_relayed(self) -> bool:
        """Whether it names a connection that another peer carries; nobody can be dialled there."""
        return self.protocol is Protocol.RELAYED

    @property
    def lacks_scope(self) -> bool:
        """Whether it is a link-local IPv6 address that does not say of which link."""
        version, packed, scope = self._key[1]
        return version == 6 and not scope and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Endpoint never changes; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Endpoint never changes; cannot delete {name!r}")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Endpoint) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._key < other._key if isinstance(other, Endpoint) else NotImplemented

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint.parse({str(self)!r})"

    def __reduce_ex__(self, version: SupportsIndex) -> tuple[Any, ...]:
        return (type(self), (self.protocol, self.host, self.port))


@total_ordering
class Port:
    """A protocol and a port number to listen on; 0 means any free port.

    Raises:
        EndpointError: the number is not from 0 to 65535, or the protocol one that nobody listens on.
    """

    __slots__ = ("_key", "port", "protocol")
    protocol: Protocol
    port: int
    _key: tuple[int, int]

    def __init__(self, protocol: Protocol, port: int) -> None:
        protocol = _check_protocol(protocol)
        if protocol is Protocol.RELAYED:
            raise EndpointError("there are no relayed ports: relayed connections come through other peers")
        object.__setattr__(self, "protocol", protocol)
        object.__setattr__(self, "port", _check_port(port))
        object.__setattr__(self, "_key", (int(protocol), port))

    @classmethod
    def tcp(cls, port: int) -> Self:
        """A TCP port."""
        return cls(Protocol.TCP, port)

    @classmethod
    def utp(cls, port: int) -> Self:
        """A UDP port for uTP."""
        return cls(Protocol.UTP, port)

    @classmethod
    def tracer(cls, port: int) -> Self:
        """A TCP port for tracer connections."""
        return cls(Protocol.TRACER, port)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Port never changes; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Port never changes; cannot delete {name!r}")

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Port) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._key < other._key if isinstance(other, Port) else NotImplemented

    def __str__(self) -> str:
        return f"{self.protocol.scheme}:{self.port}"

    def __repr__(self) -> str:
        return f"Port.{self.protocol.scheme}({self.port})"

    def __reduce_ex__(self, version: SupportsIndex) -> tuple[Any, ...]:
        return (type(self), (self.protocol, self.port))
