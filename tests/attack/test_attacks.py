"""Every attack for a short time: what holds however slow the machine is. Figures are for `tests.attack.report`."""

from collections.abc import Iterator

import pytest

from crust.limits import MAX_HALF_OPEN, MIB
from tests.attack.plan import ATTACKS, BY_NAME, Attack
from tests.attack.siege import TRANSPORTS, Outcome, Siege, State, missing

SECONDS = 1.0
PATIENCE = 30.0  # seconds more, if the alert has not come by then
BEFORE = 0.1  # seconds; nothing is compared
MEMORY = 96 * MIB  # that the target may have more than in peace: 256 threads and 64 connections fit in half of it
ALLOWED = State(MEMORY, MAX_HALF_OPEN + 2 * 200, MAX_HALF_OPEN + 200)  # with room for the connections of members

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    """One target for all: what one attack leaves behind would show in the next."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    # So that limits are reached soon, whatever the machine is doing besides.
    settings = {"handshake_timeout": 1.0, "max_handshakes_per_second": 20}
    for attack in ATTACKS:
        settings.update(attack.settings)
    with Siege(settings) as made:
        yield made


def told(outcome: Outcome) -> str:
    """For messages."""
    return f"{outcome.attack.name}: {outcome.told}, {outcome.attacker}"


@pytest.mark.parametrize("name", BY_NAME)
def test_attack(siege: Siege, name: str) -> None:
    attack = BY_NAME[name]
    outcome = siege.suffer(attack, SECONDS, BEFORE, PATIENCE, recover=False)
    for allowed, most, before in zip(ALLOWED, outcome.peak, outcome.quiet, strict=True):
        assert most - before <= allowed, f"{outcome.quiet} became {outcome.peak}"
    assert sum(value for value in outcome.attacker.values() if value is not True) > 10, "there was no attack"
    assert_alerts(attack, outcome)
    for transport in TRANSPORTS:
        assert outcome.during[transport]["lost"] == []
    assert not any("report this" in text for text in outcome.told["log"]), told(outcome)
    if name in ("connections", "connections-many", "slow-loris", "no-key"):
        assert outcome.attacker["bytes received"] == 0, "a stranger gets no byte"
    if name == "reflection":
        assert max(outcome.reflected().values()) <= 1
        assert outcome.attacker["answers"] > 0, "nothing was reflected at all: is the harness right?"


def assert_alerts(attack: Attack, outcome: Outcome) -> None:
    """What is due was told, and nothing else."""
    assert outcome.alerted, told(outcome)
    if attack.none_because:
        assert not outcome.told["floods"], told(outcome)
        assert not outcome.told["crimes"], told(outcome)


def test_in_the_end_every_message_of_honest_peers_has_come_through(siege: Siege) -> None:
    """In order, whatever happened meanwhile; whoever comes is let in, and nothing is left of it all."""
    new = siege.measure(1.0)["new"]
    assert new["tried"] == new["in"] > 0, new["failures"]
    end = siege.finish()
    assert siege.recover() is not None, f"of {siege.quiet} there is left {siege.state()}"
    assert siege.state().memory - siege.quiet.memory <= MEMORY
    for transport in TRANSPORTS:
        assert end[transport]["lost"] == []
        assert end[transport]["answered"] == end[transport]["sent"] > 0
    assert end["target"].get("disorder", 0) == end["target"].get("unanswered", 0) == 0
