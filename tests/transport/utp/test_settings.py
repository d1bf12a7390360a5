"""What may be chosen, and what is chosen where nothing is said."""

import dataclasses

import pytest

from crust.errors import ConfigError
from crust.transport.utp import constants as c
from crust.transport.utp.settings import UtpSettings


def test_the_defaults_are_the_constants() -> None:
    settings = UtpSettings()
    for field in dataclasses.fields(settings):
        if not field.name.startswith("mtu_"):
            assert getattr(settings, field.name) == getattr(c, field.name.upper())


@pytest.mark.parametrize("window", [0, 1, 2 * c.SMALLEST_WINDOW - 1])
def test_a_window_that_lets_nothing_in_is_refused(window: int) -> None:
    with pytest.raises(ConfigError, match=f"receive_window={window}: less than {2 * c.SMALLEST_WINDOW} bytes"):
        UtpSettings(receive_window=window)
    assert UtpSettings(receive_window=2 * c.SMALLEST_WINDOW).receive_window == 2 * c.SMALLEST_WINDOW


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
