"""`crust.manager.arguments`: mistakes in what is given to a manager are named."""

import asyncio
import queue
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

import crust
from crust import Config, ConfigError, ConnectionManager, Endpoint
from crust.manager import arguments
from tests.manager.helpers import loopback_config

PEER = Endpoint.tcp("127.0.0.1:1")


def manager(**given: Any) -> ConnectionManager:
    return ConnectionManager(crust.channel(), **{"config": loopback_config(), **given})


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: manager().connect("127.0.0.1:80"), r"'127.0.0.1:80' is not an Endpoint: write Endpoint.parse\('127.0.0."),  # type: ignore[arg-type]
    (lambda: manager().connect(None), "connect.*None is no list of endpoints"),  # type: ignore[arg-type]
    (lambda: manager().connect(("127.0.0.1", 80)), r"'127.0.0.1' is not an Endpoint: write .*'HOST:PORT'"),  # type: ignore[arg-type]
    (lambda: manager(fallback_endpoints="tcp://1.2.3.4:5"), r"fallback_endpoints: 'tcp://1.2.3.4:5' is not"),
    (lambda: manager(fallback_endpoints=None), "fallback_endpoints: None is no list"),
    (lambda: manager(blacklist="192.0.2.1"), "blacklist: '192.0.2.1' is no list of entries"),
    (lambda: manager(blacklist=ip_network("10.0.0.0/8")), "no list of entries"),
    (lambda: manager(blacklist=None), "blacklist: None is no list"),
    (lambda: manager(only="192.0.2.1"), "only: '192.0.2.1' is no list"),
    (lambda: manager().allow_only("10.0.0.0/8"), r"allow_only\(\): '10.0.0.0/8' is no list"),
    (lambda: manager(config={"network_key": "a secret"}), "config is of type dict, not Config: write Config"),
    (lambda: manager(config="x.yaml"), r"config is of type str.*Config.load\(path\)"),
    (lambda: manager(identity="abc"), r"identity is of type str.*Identity.load\(path\)"),
    (lambda: ConnectionManager(None), "events is None, which has no put"),
    (lambda: ConnectionManager(queue.Queue), r"events is the class Queue.*pass crust.channel\(\)"),
    (lambda: ConnectionManager(asyncio.Queue()), "for coroutines"),
    (lambda: manager().drop_node("tcp://1.2.3.4:5"), r"drop_node\(\): 'tcp://1.2.3.4:5' is not an Endpoint"),  # type: ignore[arg-type]
    *(
        (lambda given=given: manager().bootstrap(given), "bootstrap.*at least 1 is needed")  # type: ignore[misc]
        for given in (0, 1.5, True, "1", None)
    ),
    *(
        (lambda given=given: manager().stop(given), "stop.*a number of seconds is needed")  # type: ignore[misc]
        for given in (float("nan"), "1", True)
    ),
]


@pytest.mark.parametrize(("call", "text"), MISTAKES)
def test_a_mistake_is_named(call: Callable[[], object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        call()


def test_what_may_be_a_secret_is_not_said() -> None:
    with pytest.raises(ConfigError) as caught:
        arguments.instance({"network_key": "a secret"}, Config, "config", "Config()")
    assert "secret" not in str(caught.value)


def test_endpoints_may_come_alone_or_in_any_collection() -> None:
    assert arguments.endpoints(PEER, "it") == (PEER,)
    assert arguments.endpoints((each for each in (PEER, PEER)), "it") == (PEER,)
    assert arguments.endpoint(PEER, "it") is PEER
    assert arguments.entries(["192.0.2.1", PEER], "it") == ("192.0.2.1", PEER)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(1, 1), (0.5, 0.5), (-5, 0), *((ages, arguments.LONGEST_LINGER) for ages in (float("inf"), 1e10, 10**400))],
)
def test_seconds_are_what_system_calls_can_take(given: float, expected: float) -> None:
    assert arguments.seconds(given, "it") == expected
