"""Where nodes listen and how they are named: IPv4, IPv6, host names, ports, and transports of later versions."""

import ipaddress
import socket

import pytest

import crust
from crust import Config, ConfigError, ConnectionManager, Endpoint, Event, ListenFailed, Port, TransportUnavailable
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, Nodes, loopback_config


def has_ipv6() -> bool:
    """Whether this machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@both_transports
@needs_ipv6
def test_ipv6(nodes: Nodes) -> None:
    """T-57: the original listened on IPv4 only."""
    hub, guest = nodes.make(listen_addresses=("::1",)), nodes.make(listen=False)
    guest.connect(hub.at("::1"))
    guest.send(hub, b"over IPv6")
    hub.expect_messages(guest, [b"over IPv6"])
    (there,) = hub.peers
    assert str(there).startswith(f"{nodes.transport}://[::1]:")


@both_transports
@needs_ipv6
def test_both_families_share_a_port_number(nodes: Nodes) -> None:
    hub = nodes.make(listen_addresses=(LOOPBACK, "::1"))
    (port,) = hub.manager.start_listening()
    for host in (LOOPBACK, "::1"):
        guest = nodes.make(listen=False)
        guest.connect(hub.at(host))
        guest.link(hub)
    assert sorted(hub.manager.get_own_endpoints()) == [hub.at(host) for host in (LOOPBACK, "::1")]
    assert {endpoint.port for endpoint in hub.manager.get_own_endpoints()} == {port.port}


@both_transports
def test_a_host_name(nodes: Nodes) -> None:
    """It is looked up when it is dialled; the connection answers to the name as well."""
    hub, guest = nodes.make(), nodes.make(listen=False)
    named = hub.at("localhost")
    guest.connect(named)
    assert guest.expect(Event.NewConnection).endpoint == hub.endpoint
    guest.send(named, b"by name")
    hub.expect_messages(guest, [b"by name"])
    guest.connect(named)
    guest.drop(hub.endpoint)
    hub.expect(Event.LostConnection)
    guest.stop()
    assert guest.count == {"NewConnection": 1, "Stopped": 1}


def test_a_name_with_several_addresses(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are tried, those that fail are named in the reason."""
    hub, guest = nodes.make(listen_addresses=("127.0.0.3",)), nodes.make(listen=False)
    port = hub.manager.start_listening()[0].port
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: object, **more: object) -> object:
        if host == "many.invalid":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in hosts]
        return real(host, *arguments, **more)

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    hosts = (1, 2)
    guest.connect(many := Endpoint.tcp(("many.invalid", port)))
    reason = guest.expect(Event.ConnectionFailed).reason[many]
    assert "127.0.0.1: Connection refused" in reason
    assert "127.0.0.2: Connection refused" in reason
    hosts = (1, 2, 3)
    guest.connect(many)
    guest.link(hub)


def test_a_transport_that_is_switched_off(nodes: Nodes) -> None:
    """Alone it is refused where one writes it, beside others it is passed over."""
    hub, guest = nodes.make(), nodes.make(listen=False)
    later = Endpoint.tracer((LOOPBACK, 1))
    with pytest.raises(TransportUnavailable, match=f"{later}: .*allow_tracer"):
        guest.manager.connect(later)
    guest.manager.connect([later, hub.endpoint])
    guest.link(hub)
    closed = nodes.make()
    nobody = closed.endpoint
    closed.stop()
    guest.manager.connect([later, nobody])
    reason = guest.expect(Event.ConnectionFailed).reason
    assert "allow_tracer" in reason[later]


def test_what_cannot_be_connected_to(nodes: Nodes) -> None:
    node = nodes.make()
    with pytest.raises(ConfigError, match="no endpoint"):
        node.manager.connect([])
    with pytest.raises(ConfigError, match=r"is not an Endpoint: write Endpoint.parse\('tcp://127.0.0.1:1'\)"):
        node.manager.connect(["tcp://127.0.0.1:1"])
    with pytest.raises(TransportUnavailable, match=r"relayed://127.0.0.1:1: .*connect to the peer, by its id"):
        node.connect(Endpoint.parse("relayed://127.0.0.1:1"))
    zero = Endpoint.tcp((LOOPBACK, 0))
    node.connect(zero)
    assert node.expect(Event.ConnectionFailed).reason == {zero: "port 0 cannot be connected to"}
    for contacts in ({"fallback_endpoints": ["x:1"]}, {"blacklist": ["neither"]}):
        with pytest.raises(ConfigError):
            ConnectionManager(crust.channel(), **contacts)
    with pytest.raises(ConfigError, match=r"has no put\(\)"):
        ConnectionManager(print)


# --- ports ----------------------------------------------------------------------------------------


@both_transports
def test_the_live_port_first_and_another_when_it_is_busy(nodes: Nodes) -> None:
    first = nodes.make()
    (live,) = first.manager.start_listening()
    wanted = {f"{nodes.transport}_port": live.port}
    (found,) = nodes.make(**wanted).manager.start_listening()
    assert found.port not in (0, live.port)
    first.stop()
    assert nodes.make(**wanted).manager.start_listening() == [live]


def test_listening_twice_is_listening_once(nodes: Nodes) -> None:
    node = nodes.make()
    assert node.manager.start_listening() == node.manager.start_listening()


def test_without_a_tcp_listener(nodes: Nodes) -> None:
    """``tcp_port: null``: such a node only dials."""
    hub, node = nodes.make(), nodes.make(tcp_port=None)
    assert node.manager.start_listening() == []
    assert node.manager.get_own_endpoints() == []
    node.connect(hub)
    node.link(hub)


def test_an_address_that_is_not_ours_cannot_be_listened_on(nodes: Nodes) -> None:
    node = nodes.make(listen=False, listen_addresses=("192.0.2.1",))
    with pytest.raises(ListenFailed, match="this host has no such address"):
        node.manager.start_listening()
    node.manager.connect(nodes.make().endpoint)
    node.expect(Event.NewConnection)


def test_own_endpoints_can_be_given_to_others(nodes: Nodes) -> None:
    """T-46: real ports, no unspecified addresses, loopback only where there is nothing else. Before listening: none."""
    config = Config(beacon_port=None, upnp=False)
    with ConnectionManager(crust.channel(), config) as manager:
        assert manager.get_own_endpoints() == []
        listening = manager.start_listening()
        ports = {port.port for port in listening}
        own = manager.get_own_endpoints()
        assert own
        for endpoint in own:
            address = ipaddress.ip_address(endpoint.host)
            assert endpoint.port in ports - {0}
            assert Port(endpoint.protocol, endpoint.port) in listening
            assert not address.is_unspecified
            assert not address.is_link_local
            guest = nodes.make(listen=False)
            guest.connect(endpoint)
            assert guest.expect(Event.NewConnection).peer_id == manager.identity.peer_id
    assert nodes.make(config=loopback_config()).manager.get_own_endpoints()[0].host == LOOPBACK
