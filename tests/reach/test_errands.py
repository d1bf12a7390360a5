"""`crust.reach.errands`: all threads that were sent out can be told to end, and are waited for."""

from crust.reach.errands import Errands


class Fake:
    """Stands for a thread."""

    def __init__(self) -> None:
        self.running = True
        self.done: list[object] = []

    def cancel(self) -> None:
        """It is told to end."""
        self.done.append("cancel")

    def stop(self, timeout: float | None = None) -> None:
        """It is waited for."""
        self.done.append(timeout)


def test_all_are_told_before_any_is_waited_for() -> None:
    errands, fakes = Errands(), [Fake(), Fake()]
    for fake in fakes:
        errands.add(fake)
    errands.cancel()
    assert [fake.done for fake in fakes] == [["cancel"], ["cancel"]]
    errands.join(2.5)
    assert [fake.done for fake in fakes] == [["cancel", 2.5], ["cancel", 2.5]]
    assert len(errands) == 0


def test_what_has_ended_is_not_kept() -> None:
    """Or a manager that surveys for years would keep all of its threads."""
    errands, fakes = Errands(), [Fake() for _ in range(100)]
    for fake in fakes:
        errands.add(fake)
        fake.running = False
    assert len(errands) == 1
    last = Fake()
    errands.add(last)
    assert len(errands) == 1
    errands.cancel()
    assert last.done == ["cancel"]
    assert fakes[0].done == []
