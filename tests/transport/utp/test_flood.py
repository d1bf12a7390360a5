"""A flood of SYNs: bounded memory, nothing amplified, and the door stays open for who means it."""

import gc
import socket
import tracemalloc
from contextlib import ExitStack, closing
from itertools import cycle

import pytest

from crust.transport.utp import UtpSocket
from crust.transport.utp import constants as c
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import Packet, PacketType, encode
from crust.transport.utp.strangers import NEW_PER_SECOND
from tests.together import PATIENCE, Running
from tests.transport.utp.loopback import HOST, Quick, address_of, read
from tests.transport.utp.wire import ask, bursts, give, port, prove

SYN = PacketType.SYN
FULL = c.HALF_OPEN + 500  # SYNs after which all tables are full


def syn(number: int) -> bytes:
    return encode(Packet(SYN, number & 0xFFFF, number & 0xFFFF_FFFF, 0, 1 << 20, number * 7 & 0xFFFF, 0))


def address(number: int) -> tuple[str, int]:
    """As many as wanted, each in a network of its own."""
    return f"{11 + (number >> 24)}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1 + number % 60_000


def flood(mux: Multiplexer, first: int, count: int, per_second: float) -> None:
    """Each SYN is from an address of its own, and gets no more than it sent."""
    for number in range(first, first + count):
        data, now = syn(number), 1000.0 + number / per_second
        mux.receive(data, address(number), len(data), now)
        if number % 50 == 0 or number == first + count - 1:
            mux.tick(now)
            for burst in bursts(mux, now):
                assert sum(map(len, burst.buffers)) <= len(data)
                assert burst.count == 1


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("count", [3000, pytest.param(30_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_flood(count: int) -> None:
    mux = port()
    tracemalloc.start()
    try:
        flood(mux, 0, FULL, 20_000)
        before = held()
        flood(mux, FULL, count, 20_000)
        assert held() - before < 100_000, "bytes"
    finally:
        tracemalloc.stop()
    assert len(mux._half_open) == c.HALF_OPEN
    assert len(mux) == 0
    assert mux.next_deadline() is None, "no timer runs for a stranger"


def test_each_stranger_gets_one_answer_of_the_size_of_its_question() -> None:
    mux = port()
    got: dict[object, int] = {}
    for number in range(5000):
        now = 1000.0 + number / NEW_PER_SECOND
        mux.receive(syn(number), address(number), 20, now)
        for burst in bursts(mux, now):
            got[burst.address] = got.get(burst.address, 0) + sum(map(len, burst.buffers))
    assert len(got) == 5000
    assert set(got.values()) == {20}
    mux.tick(1100.0)
    assert bursts(mux, 1100.0) == [], "and no repetition by itself"


def test_in_the_middle_of_a_flood_somebody_connects() -> None:
    mux = port()
    flood(mux, 0, 5000, 20_000)
    # Too many ask: who means it asks again, as every dialler does after a second.
    assert mux.counters["syn_put_off"] > 3000
    assert ask(mux, now=1000.0 + 4999 / 20_000) is None
    flood(mux, 5000, 20_000, 20_000)
    give(mux, prove(ask(mux, now=1001.25)), 1001.3)
    assert mux.accepted.pop().established
    flood(mux, 25_000, 5000, 20_000)
    assert len(mux) == 1


def test_a_round_trip_may_take_longer_than_the_flood_needs_to_fill_the_table() -> None:
    mux = port()
    proof = prove(ask(mux))
    flood(mux, 0, FULL, 20_000)
    give(mux, proof, 1000.1)
    assert len(mux.accepted) == 1


def test_one_network_is_let_in_only_so_far() -> None:
    mux = port()
    for number in range(1000):
        mux.receive(syn(number), ("10.0.0.1", number + 1), 20, 1000.0)
    assert len(mux._half_open) == c.HALF_OPEN_PER_HOST
    assert mux.counters["syn_refused"] == 1000 - c.HALF_OPEN_PER_HOST
    mux.receive(syn(1), ("10.0.0.2", 7), 20, 1000.0)
    assert len(mux._half_open) == c.HALF_OPEN_PER_HOST + 1


def attack(target: tuple[str, int], count: int) -> None:
    """SYNs from two hundred addresses of this host, as fast as can be."""
    with ExitStack() as stack:
        socks = []
        for number in range(200):
            sock = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            sock.bind((f"127.7.{number // 100}.{1 + number % 100}", 0))
            sock.setblocking(False)
            socks.append(sock)
        for number, sock in zip(range(count), cycle(socks), strict=False):
            try:
                sock.sendto(syn(number), target)
            except BlockingIOError:
                continue


def talk(sock: UtpSocket, target: tuple[str, int]) -> None:
    stream = sock.connect(target, PATIENCE)
    stream.sendall(b"hello")
    assert read(stream, 5) == b"HELLO"


def answer(sock: UtpSocket, times: int) -> None:
    for _ in range(times):
        stream = sock.accept(PATIENCE)
        stream.sendall(read(stream, 5).upper())


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_real_socket_under_a_real_flood(count: int) -> None:
    try:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.bind(("127.7.0.1", 0))
    except OSError:
        pytest.skip("this system has only one loopback address; Linux has 127.0.0.0/8")
    with Quick((HOST, 0)) as victim, Quick((HOST, 0)) as honest:
        serving = Running(answer, victim, 3)
        attacking = Running(attack, address_of(victim), count)
        for _ in range(3):
            talk(honest, address_of(victim))
        serving.result()
        attacking.result(2 * PATIENCE)
        assert len(victim._multiplexer._half_open) <= c.HALF_OPEN
