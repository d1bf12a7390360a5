"""Where packets for elsewhere go: the routers of this machine, from the tables of the system.

Linux has them as files. Elsewhere the program that prints them for people is run (``netstat -rn`` on macOS and the
BSDs, ``route print`` on Windows); its words differ with the language, its numbers do not, and only these are read.
There is no guess: the first address of the network, which most routers have, is somebody else's in the other networks.
"""

import ipaddress
import logging
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

log = logging.getLogger("crust.nat")

_IPV4: Final = Path("/proc/net/route")
_IPV6: Final = Path("/proc/net/ipv6_route")
_UP, _VIA_GATEWAY = 0x1, 0x2  # include/uapi/linux/route.h
_TIMEOUT: Final = 5.0  # seconds for a program that prints a table
_LARGEST: Final = 4 * 1024 * 1024  # characters of a table that are read


class Route(NamedTuple):
    """A default route.

    Attributes:
        interface: the name of the interface, or our address on it where the system tells that instead.
        gateway: the router's address; a link-local one with its scope.
    """

    interface: str
    gateway: str


def default_routes(platform: str = sys.platform) -> list[Route]:
    """All, of both versions of IP, the preferred ones first; none where the system does not tell.

    Args:
        platform: the kind of system, for tests.
    """
    try:
        if platform == "linux":
            return parse_linux_ipv4(_read(_IPV4)) + parse_linux_ipv6(_read(_IPV6))
        command = ["route", "print"] if platform == "win32" else ["netstat", "-rn"]
        return parse_printed(_printed(command))
    except (OSError, subprocess.SubprocessError) as error:
        log.debug("the routes of this machine cannot be read: %s", error)
        return []


def _read(file: Path) -> str:
    try:
        with file.open(encoding="ascii", errors="replace") as table:
            return table.read(_LARGEST)
    except FileNotFoundError:  # this version of IP is switched off
        return ""


def _printed(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT,
        check=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    return done.stdout.decode("latin-1")[:_LARGEST]


def parse_linux_ipv4(table: str) -> list[Route]:
    """From the text of ``/proc/net/route``; lines that are not understood are passed over."""
    found: list[tuple[int, Route]] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        try:
            interface, destination, gateway, flags, _, _, metric, mask = fields[:8]
            if int(destination, 16) or int(mask, 16) or int(flags, 16) & (_UP | _VIA_GATEWAY) != _UP | _VIA_GATEWAY:
                continue
            # The kernel prints the number that the address is in memory.
            address = socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
            found.append((int(metric), Route(interface, address)))
        except (ValueError, struct.error):
            continue
    return _in_order(found)


def parse_linux_ipv6(table: str) -> list[Route]:
    """From the text of ``/proc/net/ipv6_route``; lines that are not understood are passed over."""
    found: list[tuple[int, Route]] = []
    for line in table.splitlines():
        fields = line.split()
        try:
            destination, bits, _, _, gateway, metric, _, _, flags, interface = fields[:10]
            address = ipaddress.IPv6Address(bytes.fromhex(gateway))
            if int(destination, 16) or int(bits, 16) or address.is_unspecified:
                continue
            if int(flags, 16) & (_UP | _VIA_GATEWAY) != _UP | _VIA_GATEWAY:
                continue
            scope = f"%{interface}" if address.is_link_local else ""
            found.append((int(metric, 16), Route(interface, f"{address}{scope}")))
        except ValueError:
            continue
    return _in_order(found)


def _in_order(found: Iterable[tuple[int, Route]]) -> list[Route]:
    return list(dict.fromkeys(route for _, route in sorted(found, key=lambda each: each[0])))


def parse_printed(text: str) -> list[Route]:
    """From what ``netstat -rn`` or ``route print`` prints.

    The first has lines ``default gateway flags interface``, the second ``0.0.0.0 0.0.0.0 gateway our-address metric``
    and ``interface-number metric ::/0 gateway``.
    """
    found: list[tuple[int, Route]] = []
    for line in text.splitlines():
        fields = line.split()
        route: Route | None = None
        metric = 0
        if fields[:1] in (["default"], ["0.0.0.0/0"], ["::/0"]) and len(fields) >= 4:
            route = _route(fields[3], fields[1])
        elif fields[:2] == ["0.0.0.0", "0.0.0.0"] and len(fields) >= 5 and fields[4].isdigit():
            route, metric = _route(fields[3], fields[2]), int(fields[4])
        elif fields[2:3] == ["::/0"] and len(fields) == 4 and fields[1].isdigit():
            route, metric = _route(fields[0], fields[3]), int(fields[1])
        if route is not None:
            found.append((metric, route))
    return _in_order(found)


def _route(interface: str, gateway: str) -> Route | None:
    bare = gateway.partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:  # "On-link", "link#4": no router
        return None
    if address.is_unspecified:
        return None
    return Route(
        interface, f"{address}%{interface}" if address.version == 6 and address.is_link_local else str(address)
    )
