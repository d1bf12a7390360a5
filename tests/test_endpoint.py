"""`Endpoint`, `Port` and `Protocol`: parsing, printing, order, and that they never change."""

import copy
import ipaddress
import itertools
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.endpoint import Endpoint, Port, Protocol
from crust.errors import EndpointError

PROTOCOLS = st.sampled_from(Protocol)
LISTENED = st.sampled_from([protocol for protocol in Protocol if protocol is not Protocol.RELAYED])
LABELS = st.from_regex(r"[a-z]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
SCOPED = st.builds("fe80::{:x}%{}".format, st.integers(1, 0xFFFF), st.sampled_from(["eth0", "1", "br-lan.2"]))
PORTS = st.integers(0, 65535)
ENDPOINTS = st.builds(Endpoint, PROTOCOLS, st.one_of(ADDRESSES, NAMES, SCOPED), PORTS)


# --- parsing and printing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "protocol", "host", "port"),
    [
        ("tcp://192.0.2.7:5483", Protocol.TCP, "192.0.2.7", 5483),
        ("192.0.2.7:5483", Protocol.TCP, "192.0.2.7", 5483),
        ("utp://[2001:db8::7]:1", Protocol.UTP, "2001:db8::7", 1),
        ("tracer://[::1]:65535", Protocol.TRACER, "::1", 65535),
        ("relayed://192.0.2.7:1", Protocol.RELAYED, "192.0.2.7", 1),
        ("[::1]:0", Protocol.TCP, "::1", 0),
        ("  TCP://Node-1.Example.ORG.:5483\n", Protocol.TCP, "node-1.example.org", 5483),
        ("tcp://[2001:0DB8:0:0::07]:05483", Protocol.TCP, "2001:db8::7", 5483),
        ("tcp://[fe80::1%eth0]:5483", Protocol.TCP, "fe80::1%eth0", 5483),
        ("tcp://[::ffff:192.0.2.7]:1", Protocol.TCP, str(ipaddress.ip_address("::ffff:192.0.2.7")), 1),
        ("localhost:5483", Protocol.TCP, "localhost", 5483),
        ("3com.example:1", Protocol.TCP, "3com.example", 1),
    ],
)
def test_what_is_written_is_understood(text: str, protocol: Protocol, host: str, port: int) -> None:
    endpoint = Endpoint.parse(text)
    assert (endpoint.protocol, endpoint.host, endpoint.port) == (protocol, host, port)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no port"),
        ("192.0.2.7", "has no port"),
        ("tcp://192.0.2.7:", "has no port"),
        ("tcp://192.0.2.7:http", "has no port"),
        ("tcp://192.0.2.7:-1", "has no port"),
        ("tcp://192.0.2.7:123456", "has no port"),
        ("tcp://192.0.2.7:\u0665", "has no port"),  # an Arabic digit
        ("tcp://192.0.2.7:65536", "port 65536 is not a number from 0 to 65535"),
        ("udp://192.0.2.7:1", "'udp' is not a protocol; use one of tcp, utp, tracer"),
        ("://192.0.2.7:1", "'' is not a protocol"),
        ("tcp://utp://192.0.2.7:1", "'tcp://utp' is not a protocol"),
        ("tcp://::1:5483", "write an IPv6 address in brackets"),
        ("tcp://[192.0.2.7]:1", "brackets are for IPv6 addresses"),
        ("tcp://[]:1", "brackets are for IPv6 addresses"),
        ("tcp://[::1:1", "write an IPv6 address in brackets"),
        ("tcp://:5483", "'' is neither an IP address nor a host name"),
        ("tcp://192.0.2.256:1", "looks like an IPv4 address but is not one"),
        ("tcp://1.2.3:1", "looks like an IPv4 address but is not one"),
        ("tcp://127.1:1", "looks like an IPv4 address but is not one"),
        ("tcp://a b:1", "is neither an IP address nor a host name"),
        ("tcp://-a.example:1", "is neither an IP address nor a host name"),
        ("tcp://a..b:1", "is neither an IP address nor a host name"),
        ("tcp://user@host:1", "is neither an IP address nor a host name"),
        ("tcp://host/path:1", "is neither an IP address nor a host name"),
        ("tcp://ho\0st:1", "is neither an IP address nor a host name"),
        ("tcp://m\u00fcnchen.example:1", "is neither an IP address nor a host name"),
        ("tcp://" + "a" * 64 + ":1", "is neither an IP address nor a host name"),
        ("tcp://" + "a." * 127 + ":1", "is neither an IP address nor a host name"),
        ("tcp://192.0.2.7%eth0:1", "a scope (%...) belongs to an IPv6 address"),
        ("tcp://[::1%]:1", "a scope (%...) belongs to an IPv6 address"),
        ("tcp://[fe80::1%a b]:1", "a scope (%...) belongs to an IPv6 address"),
    ],
)
def test_what_cannot_be_understood_says_why(text: str, message: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text)
    assert message in str(caught.value)


