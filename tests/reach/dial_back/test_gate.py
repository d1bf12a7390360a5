"""`crust.reach.dial_back.gate`: nobody can have us dial others more than so much."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust import Endpoint, PeerId
from crust.defence.networks import neighbourhood, subscriber
from crust.reach.dial_back import gate as gate_module
from crust.reach.dial_back.gate import DialBackGate, Price, price_of

ASKER = "198.51.100.7"
OWN = ("203.0.113.5/24", "2001:db8:aaaa:1::5/64", "10.1.2.3/8")
PEER = PeerId(bytes([1] * 32))


def price(target: str, host: str = ASKER) -> Price:
    """What that costs."""
    return price_of(Endpoint.parse(target), host, OWN)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("tcp://198.51.100.7:5483", ASKER),
        ("utp://198.51.100.7:5483", ASKER),
        ("tcp://198.51.100.7:443", ASKER),
        ("tcp://[2001:db8::7]:5483", "2001:db8::7"),
        ("tcp://10.0.0.7:5483", "10.0.0.7"),
        ("tcp://127.0.0.1:5483", "127.0.0.1"),
        ("utp://[::1]:5483", "::1"),
        ("tcp://203.0.113.9:5483", "203.0.113.9"),
        ("tcp://192.0.2.1:5483", "::ffff:192.0.2.1"),
    ],
)
def test_where_we_see_them_it_costs_nothing(target: str, host: str) -> None:
    assert price(target, host) is Price.FREE


@pytest.mark.parametrize(
    "target", ["tcp://192.0.2.7:5483", "utp://198.51.100.8:1024", "tcp://[2001:db8::7]:5483", "utp://8.8.8.8:65535"]
)
def test_elsewhere_somebody_else_may_be(target: str) -> None:
    assert price(target) is Price.PAID


@pytest.mark.parametrize(
    ("target", "host"),
    [
        # what is private means somebody else
        ("tcp://10.0.0.7:5483", ASKER),
        ("tcp://192.168.1.1:8080", ASKER),
        ("utp://172.16.0.1:5483", ASKER),
        ("utp://100.64.0.1:5483", ASKER),
        ("tcp://[fd00::1]:5483", ASKER),
        ("tcp://10.0.0.7:5483", "10.0.0.8"),
        # this machine, and others that cannot be meant
        ("tcp://127.0.0.1:5483", ASKER),
        ("tcp://127.0.0.2:5483", "127.0.0.1"),
        ("tcp://[::1]:5483", "127.0.0.1"),
        ("tcp://0.0.0.0:5483", ASKER),
        ("tcp://[::]:5483", ASKER),
        ("utp://224.0.0.1:5483", ASKER),
        ("utp://255.255.255.255:5483", ASKER),
        ("utp://[ff02::1]:5483", ASKER),
        ("tcp://169.254.169.254:8080", ASKER),
        ("tcp://[fe80::1%eth0]:5483", "fe80::1%eth0"),
        # our own networks, which may trust us more than the asker
        ("tcp://203.0.113.5:5483", ASKER),
        ("tcp://203.0.113.77:5483", ASKER),
        ("tcp://[2001:db8:aaaa:1::99]:5483", ASKER),
        # a peer on our side of the NAT
        ("tcp://192.0.2.7:5483", "10.0.0.7"),
        ("tcp://192.0.2.7:5483", "127.0.0.1"),
        # services of others
        ("tcp://192.0.2.7:1023", ASKER),
        ("tcp://192.0.2.7:25", ASKER),
        ("utp://192.0.2.7:53", ASKER),
        ("tcp://192.0.2.7:0", ASKER),
        ("tcp://198.51.100.7:0", ASKER),
        # IPv4 in disguise
        ("tcp://[::ffff:192.0.2.7]:5483", ASKER),
        ("tcp://[::ffff:198.51.100.7]:5483", ASKER),
        ("tcp://[64:ff9b::a00:1]:5483", ASKER),
        ("tcp://[64:ff9b:1::a00:1]:5483", ASKER),
        ("tcp://[2002:a00:1::]:5483", ASKER),
        ("tcp://[2001:0:a00:1::]:5483", ASKER),
        ("tcp://[::10.0.0.1]:5483", ASKER),
        # nothing that proves who is there
        ("tracer://198.51.100.7:5483", ASKER),
        ("tcp://peer.example:5483", ASKER),
    ],
)
def test_what_is_never_dialled(target: str, host: str) -> None:
    assert price(target, host) is Price.NEVER


hosts = st.ip_addresses().map(str)
ports = st.integers(0, 65535)


@given(hosts, ports, hosts, st.sampled_from(["tcp", "utp", "tracer"]))
def test_what_costs_nothing_is_where_they_are(host: str, port: int, seen: str, scheme: str) -> None:
    target = Endpoint.parse(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    found = price_of(target, seen, OWN)
    assert found is not Price.FREE or host == seen
    assert found is not Price.PAID or port >= gate_module.LOWEST_PORT


# --- how often ----------------------------------------------------------------------------------------


def most(burst: float, interval: float, seconds: float) -> int:
    """What an allowance gives in that time."""
    return int(burst + seconds / interval)


def test_a_peer_may_ask_so_often() -> None:
    gate = DialBackGate()
    asked = [gate.admit_request(PEER, 0.0) for _ in range(10)]
    assert asked.count(True) == gate_module.ASKER_BURST
    assert gate.admit_request(PEER, gate_module.ASKER_INTERVAL)
    assert not gate.admit_request(PEER, gate_module.ASKER_INTERVAL)


def test_so_many_ports_of_the_host_of_who_asks() -> None:
    gate = DialBackGate()
    dialled = [gate.admit_dial(Endpoint.tcp((ASKER, 1024 + n)), Price.FREE, 0.0) for n in range(100)]
    assert dialled.count(True) == gate_module.OWN_HOST_BURST
    later = gate_module.OWN_HOST_INTERVAL
    assert gate.admit_dial(Endpoint.utp((ASKER, 7)), Price.FREE, later)
    assert not gate.admit_dial(Endpoint.utp((ASKER, 7)), Price.FREE, later)


def test_what_is_never_dialled_is_not_admitted_either() -> None:
    assert not DialBackGate().admit_dial(Endpoint.tcp((ASKER, 5483)), Price.NEVER, 0.0)


def test_it_is_not_worth_paying_when_nothing_would_come_of_it() -> None:
    gate = DialBackGate()
    for number in range(gate_module.ELSEWHERE_BURST):
        assert gate.worth_paying(0.0)
        gate.admit_dial(Endpoint.tcp((f"192.0.{number}.1", 5483)), Price.PAID, 0.0)
    assert not gate.worth_paying(0.0)
    assert gate.worth_paying(gate_module.ELSEWHERE_INTERVAL)


HOUR = 3600.0
VICTIM = "192.0.2.66"


def an_hour_of(asked: list[tuple[Endpoint, str]], askers: int, seed: int) -> Counter[str]:
    """How many dials each host gets if that many peers have us dial whatever they can of these endpoints, seen at these
    hosts: four endpoints each, every 14.4 s, with a new id each time, because ids cost nothing, and for any price."""
    gate, rng = DialBackGate(), random.Random(seed)
    priced = [(target, price_of(target, host, OWN)) for target, host in asked]
    dialled: Counter[str] = Counter()
    requests = askers * 250
    for number in range(requests):
        now = number * HOUR / requests
        assert gate.admit_request(PeerId(number.to_bytes(32)), now)
        for _ in range(4):
            target, cost = priced[int(rng.random() * len(priced))]
            if gate.admit_dial(target, cost, now):
                dialled[target.host] += 1
    return dialled


@pytest.mark.parametrize(
    "askers", [pytest.param(20, id="20 askers"), pytest.param(1000, id="1000 askers", marks=pytest.mark.slow)]
)
def test_many_askers_and_one_victim(askers: int) -> None:
    asked = [
        (Endpoint.parse(f"{scheme}://{VICTIM}:{port}"), f"198.51.{port % 90}.{port % 250}")
        for scheme in ("tcp", "utp")
        for port in range(1024, 1400)
    ]
    dialled = an_hour_of(asked, askers, 1)
    bound = most(gate_module.VICTIM_BURST, gate_module.VICTIM_INTERVAL, HOUR)
    assert set(dialled) == {VICTIM}
    assert bound - 2 <= dialled[VICTIM] <= bound == 14
    packets, size = (bound * each for each in (gate_module.DIAL_BACK_PACKETS, gate_module.DIAL_BACK_BYTES))
    assert packets <= 224
    assert size <= 57_344
    assert bound * gate_module.DIAL_BACK_PAYMENT == 8 * size, "what they have sent for it, at least"


def test_many_askers_and_one_network() -> None:
    asked = [(Endpoint.tcp((f"192.0.2.{number}", 5483)), ASKER) for number in range(1, 255)]
    dialled = an_hour_of(asked, 20, 3)
    bound = most(gate_module.VICTIM_NETWORK_BURST, gate_module.VICTIM_NETWORK_INTERVAL, HOUR)
    assert bound - 2 <= sum(dialled.values()) <= bound == 28


def test_many_askers_and_the_whole_world() -> None:
    rng = random.Random(4)
    hosts = [".".join(str(rng.randrange(11, 99)) for _ in range(4)) for _ in range(1000)]
    dialled = an_hour_of([(Endpoint.utp((host, 5483)), ASKER) for host in hosts], 20, 5)
    bound = most(gate_module.ELSEWHERE_BURST, gate_module.ELSEWHERE_INTERVAL, HOUR)
    assert bound - 2 <= sum(dialled.values()) <= bound == 128


def test_many_askers_at_many_hosts_that_are_their_own() -> None:
    hosts = [f"198.51.{number % 100}.{number % 250}" for number in range(1000)]
    dialled = an_hour_of([(Endpoint.tcp((host, 5483)), host) for host in hosts], 20, 6)
    bound = most(gate_module.DIAL_BACK_BURST, gate_module.DIAL_BACK_INTERVAL, HOUR)
    assert 0.9 * bound <= sum(dialled.values()) <= bound == 1216
    assert max(dialled.values()) <= most(gate_module.OWN_HOST_BURST, gate_module.OWN_HOST_INTERVAL, HOUR)


def test_a_victim_is_not_forgotten_while_others_are_named() -> None:
    """Each look at the victim is spent before those who could push it out of the memory are let in."""
    gate, now = DialBackGate(), 0.0
    target = Endpoint.tcp((VICTIM, 5483))
    dialled = 0
    for number in range(gate_module.KNOWN_ASKERS + 100):
        other = Endpoint.tcp((f"{11 + number // 65536}.{number // 256 % 256}.{number % 256}.1", 5483))
        gate.admit_dial(other, Price.PAID, now)
        dialled += gate.admit_dial(target, Price.PAID, now)
        now += 1.0
    assert dialled <= most(gate_module.VICTIM_BURST, gate_module.VICTIM_INTERVAL, now)


def test_the_addresses_of_a_host_of_ipv6_are_one_victim() -> None:
    gate = DialBackGate()
    dialled = [gate.admit_dial(Endpoint.tcp((f"2001:db8::{n:x}", 5483)), Price.PAID, n * 1.0) for n in range(100)]
    assert dialled.count(True) == gate_module.VICTIM_BURST
    assert subscriber("2001:db8::1") == neighbourhood("2001:db8::2")


def test_what_is_remembered_is_bounded() -> None:
    gate = DialBackGate()
    for number in range(gate_module.KNOWN_ASKERS + 10):
        gate.admit_request(PeerId(number.to_bytes(32)), 0.0)
        gate.admit_dial(Endpoint.tcp((f"11.{number // 256 % 256}.{number % 256}.1", 5483)), Price.FREE, number * 60.0)
    assert len(gate._askers) == len(gate._own_hosts) == gate_module.KNOWN_ASKERS
