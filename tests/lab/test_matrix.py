"""Two managers behind any pair of NATs become connected, by the way that is possible. Many tries, with figures:
``python -m tests.lab.matrix_figures``."""

import pytest

from tests.lab.attempts import attempts
from tests.lab.matrix import TRANSPORTS, Pair, Tries, run, shortfalls

pytestmark = [pytest.mark.lab, pytest.mark.timeout(500)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_pair(transport: str) -> None:
    """One try of each. What a machine that has much else to do has spoiled (packets of all homes pass a few programs),
    and the thousandth case of the birthday method, get another one."""
    results: dict[Pair, Tries] = {}

    def missing(pair: Pair) -> bool:
        return pair not in results or bool(shortfalls({pair: results[pair]}))

    for attempt in attempts():
        results |= run(transport, 1, missing)
        with attempt:
            assert shortfalls(results) == []
