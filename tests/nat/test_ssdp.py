"""`crust.nat.ssdp`: searches, and what answers are believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.nat import ssdp

ROUTER = "192.168.1.1"


def answer(
    location: str = "http://192.168.1.1:5000/rootDesc.xml", kind: str = ssdp.TARGETS[0], first: str = "HTTP/1.1 200 OK"
) -> bytes:
    lines = [first, "CACHE-CONTROL: max-age=120", f"ST: {kind}", "EXT:", f"Location: {location}", "USN: uuid:1"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_search_asks_for_gateways() -> None:
    lines = ssdp.search(ssdp.TARGETS[1]).decode().split("\r\n")
    assert lines[0] == "M-SEARCH * HTTP/1.1"
    assert lines[-2:] == ["", ""]
    headers = dict(line.split(": ", 1) for line in lines[1:-2])
    assert headers == {
        "HOST": "239.255.255.250:1900",
        "MAN": '"ssdp:discover"',
        "MX": "1",
        "ST": "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    }


@pytest.mark.parametrize("kind", [*ssdp.TARGETS, "urn:schemas-upnp-org:service:WANIPConnection:2"])
def test_an_answer(kind: str) -> None:
    assert ssdp.parse(answer(kind=kind), ROUTER) == "http://192.168.1.1:5000/rootDesc.xml"


def test_a_search_over_ipv6_names_its_own_group() -> None:
    request = ssdp.search(ssdp.TARGETS_IPV6[0], ssdp.GROUP_IPV6)
    assert b"\r\nHOST: [FF02::C]:1900\r\n" in request
    assert b"\r\nST: urn:schemas-upnp-org:service:WANIPv6FirewallControl:1\r\n" in request


@pytest.mark.parametrize("named", ["[2a00::1]:5000", "[fd00::1]:5000", "192.168.1.1:5000", "[2a00:bad::bad]:5000"])
@pytest.mark.parametrize("sender", ["2a00::1", "fe80::1%3"])
def test_over_ipv6_a_description_is_fetched_from_who_answers(named: str, sender: str) -> None:
    url = ssdp.parse(answer(f"http://{named}/rootDesc.xml?a=b", ssdp.TARGETS_IPV6[0]), sender)
    assert url == f"http://[{sender}]:5000/rootDesc.xml?a=b"
    assert ssdp.parse(answer("http://[::1]/d"), sender) == f"http://[{sender}]:80/d"


@pytest.mark.parametrize(
    "named", ["file://[2a00::1]/x", "http://a.example/x", "http://u@[2a00::1]/x", "http://[::1]:0/x"]
)
def test_over_ipv6_not_everything_is_a_description(named: str) -> None:
    with pytest.raises(Malformed):
        ssdp.parse(answer(named), "2a00::1")


def test_the_scheme_is_in_any_case() -> None:
    assert ssdp.parse(answer("htTP://192.168.1.1/x"), ROUTER) == "http://192.168.1.1/x"


def test_names_of_headers_are_in_any_case() -> None:
    assert ssdp.parse(answer().replace(b"Location:", b"LOCATION:").replace(b"ST:", b"st:"), ROUTER)


@pytest.mark.parametrize(
    "location",
    [
        "http://192.168.1.2:5000/x",  # somebody else's
        "http://router.example/x",
        "https://192.168.1.1/x",
        "file:///etc/passwd",
        "http://user@192.168.1.1/x",
        "http://192.168.1.1:0/x",
        "http://192.168.1.1:99999/x",
        "http://192.168.1.1/a b",
        "http://[192.168.1.1/x",
        "http://192.168.1.1/" + "x" * 300,
        "",
    ],
)
def test_a_device_speaks_for_itself_only(location: str) -> None:
    with pytest.raises(Malformed):
        ssdp.parse(answer(location), ROUTER)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        answer(first="HTTP/1.1 404 Not Found"),
        answer(first="NOTIFY * HTTP/1.1"),
        answer(kind="urn:schemas-upnp-org:device:MediaServer:1"),
        answer(kind="upnp:rootdevice"),
        answer() + bytes(5000),
    ],
)
def test_what_is_no_answer_of_a_gateway(data: bytes) -> None:
    with pytest.raises(Malformed):
        ssdp.parse(data, ROUTER)


@given(st.binary(max_size=200), st.text(max_size=50))
def test_nothing_but_malformed_escapes(data: bytes, location: str) -> None:
    for each in (data, answer(location.replace("\r\n", ""))):
        try:
            assert ssdp.parse(each, ROUTER).startswith("http://192.168.1.1")
        except Malformed:
            pass
