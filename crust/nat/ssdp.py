"""Finding UPnP gateways: the search of SSDP (UPnP Device Architecture 1.1, section 1.3) and its answers. Pure."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from crust.errors import Malformed

GROUP: Final = "239.255.255.250"
GROUP_IPV6: Final = "ff02::c"
"""The devices of one link; UPnP Device Architecture 1.1, annex A.3."""
PORT: Final = 1900
_LARGEST: Final = 4096  # bytes of an answer; those of routers have a few hundred
_LONGEST_URL: Final = 256  # characters
_HTTP: Final = 80

TARGETS: Final = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
"""What is searched for: gateways of both generations (the second answers for the first too, but not everywhere), and
two services by which routers answer that do not know their own kind."""
TARGETS_IPV6: Final = (
    "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
)
"""What is searched for over IPv6: the service that opens firewalls, and gateways of the generation that has it."""


def search(target: str, group: str = GROUP) -> bytes:
    """A request that devices of that kind answer within a second (MX, the least there is)."""
    host = f"[{group.upper()}]" if ":" in group else group
    lines = ["M-SEARCH * HTTP/1.1", f"HOST: {host}:{PORT}", 'MAN: "ssdp:discover"', "MX: 1", f"ST: {target}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse(data: bytes, sender: str) -> str:
    """The address of the description of a gateway, from an answer.

    A device speaks for itself only: the URL must lead to the address that the answer came from. Otherwise anybody on
    the network could have this node fetch from wherever they like. Over IPv6 devices have several addresses and may
    name another one than they answer from; it is fetched from where the answer came, whatever they name.

    Args:
        data: the datagram.
        sender: the address that it came from; a link-local one with its scope.

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
    if not any(kind.startswith(target.rpartition(":")[0] + ":") for target in TARGETS + TARGETS_IPV6):
        raise Malformed("the answer of something that is not a gateway")
    return _checked(headers.get("location", ""), sender)


def _checked(url: str, sender: str) -> str:
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Malformed("the address of a description is too long, or not one")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        named, speaks = ipaddress.ip_address(host), ipaddress.ip_address(sender)
    except ValueError as error:
        raise Malformed(f"the address of a description cannot be understood: {error}") from None
    if parts.scheme != "http" or parts.username is not None or port == 0:
        raise Malformed("a description is fetched over plain HTTP, without a user's name")
    if speaks.version == 6:
        return parts._replace(netloc=f"[{sender}]:{port or _HTTP}").geturl()
    if named != speaks:
        raise Malformed(f"the device at {sender} names a description at {host}")
    return parts.geturl()  # whatever the case of "HTTP" was
