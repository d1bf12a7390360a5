"""`crust.connecting.notices`: a question to the manager is always answered, or ends in time."""

import queue

import pytest

from crust.connecting.notices import Ask, Inbox, RoomMade, ask_manager
from crust.errors import CrustError, DialFailed, ManagerStopped, TimedOut
from crust.identity import Identity
from crust.links.peers import Candidate, Verdict
from crust.threads.clock import Deadline
from tests.together import Running


def candidate() -> Candidate:
    return Candidate(Identity().peer_id, "192.0.2.1", b"session.")


@pytest.mark.parametrize("verdict", Verdict)
def test_the_manager_answers(verdict: Verdict) -> None:
    inbox, question, about = Inbox(), Ask(), candidate()
    asking = Running(ask_manager, inbox, question, about, Deadline(30))
    seen = inbox.get(timeout=30)
    assert seen is question
    assert seen.candidate is about
    seen.answer.put(verdict)
    assert asking.result() is verdict


@pytest.mark.parametrize("error", [DialFailed("another endpoint was faster"), ManagerStopped("this node is stopping")])
def test_the_manager_wants_it_no_more(error: CrustError) -> None:
    inbox, question = Inbox(), Ask()
    question.answer.put(error)
    with pytest.raises(type(error), match=str(error)):
        ask_manager(inbox, question, candidate(), Deadline(30))


@pytest.mark.parametrize("timeout", [0.0, 0.01])
def test_no_answer_in_time(timeout: float) -> None:
    inbox, question = Inbox(), Ask()
    with pytest.raises(TimedOut, match="no place was free in time"):
        ask_manager(inbox, question, candidate(), Deadline(timeout))
    assert inbox.get_nowait() is question, "the manager must be able to forget the candidate"


def test_a_manager_that_has_ended_does_not_answer() -> None:
    inbox = Inbox()
    inbox.closed = True
    with pytest.raises(ManagerStopped, match="stopping"):
        ask_manager(inbox, Ask(), candidate(), Deadline(None))


def test_a_question_at_the_very_end_is_not_left_waiting() -> None:
    """The manager looks through the inbox once more after closing it; whoever is later sees that it is closed."""
    for closed_first in (True, False):
        inbox = Inbox()
        asking = None
        if not closed_first:
            asking = Running(ask_manager, inbox, Ask(), candidate(), Deadline(None))
            question = inbox.get(timeout=30)
            inbox.put(question)
        inbox.closed = True
        if asking is None:
            asking = Running(ask_manager, inbox, Ask(), candidate(), Deadline(None))
        else:
            inbox.get(timeout=30).answer.put(ManagerStopped("this node is stopping"))
        with pytest.raises(ManagerStopped):
            asking.result()


def test_an_inbox_is_never_full_and_keeps_the_order() -> None:
    inbox = Inbox()
    notices = [RoomMade() for _ in range(1000)]
    for notice in notices:
        inbox.put(notice)
    assert [inbox.get_nowait() for _ in notices] == notices
    with pytest.raises(queue.Empty):
        inbox.get_nowait()
    assert not Inbox.closed


def test_notices_are_themselves_whatever_they_hold() -> None:
    """They are handled by type and kept in sets: two that look alike are two."""
    assert RoomMade() != RoomMade()
    assert len({RoomMade(), RoomMade()}) == 2
    assert Ask().answer is not Ask().answer
    assert Ask().candidate is None
