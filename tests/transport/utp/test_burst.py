"""A burst knows how many packets it is."""

import pytest

from crust.transport.utp.burst import Burst


@pytest.mark.parametrize("count", [1, 2, 184])
def test_two_buffers_are_a_packet(count: int) -> None:
    burst = Burst(("192.0.2.1", 7), [b"header", b"payload"] * count, 13)
    assert burst.count == count
    assert not burst.dont_fragment
