"""What happens to each record that a peer gives."""

import base64

import pytest

from crust.discovery.conduct import Offence
from crust.discovery.contact_record import ContactRecord
from crust.discovery.intake import CHECK_BURST, CLOCK_TOLERANCE, MAX_LIFETIME, Intake, Taken, Verdict
from crust.discovery.record_store import RENEWAL_GAP, Put, RecordStore
from tests.discovery.records import FOREIGN_TAG, TAG, WALL, identity, record

OWN, ALICE = identity(1000).peer_id, identity(1001).peer_id


class Bench:
    """An intake and its store."""

    def __init__(self, capacity: int = 1024) -> None:
        self.store = RecordStore(OWN, capacity, b"secret")
        self.intake = Intake(self.store, OWN, TAG)
        self.now = 0.0

    def take(self, given: ContactRecord | bytes | str, wall: float = WALL) -> Taken:
        raw = given.raw if isinstance(given, ContactRecord) else given
        text = raw if isinstance(raw, str) else base64.b64encode(raw).decode()
        return self.intake.take(text, ALICE, self.now, wall)


def test_what_is_genuine_and_new_is_kept() -> None:
    bench = Bench()
    assert bench.take(record(1, 5)) == (Put.NEW, record(1, 5))
    assert bench.take(record(1, 5)).result is Verdict.IGNORED
    assert bench.take(record(1, 4)).result is Offence.OLD
    bench.now = RENEWAL_GAP
    assert bench.take(record(1, 6, host="10.9.9.9")) == (Put.MOVED, record(1, 6, host="10.9.9.9"))
    assert bench.take(record(1, 7)).result is Verdict.IGNORED  # too soon


@pytest.mark.parametrize("given", ["", "AAAA", "=", "A" * 5000, record(1).raw[:-1], record(1).raw + b"\0"])
def test_what_is_no_record_is_malformed(given: bytes | str) -> None:
    assert Bench().take(given) == (Offence.MALFORMED, None)


def test_forged_and_foreign_ones_are_not_kept() -> None:
    bench = Bench()
    for raw in (record(1).raw[:-1] + bytes([record(1).raw[-1] ^ 1]), record(1, tag=FOREIGN_TAG).raw):
        assert bench.take(raw) == (Offence.FORGED, None)
    assert len(bench.store) == 0
    # Nor do they stand in the way of the genuine one.
    assert bench.take(record(1)).result is Put.NEW


@pytest.mark.parametrize(
    ("expiry", "result"),
    [
        (-CLOCK_TOLERANCE, Offence.STALE),
        (1 - CLOCK_TOLERANCE, Verdict.IGNORED),
        (0, Verdict.IGNORED),
        (1, Put.NEW),
        (MAX_LIFETIME + CLOCK_TOLERANCE, Put.NEW),
        (MAX_LIFETIME + CLOCK_TOLERANCE + 1, Offence.STALE),
    ],
)
def test_what_has_expired_or_never_would_is_not_kept(expiry: int, result: object) -> None:
    assert Bench().take(record(1, expiry=WALL + expiry)).result is result


def test_our_own_record_of_an_earlier_life_is_told() -> None:
    bench = Bench()
    bench.store.put(record(1000, 5), None, 0.0)
    assert bench.take(record(1000, 4)).result is Offence.OLD
    assert bench.take(record(1000, 5)).result is Verdict.IGNORED
    assert bench.take(record(1000, 6)) == (Verdict.OURS, record(1000, 6))
    assert bench.take(record(1000, 6, tag=FOREIGN_TAG)).result is Offence.FORGED
    kept = bench.store.get(OWN)
    assert kept
    assert kept.sequence == 5, "only this node changes its own record"


def test_what_has_no_place_is_not_looked_at() -> None:
    """A store of one: whoever has the lower rank stays, and then not even a forged one costs a look."""
    bench = Bench(capacity=1)
    bench.take(record(1))
    for number in range(2, 60):
        bench.take(record(number))
    (kept,) = bench.store
    refused = [number for number in range(1, 60) if identity(number).peer_id != kept.peer_id]
    assert all(bench.take(record(number, tag=FOREIGN_TAG)).result is Verdict.IGNORED for number in refused)


def test_signatures_are_looked_at_in_bounds() -> None:
    bench = Bench()
    forged = record(1, tag=FOREIGN_TAG)
    assert [bench.take(forged).result for _ in range(CHECK_BURST)] == [Offence.FORGED] * CHECK_BURST
    assert bench.take(forged).result is Verdict.IGNORED
    assert bench.take(record(2)).result is Verdict.IGNORED
    bench.now = 10.0
    assert bench.take(record(2)).result is Put.NEW
