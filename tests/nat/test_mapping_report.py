"""`crust.nat.mapping_report`: which addresses are good for something, and what is said of the others."""

import pytest

from crust.endpoint import Endpoint, Port
from crust.nat.mapping_report import GatewayReport, Mapping, MappingReport, Method, hidden_behind


@pytest.mark.parametrize("address", ["11.1.1.2", "8.8.8.8", "2a00::1"])
def test_public_addresses_are_what_they_seem(address: str) -> None:
    assert hidden_behind(address) is None


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("100.64.0.1", "carrier-grade"),
        ("100.127.255.254", "carrier-grade"),
        ("10.0.0.1", "another router"),
        ("192.168.0.17", "another router"),
        ("169.254.1.1", "another router"),
        ("fd00::1", "another router"),
        ("0.0.0.0", "not connected"),
        ("224.0.0.1", "not an address that anybody has"),
        ("255.255.255.255", "router"),
    ],
)
def test_the_others_are_explained(address: str, said: str) -> None:
    reason = hidden_behind(address)
    assert reason is not None
    assert said in reason


def report(*externals: str, settled: bool = True) -> GatewayReport:
    mappings = tuple(Mapping(Port.tcp(1), Endpoint.parse(each), 60.0) for each in externals)
    return GatewayReport("eth0", "192.168.1.2", "192.168.1.1", Method.PCP, None, mappings, (), settled)


def test_endpoints_are_public_and_told_once() -> None:
    routers = report("tcp://11.1.1.2:1", "tcp://10.0.0.1:1"), report("tcp://11.1.1.2:1", "utp://11.1.1.3:2")
    assert MappingReport(routers).endpoints == [Endpoint.tcp("11.1.1.2:1"), Endpoint.utp("11.1.1.3:2")]


def test_one_router_that_is_not_done_is_waited_for() -> None:
    assert not MappingReport().settled
    assert MappingReport(begun=True).settled
    assert MappingReport((report(),), begun=True).settled
    assert not MappingReport((report(), report(settled=False)), begun=True).settled
