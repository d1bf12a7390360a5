"""`crust.transport.relay.notes`: what RELAY frames say; the rest is malformed, or of a later version."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.identity import PeerId
from crust.transport.framing import RELAY, control_frame, parse_control
from crust.transport.relay.carried import LEAST_CREDIT, RELAY_WINDOW
from crust.transport.relay.notes import REFUSALS, Abort, Acceptance, Note, Opening, Refusal, parse_relay_note

PEER = PeerId.parse("ab" * 32)
CHANNELS = st.integers(1, 2**32 - 1)
CREDITS = st.integers(LEAST_CREDIT, RELAY_WINDOW)
NOTES = st.one_of(
    st.builds(Opening, CHANNELS, st.just(PEER), CREDITS, st.booleans()),
    st.builds(Acceptance, CHANNELS, CREDITS),
    st.builds(Refusal, CHANNELS, st.sampled_from(sorted(REFUSALS))),
    st.builds(Abort, CHANNELS, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)),
)
OPENING = Opening(3, PEER, RELAY_WINDOW).content()


@given(NOTES)
def test_what_is_said_is_understood(note: Note) -> None:
    assert parse_relay_note(parse_control(control_frame(RELAY, note.content())[4:])) == note


def test_the_words_on_the_wire() -> None:
    assert OPENING == {"open": 3, "to": "ab" * 32, "credit": RELAY_WINDOW}
    assert Opening(3, PEER, RELAY_WINDOW, True).content() == {"open": 3, "from": "ab" * 32, "credit": RELAY_WINDOW}
    assert Acceptance(3, LEAST_CREDIT).content() == {"accepted": 3, "credit": LEAST_CREDIT}
    assert Refusal(3, "off").content() == {"refused": 3, "reason": "off"}
    assert Abort(3, "why").content() == {"abort": 3, "text": "why"}


@pytest.mark.parametrize(
    "content",
    [
        {**OPENING, "open": 0},
        {**OPENING, "open": 2**32},
        {**OPENING, "open": True},
        {**OPENING, "open": "3"},
        {**OPENING, "to": "ab" * 31},
        {**OPENING, "to": "zz" * 32},
        {**OPENING, "to": 7},
        {**OPENING, "from": "ab" * 32},
        {"open": 3, "credit": RELAY_WINDOW},
        {**OPENING, "credit": LEAST_CREDIT - 1},
        {**OPENING, "credit": RELAY_WINDOW + 1},
        {**OPENING, "credit": None},
        {"accepted": 3},
        {"accepted": -1, "credit": RELAY_WINDOW},
        {"refused": None},
        {"abort": [3]},
    ],
)
def test_what_is_none_is_malformed(content: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_relay_note(content)


def test_later_versions_may_say_more() -> None:
    assert parse_relay_note({"paused": 3}) is None
    assert parse_relay_note({}) is None
    assert parse_relay_note({**OPENING, "urgent": True}) == Opening(3, PEER, RELAY_WINDOW)


def test_what_strangers_say_is_fit_for_a_log() -> None:
    note = parse_relay_note({"abort": 3, "text": "a\nb" + "x" * 1000})
    assert isinstance(note, Abort)
    assert note.text == "a?b" + "x" * 197
    assert parse_relay_note({"abort": 3, "text": 7}) == Abort(3, "")
    refusal = parse_relay_note({"refused": 3, "reason": ["x"]})
    assert isinstance(refusal, Refusal)
    assert refusal.text == REFUSALS["no"]
    assert Refusal(3, "a word of a later version").text == "it refused"


VALUES = st.one_of(st.integers(-5, 2**33), st.text(max_size=70), st.none(), st.booleans(), st.lists(st.integers()))
KEYS = st.sampled_from(["open", "to", "from", "credit", "accepted", "refused", "reason", "abort", "text", "x"])


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_only_malformed_escapes(content: dict[str, Any]) -> None:
    try:
        parse_relay_note(content)
    except Malformed:
        pass
