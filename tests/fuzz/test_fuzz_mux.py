"""A short siege, and whether one would notice when it succeeds."""

import os

import pytest

from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.sender import Sender
from tests.fuzz.fuzz_mux import Siege, main


def test_live_connections_do_not_notice() -> None:
    siege = Siege(seed=1)
    siege.run(20_000)
    siege.finish()
    assert siege.sent["from strangers"] > 5000
    assert siege.sent["from a peer's address"] > 3000
    assert siege.victim.counters["resets_sent"] > 100
    assert siege.victim.counters["malformed"] > 1000


@pytest.mark.parametrize(
    "count", [pytest.param(70_000, marks=pytest.mark.slow), pytest.param(1_000_000, marks=pytest.mark.long)]
)
def test_live_connections_do_not_notice_for_longer(count: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    try:
        siege = Siege(seed)
        siege.run(count)
        siege.finish()
    except Exception as error:
        raise AssertionError(f"seed {seed}") from error


def _believes_any_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sender, "is_ours", lambda self, seq_nr: True)


def _believes_any_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sender, "ack_makes_sense", lambda self, ack_nr: True)


def _raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Multiplexer, packet: object, address: object, now: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Multiplexer, "_from_stranger", broken)


@pytest.mark.parametrize("weakness", [_believes_any_reset, _believes_any_acknowledgement, _raises])
def test_a_weak_multiplexer_is_found(monkeypatch: pytest.MonkeyPatch, weakness: object) -> None:
    siege = Siege(seed=1)
    # Else it would leave out just what the weakness lets in.
    monkeypatch.setattr(Siege, "_knows", lambda self, data, source: False)
    assert callable(weakness)
    weakness(monkeypatch)
    with pytest.raises((AssertionError, ZeroDivisionError, KeyError)):
        siege.run(20_000)


def test_the_command() -> None:
    said: list[str] = []
    assert main(["--count", "10000", "--seed", "2"], said.append) == 0
    assert said[0].startswith("10,000 datagrams")
    assert said[-1] == "no connection noticed\n"
