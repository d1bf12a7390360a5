"""The table of states: complete, without dead ends, and true to what the sets say."""

from itertools import permutations

import pytest

from crust.transport.utp.states import ESTABLISHED, MAY_RECEIVE, MAY_SEND, TRANSITIONS, Happening, State, after


def reachable(start: State) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        for following in TRANSITIONS[waiting.pop()].values():
            if following not in found:
                found.add(following)
                waiting.append(following)
    return found


def test_every_state_is_in_the_table_and_every_happening_leads_somewhere() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {happening for row in TRANSITIONS.values() for happening in row} == set(Happening)


@pytest.mark.parametrize("state", State)
def test_a_state_can_be_reached_and_can_be_left(state: State) -> None:
    assert state in reachable(State.SYN_SENT)
    assert State.CLOSED in reachable(state)
    assert (not TRANSITIONS[state]) is (state is State.CLOSED), "only one is for good"


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_whatever_fails_is_over(state: State) -> None:
    assert after(state, Happening.FAILURE) is State.CLOSED


def test_nothing_comes_back() -> None:
    for state in State:
        assert all(state not in reachable(following) for following in TRANSITIONS[state].values())


@pytest.mark.parametrize("state", State)
def test_the_sets_say_what_the_table_says(state: State) -> None:
    row = TRANSITIONS[state]
    assert (state in MAY_SEND) is (Happening.OUR_FIN in row)
    assert (state in MAY_RECEIVE) is (Happening.THEIR_FIN in row)
    dialling = {Happening.SYN_ACK, Happening.PROOF} & set(row)
    assert (state in ESTABLISHED) is (not dialling and state is not State.CLOSED)


def test_what_cannot_happen_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        after(State.CLOSED, Happening.FAILURE)
    with pytest.raises(KeyError):
        after(State.CONNECTED, Happening.OUR_FIN_ACKED)


def test_both_halves_end_in_any_order() -> None:
    for order in permutations([Happening.OUR_FIN, Happening.OUR_FIN_ACKED, Happening.THEIR_FIN]):
        if order.index(Happening.OUR_FIN) > order.index(Happening.OUR_FIN_ACKED):
            continue  # what was not sent is not acknowledged
        state = State.CONNECTED
        for happening in order:
            state = after(state, happening)
        assert state is State.LINGER
        assert after(state, Happening.LINGERED) is State.CLOSED


@pytest.mark.parametrize("state", State)
def test_a_state_says_what_it_is_and_can_be_a_key(state: State) -> None:
    assert isinstance(state.value, str)
    assert {state: 1}[State[state.name]] == 1
