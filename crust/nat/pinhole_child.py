"""What asks a router for holes in its IPv6 firewall, over UPnP (the service WANIPv6FirewallControl:1).

miniupnpc's Python module does not know this service, so it is spoken here: HTTP and XML of the standard library.
`crust.nat.upnp_child` loads this file in its process, where a deadline and a limit of memory hold for all of it;
nothing of crust is imported here either.

Only an address itself may ask for its holes (section 2.4 of the service), so everything goes over IPv6, from that
address. ``serve`` takes and gives what `crust.nat.upnp_child` does, with the number of the hole (UniqueID) in place of
the external port; in ``map`` -1 stands for none.
"""

import http.client
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat
from xml.sax.saxutils import escape

SERVICE: Final = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:"
_TIMEOUT: Final = 5.0  # seconds without a byte; the process has its own deadline for all
_LARGEST: Final = 262_144  # bytes of a description or an answer; those of routers have some thousand
_DEEPEST: Final = 32  # elements within each other; routers have a dozen
_LONGEST_TEXT: Final = 100  # characters of what a router says
_LARGEST_NUMBER: Final = 65_535  # of a hole: ui2
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17}  # section 2.3.6
_NO_SUCH_ENTRY: Final = 704

# Section 2.5 and UPnP Device Architecture 1.1, section 3.2.2.
_MEANINGS: Final = {
    606: "does not allow us to open its IPv6 firewall: allow it in its settings, or open the port there",
    701: "has no room for another hole in its IPv6 firewall: remove some in its settings",
    702: "says that its IPv6 firewall is off: nothing is in the way there",
    703: "does not allow holes in its IPv6 firewall: allow them in its settings, or open the port there",
}

Fields = list[tuple[str, str]]
Exchange = Callable[[str, "bytes | None", "dict[str, str]"], bytes]
"""Fetches a path, or posts to it, with more headers; raises `Failure`."""


class Failure(Exception):
    """Something came to nothing; the text goes on ``the router``."""


class SoapError(Failure):
    """The router says no, with a number."""

    def __init__(self, code: int, text: str) -> None:
        said = text or (f"error {code}" if code else "it says neither yes nor no")
        super().__init__(_MEANINGS.get(code) or f"did not open its IPv6 firewall: {said}")
        self.code = code


def serve(request: "dict[str, Any]", exchange: "Exchange | None" = None) -> "dict[str, Any]":
    """Do what is asked, and say what came of it.

    Args:
        request: see `crust.nat.upnp_child`; all of its addresses are IPv6 ones.
        exchange: speaks HTTP, for tests.
    """
    answer: dict[str, Any] = {"external": None, "mapped": [], "failed": [], "left": []}
    try:
        ask = Firewall(request["url"], exchange or over_http(request["url"], request["local"]))
    except Failure as failure:
        return {"error": f"its description cannot be used: {failure}"}
    for protocol, internal, number in request["unmap"]:
        try:
            ask.close(number)
        except Failure as failure:
            answer["left"].append([protocol, internal, f"did not close its IPv6 firewall again: {failure}"])
    try:
        if request["map"]:
            ask.check()
        for protocol, internal, number in request["map"]:
            try:
                given = ask.open(request["local"], protocol, internal, request["lease"], number)
                answer["mapped"].append([protocol, internal, given, request["lease"]])
            except Failure as failure:
                answer["failed"].append([protocol, internal, str(failure)])
    except Failure as failure:
        answer["failed"] += [[protocol, internal, str(failure)] for protocol, internal, _ in request["map"]]
    return answer


