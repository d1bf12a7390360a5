"""`crust.links.claims`: what is only claimed replaces nothing that is proven, and blocks nothing."""

import pytest

from crust.identity import PeerId, UnprovenPeerId
from crust.links.claims import MAX_UNPROVEN, MAX_UNPROVEN_PER_ADDRESS, PeerTables
from crust.links.peers import Candidate, Verdict

LESSER, MIDDLE, GREATER = (bytes([number]) * 32 for number in (1, 2, 3))
own_side = pytest.mark.parametrize("own", [GREATER, LESSER], ids=["we choose", "they choose"])


def tables(own: bytes, most: int = 100, per_address: int = 100) -> PeerTables:
    return PeerTables(PeerId(own), most, per_address)


def proven(key: bytes = MIDDLE, address: str = "192.0.2.1", **more: object) -> Candidate:
    return Candidate(PeerId(key), address, b"session", **more)  # type: ignore[arg-type]


def claimed(key: bytes = MIDDLE, address: str = "192.0.2.1", **more: object) -> Candidate:
    return Candidate(UnprovenPeerId(key), address, b"session", **more)  # type: ignore[arg-type]


def settle(of: PeerTables, candidate: Candidate) -> Candidate | None:
    """Register it and let the peer choose it where that is the peer's business; what it replaces."""
    verdict, replaced = of.register(candidate)
    assert verdict in (Verdict.CHOOSE, Verdict.WAIT)
    return replaced if verdict is Verdict.CHOOSE else of.chosen_by_peer(candidate)


@own_side
def test_a_claim_does_not_replace_a_proven_connection(own: bytes) -> None:
    ours, genuine = tables(own), proven(peer_serial=1)
    settle(ours, genuine)
    for claim in (claimed(peer_serial=9, peer_alone=True), claimed(began=99)):
        claim.session = b"later"
        assert ours.register(claim) == (Verdict.DUPLICATE, None)
    assert ours.held(genuine.peer_id) is genuine
    assert ours.held(claim.peer_id) is None
    assert len(ours) == 1


@own_side
def test_proof_replaces_a_claim(own: bytes) -> None:
    ours, claim, genuine = tables(own), claimed(), proven()
    assert settle(ours, claim) is None
    assert settle(ours, genuine) is claim
    assert ours.held(genuine.peer_id) is genuine
    ours.remove(claim)
    assert len(ours) == 1


def test_a_claim_that_the_peer_chose_too_late() -> None:
    ours, claim, genuine = tables(LESSER), claimed(), proven()
    assert ours.register(claim)[0] is Verdict.WAIT
    assert settle(ours, genuine) is None
    assert ours.chosen_by_peer(claim) is None
    assert ours.held(claim.peer_id) is None
    assert ours.held(genuine.peer_id) is genuine


@own_side
def test_a_claim_says_nothing_about_a_proven_candidate(own: bytes) -> None:
    """Else the peer would not take its old connection for stale, and refuse ours."""
    ours = tables(own)
    ours.register(claimed())
    genuine = proven()
    ours.register(genuine)
    assert genuine.alone


@own_side
def test_between_claims_the_rules_are_the_same(own: bytes) -> None:
    ours, first, second = tables(own), claimed(), claimed()
    assert settle(ours, first) is None
    verdict = ours.register(second)[0]
    assert verdict is (Verdict.DUPLICATE if own == GREATER else Verdict.WAIT)
    assert ours.held(first.peer_id) is first


def test_nobody_can_claim_to_be_us() -> None:
    assert tables(MIDDLE).register(claimed())[0] is Verdict.SELF
    assert tables(MIDDLE).register(proven())[0] is Verdict.SELF


def test_claims_take_no_place_from_the_proven() -> None:
    ours = tables(GREATER, most=2, per_address=2)
    verdicts = [ours.register(claimed(bytes([1, number]) + bytes(30)))[0] for number in range(5)]
    assert verdicts == [Verdict.CHOOSE] * 2 + [Verdict.FULL] * 3
    assert [ours.register(proven(bytes([1, number]) + bytes(30)))[0] for number in range(3)] == [
        Verdict.CHOOSE,
        Verdict.CHOOSE,
        Verdict.FULL,
    ]


def test_claims_have_few_places() -> None:
    ours = tables(GREATER, most=10_000, per_address=10_000)

    def ask(number: int, address: str) -> Verdict:
        return ours.register(claimed(number.to_bytes(32, "big"), address))[0]

    at_one = [ask(number, "192.0.2.1") for number in range(MAX_UNPROVEN_PER_ADDRESS + 1)]
    assert at_one.count(Verdict.CHOOSE) == MAX_UNPROVEN_PER_ADDRESS
    for number in range(1000, 1000 + MAX_UNPROVEN):
        ask(number, f"192.0.2.{number % 200 + 2}")
    assert len(ours) == MAX_UNPROVEN


@own_side
def test_what_is_forgotten_is_forgotten(own: bytes) -> None:
    ours, claim = tables(own), claimed()
    settle(ours, claim)
    ours.remove(claim)
    ours.remove(claim)
    assert len(ours) == 0
    genuine = proven()
    settle(ours, genuine)
    ours.remove(genuine)
    assert ours.register(claimed())[0] is not Verdict.DUPLICATE


def test_a_stale_proven_connection_is_replaced_as_ever() -> None:
    ours, old = tables(GREATER), proven(peer_serial=1)
    settle(ours, old)
    assert ours.register(proven(peer_serial=2, peer_alone=True)) == (Verdict.CHOOSE, old)
