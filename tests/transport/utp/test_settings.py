"""What may be chosen, and what is chosen where nothing is said."""

import dataclasses

import pytest

from crust.errors import ConfigError
from crust.transport.utp import constants as c
from crust.transport.utp.packet import HEADER_SIZE, MAX_SACK
from crust.transport.utp.settings import SMALLEST_PACKET, UtpSettings


def test_the_defaults_are_the_constants() -> None:
    settings = UtpSettings()
    for field in dataclasses.fields(settings):
        if not field.name.startswith("mtu_"):
            assert getattr(settings, field.name) == getattr(c, field.name.upper())


RANGES = {
    "receive_window": (3000, 2**31),
    "send_buffer": (1000, 2**40),
    "mtu_floor": (300, 65_000),
    "mtu_ceiling": (300, 65_000),
    "keepalive": (0.1, 604_800),
    "idle_timeout": (0.1, 604_800),
    "dead_timeout": (0.1, 604_800),
    "max_connections": (1, 2**20),
    "half_open": (1, 2**20),
    "half_open_per_host": (1, 2**20),
    "accept_backlog": (1, 2**20),
}


def test_every_setting_has_a_range_that_its_default_is_in() -> None:
    assert RANGES.keys() == {field.name for field in dataclasses.fields(UtpSettings)}
    for name, (low, high) in RANGES.items():
        default = getattr(UtpSettings(), name)
        assert default is None or low < default < high


@pytest.mark.parametrize("name", RANGES)
def test_what_is_outside_its_range_is_refused_and_named(name: str) -> None:
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(UtpSettings(**{name: value}), name) == value  # type: ignore[arg-type]
    for wrong in (low - 0.01 if isinstance(low, float) else low - 1, high + 1, 0, -1, True, "5", float("nan")):
        with pytest.raises(ConfigError, match=f"{name}: was {wrong!r}; allowed: a .*number .*from {low:g} to"):
            UtpSettings(**{name: wrong})  # type: ignore[arg-type]


def test_the_smallest_packet_says_what_came_early() -> None:
    assert HEADER_SIZE + 2 + MAX_SACK <= SMALLEST_PACKET


@pytest.mark.parametrize("name", ["receive_window", "send_buffer", "keepalive"])
def test_nothing_is_no_number(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: was None"):
        UtpSettings(**{name: None})  # type: ignore[arg-type]


def test_they_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        UtpSettings().keepalive = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "ipv4", "ipv6"),
    [
        (UtpSettings(), (548, 1472), (1232, 1452)),
        (UtpSettings(mtu_floor=1000), (1000, 1472), (1000, 1452)),
        (UtpSettings(mtu_ceiling=8000), (548, 8000), (1232, 8000)),
        (UtpSettings(mtu_ceiling=1000), (548, 1000), (1000, 1000)),
        (UtpSettings(mtu_floor=700, mtu_ceiling=600), (600, 600), (600, 600)),
    ],
)
def test_sizes_of_packets(settings: UtpSettings, ipv4: tuple[int, int], ipv6: tuple[int, int]) -> None:
    assert settings.mtu_range(ipv6=False) == ipv4
    assert settings.mtu_range(ipv6=True) == ipv6
