"""Fixtures of the manager's tests."""

import queue
from collections.abc import Iterator

import pytest

import crust
from tests.manager.helpers import Capacity, Nodes

_LEAST = {"send_queue_bytes": 1, "max_waiting_events": 1, "max_waiting_bytes": 1}

CAPACITIES = {
    "wide": Capacity(),
    "channel-of-1": Capacity(lambda: crust.channel(maxsize=1), _LEAST, small=True),
    "queue-of-1": Capacity(lambda: queue.Queue(maxsize=1), _LEAST, small=True),
}
"""For suites that must pass whatever the room: ``@pytest.mark.parametrize("capacity", CAPACITIES, indirect=True)``."""


@pytest.fixture
def capacity(request: pytest.FixtureRequest) -> Capacity:
    """How much room the channels of the nodes have; plenty where a test does not say."""
    return CAPACITIES[getattr(request, "param", "wide")]


both_transports = pytest.mark.parametrize("transport", ["tcp", "utp"], indirect=True)
"""For what must hold over TCP as over uTP."""
both_transports_slowly = pytest.mark.parametrize(
    "transport", ["tcp", pytest.param("utp", marks=pytest.mark.slow)], indirect=True
)
"""The same, where it takes long: uTP has its turn with the slow tests."""


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """What the nodes listen on; TCP where a test does not say."""
    chosen: str = getattr(request, "param", "tcp")
    return chosen


@pytest.fixture
def nodes(capacity: Capacity, transport: str) -> Iterator[Nodes]:
    """Makes nodes; at the end all are stopped and the order of their events is checked."""
    made = Nodes(capacity, transport)
    yield made
    made.end()
