"""The IPv6 firewall of a UPnP gateway (WANIPv6FirewallControl:1): what it does, and the same over HTTP on loopback."""

import re
import socket
from collections.abc import Callable
from typing import Final

from tests.nat import igd_server
from tests.nat.igd_server import IgdServer, http_answer

FIREWALL: Final = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"
FIREWALL_DESCRIPTION: Final = igd_server.DESCRIPTION.replace("CONTROL", "/other").replace(
    "</serviceList>",
    f"<service><serviceType>{FIREWALL}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPv6Firewall1</serviceId>"
    "<controlURL>CONTROL</controlURL><eventSubURL>/evt</eventSubURL><SCPDURL>/6.xml</SCPDURL></service></serviceList>",
)
_NOT_OURS: Final = (606, "Action not authorized")
_NOT_THERE: Final = (704, "NoSuchEntry")

Hole = tuple[str, int, int]
"""Address, port and protocol number."""


class FirewallTable:
    """See the module's text.

    Attributes:
        holes: by number, each with its lease.
        next: the number of the next one.
        most: how many there may be.
        knows_its_own: gives a hole that is there a new lease, as it has to.
        error: what it says to everything but the question for its status.
    """

    def __init__(self) -> None:
        self.enabled, self.allowed = "1", "1"
        self.holes: dict[int, tuple[Hole, int]] = {}
        self.next = 1
        self.most = 100
        self.knows_its_own = True
        self.error: tuple[int, str] | None = None

    def act(self, action: str, said: dict[str, str], client: str) -> tuple[str, bytes]:
        """HTTP status and body of an answer; only a client itself may open and close its holes."""
        result = self._status() if action == "GetFirewallStatus" else self.error or self._change(action, said, client)
        if isinstance(result, tuple):
            code, text = result
            inner = f"<errorCode>{code}</errorCode><errorDescription>{text}</errorDescription>".replace("\x1b", "&#9;")
            return "500 Internal Server Error", _soap(f"<s:Fault><detail>{inner}</detail></s:Fault>")
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in result.items())
        return "200 OK", _soap(f'<u:{action}Response xmlns:u="{FIREWALL}">{inner}</u:{action}Response>')

    def _status(self) -> dict[str, object]:
        return {"FirewallEnabled": self.enabled, "InboundPinholeAllowed": self.allowed}

    def _change(self, action: str, said: dict[str, str], client: str) -> dict[str, object] | tuple[int, str]:
        if action == "AddPinhole":
            return self._add(said, client)
        number = int(said["UniqueID"])
        if number not in self.holes:
            return _NOT_THERE
        hole, _ = self.holes[number]
        if hole[0] != client:
            return _NOT_OURS
        if action == "DeletePinhole":
            del self.holes[number]
        else:
            assert action == "UpdatePinhole"
            self.holes[number] = hole, int(said["NewLeaseTime"])
        return {}

    def _add(self, said: dict[str, str], client: str) -> dict[str, object] | tuple[int, str]:
        assert (said["RemoteHost"], said["RemotePort"]) == ("", "0")
        hole = said["InternalClient"], int(said["InternalPort"]), int(said["Protocol"])
        if hole[0] != client:
            return _NOT_OURS
        same = [number for number, (there, _) in self.holes.items() if there == hole and self.knows_its_own]
        if not same and len(self.holes) >= self.most:
            return 701, "PinholeSpaceExhausted"
        number = same[0] if same else self.next
        self.next += not same
        self.holes[number] = hole, int(said["LeaseTime"])
        return {"UniqueID": number}


class FirewallServer(IgdServer):
    """A `FirewallTable` behind HTTP.

    Args:
        manner: see `IgdServer`.
        host: where it listens.
    """

    def __init__(
        self, manner: Callable[[socket.socket, bytes], bool] = lambda sock, request: False, host: str = "::1"
    ) -> None:
        super().__init__(manner, host)
        self.firewall = FirewallTable()

    def answer(self, request: str, client: str) -> bytes:
        """What a good router says to an HTTP request."""
        if request.startswith("GET "):
            return http_answer("200 OK", FIREWALL_DESCRIPTION.replace("CONTROL", "/fw").encode())
        assert request.startswith("POST /fw ")
        action = re.search(r"#(\w+)", request)
        said = dict(re.findall(r"<(\w+)>([^<]*)</", request))
        return http_answer(*self.firewall.act(action[1] if action else "", said, client))


def _soap(body: str) -> bytes:
    start = '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    return f"{start}{body}</s:Body></s:Envelope>".encode()