@given(ENDPOINTS)
def test_what_is_printed_is_read_back(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert eval(repr(endpoint), {"Endpoint": Endpoint}) == endpoint
    assert str(Endpoint.parse(str(endpoint))) == str(endpoint)


@given(st.one_of(st.text(max_size=80), st.text("tcpu:/[]0123456789.abcdefABCDEF%-_ ", max_size=60)))
def test_only_endpoint_errors_escape_from_parse(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except EndpointError:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("make", "protocol"),
    [(Endpoint.tcp, Protocol.TCP), (Endpoint.utp, Protocol.UTP), (Endpoint.tracer, Protocol.TRACER)],
)
def test_it_is_made_from_text_or_from_a_socket_address(make: Any, protocol: Protocol) -> None:
    assert make("[::1]:5483") == make(("::1", 5483)) == make(("::1", 5483, 0, 0)) == Endpoint(protocol, "::1", 5483)
    assert make("192.0.2.7:1").address == ("192.0.2.7", 1)


def test_the_scope_id_of_a_socket_address_is_kept() -> None:
    assert Endpoint.tcp(("fe80::1", 5483, 0, 3)).host == "fe80::1%3"
    assert Endpoint.tcp(("fe80::1%eth0", 5483, 0, 3)).host == "fe80::1%eth0"


@pytest.mark.parametrize(
    "address",
    [
        None,
        5483,
        b"192.0.2.7:5483",
        ("192.0.2.7",),
        (),
        ["192.0.2.7", 5483],
        (b"\xc0\0\2\7", 5483),
        (b"fe80::1", 5483, 0, 3),
        (7, 7),
    ],
)
def test_what_is_no_address_is_refused(address: Any) -> None:
    with pytest.raises(EndpointError):
        Endpoint.tcp(address)


@pytest.mark.parametrize("port", [-1, 65536, True, 1.0, "1", None])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(EndpointError, match="is not a number from 0 to 65535"):
        Endpoint.tcp(("192.0.2.7", port))
    with pytest.raises(EndpointError, match="is not a number from 0 to 65535"):
        Port.tcp(port)


@pytest.mark.parametrize("protocol", ["tcp", 4, None])
def test_what_is_no_protocol_is_refused(protocol: Any) -> None:
    with pytest.raises(EndpointError, match=r"is none: use one of Protocol\.TCP, "):
        Endpoint(protocol, "192.0.2.7", 1)
    with pytest.raises(EndpointError, match=r"is none: use one of Protocol\.TCP, "):
        Port(protocol, 1)


@pytest.mark.parametrize("value", [None, 7, b"tcp://192.0.2.7:5483", Endpoint.tcp("192.0.2.7:1")])
def test_parse_takes_text_only(value: Any) -> None:
    with pytest.raises(EndpointError, match="is not text"):
        Endpoint.parse(value)


def test_an_address_of_a_link_has_to_say_of_which() -> None:
    lacking = ["[fe80::1]:1", "[febf::1]:1"]
    fine = ["[fe80::1%eth0]:1", "[fec0::1]:1", "[2001:db8::1]:1", "169.254.0.1:1", "254.128.0.1:1", "localhost:1"]
    assert all(Endpoint.tcp(text).lacks_scope for text in lacking)
    assert not any(Endpoint.tcp(text).lacks_scope for text in fine)


def test_names_are_told_from_addresses() -> None:
    assert Endpoint.tcp("localhost:1").is_name
    assert not Endpoint.tcp("127.0.0.1:1").is_name
    assert not Endpoint.tcp("[fe80::1%eth0]:1").is_name


# --- equality and order ----------------------------------------------------------------------------------------------


def test_ord() -> None:
    """The original's test of the same name, and what it left open."""
    ordered = [
        Endpoint.tcp("1.2.3.4:9"),
        Endpoint.tcp("1.2.3.5:8"),
        Endpoint.tcp("1.2.3.5:9"),
        Endpoint.tcp("10.0.0.1:1"),  # by number, not by text
        Endpoint.tcp("[::1]:5"),  # IPv4 before IPv6
        Endpoint.tcp("[::1]:6"),
        Endpoint.tcp("[2001:db8::9]:1"),
        Endpoint.tcp("[2001:db8::10]:1"),
        Endpoint.tcp("[fe80::1]:1"),
        Endpoint.tcp("[fe80::1%a]:1"),
        Endpoint.tcp("a.example:1"),  # names after addresses
        Endpoint.tcp("b.example:1"),
        Endpoint.utp("1.2.3.4:9"),  # protocols in the order of preference
        Endpoint.utp("[::1]:5"),
        Endpoint.tracer("1.2.3.4:9"),
    ]
    mixed = ordered.copy()
    random.Random(1).shuffle(mixed)
    assert sorted(mixed) == ordered
    assert all(a < b and b > a and a <= b and b >= a and a != b for a, b in itertools.pairwise(ordered))


@given(ENDPOINTS, ENDPOINTS)
def test_order_is_total_and_agrees_with_equality(one: Endpoint, other: Endpoint) -> None:
    assert (one < other) + (one == other) + (one > other) == 1
    assert (one == other) == (str(one) == str(other))
    if one == other:
        assert hash(one) == hash(other)


def test_one_host_has_one_spelling() -> None:
    spellings = ["[2001:db8::7]:1", "[2001:DB8:0:0:0:0:0:7]:1", "tcp://[2001:0db8::0007]:00001"]
    assert len({Endpoint.parse(text) for text in spellings}) == 1
    assert len({Endpoint.parse(text) for text in ("Host.example:1", "host.EXAMPLE.:1")}) == 1


def test_it_never_equals_or_orders_with_anything_else() -> None:
    endpoint = Endpoint.tcp("192.0.2.7:1")
    assert endpoint != str(endpoint)
    assert endpoint != ("192.0.2.7", 1)
    assert Port.tcp(1) != 1
    with pytest.raises(TypeError):
        assert endpoint < str(endpoint)
    with pytest.raises(TypeError):
        assert Port.tcp(1) < 2


# --- values that never change ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [Endpoint.tcp("[fe80::1%eth0]:5483"), Endpoint.utp("host:1"), Port.utp(0)], ids=str)
def test_it_never_changes_and_can_be_copied(value: Any) -> None:
    for name in ("protocol", "port", "_key", "anything"):
        with pytest.raises(AttributeError, match="never changes"):
            setattr(value, name, 1)
        with pytest.raises(AttributeError, match="never changes"):
            delattr(value, name)
    with pytest.raises(AttributeError):
        _ = value.__dict__
    assert copy.copy(value) == copy.deepcopy(value) == value
    for version in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(value, version))
        assert again == value
        assert hash(again) == hash(value)
        assert type(again) is type(value)