class Firewall:
    """The service of one router.

    Args:
        url: of the router's description, fetched at once.
        exchange: speaks HTTP with it.

    Raises:
        Failure: it has no such service.
    """

    def __init__(self, url: str, exchange: Exchange) -> None:
        self._exchange = exchange
        self._control, self._type = _service(fields(exchange(_path(url), None, {})), url)

    def check(self) -> None:
        """Whether there is a firewall that may be opened.

        Raises:
            Failure: there is not; or nothing sensible was said.
        """
        said = dict(self._call("GetFirewallStatus"))
        if "FirewallEnabled" not in said or "InboundPinholeAllowed" not in said:
            raise Failure("does not tell how its IPv6 firewall is set")
        if not _true(said["FirewallEnabled"]):
            raise SoapError(702, "")
        if not _true(said["InboundPinholeAllowed"]):
            raise SoapError(703, "")

    def open(self, local: str, protocol: str, port: int, lease: int, number: int) -> int:
        """Make a hole, or give the same one a new lease; its number.

        A hole that is there keeps its number, and gets the new lease (section 2.5.3). That is surer than to renew by
        number: a router that has restarted gives the numbers out anew, perhaps to another program of this machine.

        Raises:
            Failure: there is no hole.
        """
        try:
            said = dict(
                self._call(
                    "AddPinhole",
                    RemoteHost="",
                    RemotePort=0,
                    InternalClient=local,
                    InternalPort=port,
                    Protocol=_PROTOCOLS[protocol],
                    LeaseTime=lease,
                )
            )
        except SoapError:
            if number < 0:
                raise
            # Some may take it for a second one, for which there is no room.
            self._call("UpdatePinhole", UniqueID=number, NewLeaseTime=lease)
            return number
        given = said.get("UniqueID", "")
        if not re.fullmatch("[0-9]{1,5}", given) or int(given) > _LARGEST_NUMBER:
            raise Failure("says it has opened its IPv6 firewall, but not where")
        return int(given)

    def close(self, number: int) -> None:
        """Delete a hole, if it is still there.

        Raises:
            Failure: it may be there still.
        """
        try:
            self._call("DeletePinhole", UniqueID=number)
        except SoapError as error:
            if error.code != _NO_SUCH_ENTRY:
                raise

    def _call(self, action: str, **arguments: object) -> Fields:
        inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in arguments.items())
        body = (
            '<?xml version="1.0"?>\r\n'
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
            's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
            f'<u:{action} xmlns:u="{self._type}">{inner}</u:{action}></s:Body></s:Envelope>\r\n'
        )
        headers = {"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": f'"{self._type}#{action}"'}
        said = fields(self._exchange(self._control, body.encode(), headers))
        names = dict(said)
        if "errorCode" in names or f"{action}Response" not in names:
            code = names.get("errorCode", "")
            number = int(code) if re.fullmatch("[0-9]{1,5}", code) else 0
            raise SoapError(number, _text(names.get("errorDescription", "")))
        return said


def fields(document: bytes) -> Fields:
    """The elements of an XML document, each as it ends: its name without prefix, and the text in it.

    Raises:
        Failure: it is not XML; or XML as nobody needs it here, which costs time and memory.
    """
    found: Fields = []
    texts: list[list[str]] = []

    def start(name: str, attributes: "dict[str, str]") -> None:
        if len(texts) == _DEEPEST:
            raise Failure("its XML is too deep")
        texts.append([])

    def end(name: str) -> None:
        found.append((name.rpartition(":")[2], "".join(texts.pop()).strip()))

    def text(data: str) -> None:
        texts[-1].append(data)

    def doctype(*_: object) -> None:
        raise Failure("its XML has a DOCTYPE, which no router needs")  # in which entities would be declared

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two of encodings
        raise Failure(f"its XML cannot be read: {_text(error)}") from None
    return found


def over_http(url: str, local: str) -> Exchange:
    """HTTP with the device of a URL, which has an address for a host, from our address."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80

    def exchange(path: str, body: "bytes | None", headers: "dict[str, str]") -> bytes:
        # The zone of a link-local address is ours only.
        shown = {"Host": f"[{host.partition('%')[0]}]:{port}", "Connection": "close", **headers}
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT, source_address=(local, 0))
        try:
            connection.request("GET" if body is None else "POST", path, body, shown)
            response = connection.getresponse()
            if response.status != 200 and not (body and response.status == 500):
                raise Failure(f"answers with HTTP status {response.status}")
            data = response.read(_LARGEST + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Failure(f"cannot be spoken with: {_text(error) or type(error).__name__}") from None
        finally:
            connection.close()
        if len(data) > _LARGEST:
            raise Failure("sends far too much")
        return data

    return exchange


def _service(description: Fields, url: str) -> "tuple[str, str]":
    """The path of the service's control, and its type."""
    base, kind, control = url, "", ""
    for name, text in description:
        if name == "URLBase" and text:
            base = text
        elif name == "serviceType":
            kind = text
        elif name == "controlURL":
            control = text
        elif name == "service":
            if re.fullmatch(re.escape(SERVICE) + "[0-9]{1,3}", kind) and control:
                return _path(control, base), kind
            kind = control = ""
    raise Failure("it names nothing that opens an IPv6 firewall")


def _path(url: str, base: str = "") -> str:
    """What is asked of the device that answered, whatever host a URL names."""
    try:
        parts = urlsplit(urljoin(base, url))
    except ValueError:
        raise Failure("a URL in it is none") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not re.fullmatch("/[!-~]{0,255}", path):
        raise Failure("a URL in it is none")
    return path


def _true(text: str) -> bool:
    return text.lower() in ("1", "true", "yes")


def _text(error: object) -> str:
    return "".join(each for each in str(error) if each.isprintable())[:_LONGEST_TEXT]
