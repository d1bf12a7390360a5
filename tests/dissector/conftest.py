"""The fixture of the dissector's tests."""

from pathlib import Path

import pytest

from crust.dissector import source
from tests.dissector.captures import Tshark, need_tshark


@pytest.fixture
def tshark(tmp_path: Path) -> Tshark:
    """tshark with our dissector."""
    need_tshark()
    return Tshark(tmp_path, source())
