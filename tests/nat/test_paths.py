"""`crust.nat.paths`: on which addresses a router is asked."""

import ipaddress
from types import SimpleNamespace
from typing import Any

from crust.nat.paths import MAX_PATHS, Path, find_paths
from crust.nat.routes import Route


def adapter(name: str, *ips: tuple[Any, int], index: int = 2) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        index=index,
        ips=[SimpleNamespace(ip=ip, network_prefix=prefix, nice_name=name) for ip, prefix in ips],
    )


ROUTES = [Route("eth0", "192.168.1.1"), Route("eth0", "fe80::1%eth0")]


def test_private_addresses_and_their_router() -> None:
    assert find_paths([adapter("eth0", ("192.168.1.2", 24))], ROUTES) == [
        Path("eth0", "192.168.1.2", 24, "192.168.1.1")
    ]


def test_a_path_knows_its_network() -> None:
    path = Path("eth0", "192.168.1.2", 24, None)
    assert path.version == 4
    assert path.network == ipaddress.ip_network("192.168.1.0/24")


def test_public_ipv6_addresses_behind_a_router() -> None:
    adapters = [adapter("eth0", (("2a00::5", 0, 0), 64), (("2a00::6", 0, 0), 64), (("fe80::5", 0, 2), 64))]
    assert find_paths(adapters, ROUTES) == [
        Path("eth0", "2a00::5", 64, "fe80::1%eth0"),
        Path("eth0", "2a00::6", 64, "fe80::1%eth0"),
    ]
    assert find_paths(adapters, []) == []


def test_addresses_that_need_no_mapping() -> None:
    ips = [("127.0.0.1", 8), ("169.254.1.1", 16), ("11.1.1.2", 24), ("10.8.0.2", 32), ("0.0.0.0", 0)]
    six = [(("::1", 0, 0), 128), (("fd00::5", 0, 0), 64)]
    assert find_paths([adapter("eth0", *ips, *six)], ROUTES) == []


def test_interfaces_without_a_known_router_come_last() -> None:
    adapters = [adapter("docker0", ("172.17.0.1", 16)), adapter("eth0", ("192.168.1.2", 24))]
    assert [path.interface for path in find_paths(adapters, ROUTES)] == ["eth0", "docker0"]


def test_one_address_for_each_network() -> None:
    adapters = [adapter("eth0", ("192.168.1.2", 24), ("192.168.1.3", 24), ("192.168.2.2", 24))]
    assert [path.local for path in find_paths(adapters, ROUTES)] == ["192.168.1.2", "192.168.2.2"]


def test_windows_names_its_interfaces_by_address_and_number() -> None:
    adapters = [adapter("{GUID}", ("192.168.1.2", 24), (("2a00::5", 0, 0), 64), index=12)]
    routes = [Route("192.168.1.2", "192.168.1.1"), Route("12", "fe80::1%12")]
    assert [path.gateway for path in find_paths(adapters, routes)] == ["192.168.1.1", "fe80::1%12"]


def test_a_host_of_containers_has_a_bound() -> None:
    adapters = [adapter(f"veth{number}", (f"10.{number}.0.1", 24)) for number in range(200)]
    adapters.append(adapter("eth0", ("192.168.1.2", 24)))
    paths = find_paths(adapters, ROUTES)
    assert len(paths) == MAX_PATHS
    assert paths[0].interface == "eth0"


def test_of_this_machine() -> None:
    for path in find_paths():
        assert ipaddress.ip_address(path.local) in path.network
