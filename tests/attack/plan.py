"""The attacks: what each is called, how it is made, and what a program that is attacked so is told."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from crust.defence.metering import CONTROLS, FAILURES, HANDSHAKES, MESSAGES
from tests.attack.assault import Aim, Assault
from tests.attack.datagrams import BeaconStorm, Reflection, ResetFlood, SilentCallers, SynFlood
from tests.attack.members import BitFlips, ControlFlood, GossipLiar, LyingLengths, MessageFlood
from tests.attack.strangers import Crowd, Supply, other_network

MANY: Final = 250  # addresses, where an attack comes from many
MESSAGE_LIMIT: Final = 20_000  # messages a second, where they are limited


Told: TypeAlias = dict[str, Counter[str]]
"""What the target's program was told: "events", "floods" by kind, "crimes" by reason, lines of the "log"."""


class Attack(NamedTuple):
    """One of them."""

    name: str
    title: str
    """For the table."""
    make: Callable[[Aim], Assault]
    flood: str = ""
    """The kind of `Event.Flood` that must come."""
    crime: str = ""
    """What must be in the reason of an `Event.Misbehaviour` that must come."""
    none_because: str = ""
    """Why no event is due."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """Of the target, beside the usual ones."""

    def is_told(self, told: Told) -> bool:
        """Whether the alert that is due is among what the target's program was told."""
        crime = not self.crime or any(self.crime in reason for reason in told["crimes"])
        return crime and (not self.flood or told["floods"][self.flood] > 0)


def _loris(aim: Aim) -> Crowd:
    return Crowd(aim, sources=MANY, word=other_network(), per_second=200.0, drip=True)


WITHIN = "none: each address stays within its limits"
UNSEEN = "none: nothing of it reaches a connection"

ATTACKS: Final = (
    Attack(
        "connections",
        "connection flood: 1,000 a second from one address, silent",
        lambda aim: Crowd(aim, sources=1),
        flood=HANDSHAKES,
    ),
    Attack(
        "connections-many",
        f"connection flood: 1,000 a second from {MANY} addresses, silent",
        lambda aim: Crowd(aim, sources=MANY),
        none_because=WITHIN,
    ),
    Attack(
        "slow-loris",
        f"slow-loris: 200 a second from {MANY} addresses, a byte of a handshake each 0.2 s",
        _loris,
        none_because=WITHIN,
    ),
    Attack(
        "no-key",
        "handshake flood without the key: 500 a second from one address",
        lambda aim: Crowd(aim, sources=1, word=other_network(), per_second=500.0),
        flood=FAILURES,
    ),
    Attack(
        "with-key",
        "handshake flood with the key: 1,000 a second from one address, never finished",
        lambda aim: Crowd(aim, sources=1, word=Supply(aim), leaves=True),
        flood=HANDSHAKES,
    ),
    Attack(
        "with-key-many",
        f"handshake flood with the key: 500 a second from {MANY} addresses, never finished",
        lambda aim: Crowd(aim, sources=MANY, word=Supply(aim), per_second=500.0, leaves=True),
        none_because=WITHIN,
    ),
    Attack(
        "messages",
        f"a peer floods messages; {MESSAGE_LIMIT:,} a second are allowed",
        MessageFlood,
        flood=MESSAGES,
        settings={"max_messages_per_second": MESSAGE_LIMIT},
    ),
    Attack("controls", "peers flood control frames", ControlFlood, flood=CONTROLS),
    Attack("gossip", "gossip liars: forged, invented and expired records", GossipLiar, crime="rules of gossip"),
    Attack("bit-flips", "records with a bit flipped on their way", BitFlips, crime="authenti"),
    Attack(
        "lengths",
        "lengths that lie; 64 largest messages announced, never finished",
        LyingLengths,
        crime="says",
    ),
    Attack("syn", "uTP SYN flood: 10,000 a second, each from another forged address", SynFlood, none_because=UNSEEN),
    Attack(
        "utp-silent",
        "uTP connection flood: 500 a second from as many addresses, proved, silent",
        SilentCallers,
        none_because=WITHIN,
    ),
    Attack(
        "reset",
        "uTP RESETs, FINs, data in an honest peer's name, both ways: 10,000 a second",
        ResetFlood,
        none_because="none: nothing of it is believed",
    ),
    Attack("beacons", "beacon storm: 5,000 a second from forged addresses", BeaconStorm, none_because=UNSEEN),
    Attack(
        "reflection",
        "reflection: STUN, uTP and beacons in a victim's name, 2,500 a second",
        Reflection,
        none_because=UNSEEN,
    ),
)
BY_NAME: Final = {attack.name: attack for attack in ATTACKS}
