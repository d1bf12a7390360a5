"""`crust.connecting.listening`: what is opened, what is not, and why."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, Endpoint, ListenFailed, Port
from crust.connecting.listening import Listeners, open_listeners
from crust.connecting.utp_ports import UtpPorts
from crust.threads.clock import Deadline
from crust.transport.tcp import listen_everywhere

LOCAL = "127.0.0.1"
Open = Callable[..., Listeners]


def without_ipv6(hosts: tuple[str, ...], port: int, failed: dict[str, str]) -> list[socket.socket]:
    """`listen_everywhere` on a machine that has none."""
    failed["::"] = "there is no IPv6"
    return listen_everywhere((LOCAL,), port)


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens what a configuration wants; at the end it is closed."""
    made: list[tuple[Listeners, UtpPorts]] = []

    def open_these(**settings: Any) -> Listeners:
        config = Config(**{"listen_addresses": (LOCAL,), **settings})
        ports = UtpPorts(config, lambda host: False)
        made.append((Listeners(), ports))
        made[-1] = (open_listeners(config, ports), ports)
        return made[-1][0]

    yield open_these
    for listeners, ports in made:
        for sock in (*listeners.tcp, *listeners.tracer):
            sock.close()
        ports.close(Deadline(0.0))


def test_all_kinds_and_where_they_are(opened: Open) -> None:
    made = opened(allow_tracer=True, tracer_port=0)
    assert made.tcp_port == made.utp_port, "the number of the TCP port is the favourite"
    assert made.bound == [
        Endpoint.tcp((LOCAL, made.tcp_port)),
        Endpoint.utp((LOCAL, made.utp_port)),
        Endpoint.tracer(made.tracer[0].getsockname()),
    ]
    assert made.failures == {}


def test_nothing_is_wanted(opened: Open) -> None:
    made = opened(tcp_port=None, utp_port=None)
    assert (made.bound, made.failures, made.tcp_port, made.utp_port) == ([], {}, 0, 0)


def test_one_kind_that_cannot_be_had_does_not_keep_the_other(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[socket.socket]:
        raise ListenFailed("no TCP today")

    monkeypatch.setattr("crust.connecting.listening.listen_everywhere", refuse)
    made = opened()
    assert made.failures == {Port.tcp(0): "no TCP today"}
    assert [endpoint.protocol.scheme for endpoint in made.bound] == ["utp"]


def test_an_address_that_cannot_be_had_is_told_of_although_others_can(opened: Open) -> None:
    made = opened(listen_addresses=(LOCAL, "192.0.2.1"), allow_tracer=True, tracer_port=0)
    tracer_port = made.tracer[0].getsockname()[1]
    assert set(made.failures) == {Port.tcp(made.tcp_port), Port.utp(made.utp_port), Port.tracer(tracer_port)}
    assert all("192.0.2.1" in why and LOCAL not in why for why in made.failures.values())


def test_that_there_is_no_ipv6_is_no_news(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crust.connecting.listening.listen_everywhere", without_ipv6)
    assert opened(listen_addresses=("0.0.0.0", "::"), utp_port=None).failures == {}


def test_nothing_at_all_can_be_had(opened: Open) -> None:
    with pytest.raises(ListenFailed):
        opened(listen_addresses=("192.0.2.1",))