def test_only_relayed_endpoints_are_relayed() -> None:
    assert [Endpoint(protocol, "192.0.2.7", 1).is_relayed for protocol in Protocol] == [False, False, False, True]
    assert str(Endpoint(Protocol.RELAYED, "2001:db8::7", 9)) == "relayed://[2001:db8::7]:9"


def test_nobody_listens_on_a_relayed_port() -> None:
    with pytest.raises(EndpointError, match="no relayed ports"):
        Port(Protocol.RELAYED, 1)


@given(LISTENED, PORTS, LISTENED, PORTS)
def test_ports_are_ordered_by_protocol_then_number(p1: Protocol, n1: int, p2: Protocol, n2: int) -> None:
    one, other = Port(p1, n1), Port(p2, n2)
    assert (one < other) == ((p1, n1) < (p2, n2))
    assert (one == other) == ((p1, n1) == (p2, n2))
    assert len({one, other, Port(p1, n1)}) == len({(p1, n1), (p2, n2)})


def test_a_port_prints() -> None:
    assert str(Port.tcp(5483)) == "tcp:5483"
    assert [repr(port) for port in (Port.tcp(1), Port.utp(2), Port.tracer(3))] == [
        "Port.tcp(1)",
        "Port.utp(2)",
        "Port.tracer(3)",
    ]
    assert (Port.utp(7).protocol, Port.utp(7).port) == (Protocol.UTP, 7)


def test_tcp_is_preferred_to_utp() -> None:
    assert list(Protocol) == [Protocol.TCP, Protocol.UTP, Protocol.TRACER, Protocol.RELAYED]
    assert sorted(Protocol) == list(Protocol)
    assert [protocol.scheme for protocol in Protocol] == ["tcp", "utp", "tracer", "relayed"]
