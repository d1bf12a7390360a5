"""`crust.nat.observations`: whom to believe."""

import pytest

from crust.endpoint import Address, Protocol
from crust.nat import observations
from crust.nat.observations import Believed, Confidence, Observations

WE = ("203.0.113.9", 40000)
LIE = ("203.0.113.66", 666)
UTP = Protocol.UTP


def voices(seen: Address, networks: range, known: Observations, now: float = 0.0) -> None:
    for number in networks:
        assert known.saw(UTP, 5000, (f"192.0.{number}.1", 3478), seen, now)


def believed(known: Observations, now: float = 0.0) -> list[Believed]:
    return known.addresses(UTP, 5000, now)


@pytest.mark.parametrize(
    ("count", "confidence"),
    [(1, Confidence.HEARD), (2, Confidence.LIKELY), (3, Confidence.LIKELY), (4, Confidence.CONFIRMED)],
)
def test_the_more_agree_the_better(count: int, confidence: Confidence) -> None:
    known = Observations()
    voices(WE, range(count), known)
    assert believed(known) == [Believed(WE, confidence, count)]


def test_one_liar_cannot_move_us() -> None:
    """However often it says so, from however many addresses and ports of its network."""
    known = Observations()
    voices(WE, range(2), known)
    for number in range(1, 200):
        known.saw(UTP, 5000, (f"198.51.100.{number}", number), LIE, 0.0)
    assert believed(known) == [Believed(WE, Confidence.LIKELY, 2)]
    known = Observations()
    voices(LIE, range(1), known)
    assert believed(known)[0].confidence is Confidence.HEARD


def test_half_is_not_enough() -> None:
    known = Observations()
    voices(WE, range(4), known)
    voices(LIE, range(4, 8), known)
    assert believed(known)[0].confidence is Confidence.HEARD
    voices(WE, range(8, 9), known)
    assert believed(known) == [Believed(WE, Confidence.CONFIRMED, 5)]


def test_who_changes_their_mind_has_still_one_voice() -> None:
    known = Observations()
    voices(LIE, range(4), known)
    voices(WE, range(4), known)
    assert believed(known) == [Believed(WE, Confidence.CONFIRMED, 4)]


def test_voices_expire() -> None:
    known = Observations()
    voices(WE, range(4), known)
    voices(LIE, range(5, 7), known, now=300.0)
    life = observations.OBSERVATION_LIFETIME
    assert believed(known, life - 1)[0].address == WE
    assert believed(known, life + 1) == [Believed(LIE, Confidence.LIKELY, 2)]
    assert believed(known, life + 301) == []
    assert len(known.sightings(UTP, 5000, life + 1)) == 2


def test_sockets_and_families_and_neighbours_are_kept_apart() -> None:
    known = Observations()
    voices(WE, range(2), known)
    for number in range(3):
        known.saw(UTP, 5000, (f"10.0.{number}.1", 1), ("10.9.9.9", 5000), 0.0)
        known.saw(UTP, 5000, (f"2001:db8:0:{number}::1", 1), ("2001:db8:9::9", 5000), 0.0)
    assert {each.address for each in believed(known)} == {WE, ("10.9.9.9", 5000), ("2001:db8:9::9", 5000)}
    assert known.addresses(Protocol.TCP, 5000, 0.0) == []
    assert known.addresses(UTP, 5001, 0.0) == []
    known.forget()
    assert believed(known) == []


def test_a_host_may_be_known_where_the_port_is_not() -> None:
    known = Observations()
    for number in range(4):
        known.saw(UTP, 5000, (f"192.0.{number}.1", 3478), (WE[0], 40000 + number), 0.0)
    assert believed(known)[0].confidence is Confidence.HEARD
    assert known.hosts(UTP, 5000, 0.0) == [Believed((WE[0], 0), Confidence.CONFIRMED, 4)]


@pytest.mark.parametrize(
    "seen",
    [("203.0.113.9", 0), ("0.0.0.0", 5), ("224.0.0.1", 5), ("255.255.255.255", 5), ("2001:db8::1", 5), ("x y", 5)],
)
def test_what_nobody_can_see(seen: Address) -> None:
    known = Observations()
    assert not known.saw(UTP, 5000, ("192.0.2.1", 1), seen, 0.0)
    assert believed(known) == []


def test_what_is_kept_is_bounded() -> None:
    known = Observations()
    voices(WE, range(observations.MAX_VOICES * 2), known)
    assert len(known.sightings(UTP, 5000, 0.0)) == observations.MAX_VOICES
    for port in range(6000, 6100):
        known.saw(UTP, port, ("192.0.2.1", 1), WE, 0.0)
    assert len(known._sockets) == observations.MAX_SOCKETS
    assert believed(known) == []
