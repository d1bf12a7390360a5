"""`benches.datagrams`: a tiny real run of each kind, and the arithmetic."""

import sys

import pytest

from benches import datagrams

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs Linux's segmentation offload")


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [
        ("crust", "crust"),
        pytest.param("46 pairs", "bytes", marks=pytest.mark.slow),
        pytest.param("46 joined first", "new bytearray", marks=pytest.mark.slow),
        pytest.param("crust", "arena of 1 MiB", marks=pytest.mark.slow),
        pytest.param("crust, plain", "recvfrom", marks=pytest.mark.slow),
        pytest.param("a pair at a time", "crust, plain", marks=pytest.mark.slow),
        pytest.param("joined, at a time", "crust, plain", marks=pytest.mark.slow),
    ],
)
def test_packets_arrive(sender: str, receiver: str) -> None:
    sample = datagrams.measure(sender, receiver, 0.01)
    assert sample["sent"] > 0
    assert sample["received"] > 0
    assert sample["cpu_send"] > 0
    assert sample["cpu_receive"] > 0


def test_everything_is_measured_with_and_without_offload_apart() -> None:
    pairings = datagrams.pairings()
    assert {sender for sender, _ in pairings} == set(datagrams.SENDERS)
    assert {receiver for _, receiver in pairings} == set(datagrams.RECEIVERS)
    assert all((sender in datagrams.PLAIN) == (receiver in datagrams.PLAIN) for sender, receiver in pairings)
    assert len(set(pairings)) == len(pairings)


def test_the_median_of_each_figure_counts(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"sender": "one", "receiver": "two", "sent": 0.0, "received": 5e6, "cpu_send": 0.0, "cpu_receive": 0.0}
    samples = [row | {"sent": sent, "cpu_send": cpu} for sent, cpu in ((1e3, 3.0), (9e3, 1.0), (2e3, 2.0))]
    assert datagrams.middle(samples) == row | {"sent": 2e3, "cpu_send": 2.0}
    datagrams.table([datagrams.middle(samples)])
    head, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["one", "two", "2", "k/s", "5000", "k/s", "2.00", "+", "0.00"]
    assert len(head) == len(line)
