"""The demo must not call anything right that is not: each thing that can go wrong is found."""

from typing import Any

import pytest

from crust.cli.demo_checks import Expected, problems

NAMES = {"b" * 64: "Ben", "c" * 64: "Cleo"}
BEN, CLEO = NAMES
GOOD: list[dict[str, Any]] = [
    {"is": "ready", "id": "a" * 64, "port": 1},
    {"is": "new", "id": BEN},
    {"is": "message", "id": BEN, "text": "one"},
    {"is": "new", "id": CLEO},
    {"is": "message", "id": BEN, "text": "two"},
    {"is": "lost", "id": CLEO},
    {"is": "stopped"},
    {"is": "gone"},
]


def expected() -> Expected:
    return Expected(connected={BEN, CLEO}, messages={BEN: ["one", "two"]}, lost={CLEO})


def test_a_log_as_it_should_be() -> None:
    assert problems(GOOD, expected(), NAMES) == []


def without(number: int) -> list[dict[str, Any]]:
    return GOOD[:number] + GOOD[number + 1 :]


def twice(number: int) -> list[dict[str, Any]]:
    return [*GOOD[: number + 1], *GOOD[number:]]


def moved(number: int, to: int) -> list[dict[str, Any]]:
    rest = without(number)
    return [*rest[:to], GOOD[number], *rest[to:]]


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (without(3), "no NewConnection for Cleo"),
        (twice(3), "a second NewConnection for Cleo"),
        (moved(1, 2), "a NewMessage of Ben before its NewConnection"),
        (without(4), "of Ben came ['one']"),
        (twice(4), "of Ben came ['one', 'two', 'two']"),
        (moved(4, 2), "of Ben came ['two', 'one']"),
        (without(5), "no LostConnection for Cleo"),
        (twice(5), "a second LostConnection for Cleo"),
        ([*GOOD[:5], {"is": "lost", "id": BEN}, *GOOD[5:]], "a LostConnection for Ben, which should not be"),
        ([*GOOD[:6], {"is": "message", "id": CLEO, "text": "boo"}, *GOOD[6:]], "after its LostConnection"),
        ([*GOOD[:5], {"is": "new", "id": "d" * 64}, *GOOD[5:]], "a NewConnection for a stranger (dddddddd)"),
        ([*GOOD[:5], {"is": "message", "id": None, "text": "?"}, *GOOD[5:]], "a stranger"),
        ([*GOOD[:5], {"is": "failed", "to": "tcp://x", "reason": "no"}, *GOOD[5:]], "a failure: tcp://x no"),
        (without(6), "Stopped was not its last event"),
        (moved(6, 5), "Stopped was not its last event"),
    ],
)
def test_whatever_is_wrong_is_found(log: list[dict[str, Any]], text: str) -> None:
    found = problems(log, expected(), NAMES)
    assert any(text in problem for problem in found), found


def test_who_was_killed_need_not_stop() -> None:
    assert problems(GOOD[:6], Expected({BEN, CLEO}, {BEN: ["one", "two"]}, {CLEO}, stopped=False), NAMES) == []
