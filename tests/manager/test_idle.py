"""Promise 8: no busy loops and no polling."""

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from crust import ConnectionManager, Endpoint, Event
from tests.manager.conftest import both_transports_slowly
from tests.manager.helpers import LOOPBACK, SCALE, Nodes, fill_send_queue, loopback_config, wait_until
from tests.manager.test_stop import crust_threads
from tests.manager.wire import WirePeer, raw_socket

WINDOWS = (0.5 * SCALE, SCALE, 2 * SCALE)  # seconds that are looked at; what came before may have been late
TASKS = Path("/proc/self/task")


def wake_ups() -> dict[int, int]:
    """How often each thread of a manager has gone to sleep so far."""
    crust = {thread.native_id for thread in threading.enumerate() if thread.name.startswith("crust-")}
    counts = {}
    for task in filter(lambda task: int(task) in crust, os.listdir(TASKS)):
        status = (TASKS / task / "status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")]
        counts[int(task)] = int(line.split()[1])
    return counts


def seen_in(seconds: float) -> tuple[dict[str | None, int], float]:
    """Which threads of managers woke up meanwhile, and what share of a processor this process used."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    before, used = wake_ups(), time.process_time()
    threading.Event().wait(seconds)
    after = wake_ups()
    awake = {names.get(task): after.get(task, 0) - before[task] for task in before if after.get(task) != before[task]}
    return awake, (time.process_time() - used) / seconds


def assert_idle() -> None:
    """For a while no thread of any manager wakes up, and the process uses no processor."""
    for window in WINDOWS:
        awake, share = seen_in(window)
        if not awake and share < 0.1:
            break
    assert not awake, f"these woke up so many times, or (less than 0) ended: {awake}"
    assert share < 0.1


@pytest.fixture(autouse=True)
def _short_lived_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    if not TASKS.is_dir():
        pytest.skip("this system does not tell how often threads wake up")
    monkeypatch.setattr("crust.threads.workers.IDLE_WORKER_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def _no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that have just met tell each other whom they know, for a while: that is work, which gossip's own tests
    look at. At rest it is one exchange in 30 to 60 s."""
    monkeypatch.setattr("crust.discovery.gossip.NEWCOMER_DELAY", 1e9)
    monkeypatch.setattr("crust.discovery.gossip.MIN_PAUSE", 1e9)


def wait_for_pools(at_work: int = 0) -> None:
    """Until the pools have no threads left but those at work."""
    pools = ("crust-dialer", "crust-handshake")
    wait_until(lambda: sum(name.startswith(pools) for name in crust_threads()) == at_work)


@both_transports_slowly
def test_a_hundred_idle_connections(nodes: Nodes) -> None:
    node = nodes.make()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(WirePeer.dial(node.endpoint)).settle()
        node.wait(lambda node: node.count["NewConnection"] == 100)
        wait_for_pools()
        assert_idle()


@both_transports_slowly
def test_a_pair_that_has_talked(nodes: Nodes) -> None:
    first, second = nodes.pair()
    first.send(second, b"x")
    second.expect_messages(first, [b"x"])
    wait_for_pools()
    assert_idle()


def test_full_queues_and_silent_strangers(nodes: Nodes) -> None:
    """Whoever waits for something waits without looking: for room in a socket, for a first byte, for the user."""
    node = nodes.make(linger=0.0)
    with WirePeer.dial(node.endpoint) as deaf, raw_socket(node.endpoint):
        deaf.settle()
        fill_send_queue(node, node.link(deaf.id))
        wait_until(lambda: node.manager._core.half_open == 1)
        waiting = [node.info(deaf.id).bytes_sent]
        wait_until(lambda: waiting.append(node.info(deaf.id).bytes_sent) or waiting[-5:] == 5 * waiting[-1:])
        wait_for_pools(at_work=1)
        assert_idle()


@pytest.mark.parametrize("capacity", ["channel-of-1", "queue-of-1"], indirect=True)
def test_a_user_who_does_not_read(nodes: Nodes) -> None:
    """Such a user costs nothing either: the queue itself says when there is room again."""
    talker = nodes.make()
    events = nodes.capacity.make_events()
    with ConnectionManager(events, loopback_config(max_waiting_events=1)) as manager:
        talker.connect(Endpoint.tcp((LOOPBACK, manager.start_listening()[0].port)))
        link = talker.link(manager.identity.peer_id)
        for number in range(10):
            talker.send(link, b"%d" % number)
        wait_until(lambda: manager._core._outlet.congested)
        wait_for_pools()
        wait_until(lambda: talker.info(manager.identity.peer_id).waiting_bytes == 0)
        assert_idle()
        assert isinstance(events.get(), Event.NewConnection)
        assert [events.get().data for _ in range(10)] == [b"%d" % number for number in range(10)]
