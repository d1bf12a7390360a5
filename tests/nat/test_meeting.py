"""`crust.nat.meeting`: both begin at the same moment, whatever the way between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crust.errors import Malformed
from crust.identity import Identity
from crust.nat import meeting
from crust.nat.connection_info import ConnectionInfo
from crust.nat.meeting import MAX_ROUND_TRIP, MEETING_TIMEOUT, Meeting, Note, Step, parse_note

ONE, TWO = (ConnectionInfo(Identity(bytes([number] * 32)).peer_id) for number in (1, 2))


@pytest.mark.parametrize("way", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("took", [0.0, 2.0])
def test_both_begin_at_once(way: float, took: float) -> None:
    """Also if one of them needs some time to find out where it is."""
    one, offer = Meeting.offer(7, ONE, 100.0)
    two, accept = Meeting.answer(offer, TWO, 100.0 + way, 100.0 + way + took)
    go = one.receive(parse_note(accept.content()), 100.0 + way + took + way)
    assert go is not None
    assert two.receive(parse_note(go.content()), 100.0 + took + 3 * way) is None
    assert one.start == pytest.approx(two.start)
    assert one.theirs == TWO
    assert two.theirs == ONE
    assert one.over
    assert two.over


def test_a_long_way_is_not_waited_for() -> None:
    one, offer = Meeting.offer(7, ONE, 0.0)
    _, accept = Meeting.answer(offer, TWO, 0.0, 0.0)
    one.receive(accept, 9.0)
    assert one.start == 9.0 + MAX_ROUND_TRIP / 2
    one, offer = Meeting.offer(7, ONE, 0.0)
    one.receive(accept._replace(took=MEETING_TIMEOUT), 1.0)
    assert one.start == 1.0, "who says to have taken longer than it was does not move us into the past"


def test_silence() -> None:
    one, _ = Meeting.offer(7, ONE, 0.0)
    assert one.next_deadline() == MEETING_TIMEOUT
    one.tick(MEETING_TIMEOUT - 1)
    assert not one.over
    one.tick(MEETING_TIMEOUT)
    assert "did not answer" in one.failure
    assert one.next_deadline() is None
    assert one.receive(Note(Step.ACCEPT, 7, TWO.encode()), MEETING_TIMEOUT) is None, "too late"
    assert one.start is None


def test_a_refusal() -> None:
    one, _ = Meeting.offer(7, ONE, 0.0)
    assert one.receive(parse_note(Note(Step.REFUSE, 7, reason="busy").content()), 1.0) is None
    assert one.failure == "the peer does not want to: busy"


def test_other_meetings_are_not_ours() -> None:
    one, _ = Meeting.offer(7, ONE, 0.0)
    assert one.receive(Note(Step.REFUSE, 8), 1.0) is None
    assert not one.over


def test_who_speaks_out_of_turn() -> None:
    one, offer = Meeting.offer(7, ONE, 0.0)
    for step in (Step.GO, Step.OFFER):
        with pytest.raises(Malformed):
            one.receive(Note(step, 7, ONE.encode() if step is Step.OFFER else ""), 1.0)
    two, accept = Meeting.answer(offer, TWO, 0.0, 0.0)
    with pytest.raises(Malformed):
        two.receive(accept, 1.0)
    with pytest.raises(Malformed):
        one.receive(accept._replace(info="nonsense"), 1.0)
    with pytest.raises(Malformed):
        Meeting.answer(offer._replace(info="nonsense"), TWO, 0.0, 0.0)


LINE = ONE.encode()


@pytest.mark.parametrize(
    "note",
    [
        Note(Step.OFFER, 0, LINE),
        Note(Step.ACCEPT, meeting.ID_LIMIT - 1, LINE, 1.5),
        Note(Step.GO, 1),
        Note(Step.REFUSE, 1, reason="no"),
    ],
)
def test_notes_there_and_back(note: Note) -> None:
    assert parse_note(note.content()) == note


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"step": "go"},
        {"step": "stay", "meeting": 1},
        {"step": [], "meeting": 1},
        {"step": "go", "meeting": True},
        {"step": "go", "meeting": -1},
        {"step": "go", "meeting": meeting.ID_LIMIT},
        {"step": "go", "meeting": 1.0},
        {"step": "go", "meeting": 1, "info": LINE},
        {"step": "offer", "meeting": 1},
        {"step": "offer", "meeting": 1, "info": 5},
        {"step": "offer", "meeting": 1, "info": "x" * 1000},
        {"step": "accept", "meeting": 1, "info": LINE, "took": "long"},
        {"step": "accept", "meeting": 1, "info": LINE, "took": -1},
        {"step": "accept", "meeting": 1, "info": LINE, "took": float("nan")},
        {"step": "accept", "meeting": 1, "info": LINE, "took": True},
        {"step": "refuse", "meeting": 1, "reason": 5},
        {"step": "refuse", "meeting": 1, "reason": "x" * 1000},
    ],
)
def test_what_is_no_note(content: object) -> None:
    with pytest.raises(Malformed):
        parse_note(content)


def test_a_long_reason_is_cut() -> None:
    assert len(parse_note(Note(Step.REFUSE, 1, reason="x" * 1000).content()).reason) == meeting.MAX_REASON


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([LINE, *Step])
FIELDS = st.sampled_from(["step", "meeting", "info", "took", "reason"])


@given(st.dictionaries(FIELDS, SCALARS))
def test_nothing_but_malformed_comes_of_any_content(content: dict[str, object]) -> None:
    try:
        note = parse_note(content)
    except Malformed:
        return
    assert parse_note(note.content()).step == note.step
