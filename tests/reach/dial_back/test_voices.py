"""`crust.reach.dial_back.voices`: whom to believe about ourselves."""

import pytest

from crust import Endpoint
from crust.reach.dial_back.voices import MAX_CLAIMS, REFRESH_INTERVAL, VOICE_LIFETIME, VOICES_WANTED, Voices

HERE, THERE = Endpoint.tcp("203.0.113.7:5483"), Endpoint.utp("203.0.113.7:5483")


def voices(*words: bool, at: float = 0.0) -> Voices:
    """What so many networks say of `HERE`."""
    made = Voices()
    made.claim([HERE, THERE])
    for number, word in enumerate(words):
        made.heard(HERE, f"network {number}", word, at)
    return made


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ((), None),
        ((True,), True),
        ((False,), False),
        ((True, False), None),
        ((False, True, True), True),
        ((True, False, False), False),
        ((True, True, False, False), None),
    ],
)
def test_more_than_half(words: tuple[bool, ...], verdict: bool | None) -> None:
    assert voices(*words).verdict(HERE, 1.0) is verdict
    assert voices(*words).verdicts(1.0) == {HERE: verdict, THERE: None}


def test_a_quick_yes_waits_for_those_who_are_still_trying() -> None:
    made = voices(True)
    assert made.verdict(HERE, 1.0, asked=1) is None
    assert made.verdicts(1.0, {HERE: 1}) == {HERE: None, THERE: None}
    made.heard(HERE, "network 1", True, 1.0)
    assert made.verdict(HERE, 1.0, asked=1) is True, "whatever the third one says"
    assert voices(False).verdict(HERE, 1.0, asked=1) is False, "a no needs no patience: it promises nothing"


def test_a_network_has_one_voice_that_of_the_last_word() -> None:
    made = voices(True)
    for _ in range(10):
        made.heard(HERE, "network 0", False, 5.0)
    assert made.verdict(HERE, 5.0) is False
    made.heard(HERE, "network 1", True, 5.0)
    made.heard(HERE, "network 2", True, 5.0)
    assert made.verdict(HERE, 5.0) is True, "however often the one has said no"


def test_voices_grow_old() -> None:
    made = voices(True, True)
    assert made.lacking(HERE, 0.0) == VOICES_WANTED - 2
    assert made.lacking(THERE, 0.0) == VOICES_WANTED
    assert made.next_change(0.0) == REFRESH_INTERVAL
    assert made.lacking(HERE, REFRESH_INTERVAL) == VOICES_WANTED, "asked for again"
    assert made.verdict(HERE, REFRESH_INTERVAL) is True, "but it counts"
    assert made.next_change(REFRESH_INTERVAL) == VOICE_LIFETIME
    assert made.verdict(HERE, VOICE_LIFETIME) is None
    assert made.next_change(VOICE_LIFETIME) is None


def test_what_is_not_claimed_has_no_voice() -> None:
    made = voices(True)
    made.claim([THERE])
    assert made.verdict(HERE, 0.0) is None
    made.heard(HERE, "network 5", True, 0.0)
    assert made.verdicts(0.0) == {THERE: None}
    made.claim([THERE, HERE])
    assert made.verdicts(0.0) == {THERE: None, HERE: None}, "what was given up begins anew"


def test_what_stays_claimed_is_kept() -> None:
    made = voices(True)
    made.claim([HERE])
    assert made.verdict(HERE, 0.0) is True


def test_bounds() -> None:
    made = voices(*[True] * 100)
    assert len(made.networks(HERE, 0.0)) == 16
    made.claim(Endpoint.tcp(("203.0.113.7", port)) for port in range(1, 100))
    assert len(made.claims) == MAX_CLAIMS
