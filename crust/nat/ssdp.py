"""Finding UPnP gateways: the search of SSDP (UPnP Device Architecture 1.1, section 1.3) and its answers. Pure."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from crust.errors import Malformed

GROUP: Final = "239.255.255.250"
PORT: Final = 1900
_LARGEST: Final = 4096  # bytes of an answer; those of routers have a few hundred
_LONGEST_URL: Final = 256  # characters

TARGETS: Final = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
"""What is searched for: gateways of both generations (the second answers for the first too, but not everywhere), and
two services by which routers answer that do not know their own kind."""


def search(target: str) -> bytes:
    """A request that devices of that kind answer within a second (MX, the least there is)."""
    lines = ["M-SEARCH * HTTP/1.1", f"HOST: {GROUP}:{PORT}", 'MAN: "ssdp:discover"', "MX: 1", f"ST: {target}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse(data: bytes, sender: str) -> str:
    """The address of the description of a gateway, from an answer.

    A device speaks for itself only: the URL must lead to the address that the answer came from. Otherwise anybody on
    the network could have this node fetch from wherever they like.

    Args:
        data: the datagram.
        sender: the IPv4 address that it came from.

    Raises:
        Malformed: it is not the answer of a gateway.
    """
    if len(data) > _LARGEST:
        raise Malformed(f"an answer of {len(data)} bytes is too large for SSDP")
    lines = data.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1.") or lines[0].split(" ")[1:2] != ["200"]:
        raise Malformed("not an answer of SSDP")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    kind = headers.get("st", "")
    if not any(kind.startswith(target.rpartition(":")[0] + ":") for target in TARGETS):
        raise Malformed("the answer of something that is not a gateway")
    return _checked(headers.get("location", ""), sender)


def _checked(url: str, sender: str) -> str:
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Malformed("the address of a description is too long, or not one")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        named = ipaddress.ip_address(host)
    except ValueError as error:
        raise Malformed(f"the address of a description cannot be understood: {error}") from None
    if parts.scheme != "http" or parts.username is not None or port == 0:
        raise Malformed("a description is fetched over plain HTTP, without a user's name")
    if named != ipaddress.ip_address(sender):
        raise Malformed(f"the device at {sender} names a description at {host}")
    return parts.geturl()  # whatever the case of "HTTP" was
