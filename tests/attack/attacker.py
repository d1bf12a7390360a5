"""Whoever attacks: ``python -m tests.attack.attacker NAME AIM``, a process that obeys (`benches.child`)."""

import json
import sys
from collections.abc import Callable
from typing import Any

from benches.child import obey
from benches.process_state import allow_descriptors
from tests.attack.assault import Aim, Running
from tests.attack.plan import BY_NAME
from tests.attack.strangers import HELD


def main() -> None:
    """Obey until the input ends."""
    made: list[Running] = []

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        allow_descriptors(HELD + 200)
        made.append(Running(BY_NAME[sys.argv[1]].make(Aim(*json.loads(sys.argv[2])))))
        return made[0].do

    obey(start, lambda: made[0].close())


if __name__ == "__main__":
    main()
