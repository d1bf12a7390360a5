"""The links do to packets what they are told."""

import json
import re

import pytest

from tests.lab.attempts import attempts
from tests.lab.congestion import RECEIVER, dumbbell
from tests.lab.flows import Flow, Transport, percentile
from tests.lab.namespaces import Lab, Running
from tests.lab.shaping import random_loss
from tests.lab.tun_link import Conditions, connect
from tests.lab.udp_program import RECEIVE_TIMEOUT, SILENCE, Udp
from tests.lab.wiring import cable, forwards, route

pytestmark = pytest.mark.lab


def linked(lab: Lab, there: Conditions, back: Conditions | None = None) -> Running:
    """The nodes ``a`` (10.0.0.1) and ``b`` (10.0.0.2) with a link of ours between them."""
    left, right, running = connect(lab.node("a"), "eth0", lab.node("b"), "eth0", there, back or Conditions())
    left.address("10.0.0.1/24")
    right.address("10.0.0.2/24")
    return running


def pings(lab: Lab, count: int) -> list[float]:
    """Round trip times in seconds, of those that came back."""
    said = lab.nodes["a"].run("sh", "-c", f"ping -n -c {count} -i 0.005 -W 1 10.0.0.2 || true")
    return [float(time) / 1e3 for time in re.findall(r"time=([\d.]+)", said)]


def test_a_link_delays_each_way(lab: Lab) -> None:
    linked(lab, Conditions(delay=0.03), Conditions(delay=0.01))
    trips = pings(lab, 20)
    assert 0.04 <= min(trips) < 0.05


def test_a_link_loses_a_share(lab: Lab) -> None:
    running = linked(lab, Conditions(loss=0.2))
    assert 250 < len(pings(lab, 400)) < 390
    report = json.loads(running.finish())
    assert report["lost"][0] / report["read"][0] == pytest.approx(0.2, abs=0.06)
    assert report["lost"][1] == 0


def numbers(lab: Lab, count: int) -> list[int]:
    """Send numbered datagrams from a to b, over a link that loses none; those that came, as they came."""
    sender, receiver = Udp(lab.nodes["a"], 5000), Udp(lab.nodes["b"], 5000)
    for number in range(count):
        sender.send("10.0.0.2", 5000, str(number))
    came: list[int] = []
    # What comes twice comes at once, so there is no need for patience when each was there.
    while datagram := receiver.receive(RECEIVE_TIMEOUT if len(set(came)) < count else SILENCE):
        came.append(int(datagram.text))
    return came


def test_jitter_keeps_the_order(lab: Lab) -> None:
    linked(lab, Conditions(delay=0.001, jitter=0.01))
    assert numbers(lab, 200) == list(range(200))


def test_a_link_duplicates(lab: Lab) -> None:
    linked(lab, Conditions(duplicate=0.3))
    came = numbers(lab, 200)
    assert set(came) == set(range(200))
    assert 225 < len(came) < 300


def test_a_link_reorders(lab: Lab) -> None:
    linked(lab, Conditions(reorder=0.2, held_back=0.02))
    came = numbers(lab, 200)
    assert sorted(came) == list(range(200))
    assert came != sorted(came)


@pytest.mark.measured
def test_a_link_of_ours_carries_much_with_little() -> None:
    for attempt in attempts():
        with Lab() as lab:
            running = linked(lab, Conditions(delay=0.01), Conditions(delay=0.01))
            flow = Flow(lab.nodes["a"], lab.nodes["b"], "10.0.0.2", Transport.CUBIC, 3.0)
            series = flow.finish()
            report = json.loads(running.finish())
        with attempt:
            assert series.rate(flow.start + 1, flow.end) * 8 > 40e6
            # So 40 Mbit/s with acknowledgements take less than 40 % of a core.
            assert report["cpu"] / sum(report["read"]) < 60e-6


@pytest.mark.measured
def test_a_bottleneck_has_its_rate_and_queue() -> None:
    """The queue shows when it is full, which is not always; the pings that came late for other reasons are few."""
    for attempt in attempts():
        with dumbbell(rate=10e6, queue=0.1) as link:
            pings = link.pings()
            flow = link.flow(Transport.CUBIC, 6.0)
            series, trips = flow.finish(), pings.finish()
        with attempt:
            assert series.rate(flow.start + 2, flow.end) * 8 == pytest.approx(10e6 * 1448 / 1500, rel=0.03)
            assert 0.09 < percentile(trips(flow.start, flow.end), 0.95) < 0.14  # 20 ms of it are the way


def test_a_router_loses_a_share(lab: Lab) -> None:
    a, router, b = lab.node("a"), lab.node("router"), lab.node("b")
    left, near = cable(a, "eth0", router, "left")
    far, right = cable(router, "right", b, "eth0")
    for interface, address in ((left, "10.0.1.2"), (near, "10.0.1.1"), (far, "10.0.0.1"), (right, RECEIVER)):
        interface.address(f"{address}/24")
    forwards(router)
    route(a, "10.0.1.1")
    route(b, "10.0.0.1")
    random_loss(far, 0.2)
    assert 250 < len(pings(lab, 400)) < 390
