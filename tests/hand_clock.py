"""A clock that the test moves."""


class HandClock:
    """Stands in for ``now``."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time
