"""Who else listens on the port: asked in order, believed, and never able to break it."""

import logging
from collections import Counter

import pytest

from crust.transport.utp.burst import Address
from crust.transport.utp.handlers import Handlers, may_be_stun

PEER = ("192.0.2.1", 7)


def test_stun_is_known_by_its_cookie() -> None:
    request = bytes.fromhex("000100002112a442") + bytes(12)
    assert may_be_stun(request)
    assert may_be_stun(memoryview(request))
    assert not may_be_stun(request[:4] + bytes(4) + request[4:])
    assert not may_be_stun(b"")
    assert not may_be_stun(request[:7])


def test_the_first_that_takes_it_is_the_last_that_is_asked() -> None:
    asked: list[tuple[int, bytes, Address]] = []
    handlers, counters = Handlers(), Counter[str]()
    for number, takes in enumerate((False, True, True)):

        def handler(data: bytes, address: Address, number: int = number, takes: bool = takes) -> bool:
            asked.append((number, data, address))
            return takes

        handlers.append(handler)
    assert handlers.offer(memoryview(b"data"), PEER, counters)
    assert asked == [(0, b"data", PEER), (1, b"data", PEER)]
    assert type(asked[0][1]) is bytes, "a handler may keep it"
    assert counters == {"handled": 1}


def test_nobody_wants_it() -> None:
    handlers, counters = Handlers(), Counter[str]()
    assert not handlers.offer(b"data", PEER, counters)
    handlers.append(lambda data, address: False)
    assert not handlers.offer(b"data", PEER, counters)
    assert not counters


def test_a_handler_that_fails_is_logged_and_the_next_one_asked(caplog: pytest.LogCaptureFixture) -> None:
    def broken(data: bytes, address: Address) -> bool:
        raise ZeroDivisionError("mine")

    handlers, counters = Handlers([broken, lambda data, address: True]), Counter[str]()
    with caplog.at_level(logging.ERROR, "crust.utp"):
        assert handlers.offer(b"data", PEER, counters)
    assert counters == {"handled": 1, "handler_failed": 1}
    assert "a handler of datagrams failed" in caplog.text
    assert "mine" in caplog.text
