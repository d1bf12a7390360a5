"""A UPnP gateway on loopback, over real HTTP: a good one, and others that misbehave in a way of their own."""

import re
import socket
import threading
from collections.abc import Callable
from typing import Final, Self

_SERVICE: Final = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION: Final = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>test</friendlyName>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>
<serviceList><service><serviceType>{_SERVICE}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<controlURL>CONTROL</controlURL><eventSubURL>/evt</eventSubURL><SCPDURL>/scpd.xml</SCPDURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>"""
_PATIENCE: Final = 10.0


def http_answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


class IgdServer:
    """See the module's text. Use ``with``.

    Args:
        manner: takes the connection of a request and its bytes, and says whether it has dealt with it.
        host: where it listens.

    Attributes:
        table: (external port, protocol) -> (host, internal port, lease)
    """

    def __init__(
        self, manner: Callable[[socket.socket, bytes], bool] = lambda sock, request: False, host: str = "127.0.0.1"
    ) -> None:
        self.table: dict[tuple[int, str], tuple[str, int, int]] = {}
        self.external = "11.1.1.2"
        self.control = "/ctl"
        self.ended = threading.Event()
        self._manner = manner
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._listener.getsockname()[1]}/rootDesc.xml"
        self._thread = threading.Thread(target=self._serve, name="test-igd")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_PATIENCE)
        self._listener.close()

    def _serve(self) -> None:
        while not self.ended.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(_PATIENCE)
                try:
                    self._request(sock)
                except OSError:
                    pass  # whoever asked has gone

    def _request(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65_536) or b"\r\n\r\n"
        length = re.search(rb"content-length: *(\d+)", data, re.IGNORECASE)
        wanted = data.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
        while len(data) < wanted and (more := sock.recv(65_536)):
            data += more
        if not self._manner(sock, data):
            sock.sendall(self.answer(data.decode(), sock.getpeername()[0]))

    def answer(self, request: str, client: str) -> bytes:
        """What a good router says to an HTTP request."""
        if request.startswith("GET "):
            return http_answer("200 OK", DESCRIPTION.replace("CONTROL", self.control).encode())
        action = re.search(r"#(\w+)", request)
        fields = dict(re.findall(r"<(New\w+)>([^<]*)</", request))
        return self._act(action[1] if action else "", fields)

    def _act(self, action: str, fields: dict[str, str]) -> bytes:
        key = int(fields.get("NewExternalPort", 0)), fields.get("NewProtocol", "")
        out: dict[str, object] = {}
        if action == "GetExternalIPAddress":
            out["NewExternalIPAddress"] = self.external
        elif action == "AddPortMapping":
            there = self.table.get(key)
            if there is not None and there[0] != fields["NewInternalClient"]:
                return self._error(718, "ConflictInMappingEntry")
            lease = int(fields["NewLeaseDuration"])
            self.table[key] = fields["NewInternalClient"], int(fields["NewInternalPort"]), lease
        elif key not in self.table:
            return self._error(714, "NoSuchEntryInArray")
        elif action == "GetSpecificPortMappingEntry":
            host, port, lease = self.table[key]
            out = {"NewInternalPort": port, "NewInternalClient": host, "NewEnabled": 1}
            out |= {"NewPortMappingDescription": "x", "NewLeaseDuration": lease}
        elif action == "DeletePortMapping":
            del self.table[key]
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in out.items())
        return self._soap("200 OK", f'<u:{action}Response xmlns:u="{_SERVICE}">{inner}</u:{action}Response>')

    def _error(self, code: int, text: str) -> bytes:
        detail = f"<UPnPError><errorCode>{code}</errorCode><errorDescription>{text}</errorDescription></UPnPError>"
        return self._soap("500 Internal Server Error", f"<s:Fault><detail>{detail}</detail></s:Fault>")

    def _soap(self, status: str, body: str) -> bytes:
        start = '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        return http_answer(status, f"{start}{body}</s:Body></s:Envelope>".encode())
