"""Real peers: their programs start only where Node.js and their packages can be had."""

from pathlib import Path

import pytest

from tests.interop.node import UTP_NATIVE, Missing, node_modules


@pytest.fixture(scope="session")
def libutp() -> Path:
    """The ``node_modules`` that have libutp."""
    try:
        return node_modules(UTP_NATIVE)
    except Missing as missing:
        pytest.skip(str(missing))
