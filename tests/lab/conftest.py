"""Labs are built where that is possible; elsewhere their tests are skipped and say what is missing."""

from collections.abc import Iterator

import pytest

from tests.lab.namespaces import Lab, missing


@pytest.fixture(autouse=True)
def possible() -> None:
    """Skip where no lab can be built."""
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty lab."""
    with Lab() as lab:
        yield lab
